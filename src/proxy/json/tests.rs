//! Tests of the rewriter.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::*;

const PASS_ALL: Rules<'_> = Rules { refuse: &[], strip: &[], allow: None, set: &[] };

fn text(out: Result<Vec<u8>, JsonError>) -> String {
    String::from_utf8(out.unwrap()).unwrap()
}

fn detail(body: &[u8]) -> String {
    let fault = Fault::from(rewrite(body, &PASS_ALL).unwrap_err());
    assert_eq!(fault.code(), Code::BadRequest);
    fault.detail().to_owned()
}

#[test]
fn what_is_set_replaces_every_way_to_say_it() {
    let set = [("session_id", Some(json!(7))), ("api_key", Some(json!("k\"1")))];
    let rules = Rules { set: &set, ..PASS_ALL };
    let body = r#"{"q":1,"Session_ID":2,"\u0073ession_id":3,"SESSION\u005fID":4,"api_\u212Aey":5,"ſession_id":6}"#;
    assert_eq!(text(rewrite(body.as_bytes(), &rules)), r#"{"q":1,"session_id":7,"api_key":"k\"1"}"#);
}

#[test]
fn what_is_set_without_a_value_is_still_removed() {
    let set = [("name", None), ("bot", Some(json!({"id": 1})))];
    let rules = Rules { set: &set, ..PASS_ALL };
    assert_eq!(text(rewrite(br#"{"NAME":"x"}"#, &rules)), r#"{"bot":{"id":1}}"#);
}

#[test]
fn what_is_stripped_does_not_pass_in_any_case() {
    let strip = ["admin".to_owned()];
    let rules = Rules { strip: &strip, ..PASS_ALL };
    assert_eq!(text(rewrite(br#"{"Admin":1,"\u0061dmin":2,"admins":3}"#, &rules)), r#"{"admins":3}"#);
}

#[test]
fn only_what_is_allowed_passes_and_only_in_its_case() {
    let allow = ["question".to_owned(), "bot".to_owned()];
    let set = [("bot", Some(json!(1)))];
    let rules = Rules { allow: Some(&allow), set: &set, ..PASS_ALL };
    assert_eq!(
        text(rewrite(br#"{"Question":1,"\u0071uestion":2,"x":3,"bot":4}"#, &rules)),
        r#"{"question":2,"bot":1}"#
    );
}

#[test]
fn untouched_values_keep_their_bytes_and_their_order() {
    let body = concat!(
        r#"{"z":1.0,"b":1e400,"a":12345678901234567890123,"s":"\u0041\/\ud800","i":{ "x" : [ 1 , 2 ] , "x":{}},"#,
        r#""n":-0.0E-0,"$serde_json::private::RawValue":"1"}"#
    );
    assert_eq!(text(rewrite(body.as_bytes(), &PASS_ALL)), body);
    assert_eq!(text(rewrite(b" {\n\"a\" :\t[ ] , \"b\": 2 } \r\n", &PASS_ALL)), r#"{"a":[ ],"b":2}"#);
}

#[test]
fn names_that_differ_by_case_pass_if_nobody_sets_them() {
    assert_eq!(text(rewrite(br#"{"a":1,"A":2}"#, &PASS_ALL)), r#"{"a":1,"A":2}"#);
}

#[test]
fn an_empty_body_is_an_empty_object() {
    assert_eq!(text(rewrite(b"", &PASS_ALL)), "{}");
    let set = [("a", Some(json!(null)))];
    assert_eq!(text(rewrite(b"", &Rules { set: &set, ..PASS_ALL })), r#"{"a":null}"#);
    assert!(matches!(rewrite(b" ", &PASS_ALL), Err(JsonError::NotJson(_))));
}

#[test]
fn a_duplicate_name_is_refused_whether_it_passes_or_not() {
    let set = [("a", Some(json!(1)))];
    let allow = ["b".to_owned()];
    for rules in [PASS_ALL, Rules { set: &set, ..PASS_ALL }, Rules { allow: Some(&allow), ..PASS_ALL }] {
        let error = rewrite(br#"{"a":1,"b":2,"\u0061":3}"#, &rules).unwrap_err();
        assert!(matches!(&error, JsonError::DuplicateName(name) if name == "a"));
    }
}

#[test]
fn what_is_no_json_object_is_refused() {
    let no_json: [&[u8]; 13] = [
        b"\xef\xbb\xbf{}",
        b"\xef\xbb\xbf",
        br#"{"a":1"#,
        br#"{"a":1}{}"#,
        br#"{"a":1,}"#,
        br#"{a:1}"#,
        br#"{"a":NaN}"#,
        br#"{"a":01}"#,
        br#"{"\ud800":1}"#,
        br#"{"\udc00\ud800":1}"#,
        b"{\"a\n\":1}",
        b"\x0b{}",
        b"\xc2\xa0{}",
    ];
    for body in no_json {
        let outcome = rewrite(body, &PASS_ALL);
        assert!(matches!(outcome, Err(JsonError::NotJson(_))), "{}: {outcome:?}", String::from_utf8_lossy(body));
    }
    for body in [&b"[]"[..], b" null", b"\"{}\"", b"1"] {
        assert!(matches!(rewrite(body, &PASS_ALL), Err(JsonError::NotAnObject)));
    }
    assert!(matches!(rewrite(b"{\"a\":\"\xff\"}", &PASS_ALL), Err(JsonError::NotUtf8(_))));
}

#[test]
fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
    let nested = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert_eq!(text(rewrite(nested(64).as_bytes(), &PASS_ALL)), nested(64));
    for depth in [65, 200_000] {
        assert!(matches!(rewrite(nested(depth).as_bytes(), &PASS_ALL), Err(JsonError::TooDeep)));
    }
    let quoted = format!(r#"{{"\"{0}":"\\\"{0}","b":[{{}}]}}"#, "[".repeat(100));
    assert_eq!(text(rewrite(quoted.as_bytes(), &PASS_ALL)), quoted);
}

#[test]
fn a_fault_says_what_was_wrong_and_what_would_be_right() {
    insta::assert_snapshot!(
        [&b"{\"a\":\xff}"[..], b"{\"a\":1,}", b"[]", br#"{"a\u202e":1,"a\u202e":2}"#, "[".repeat(65).as_bytes()]
            .map(detail)
            .join("\n"),
        @r#"
    The body is not UTF-8 at byte 5; send one JSON object in UTF-8.
    The body is not valid JSON at line 1, column 8; send one JSON object in UTF-8 without a byte order mark.
    The body is JSON, but not an object; send one JSON object.
    The body names "a\u{202e}" twice; send each name once, escapes resolved.
    The body is too deep; send at most 64 levels.
    "#
    );
}

#[test]
fn a_long_name_is_cut_in_the_error() {
    let name = "ä".repeat(1000);
    let body = format!(r#"{{"{name}":1,"{name}":2}}"#);
    assert!(
        matches!(rewrite(body.as_bytes(), &PASS_ALL), Err(JsonError::DuplicateName(name)) if name == "ä".repeat(15))
    );
}

#[test]
fn a_name_is_shown_as_far_as_it_can_be_no_secret_and_a_cut_is_marked() {
    for (name, shown) in [
        ("DurationInSeconds", "DurationInSeconds"),
        ("duration_in_seconds", "duration_in_seconds"),
        ("durationInSecs1", "durationInSecs1"),
        ("ksc_website_abcdefghijklmnop", "ksc_website_abc…"),
        ("0123456789abcdef", "0123456789abcde…"),
        ("a\u{202e}\n", "a\\u{202e}\\n"),
        (&"x".repeat(65), &format!("{}…", "x".repeat(64))),
    ] {
        assert_eq!(shown_name(name), shown);
    }
}

/// A name in random case, each letter perhaps escaped: what it says and how it is written.
fn written(name: impl Strategy<Value = String>) -> impl Strategy<Value = (String, String)> {
    (name, vec((any::<bool>(), 0_u8..4), 12)).prop_map(|(name, styles)| {
        let (mut plain, mut quoted) = (String::new(), String::from('"'));
        for (letter, (upper, style)) in name.chars().zip(styles.into_iter().cycle()) {
            let letter = if upper { letter.to_ascii_uppercase() } else { letter };
            plain.push(letter);
            let escape = |out: &mut String| {
                letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| *out += &format!("\\u{unit:04x}"));
            };
            match (style, letter) {
                (0, _) | (_, '"' | '\\' | '\0'..='\x1f') => escape(&mut quoted),
                _ => quoted.push(letter),
            }
        }
        quoted.push('"');
        (plain, quoted)
    })
}

/// Members as name, written name and written value; names that are ours come often.
fn members() -> impl Strategy<Value = Vec<(String, String, String)>> {
    let ours = select(vec!["session_id", "api_key", "bot", "admin", "Tenant-Id"]).prop_map(str::to_owned);
    let name = prop_oneof![ours, "[a-c]{0,2}", any::<String>()];
    let value = prop_oneof![
        "(0|-?[1-9][0-9]{0,30})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?",
        any::<String>().prop_map(|text| json!(text).to_string()),
        "\"(\\\\u[0-9a-fA-F]{4}|\\\\/|[a-z{}\\[\\]])*\"",
        select(vec!["null", "{ \"bot\" : [ true ,{}] }", "[1.0,\t1e400 ]", "{\"bot\":1,\"bot\":2}"])
            .prop_map(str::to_owned),
    ];
    vec((written(name), value), 0..9)
        .prop_map(|members| members.into_iter().map(|((plain, quoted), value)| (plain, quoted, value)).collect())
}

/// The members of `body` with the bytes of their values.
fn parsed(body: &[u8]) -> Vec<(String, String)> {
    read(body).unwrap().into_iter().map(|(name, value)| (name.into_owned(), value.get().to_owned())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_client_says_what_is_ours_and_all_else_is_kept(members in members(), space in "[ \t\r\n]{0,2}") {
        let strip = ["admin".to_owned(), "tenant-id".to_owned()];
        let set = [("session_id", Some(json!("s\u{1}"))), ("Bot", Some(json!(1.5))), ("api_key", None)];
        let body: Vec<String> = members
            .iter()
            .map(|(_, name, value)| format!("{space}{name}{space}:{space}{value}{space}"))
            .collect();
        let body = format!("{space}{{{}}}{space}", body.join(","));
        let out = rewrite(body.as_bytes(), &Rules { strip: &strip, set: &set, ..PASS_ALL });

        let mut names = std::collections::HashSet::new();
        if !members.iter().all(|(name, ..)| names.insert(name)) {
            prop_assert!(matches!(out, Err(JsonError::DuplicateName(_))));
            return Ok(());
        }
        let ours = ["admin", "tenant-id", "session_id", "bot", "api_key"];
        let mut expected: Vec<(String, String)> = members
            .into_iter()
            .filter(|(name, ..)| !ours.contains(&name.to_ascii_lowercase().as_str()))
            .map(|(name, _, value)| (name, value))
            .collect();
        expected.push(("session_id".into(), r#""s\u0001""#.into()));
        expected.push(("Bot".into(), "1.5".into()));
        prop_assert_eq!(parsed(&out.unwrap()), expected);
    }

    #[test]
    fn a_list_of_allowed_names_lets_nothing_else_through(members in members()) {
        let allow = ["bot".to_owned(), "ab".to_owned()];
        let body: Vec<String> = members.iter().map(|(_, name, value)| format!("{name}:{value}")).collect();
        let body = format!("{{{}}}", body.join(","));
        if let Ok(out) = rewrite(body.as_bytes(), &Rules { allow: Some(&allow), ..PASS_ALL }) {
            let expected: Vec<(String, String)> = members
                .into_iter()
                .filter(|(name, ..)| allow.contains(name))
                .map(|(name, _, value)| (name, value))
                .collect();
            prop_assert_eq!(parsed(&out), expected);
        }
    }

    #[test]
    fn a_rewritten_body_is_rewritten_to_itself(members in members()) {
        let body: Vec<String> = members.iter().map(|(_, name, value)| format!("{name}:{value}")).collect();
        if let Ok(out) = rewrite(format!("{{{}}}", body.join(",")).as_bytes(), &PASS_ALL) {
            prop_assert_eq!(&rewrite(&out, &PASS_ALL).unwrap(), &out);
        }
    }

    #[test]
    fn no_bytes_panic(body in vec(any::<u8>(), 0..64), text in "[{}\\[\\]\",:\\\\u0-9 ad]{0,40}") {
        let set = [("a", Some(json!(1)))];
        for body in [body.as_slice(), text.as_bytes(), format!("{{{text}").as_bytes()] {
            if let Ok(out) = rewrite(body, &Rules { set: &set, ..PASS_ALL }) {
                prop_assert!(parsed(&out).contains(&("a".into(), "1".into())));
            }
        }
    }
}
