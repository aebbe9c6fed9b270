//! The outer form of a token: three parts, each canonical, and a header of exactly three members (RFC 7515 §7.1).
//!
//! A parser that is stricter than the RFC: JWS lets a receiver ignore unknown members, and that is how `jku`, `jwk`,
//! `crit` and `b64` got to decide about signatures elsewhere. Here nothing in a header decides anything.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use ahash::RandomState;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memchr;
use serde::de::value::{CowStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::refusal::{Part, Refusal};

/// The media type of an access token (RFC 9068 §2.1), so that a JWT for another use is none.
pub(super) const TYPE: &str = "at+jwt";

/// Room for the members of most objects.
const USUAL: usize = 28;

/// The members of a header: these and no others.
const MEMBERS: [&str; 3] = ["alg", "typ", "kid"];

/// A token, taken apart but not decoded.
#[derive(Clone, Copy)]
pub(super) struct Parts<'t> {
    pub(super) header: &'t str,
    pub(super) payload: &'t str,
    pub(super) signature: &'t str,
    /// What the signature is of: header, dot, payload.
    pub(super) signed: &'t str,
}

impl<'t> Parts<'t> {
    pub(super) fn of(token: &'t str) -> Result<Self, Refusal> {
        let malformed = Refusal::Malformed(Part::Form);
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(malformed)?;
        let parts = [header, payload, signature];
        if parts.iter().any(|part| part.is_empty()) || memchr(b'.', payload.as_bytes()).is_some() {
            return Err(malformed);
        }
        Ok(Self { header, payload, signature, signed })
    }
}

/// Decodes one part. There is one text for each sequence of bytes: no padding, no white space, no stray last bits
/// (RFC 7515 §2, RFC 4648 §3.5).
pub(super) fn decode(text: &str, part: Part) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(text).ok().ok_or(Refusal::Malformed(part))
}

/// Decodes a part that is JSON, and so UTF-8 (RFC 8259 §8.1).
pub(super) fn decode_json(text: &str, part: Part) -> Result<String, Refusal> {
    String::from_utf8(decode(text, part)?).ok().ok_or(Refusal::Malformed(part))
}

/// The header, read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header<'j> {
    #[serde(borrow)]
    pub(super) alg: Cow<'j, str>,
    #[serde(borrow)]
    pub(super) typ: Cow<'j, str>,
    #[serde(borrow)]
    pub(super) kid: Cow<'j, str>,
}

impl<'j> Header<'j> {
    pub(super) fn parse(json: &'j str) -> Result<Self, Refusal> {
        let members: BTreeMap<String, IgnoredAny> = object(json, Part::Header)?;
        if members.keys().any(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(Refusal::ForbiddenHeader);
        }
        object(json, Part::Header)
    }
}

/// Reads a JSON object: nothing but an object, and none that has a member twice, known to us or not. Of two members of
/// one name, two parsers can take different ones.
pub(super) fn object<'j, T: Deserialize<'j>>(json: &'j str, part: Part) -> Result<T, Refusal> {
    serde_json::from_str(json).map(|EachOnce(read)| read).ok().ok_or(Refusal::Malformed(part))
}

struct EachOnce<T>(T);

impl<'j, T: Deserialize<'j>> Deserialize<'j> for EachOnce<T> {
    fn deserialize<D: Deserializer<'j>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);
        impl<'j, T: Deserialize<'j>> Visitor<'j> for Object<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object without duplicate members")
            }

            fn visit_map<A: MapAccess<'j>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(Members {
                    members,
                    seen: HashSet::with_capacity_and_hasher(USUAL, RandomState::new()),
                }))
            }
        }
        deserializer.deserialize_map(Object(PhantomData)).map(Self)
    }
}

/// The members of an object as they come, each name once.
struct Members<'j, A> {
    members: A,
    seen: HashSet<Cow<'j, str>, RandomState>,
}

/// Not on the heap, but for a name that is written with escapes.
#[derive(Deserialize)]
struct Name<'j>(#[serde(borrow)] Cow<'j, str>);

impl<'j, A: MapAccess<'j>> MapAccess<'j> for Members<'j, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'j>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(Name(name)) = self.members.next_key()? else { return Ok(None) };
        let key = seed.deserialize(CowStrDeserializer::new(name.clone()))?;
        if self.seen.insert(name) { Ok(Some(key)) } else { Err(A::Error::custom("a duplicate member")) }
    }

    fn next_value_seed<V: DeserializeSeed<'j>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.members.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_three_parts() {
        assert!(Parts::of("a.b.c").is_ok_and(|parts| parts.signed == "a.b" && parts.signature == "c"));
        for wrong in ["", ".", "..", "a", "a.b", "a.b.", ".b.c", "a..c", "a.b.c.d", "a.b.c.d.e"] {
            assert_eq!(Parts::of(wrong).err(), Some(Refusal::Malformed(Part::Form)), "{wrong}");
        }
    }

    #[test]
    fn there_is_one_text_for_the_same_bytes() {
        assert_eq!(decode("QQ", Part::Header).as_deref(), Ok(&b"A"[..]));
        for wrong in ["QR", "QQ==", "QQ=", "Q", " QQ", "QQ\n", "Q/", "Q+", "QÄ"] {
            assert_eq!(decode(wrong, Part::Header), Err(Refusal::Malformed(Part::Header)), "{wrong}");
        }
    }

    #[test]
    fn json_is_utf8() {
        assert_eq!(decode_json("eyJ4Ijoiw6QifQ", Part::Claims).as_deref(), Ok("{\"x\":\"ä\"}"));
        // The same in ISO 8859-1.
        assert_eq!(decode_json("eyJ4Ijoi5CJ9", Part::Claims), Err(Refusal::Malformed(Part::Claims)));
    }

    #[test]
    fn crit_jku_jwk_x5u_are_refused() {
        for name in ["crit", "jku", "jwk", "x5u", "x5c", "x5t", "b64", "zip", "cty", "Alg", "KID"] {
            let json = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"k","{name}":[]}}"#);
            assert_eq!(Header::parse(&json).err(), Some(Refusal::ForbiddenHeader), "{name}");
        }
    }

    #[test]
    fn a_header_is_an_object_of_strings_each_once() {
        for wrong in [
            r#"{"alg":"EdDSA","alg":"HS256","typ":"at+jwt","kid":"k"}"#,
            r#"{"alg":"EdDSA","\u0061lg":"HS256","typ":"at+jwt","kid":"k"}"#,
            r#"["EdDSA","at+jwt","k"]"#,
            r#"{"alg":"EdDSA","typ":"at+jwt"}"#,
            r#"{"alg":"EdDSA","typ":"at+jwt","kid":1}"#,
            r#"{"alg":null,"typ":"at+jwt","kid":"k"}"#,
            r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k"} {}"#,
            "",
        ] {
            assert_eq!(Header::parse(wrong).err(), Some(Refusal::Malformed(Part::Header)), "{wrong}");
        }
    }
}
