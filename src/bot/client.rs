//! Clients: server-side callers with a credential of the gateway's own.
//!
//! A client's secret reads `ksc_<name>_<43 base64url>`: 256 random bits. It is found by its name and compared by its
//! digest in constant time; the configuration holds only the digest.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::document::{Rate, Table};
use crate::id::{Entropy, hex, unhex};
use crate::secret::{Secret, same, sha256};

/// The `client_id` of sessions that no client opened; so no client's name.
pub const PUBLIC: &str = "public";
/// What every client secret begins with.
const PREFIX: &str = "ksc_";
/// 256 bits in base64url.
const RANDOM_LENGTH: usize = 43;
/// Calls of a client where the configuration does not say.
const PER_CLIENT: Rate = Rate::new(600, Duration::from_secs(60));

/// A client, as the configuration names it.
#[derive(Debug)]
pub struct Client {
    /// Its name.
    pub name: String,
    /// SHA-256 of its secrets: two while one replaces the other.
    digests: [[u8; 32]; 2],
    /// Whether its credential may be used by a web page.
    pub is_browser: bool,
    /// Calls to the gateway's own API, but for those that open sessions.
    pub per_client: Option<Rate>,
}

impl Client {
    /// A client with one or two secrets, given by their SHA-256 in hexadecimal digits.
    ///
    /// # Errors
    ///
    /// Which of them is not such a digest.
    pub fn new(name: &str, digests: &[&str], is_browser: bool) -> Result<Self, String> {
        let digest = |digits: &str| {
            unhex::<32>(digits).ok_or_else(|| {
                format!("must be the 64 hexadecimal digits that `keystile client new {name}` prints as secret_sha256")
            })
        };
        let digests = match digests {
            [only] => [digest(only)?; 2],
            [old, new] => [digest(old)?, digest(new)?],
            _ => return Err("must be one digest, or two while one secret replaces the other".to_owned()),
        };
        Ok(Self { name: name.to_owned(), digests, is_browser, per_client: Some(PER_CLIENT) })
    }

    /// Somebody whom no secret fits: SHA-256 never gives only zeros that anybody could find.
    pub(super) fn nobody() -> Self {
        Self { name: String::new(), digests: [[0; 32]; 2], is_browser: false, per_client: None }
    }

    /// Whether `secret` is this client's, in a time that does not depend on how much of it is right.
    pub fn has_secret(&self, secret: &str) -> bool {
        let digest = sha256(secret.as_bytes());
        let [first, second] = self.digests.each_ref().map(|known| same(known, &digest));
        first | second
    }
}

/// Notes a digest that stands in examples, of which nobody has the secret. `name` is whose it is to be.
pub fn warn_of_placeholder(table: &Table<'_>, key: &str, digests: &[&str], name: &str) {
    if digests.iter().any(|digest| digest.bytes().all(|digit| digit == b'0')) {
        table.warn(
            key,
            format!("is the place-holder of the examples, to which there is no secret; `keystile client new {name}` prints one"),
        );
    }
}

/// Whether `credential` is meant as a client's secret, rather than as a token.
pub fn is_client_secret(credential: &str) -> bool {
    credential.starts_with(PREFIX)
}

/// The client's name in a secret.
pub(super) fn name_in(secret: &str) -> Option<&str> {
    let rest = secret.strip_prefix(PREFIX)?;
    let at = rest.len().checked_sub(RANDOM_LENGTH + 1)?;
    let (name, random) = (rest.get(..at)?, rest.get(at..)?);
    (random.starts_with('_') && is_name(name)).then_some(name)
}

/// Whether `name` can be a client's: letters, digits, `-` and `_`, at most 64; not [`PUBLIC`].
pub fn is_name(name: &str) -> bool {
    name != "public"
        && (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// A credential that has just been made.
#[derive(Debug)]
pub struct NewClient {
    /// The secret: shown once, kept nowhere.
    pub secret: Secret,
    /// What the configuration holds.
    pub secret_sha256: String,
}

impl NewClient {
    /// A new credential for the client `name`.
    pub fn make(name: &str, entropy: &Entropy) -> Self {
        let random = URL_SAFE_NO_PAD.encode(entropy.bytes::<32>());
        let secret = Secret::new(format!("{PREFIX}{name}_{random}"));
        Self { secret_sha256: hex(&secret.sha256()), secret }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_secret_is_found_by_name_and_fits_its_digest_only() {
        let entropy = Entropy::system();
        for name in ["website", "my_web-site", "a"] {
            let made = NewClient::make(name, &entropy);
            assert_eq!(name_in(made.secret.expose()), Some(name));
            let client = Client::new(name, &[&made.secret_sha256], false).unwrap();
            assert!(client.has_secret(made.secret.expose()));
            assert!(!client.has_secret(NewClient::make(name, &entropy).secret.expose()));
        }
    }

    #[test]
    fn two_digests_stand_for_the_old_and_the_new_secret() {
        let (old, new) = (NewClient::make("a", &Entropy::system()), NewClient::make("a", &Entropy::system()));
        let client = Client::new("a", &[&old.secret_sha256, &new.secret_sha256], false).unwrap();
        assert!(client.has_secret(old.secret.expose()) && client.has_secret(new.secret.expose()));
    }

    #[test]
    fn what_is_no_secret_names_nobody() {
        for text in
            ["", "ksc_", "ksc_a", "ksc__short", "sk-0123456789", "ksc_é_0123456789012345678901234567890123456789012"]
        {
            assert_eq!(name_in(text), None, "{text}");
        }
        assert!(Client::new("a", &["abc"], false).is_err());
        assert!(Client::new("a", &[], false).is_err());
        assert!(!Client::nobody().has_secret(""));
    }
}
