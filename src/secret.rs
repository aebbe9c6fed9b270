//! Values that must not be shown.
//!
//! A [`Secret`] has no `Display`, no `Serialize` and no `Deref`; its `Debug` is masked, its memory is wiped when it is
//! dropped, and every place that reads it says `.expose()`, so that `grep expose` lists them all.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::document::{Environment, Value};

/// Below this many bytes a secret cannot be searched for in answers without spoiling them, so it is refused.
pub const SHORTEST: usize = 16;

/// A secret text: a vendor key, a vendor token, a client's secret.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<str>>);

impl Secret {
    /// Takes `text` as a secret.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Reads a secret from where the document says it is: `{ env = "NAME" }` or `{ file = "PATH" }`.
    ///
    /// A secret in the document itself, a missing one, one that is too short to be found in answers, and a file that
    /// everybody can read are noted, and nothing comes back.
    pub fn read(value: &Value<'_>, environment: &Environment) -> Option<Self> {
        if !value.is_table() {
            value.problem("a secret is never written here; write { env = \"NAME\" } or { file = \"PATH\" }");
            return None;
        }
        let table = value.table()?;
        let (env, file) = (table.get("env"), table.get("file"));
        let secret = match (env, file) {
            (Some(env), None) => from_variable(&env, environment),
            (None, Some(file)) => from_file(&file, environment),
            _ => {
                value.problem("must be either { env = \"NAME\" } or { file = \"PATH\" }");
                None
            }
        }?;
        if secret.is_too_short() {
            value.problem(format!(
                "the secret is shorter than {SHORTEST} bytes: it could not be told from ordinary text in the vendor's answers"
            ));
            return None;
        }
        // Of two lines in a file the second is no part of the key, and no header carries both.
        if secret.expose().chars().any(char::is_control) {
            value.problem("the secret has a line break or another control character in it; no header could carry it");
            return None;
        }
        Some(secret)
    }

    /// The secret itself: for the wire and for cryptography, never for a person.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is too short to be found in an answer, see [`SHORTEST`].
    pub fn is_too_short(&self) -> bool {
        self.0.len() < SHORTEST
    }

    /// Its SHA-256 digest.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

fn from_variable(value: &Value<'_>, environment: &Environment) -> Option<Secret> {
    let name = value.text()?;
    let secret = environment.variable(name).map(|text| Secret::new(text.trim()));
    if secret.is_none() {
        value.problem(if is_variable(name) {
            format!("the environment variable {name} is not set; set it to the secret")
        } else {
            "no environment variable has this name; write the name of one here, and the secret into it".to_owned()
        });
    }
    secret
}

fn from_file(value: &Value<'_>, environment: &Environment) -> Option<Secret> {
    let path = environment.input(value.text()?);
    match read_private(&path) {
        Ok(text) => Some(Secret::new(text.trim())),
        Err(message) => {
            value.problem(message);
            None
        }
    }
}

/// The text of a file that only its owner (and group) can read.
///
/// # Errors
///
/// What is wrong with it, and what to do.
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, String> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    // Its mode is right for a directory; what is wrong is that it is one.
    if metadata.is_dir() {
        return Err(unreadable(path, &io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(format!("{shown} can be read by everybody (mode {mode:04o}); run: chmod 600 {shown}"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    Ok(Zeroizing::new(text))
}

/// That there is nothing to read at `path`. What was written there may be no path at all, but the secret or the key that
/// should be in the file: then it is not repeated.
pub fn unreadable(path: &Path, error: &dyn fmt::Display) -> String {
    match path.to_str().filter(|text| is_path(text)) {
        Some(text) if path.is_dir() => format!("{text} is a directory; name a file"),
        Some(text) => format!("{text} cannot be read: {error}"),
        None => format!("the file cannot be read: {error}; the path of a file stands here, never what is in it"),
    }
}

/// Whether `name` is one by which people call a variable, and no secret in its place.
fn is_variable(name: &str) -> bool {
    let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    !name.is_empty() && name.split('_').all(|word| word.len() < SHORTEST && is_word(word))
}

/// Whether `text` is a path as people write them: of words that are too short for a secret, and not of digits in groups,
/// as a UUID is.
fn is_path(text: &str) -> bool {
    let is_name = |name: &str| {
        let digits = name.bytes().filter(u8::is_ascii_digit).count();
        let is_word = |word: &str| word.len() < SHORTEST && !word.contains(char::is_control);
        (name.len() < SHORTEST || digits < 4) && name.split(['.', '-', '_']).all(is_word)
    };
    text.contains(['/', '.']) && text.split('/').all(is_name) && !text.contains("-----")
}

/// SHA-256 of `bytes` (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// Whether two byte strings are equal, in a time that depends only on their lengths.
pub fn same(left: &[u8], right: &[u8]) -> bool {
    verify_slices_are_equal(left, right).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_in_its_debug_output() {
        let secret = Secret::new("sk-live-0123456789abcdef");
        assert!(!format!("{secret:?} {:?}", Some(&secret)).contains("0123456789"));
    }

    #[test]
    fn a_secret_that_no_header_could_carry_is_refused() {
        let read = |text: &str| {
            let environment = Environment::given("/", [("KEY", text)]);
            let problems = crate::document::Problems::default();
            let document = crate::document::Document::parse("test.toml", "key = { env = \"KEY\" }", &problems).unwrap();
            let secret = Secret::read(&document.root(&problems).get("key").unwrap(), &environment);
            (secret.is_some(), problems.into_sorted())
        };
        assert_eq!(read("sk-live-0123456789abcdef\n"), (true, vec![]), "white space around it is no part of it");
        for wrong in ["sk-live-0123456789\nsk-live-abcdef", "sk-live-0123456789\u{0}abcdef"] {
            let (is_read, problems) = read(wrong);
            assert!(!is_read && problems[0].message.contains("control character"), "{problems:?}");
        }
    }

    #[test]
    fn a_secret_in_the_place_of_a_name_is_told_from_one() {
        for name in ["KEY", "CHATBOTKIT_KEY", "KEY_2", "SUPERSEEK_PRODUCTION_API_KEY"] {
            assert!(is_variable(name), "{name}");
        }
        assert!(!is_variable(""));
        for path in ["vendor.key", "/run/secrets/vendor-key", "certs/tls.key", "/etc/keystile/superseek_production_key"]
        {
            assert!(is_path(path), "{path}");
        }
        for secret in [
            "sk-live-0123456789abcdef",
            "sk_live_0123456789abcdef",
            "0123456789ABCDEF0123456789ABCDEF",
            "123e4567-e89b-12d3-a456-426614174000",
            "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQ/83vEjQ+",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
            "-----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY-----\n",
        ] {
            let path = format!("/etc/keystile/{secret}");
            assert!(!is_variable(secret) && !is_path(secret) && !is_path(&path), "{secret}");
        }
    }

    #[test]
    fn a_directory_is_told_as_such_whatever_its_mode_is() {
        for mode in [0o700, 0o755] {
            let folder = tempfile::Builder::new().prefix("keys").rand_bytes(4).tempdir().unwrap();
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let expected = format!("{} is a directory; name a file", folder.path().display());
            assert_eq!(read_private(folder.path()).unwrap_err(), expected);
            assert_eq!(unreadable(folder.path(), &"no certificate"), expected);
        }
    }

    #[test]
    fn equality_is_of_all_bytes() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd"));
        assert!(!same(b"abc", b"ab"));
    }
}
