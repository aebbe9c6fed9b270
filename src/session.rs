//! A session's life: what its visitor may ask for, and its opening with the vendor.
//!
//! This gateway keeps no session: all that is known of one is in its token.

mod contact;
mod open;
mod wish;

pub use self::open::{Opened, Opener};
pub use self::wish::{RawWish, Wish};
