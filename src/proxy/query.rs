//! The query of a call: parsed, decoded, and written anew from what the route names.

use super::json::{fold, shown_name};
use crate::fault::{Code, Fault};
use crate::net::{percent_decode, percent_encode};
use crate::vendor::{Query, Route, Template, Values};

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
    let rules = Rules { allow: &route.allow.query, strip: &route.strip.query, set: &set };
    rewrite_into(query.unwrap_or_default(), &rules, path)
}

/// What is done to the parameters.
struct Rules<'r> {
    allow: &'r Query,
    strip: &'r [String],
    set: &'r [(&'r str, Option<String>)],
}

impl Rules<'_> {
    /// Whether the parameter is ours: taken out, or written by us.
    fn is_ours(&self, name: &str) -> bool {
        let mut ours = self.strip.iter().map(String::as_str).chain(self.set.iter().map(|(name, _)| *name));
        ours.any(|ours| may_be_read_as(ours, name))
    }

    fn is_allowed(&self, name: &str) -> bool {
        match self.allow {
            Query::Named(names) => names.iter().any(|known| known == name),
            Query::All => true,
        }
    }
}

/// Whether some vendor may read the parameter `name` as `ours`: without case, as members of bodies are compared, and as PHP and
/// Rack do. PHP leaves out blanks before a name and what follows a NUL, makes `_` of blanks, dots and a bracket that is not
/// closed, and of `a[]` and `a[b]` a list `a`; Rack leaves out brackets before a name, too.
fn may_be_read_as(ours: &str, name: &str) -> bool {
    let name = name.split('\0').next().unwrap_or_default().trim_start_matches([' ', '[', ']']);
    is_same(ours, name) || is_same(list(ours).unwrap_or(ours), before_brackets(name))
}

/// The list of which `name` is an item: `a` of `a[]` and `a[0]`.
fn list(name: &str) -> Option<&str> {
    let (list, item) = name.strip_suffix(']')?.split_once('[')?;
    item.bytes().all(|byte| byte.is_ascii_digit()).then_some(list)
}

fn before_brackets(name: &str) -> &str {
    name.split(['[', ']']).next().unwrap_or_default()
}

fn is_same(left: &str, right: &str) -> bool {
    let folded = |letter| if matches!(letter, ' ' | '.' | '[') { '_' } else { fold(letter) };
    left.chars().map(folded).eq(right.chars().map(folded))
}

/// The value of the parameter `name`, in whatever case it is written; nothing, if it is not there.
///
/// # Errors
///
/// A query that cannot be decoded, or that has the parameter twice.
pub(crate) fn parameter(query: Option<&str>, name: &str) -> Result<Option<String>, Fault> {
    let mut found = None;
    for (known, value) in pairs(query.unwrap_or_default()) {
        if decode(known)?.eq_ignore_ascii_case(name) && found.replace(decode(value)?).is_some() {
            return Err(twice(name));
        }
    }
    Ok(found)
}

/// The value of the parameter `name` as it is written, still encoded; empty, if it is not there.
pub(super) fn parameter_as_written<'q>(query: Option<&'q str>, name: &str) -> &'q str {
    let mut values = pairs(query.unwrap_or_default()).filter(|(known, _)| *known == name);
    values.next().map_or("", |(_, value)| value)
}

/// The parameters, still encoded.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn twice(name: &str) -> Fault {
    Fault::new(Code::BadRequest, format!("the query has `{}` twice; send it once", shown_name(name)))
}

