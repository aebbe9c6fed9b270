//! The scripts, and what they are given.

use ::redis::Script;

/// What all keys begin with.
pub(super) const PREFIX: &str = "{keystile}:";

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $file:literal,)*) => {
        /// All scripts.
        pub(super) struct Scripts { $($(#[$doc])* pub(super) $name: Script,)* }

        impl Scripts {
            /// With their digests.
            pub(super) fn new() -> Self {
                Self { $($name: Script::new(concat!(include_str!("scripts/common.lua"), include_str!($file))),)* }
            }
        }
    };
}

scripts! {
    open = "scripts/open.lua",
    session = "scripts/session.lua",
    sessions = "scripts/sessions.lua",
    renew = "scripts/renew.lua",
    recognise = "scripts/recognise.lua",
    revoke = "scripts/revoke.lua",
    changes = "scripts/changes.lua",
    begin = "scripts/begin.lua",
    finish = "scripts/finish.lua",
    take = "scripts/take.lua",
    share = "scripts/share.lua",
    sweep = "scripts/sweep.lua",
}

/// What a script is given, in its order.
pub(super) struct Arguments(Vec<Vec<u8>>);

impl Arguments {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// These, and one more.
    pub(super) fn with(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.0.push(argument.into());
        self
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}
