//! The `[tokens]` section of the configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::directory::Directory;
use crate::document::{Table, Value};

/// No token is asked for with a shorter life: the rule of this product.
pub const SHORTEST_TTL: Duration = Duration::from_secs(30 * 60);

/// No token lives longer.
pub const LONGEST_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How tokens are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The key directory.
    pub keys: PathBuf,
    /// What new tokens are signed with.
    pub algorithm: Algorithm,
    /// The life of a token where neither the caller nor the bot says otherwise, in whole seconds.
    pub default_ttl: Duration,
    /// For how long after its end a token still renews its session.
    pub renew_grace: Duration,
    /// Where a token keeps the contact.
    pub contact: ContactClaims,
}

impl Settings {
    /// Reads the section; a relative key directory is relative to `base`. What is wrong is noted as a problem of the
    /// document, and its default stands in for it.
    pub fn read(table: &Table<'_>, base: &Path) -> Self {
        let keys = base.join(table.get("keys").and_then(|value| directory(&value)).unwrap_or("certs/signing"));
        if let Some(exposed) = Directory::at(&keys).exposed() {
            table.warn("keys", format!("{exposed}; the gateway would not start here"));
        }
        let algorithms = Algorithm::ALL.map(|known| (known.name(), known));
        let algorithm = table.get("algorithm").and_then(|value| value.one_of(&algorithms));
        let places = ContactClaims::ALL.map(|known| (known.name(), known));
        let contact = table.get("contact").and_then(|value| value.one_of(&places));
        Self {
            keys,
            algorithm: algorithm.unwrap_or(Algorithm::EdDsa),
            default_ttl: table
                .get("default_ttl")
                .and_then(|value| read_ttl(&value))
                .unwrap_or(Duration::from_secs(3600)),
            renew_grace: table.get("renew_grace").and_then(|value| grace(&value)).unwrap_or(Duration::ZERO),
            contact: contact.unwrap_or(ContactClaims::Claims),
        }
    }
}

fn directory<'d>(value: &Value<'d>) -> Option<&'d str> {
    let text = value.text()?;
    if text.is_empty() {
        value.problem("must be the path of a directory, such as \"certs/signing\"");
    }
    Some(text)
}

fn grace(value: &Value<'_>) -> Option<Duration> {
    let duration = value.duration()?;
    let fits = duration <= LONGEST_TTL;
    if !fits {
        value.problem("must be at most 24h: no session is longer");
    }
    fits.then_some(duration)
}

/// Reads the life of a token: what does not fit is noted.
pub fn read_ttl(value: &Value<'_>) -> Option<Duration> {
    let duration = value.duration()?;
    // `exp` counts whole seconds; a fraction would make `expiresAt` and the token's end disagree.
    let fits = (SHORTEST_TTL..=LONGEST_TTL).contains(&duration) && duration.subsec_nanos() == 0;
    if !fits {
        value.problem("must be from 30m to 24h, both inclusive, in whole seconds");
    }
    fits.then_some(duration)
}

/// A signature algorithm of RFC 7518 §3.1 or RFC 8037 §3.1. There is no `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits.
    Rs256,
    /// HMAC with SHA-256: only the holders of the key directory can verify.
    Hs256,
}

impl Algorithm {
    /// All of them, the default first.
    pub const ALL: [Self; 4] = [Self::EdDsa, Self::Es256, Self::Rs256, Self::Hs256];

    /// The name in configuration and in `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Hs256 => "HS256",
        }
    }
}

/// Where a token keeps the contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactClaims {
    /// In claims that everybody who has the token can read.
    Claims,
    /// In the sealed binding, readable by the gateway alone.
    Sealed,
    /// Nowhere; the token still says where the contact came from, but not who it is.
    Omit,
}

impl ContactClaims {
    /// All of them, the default first.
    pub const ALL: [Self; 3] = [Self::Claims, Self::Sealed, Self::Omit];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::Sealed => "sealed",
            Self::Omit => "omit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, Problems};

    fn read(text: &str) -> (Settings, Vec<String>) {
        let problems = Problems::default();
        let settings = {
            let document = Document::parse("test.toml", text, &problems).expect("TOML");
            Settings::read(&document.root(&problems), Path::new("/etc/keystile"))
        };
        (settings, problems.into_sorted().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_empty_section_has_the_defaults() {
        let (settings, problems) = read("");
        let expected = Settings {
            keys: PathBuf::from("/etc/keystile/certs/signing"),
            algorithm: Algorithm::EdDsa,
            default_ttl: Duration::from_secs(3600),
            renew_grace: Duration::ZERO,
            contact: ContactClaims::Claims,
        };
        assert_eq!((settings, problems), (expected, Vec::new()));
    }

    #[test]
    fn every_value_is_read() {
        let (settings, problems) = read(
            "keys = \"/keys\"\nalgorithm = \"RS256\"\ndefault_ttl = \"30m\"\nrenew_grace = \"10m\"\ncontact = \"omit\"\n",
        );
        assert_eq!(problems, [""; 0]);
        assert_eq!(settings.keys, Path::new("/keys"));
        assert_eq!(settings.renew_grace, Duration::from_secs(600));
        assert!(read("renew_grace = \"25h\"\n").1[0].contains("must be at most 24h"));
        assert_eq!((settings.algorithm, settings.contact), (Algorithm::Rs256, ContactClaims::Omit));
        assert_eq!(settings.default_ttl, SHORTEST_TTL);
    }

    #[test]
    fn the_bounds_of_the_ttl_are_inclusive_and_named() {
        for good in ["30m", "24h", "1d", "1800s"] {
            assert_eq!(read(&format!("default_ttl = \"{good}\"\n")).1, [""; 0], "{good}");
        }
        for wrong in ["29m", "1799s", "25h", "86401s", "1800001ms"] {
            let (settings, problems) = read(&format!("default_ttl = \"{wrong}\"\n"));
            assert!(problems[0].contains("30m") && problems[0].contains("24h"), "{problems:?}");
            assert_eq!(settings.default_ttl, Duration::from_secs(3600));
        }
    }

    #[test]
    fn a_wrong_value_is_told_what_would_be_right() {
        let (_, problems) = read("keys = \"\"\nalgorithm = \"none\"\ndefault_ttl = 3600\ncontact = \"hidden\"\n");
        assert_eq!(
            problems,
            [
                "test.toml:1: keys: must be the path of a directory, such as \"certs/signing\"",
                "test.toml:2: algorithm: `none` must be \"EdDSA\", \"ES256\", \"RS256\" or \"HS256\"",
                "test.toml:3: default_ttl: must be a duration such as \"30m\", not an integer",
                "test.toml:4: contact: `hidden` must be \"claims\", \"sealed\" or \"omit\"",
            ]
        );
    }
}
