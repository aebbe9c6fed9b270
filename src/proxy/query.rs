//! The query of a call: parsed, decoded, and written anew from what the route names.

use crate::fault::{Code, Fault};
use crate::net::percent_encode;
use crate::vendor::{Route, Template, Values};

/// Appends the outgoing query to `path`, with its `?` if there is one.
///
/// Parameters that the route does not name do not pass. Those that it sets are the gateway's alone.
pub(super) fn rewrite(
    query: Option<&str>,
    route: &Route,
    values: &impl Values,
    path: &mut String,
) -> Result<(), Fault> {
    if query.is_none_or(str::is_empty) && route.set.query.is_empty() {
        return Ok(());
    }
    let filled = |template: &Template| template.fill(values);
    let set: Vec<(&str, Option<String>)> =
        route.set.query.iter().map(|(name, template)| (name.as_str(), filled(template))).collect();
    rewrite_into(query.unwrap_or_default(), &route.allow.query, &set, path)
}

fn rewrite_into(query: &str, allow: &[String], set: &[(&str, Option<String>)], path: &mut String) -> Result<(), Fault> {
    let mut separator = '?';
    let mut write = |name: &str, value: &str| {
        path.push(separator);
        separator = '&';
        percent_encode(name, path);
        path.push('=');
        percent_encode(value, path);
    };
    let mut seen: Vec<String> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        let is_set = set.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name));
        let is_allowed = allow.contains(&name);
        if !is_set && !is_allowed {
            continue;
        }
        if seen.iter().any(|other| other.eq_ignore_ascii_case(&name)) {
            return Err(Fault::new(Code::BadRequest, "the query has a parameter twice"));
        }
        if !is_set {
            write(&name, &value);
        }
        seen.push(name);
    }
    for (name, value) in set {
        if let Some(value) = value {
            write(name, value);
        }
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, Fault> {
    let wrong = || {
        Fault::new(
            Code::BadRequest,
            "the query has a malformed escape; `%` is followed by two hexadecimal digits, in UTF-8",
        )
    };
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit(bytes.next()).ok_or_else(wrong)?, digit(bytes.next()).ok_or_else(wrong)?);
                u8::try_from(high * 16 + low).map_err(|_over| wrong())?
            }
            other => other,
        });
    }
    String::from_utf8(out).map_err(|_not_utf8| wrong())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn rewritten(query: &str) -> Result<String, Code> {
        let mut path = String::new();
        let allow = ["cursor".to_owned(), "take".to_owned()];
        let set = [("api_key", Some("k&y".to_owned())), ("visit", None)];
        rewrite_into(query, &allow, &set, &mut path).map(|()| path).map_err(|fault| fault.code())
    }

    #[test]
    fn only_named_parameters_pass_and_set_ones_are_ours() {
        assert_eq!(rewritten("").as_deref(), Ok("?api_key=k%26y"));
        assert_eq!(
            rewritten("take=5&x=1&API_KEY=mine&visit=v&cursor=a%2Bb+c").as_deref(),
            Ok("?take=5&cursor=a%2Bb%20c&api_key=k%26y")
        );
        assert_eq!(rewritten("%74ake=5").as_deref(), Ok("?take=5&api_key=k%26y"));
    }

    #[test]
    fn malformed_escapes_and_duplicates_are_refused() {
        for query in
            ["take=%", "take=%4", "take=%zz", "take=%ff", "take=1&take=2", "take=1&t%61ke=2", "api_key=1&API_KEY=2"]
        {
            assert_eq!(rewritten(query), Err(Code::BadRequest), "{query}");
        }
    }

    /// A parameter: its name and value as they are meant, and one of the many ways to write them.
    fn parameter() -> impl Strategy<Value = (String, String, String)> {
        let name = select(vec!["cursor", "take", "Take", "api_key", "API_Key", "visit", "VISIT", "x", ""]);
        let value = prop_oneof!["[a-z0-9]{0,6}", "[ +%&=#;/?\u{e9}\u{1f600}]{0,4}", any::<String>()];
        (name.prop_map(str::to_owned), value, vec(0_u8..4, 1..8)).prop_map(|(name, value, styles)| {
            let styles = &mut styles.into_iter().cycle();
            let text = format!("{}={}", written(&name, styles), written(&value, styles));
            (name, value, text)
        })
    }

    fn written(text: &str, styles: &mut impl Iterator<Item = u8>) -> String {
        let one = |byte: u8| match (byte, styles.next()) {
            (b' ', Some(0)) => "+".to_owned(),
            (b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b';' | b'/' | b'?', Some(0 | 1)) => {
                char::from(byte).to_string()
            }
            (_, Some(2)) => format!("%{byte:02x}"),
            _ => format!("%{byte:02X}"),
        };
        text.bytes().map(one).collect()
    }

    proptest! {
        #[test]
        fn what_goes_out_is_what_is_named_and_then_what_is_set(parameters in vec(parameter(), 0..6)) {
            let query: Vec<&str> = parameters.iter().map(|(.., text)| text.as_str()).collect();
            let out = rewritten(&query.join("&"));

            let read: Vec<&(String, String, String)> = parameters
                .iter()
                .filter(|(name, ..)| {
                    ["cursor", "take"].contains(&name.as_str())
                        || ["api_key", "visit"].iter().any(|ours| ours.eq_ignore_ascii_case(name))
                })
                .collect();
            let distinct: BTreeSet<String> = read.iter().map(|(name, ..)| name.to_ascii_lowercase()).collect();
            if distinct.len() < read.len() {
                prop_assert_eq!(out, Err(Code::BadRequest));
                return Ok(());
            }
            let mut expected = String::new();
            for (name, value, _) in read.iter().filter(|(name, ..)| ["cursor", "take"].contains(&name.as_str())) {
                expected += &format!("&{name}=");
                percent_encode(value, &mut expected);
            }
            prop_assert_eq!(out, Ok(format!("{expected}&api_key=k%26y").replacen('&', "?", 1)));
        }

        #[test]
        fn no_query_is_read_in_two_ways(query in "\\PC{0,40}|[a-zA-Z0-9_%&=+;]{0,60}") {
            let out = rewritten(&format!("{query}&api_key=evil"));
            if let Ok(out) = out {
                prop_assert_eq!(out.to_ascii_lowercase().matches("api_key=").count(), 1);
                prop_assert!(out.ends_with("api_key=k%26y") && !out.contains("evil"));
                prop_assert!(out.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"?&=%._~-".contains(&byte)));
            }
        }
    }
}
