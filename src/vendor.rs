//! Vendors are files: what a profile says about a vendor's API.
//!
//! A [`Profile`] names the vendor's session call, the calls that a session token allows, and what the gateway writes
//! into each. Nothing here does any I/O but reading the file; nothing here knows tokens, bots or limits.

mod options;
mod path;
mod place;
mod profile;
mod read;
mod reserved;
mod template;

pub use self::options::{Declared, Names, Options, declared};
pub use self::path::{Captures, Found, PathError, Pattern, Segment, Table, check, is_value};
pub use self::place::Place;
pub use self::profile::{
    Accept, Allow, BotId, ErrorShape, Expired, Failure, Fields, HeaderPattern, Identify, KeyAnswers, Meta, Open,
    Profile, Query, Renew, Reply, Route, SessionSource, SessionType, Set, Strip, Target, Who,
};
pub(crate) use self::read::base_url;
pub use self::read::{built_in, built_in_names, read};
pub use self::reserved::is_reserved;
pub use self::template::{Proven, Shape, Template, Values, Variable};
