//! A session's life: what its visitor may ask for, its opening with the vendor, and how its visitor becomes known.
//!
//! All that a call needs of a session is in its token. What has to be listed, renewed or ended is kept by the [`Ledger`].

mod answer;
mod call;
mod contact;
mod identify;
mod ledger;
pub mod once;
mod open;
mod renew;
mod sharing;
mod values;
mod wish;

pub use self::contact::{is_email, read_one};
pub use self::identify::Unidentified;
pub use self::ledger::{Ledger, end_of};
pub use self::open::{Opened, Opener};
pub use self::sharing::Sharing;
pub use self::wish::{RawWish, Recognition, Wish, wished_ttl};
