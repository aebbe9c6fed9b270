//! The parameters of a query, read strictly: a name that stands twice is a guess, and no vendor is asked to guess.

/// The parameters of a call.
#[derive(Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `application/x-www-form-urlencoded` pairs; nothing if an escape is broken or a name stands twice.
    pub(super) fn parse(query: Option<&str>) -> Option<Self> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if pairs.iter().any(|(known, _)| *known == name) {
                return None;
            }
            pairs.push((name, value));
        }
        Some(Self(pairs))
    }

    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The value of the parameter `name`, if it is there.
///
/// # Errors
///
/// A query that could be read in two ways.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Result<Option<String>, String> {
    let query = Query::parse(query)
        .ok_or_else(|| format!("{name}: the query is not properly encoded, or names something twice"))?;
    Ok(query.get(name).map(str::to_owned))
}

fn decoded(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse(Some("bot_id=42&&api%5Fkey=a%2Bb+c%3D&flag")).expect("a query");
        assert_eq!(query.get("bot_id"), Some("42"));
        assert_eq!(query.get("api_key"), Some("a+b c="));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("other"), None);
        assert!(Query::parse(None).is_some());
    }

    #[test]
    fn a_guess_is_no_query() {
        for query in ["a=1&a=1", "a=1&%61=2", "a=%", "a=%4", "a=%+1", "a=%zz", "a=%ff"] {
            assert!(Query::parse(Some(query)).is_none(), "{query}");
        }
    }
}
