//! What the fuzz targets share: a profile with every kind of route, and the values of its placeholders.

use std::borrow::Cow;
use std::sync::LazyLock;

use keystile::document::Problems;
use keystile::vendor::{self, Profile, Values, Variable};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The key that the gateway puts into calls. No input has it by chance, and none may bring it.
pub const KEY: &str = "sk-ours-0123456789abcdef";

/// Routes with names that are set, stripped and allowed, alone and together, and paths of every form.
pub static PROFILE: LazyLock<Profile> = LazyLock::new(|| profile(include_str!("routes.toml")));

/// Reads a profile that is known to be good.
///
/// # Panics
///
/// If it is not.
pub fn profile(text: &str) -> Profile {
    let problems = Problems::default();
    let profile = vendor::read("fuzz", "routes.toml", text, &vendor::Options::default(), &problems);
    let problems = problems.into_sorted();
    assert!(problems.is_empty(), "{problems:?}");
    profile.expect("a profile without problems is one")
}

/// The values of one call. What the vendor has not given has no value, nor has what is for answers only.
pub struct Given<'g> {
    /// The vendor's id of the session; none before it is opened.
    pub session: Option<&'g str>,
    /// What stands in the path's free segments, by their order in the route.
    pub segments: Vec<(&'g str, &'g str)>,
}

impl Values for Given<'_> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, Value>> {
        let value = match variable {
            Variable::Key => json!(KEY),
            Variable::Bot => json!(1234),
            Variable::Session => json!(self.session?),
            Variable::ContactName => json!("Ada \"Countess\" Lovelace"),
            Variable::ContactEmail => json!("ada+test@example.com"),
            Variable::Contact => json!({ "name": "Ada" }),
            Variable::Subject => json!("subject"),
            Variable::Segment(name) => json!(self.segments.iter().find(|(known, _)| **known == **name)?.1),
            _ => return None,
        };
        Some(Cow::Owned(value))
    }
}

/// Whether some common parser that ignores case could take the one name for the other: letter by letter, by Unicode's
/// simple mappings in either direction. The gateway has its own, shorter list of what is alike.
pub fn is_alike(left: &str, right: &str) -> bool {
    let single = |letter: char, mut mapped: Box<dyn Iterator<Item = char>>| match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => letter,
    };
    let lower = |letter: char| match letter {
        // Two letters in Unicode's words, one in Java's.
        '\u{130}' => 'i',
        _ => single(letter, Box::new(letter.to_lowercase())),
    };
    let upper = |letter: char| single(letter, Box::new(letter.to_uppercase()));
    let same = |left: char, right: char| left == right || lower(left) == lower(right) || upper(left) == upper(right);
    let mut pairs = left.chars().zip(right.chars());
    left.chars().count() == right.chars().count() && pairs.all(|(left, right)| same(left, right))
}

/// The members of an object, names decoded, values in their bytes; nothing if it is none.
pub fn members(body: &[u8]) -> Option<Vec<(String, String)>> {
    struct Members(Vec<(String, String)>);
    struct Reader;
    impl<'de> serde::de::Visitor<'de> for Reader {
        type Value = Members;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
            let mut members = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                members.push((name, value.get().to_owned()));
            }
            Ok(Members(members))
        }
    }
    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Reader)
        }
    }
    std::str::from_utf8(body).ok()?;
    serde_json::from_slice::<Members>(body).ok().map(|members| members.0)
}
