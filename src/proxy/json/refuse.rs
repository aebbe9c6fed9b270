//! Names that may nowhere in a body have a value: ids that would reach beyond the session.
//!
//! The whole of the body is looked through as it is written. Of two members of one name each is looked at, whichever of
//! them a vendor would take.

use serde_json::value::RawValue;

use super::{JsonError, Object, same_name};

/// Looks for a member of one of these `names` that says something. Values are told apart by how they begin, and only names
/// are decoded: what no parser here would take (half of a surrogate pair, a number beyond all others) is the vendor's to judge.
///
/// # Errors
///
/// Its name.
pub(super) fn check(body: &[u8], names: &[String]) -> Result<(), JsonError> {
    let body: &RawValue = serde_json::from_slice(body).map_err(JsonError::NotJson)?;
    search(body, names)
}

/// No deeper than the body, whose depth was looked at before.
fn search(value: &RawValue, names: &[String]) -> Result<(), JsonError> {
    let text = value.get();
    if text.starts_with('{') {
        let Object(members) = serde_json::from_str(text).map_err(JsonError::NotJson)?;
        for (name, value) in members {
            match names.iter().find(|refused| same_name(refused, &name)) {
                Some(refused) if says_something(value) => return Err(JsonError::Refused(refused.clone())),
                Some(_) => {}
                None => search(value, names)?,
            }
        }
    } else if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).map_err(JsonError::NotJson)?;
        items.into_iter().try_for_each(|item| search(item, names))?;
    }
    Ok(())
}

/// Null, nothing and an empty list name nothing.
fn says_something(value: &RawValue) -> bool {
    let text = value.get();
    let is_empty_list = || text.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(']'));
    text != "null" && text != "\"\"" && !is_empty_list()
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
