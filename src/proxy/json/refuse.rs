//! Names that may nowhere in a body have a value: ids that would reach beyond the session.
//!
//! The whole of the body is looked through as it is written, once. Of two members of one name each is looked at, whichever of
//! them a vendor would take.

use std::borrow::Cow;

use super::{JsonError, behind_string, same_name};

/// Looks for a member of one of these `names` that says something, in a body that is JSON. Once through, and only names are
/// decoded: of values, what no parser here would take (half of a surrogate pair, a number beyond all others) is the vendor's
/// to judge.
///
/// # Errors
///
/// Its name; one that cannot be decoded.
pub(super) fn check(body: &[u8], names: &[String]) -> Result<(), JsonError> {
    let mut rest = body;
    while let Some(at) = memchr::memchr(b'"', rest) {
        let text = &rest[at + 1..];
        rest = behind_string(text);
        // In JSON that is what tells a name from a value.
        let Some(value) = rest.trim_ascii_start().strip_prefix(b":") else { continue };
        let name = decoded(&text[..(text.len() - rest.len()).saturating_sub(1)])?;
        if let Some(refused) = names.iter().find(|refused| same_name(refused, &name))
            && says_something(value.trim_ascii_start())
        {
            return Err(JsonError::Refused(refused.clone()));
        }
    }
    Ok(())
}

fn decoded(name: &[u8]) -> Result<Cow<'_, str>, JsonError> {
    let name = str::from_utf8(name).map_err(JsonError::NotUtf8)?;
    if !name.contains('\\') {
        return Ok(Cow::Borrowed(name));
    }
    serde_json::from_str(&format!("\"{name}\"")).map(Cow::Owned).map_err(JsonError::NotJson)
}

/// Null, nothing and an empty list name nothing.
fn says_something(value: &[u8]) -> bool {
    let is_empty_list = || value.strip_prefix(b"[").is_some_and(|items| items.trim_ascii_start().starts_with(b"]"));
    !(value.starts_with(b"null") || value.starts_with(b"\"\"") || is_empty_list())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(body: &str) -> bool {
        let names = ["fileIds".to_owned(), "file_id".to_owned()];
        matches!(check(body.as_bytes(), &names), Err(JsonError::Refused(_)))
    }

    #[test]
    fn a_refused_name_is_found_at_any_depth_and_in_any_case() {
        for body in [
            r#"{"fileIds":[1]}"#,
            r#"{"FILEIDS":7}"#,
            r#"{"f\u0069leIds":"a"}"#,
            r#"{"a":[{"b":{"file_id":"file-1"}}]}"#,
            r#"{"fileIds":[1],"fileIds":null}"#,
            r#"{"a":{"file_id":null,"file_id":"x"}}"#,
        ] {
            assert!(is_refused(body), "{body}");
        }
    }

    #[test]
    fn what_only_a_vendor_can_read_is_no_harm_and_hides_nothing() {
        for value in
            [r#""hi \ud83d""#, "1e400", "-0", "[1e999, {\"a\": \"\\udc00\"}]", "123456789012345678901234567890"]
        {
            assert!(check(format!("{{\"content\": {value}}}").as_bytes(), &["fileIds".to_owned()]).is_ok(), "{value}");
            assert!(is_refused(&format!("{{\"content\": {value}, \"b\": [{{\"fileIds\": {value}}}]}}")), "{value}");
        }
    }

    #[test]
    fn a_refused_name_that_says_nothing_is_no_harm() {
        for body in [
            r#"{"fileIds":[ ]}"#,
            r#"{"fileIds":[]}"#,
            r#"{"fileIds":null}"#,
            r#"{"fileIds":""}"#,
            r#"{"a":"fileIds"}"#,
            "[1]",
        ] {
            assert!(!is_refused(body), "{body}");
        }
    }
}
