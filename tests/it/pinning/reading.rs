//! Queries, headers and JSON as some parser behind a vendor's door may read them.

use http::HeaderMap;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The value of a header that is there once.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let values: Vec<_> = headers.get_all(name).iter().collect();
    assert!(values.len() < 2, "{name} comes {} times", values.len());
    values.first().map(|value| value.to_str().unwrap())
}

/// A part of a query without its escapes.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).unwrap()
}

/// Two names that some JSON parser takes for one.
pub(super) fn alike(left: &str, right: &str) -> bool {
    let fold = |text: &str| -> String {
        let plain = |letter| match letter {
            'ſ' => 's',
            '\u{212a}' => 'k',
            'ı' | 'İ' => 'i',
            other => other,
        };
        text.chars().map(plain).collect::<String>().to_ascii_lowercase()
    };
    fold(left) == fold(right)
}

/// Whether a member of one of these names has a value, at any depth.
pub(super) fn names_more(value: &Value, refused: &[String]) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| names_more(item, refused)),
        Value::Object(members) => members.iter().any(|(name, value)| {
            let is_named = refused.iter().any(|refused| alike(refused, name));
            let is_nothing =
                value.is_null() || value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty);
            (is_named && !is_nothing) || names_more(value, refused)
        }),
        _ => false,
    }
}

/// The members of an object in their order, those of the same name too.
pub(super) struct Pairs(pub(super) Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}
