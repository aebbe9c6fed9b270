//! A JSON object as a .NET service reads it: names without case, and of two spellings the last one wins.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The members of an object, in the order in which they were written.
pub(super) struct Members(Vec<(String, Value)>);

impl Members {
    /// The value that counts for `name`.
    ///
    /// Only ASCII letters have two cases here: .NET's ordinal comparison maps no other letter to one of them.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().rfind(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Not by way of a map: that would put a repeated name where it stood first.
impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Members;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_spellings_the_last_one_counts() {
        let members: Members =
            serde_json::from_str(r#"{"sessionID":1,"SESSIONID":2,"sessionid":3,"SESSIONID":4,"sessionID":5}"#)
                .expect("an object");
        assert_eq!(members.get("SessionId"), Some(&5.into()));
        assert_eq!(members.get("session"), None);
        assert!(serde_json::from_str::<Members>("[]").is_err());
    }
}
