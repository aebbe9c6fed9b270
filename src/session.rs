//! A session's life: what its visitor may ask for, its opening with the vendor, and how its visitor becomes known.
//!
//! This gateway keeps no session: all that is known of one is in its token.

mod answer;
mod call;
mod contact;
mod identify;
mod open;
mod values;
mod wish;

pub use self::open::{Opened, Opener};
pub use self::wish::{RawWish, Recognition, Wish};