fn rewrite_into(query: &str, rules: &Rules<'_>, path: &mut String) -> Result<(), Fault> {
    let mut separator = '?';
    let mut write = |name: &str, value: &str| {
        path.push(separator);
        separator = '&';
        percent_encode(name, path);
        path.push('=');
        percent_encode(value, path);
    };
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in pairs(query) {
        let (name, value) = (decode(name)?, decode(value)?);
        let is_ours = rules.is_ours(&name);
        if !is_ours && !rules.is_allowed(&name) {
            continue;
        }
        if seen.iter().any(|other| other.eq_ignore_ascii_case(&name)) {
            return Err(twice(&name));
        }
        if !is_ours {
            write(&name, &value);
        }
        seen.push(name);
    }
    for (name, value) in rules.set {
        if let Some(value) = value {
            write(name, value);
        }
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, Fault> {
    percent_decode(text).ok_or_else(|| {
        Fault::new(
            Code::BadRequest,
            "the query has a malformed escape; `%` is followed by two hexadecimal digits, in UTF-8",
        )
    })
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
        let allow = Query::Named(vec!["cursor".to_owned(), "take".to_owned()]);
        let set = [("api_key", Some("k&y".to_owned())), ("visit", None)];
        let rules = Rules { allow: &allow, strip: &[], set: &set };
        rewrite_into(query, &rules, &mut path).map(|()| path).map_err(|fault| fault.code())
    }

    #[test]
    fn where_all_parameters_pass_what_is_stripped_does_not() {
        let (allow, strip) = (Query::All, ["t".to_owned()]);
        let rules = Rules { allow: &allow, strip: &strip, set: &[("k", Some("v".to_owned()))] };
        let mut path = String::new();
        rewrite_into("a=1&T=token&b=2&K=mine", &rules, &mut path).unwrap();
        assert_eq!(path, "?a=1&b=2&k=v");
    }

    #[test]
    fn what_some_vendor_may_read_as_a_stripped_parameter_does_not_pass() {
        let (allow, strip) = (Query::All, ["user_id".to_owned(), "api.key".to_owned()]);
        let rules = Rules { allow: &allow, strip: &strip, set: &[("bot_id", Some("7".to_owned()))] };
        for name in [
            "user.id",
            "user%20id",
            "user+id",
            "user%2Eid",
            "USER.ID",
            "user_id[]",
            "user_id[0]",
            "user_id%5Ba%5D[b]",
            "user[id",
            "user_id[",
            "%20user_id",
            "+user.id",
            "user_id%00x",
            "[user_id]",
            "user_id]",
            "u%C5%BFer_id",
            "u\u{17f}er_\u{131}d",
            "api_key",
            "api_\u{212a}ey",
            "bot.id",
            "bot_id[]",
            "Bot%20Id",
        ] {
            let mut path = String::new();
            rewrite_into(&format!("a=1&{name}=9"), &rules, &mut path).unwrap();
            assert_eq!(path, "?a=1&bot_id=7", "{name}");
        }
        let rules = Rules { strip: &["tags[]".to_owned(), "filter[owner]".to_owned()], ..rules };
        for name in ["tags", "tags[]", "Tags[0]", "tags[a]", "filter[owner]", "filter.owner]"] {
            let mut path = String::new();
            rewrite_into(&format!("{name}=9"), &rules, &mut path).unwrap();
            assert_eq!(path, "?bot_id=7", "{name}");
        }
        let rules = Rules { strip: &strip, ..rules };
        for name in ["userid", "user_ids", "user-id", "filter[user_id]", "filter[other]", "user%2Bid", "user", "id"] {
            let mut path = String::new();
            rewrite_into(&format!("{name}=9"), &rules, &mut path).unwrap();
            assert!(path.contains("=9&bot_id=7"), "{name}: {path}");
        }
    }

    #[test]
    fn a_parameter_is_found_in_any_case_and_once() {
        assert_eq!(parameter(Some("a=1&T=%65yJ"), "t").unwrap().as_deref(), Some("eyJ"));
        assert_eq!(parameter(Some("a=1"), "t").unwrap(), None);
        assert_eq!(parameter_as_written(Some("a=1&t=%26b=c&t=2"), "t"), "%26b=c");
        assert_eq!((parameter_as_written(Some("T=1"), "t"), parameter_as_written(None, "t")), ("", ""));
        assert!(parameter(Some("t=%"), "t").is_err());
        let twice = parameter(Some("t=1&T=1"), "t").unwrap_err();
        assert_eq!(twice.detail(), "the query has `t` twice; send it once");
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
    fn a_parameter() -> impl Strategy<Value = (String, String, String)> {
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
        fn what_goes_out_is_what_is_named_and_then_what_is_set(parameters in vec(a_parameter(), 0..6)) {
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
