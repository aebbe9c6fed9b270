//! Paths, queries and JSON bodies: what the profile sets, a client cannot say.

use proptest::prelude::*;
use serde_json::Value;

use crate::support::gateway::{KEY, Session, TestGateway};
use crate::support::vendor::{Seen, TestVendor};
use crate::support::wire;

const JSON: &str = "content-type: application/json";
const UNLIMITED: &str = r#"limits = { per_session = "off", per_bot = "1000000/1m", mint_per_ip = "1000/1m" }"#;

/// An echoing vendor, a gateway in front of it, and a session.
async fn scene() -> (TestVendor, TestGateway, Session) {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).bot(UNLIMITED).start();
    let session = gateway.mint("support").await;
    (vendor, gateway, session)
}

/// The status of a call to `say` with this body.
async fn say(gateway: &TestGateway, session: &Session, headers: &[&str], body: &str) -> u16 {
    let call = format!("POST /sessions/{}/say", session.id);
    wire::status(&wire::call(gateway, session, &call, headers, body).await)
}

/// What the vendor gets for the client's members, with ours behind them.
fn with_ours(session: &Session, members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(r#"{{{members}{comma}"session_id":"{}","api_key":"{KEY}"}}"#, session.id)
}

fn text_of(seen: &Seen) -> &str {
    std::str::from_utf8(&seen.body).unwrap()
}

#[tokio::test]
async fn a_path_that_two_readings_could_differ_on_is_400() {
    let (vendor, gateway, session) = scene().await;
    let id = &session.id;
    for path in [
        "/echo%2f",
        "/%65cho",
        "/echo%00",
        "//echo",
        "/echo//",
        "/./echo",
        "/x/../echo",
        "/..",
        "/echo/..",
        "/echo/.",
        "/echo\\x",
        "\\echo",
        &format!("/sessions/{id}%2f..%2fother/say"),
        &format!("/sessions/{id}/../other/say"),
        "/ech|o",
        "/echo\"",
        "/echo^",
        "/ech%C3%B6",
    ] {
        let answer = wire::call(&gateway, &session, &format!("POST {path}"), &[], "{}").await;
        assert_eq!(wire::status(&answer), 400, "{path}");
    }
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn a_path_that_no_route_names_is_404_and_never_reaches_the_vendor() {
    let (vendor, gateway, session) = scene().await;
    let id = &session.id;
    for path in [
        "/",
        "/ECHO",
        "/echo/",
        "/echo/x",
        "/say",
        "/sessions",
        &format!("/sessions/{id}"),
        &format!("/sessions/{id}/SAY"),
        "/echo;x=1",
    ] {
        let answer = wire::call(&gateway, &session, &format!("POST {path}"), &[], "{}").await;
        assert_eq!(wire::status(&answer), 404, "{path}");
    }
    assert_eq!(wire::status(&wire::call(&gateway, &session, "DELETE /echo", &[], "").await), 405);
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn a_path_parameter_has_128_plain_characters_at_most() {
    const PROFILE: &str =
        "title = \"Free\"\n[[route]]\ncall = \"GET /things/{thing}\"\n[[route]]\ncall = \"PUT /things/new\"\n";
    let vendor = TestVendor::echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;
    let (longest, longer) = ("a".repeat(128), "a".repeat(129));
    for (value, expected) in
        [("A-z0._~9", 200), (&longest, 200), (&longer, 404), ("a;b", 404), ("a,b", 404), ("a@b", 404), ("...", 200)]
    {
        let answer = wire::call(&gateway, &session, &format!("GET /things/{value}"), &[], "").await;
        assert_eq!(wire::status(&answer), expected, "{value}");
    }
    let targets: Vec<String> = vendor.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/things/A-z0._~9".to_owned(), format!("/things/{longest}"), "/things/...".to_owned()]);
}

#[tokio::test]
async fn a_literals_value_is_never_a_parameters_value() {
    const PROFILE: &str =
        "title = \"Free\"\n[[route]]\ncall = \"GET /things/{thing}\"\n[[route]]\ncall = \"PUT /things/new\"\n";
    let vendor = TestVendor::echo();
    let gateway = TestGateway::with_profile(&vendor, PROFILE).start();
    let session = gateway.mint("support").await;

    for name in ["new", "NEW", "nEw"] {
        let answer = wire::call(&gateway, &session, &format!("GET /things/{name}"), &[], "").await;
        assert!([404, 405].contains(&wire::status(&answer)), "{name}");
    }
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn the_outgoing_path_is_built_from_the_template() {
    let (vendor, gateway, session) = scene().await;

    assert_eq!(say(&gateway, &session, &[JSON], r#"{"text":"hi"}"#).await, 200);

    assert_eq!(vendor.last().target, format!("/say?api_key={KEY}"));
}

#[tokio::test]
async fn only_named_query_parameters_pass_written_anew() {
    let (vendor, gateway, session) = scene().await;
    let call = |query: &str| format!("POST /sessions/{}/say?{query}", session.id);
    for (query, passes) in [
        ("", ""),
        ("page=1", "page=1&"),
        ("p%61ge=%31", "page=1&"),
        ("page=a+b%26api_key%3dx", "page=a%20b%26api_key%3Dx&"),
        ("page=1;api_key=x", "page=1%3Bapi_key%3Dx&"),
        ("page", "page=&"),
        ("&&page=1&", "page=1&"),
        ("Page=1&other=2", ""),
        ("api_key=x&API_KEY2=y", ""),
        ("Api%5FKey=x", ""),
    ] {
        let answer = wire::call(&gateway, &session, &call(query), &[JSON], "{}").await;
        assert_eq!(wire::status(&answer), 200, "{query}");
        assert_eq!(vendor.last().target, format!("/say?{passes}api_key={KEY}"), "{query}");
    }
    let calls = vendor.seen().len();
    for query in
        ["page=%", "page=%4", "page=%zz", "page=%ff", "x=%", "page=1&page=2", "page=1&p%61ge=2", "api_key=1&API_KEY=2"]
    {
        let answer = wire::call(&gateway, &session, &call(query), &[JSON], "{}").await;
        assert_eq!(wire::status(&answer), 400, "{query}");
    }
    assert_eq!(vendor.seen().len(), calls);
}

#[tokio::test]
async fn a_name_that_is_set_is_removed_in_every_writing_and_ours_written_once() {
    let (vendor, gateway, session) = scene().await;
    for name in [
        "session_id",
        "Session_ID",
        "SESSION_ID",
        r"session\u005fid",
        r"\u0073ession_id",
        r"\u0053ESSION_id",
        "api_key",
        "API_Key",
        "ſession_id",
        "api_\u{212a}ey",
    ] {
        assert_eq!(
            say(&gateway, &session, &[JSON], &format!(r#"{{"{name}":"evil","text":"hi"}}"#)).await,
            200,
            "{name}"
        );
        assert_eq!(text_of(&vendor.last()), with_ours(&session, r#""text":"hi""#), "{name}");
    }
}

#[tokio::test]
async fn only_allowed_body_fields_pass_and_stripped_ones_never() {
    let (vendor, gateway, session) = scene().await;
    let body = r#"{"debug":1,"DEBUG":2,"d\u0065bug2":3,"text":"hi","Text":"ho","other":{"text":1},"options":[ 1 ]}"#;

    assert_eq!(say(&gateway, &session, &[JSON], body).await, 200);

    assert_eq!(text_of(&vendor.last()), with_ours(&session, r#""text":"hi","options":[ 1 ]"#));
}

#[tokio::test]
async fn a_duplicate_name_is_400() {
    let (vendor, gateway, session) = scene().await;
    for body in [
        r#"{"text":1,"text":2}"#,
        r#"{"text":1,"te\u0078t":1}"#,
        r#"{"session_id":1,"session_id":2}"#,
        r#"{"x":1,"x":1}"#,
        r#"{"\ud83d\ude00":1,"😀":1}"#,
    ] {
        assert_eq!(say(&gateway, &session, &[JSON], body).await, 400, "{body}");
    }
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn untouched_values_keep_their_exact_bytes() {
    let (vendor, gateway, session) = scene().await;
    for value in [
        "1.0",
        "-0",
        "1e400",
        "12345678901234567890123",
        "0.1000",
        r#""\u0041\/\ud83d\ude00""#,
        "\"日本語 👩‍💻\"",
        r#"{ "a" : [ ] , "a":2 }"#,
        "[1,\t2]",
        "null",
    ] {
        assert_eq!(say(&gateway, &session, &[JSON], &format!(r#" {{ "text" : {value} }} "#)).await, 200, "{value}");
        assert_eq!(text_of(&vendor.last()), with_ours(&session, &format!(r#""text":{value}"#)), "{value}");
    }
}

#[tokio::test]
async fn a_body_is_64_levels_deep_at_most() {
    let (vendor, gateway, session) = scene().await;
    let nested = |levels: usize| format!(r#"{{"text":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));

    assert_eq!(say(&gateway, &session, &[JSON], &nested(64)).await, 200);
    for levels in [65, 100, 10_000, 100_000] {
        assert_eq!(say(&gateway, &session, &[JSON], &nested(levels)).await, 400, "{levels}");
    }
    assert_eq!(say(&gateway, &session, &[JSON], &format!(r#"{{"text":"{}"}}"#, "[".repeat(200))).await, 200);
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test]
async fn what_is_no_json_object_is_400() {
    let (vendor, gateway, session) = scene().await;
    for body in [
        "[]",
        "1",
        "null",
        "\"text\"",
        "{",
        "{}{}",
        "{} x",
        r#"{"text":1,}"#,
        "{'text':1}",
        r#"{"text":NaN}"#,
        "\u{feff}{}",
        r#"{"\ud800":1}"#,
        r#"{text:1}"#,
        "{\"a\":1}\0",
    ] {
        assert_eq!(say(&gateway, &session, &[JSON], body).await, 400, "{body}");
    }
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn a_body_that_is_written_into_is_application_json_in_utf_8_without_coding() {
    let (vendor, gateway, session) = scene().await;
    for refused in [
        &[][..],
        &["content-type: text/plain"],
        &["content-type: application/jsonp"],
        &["content-type: application/json; charset=utf-16"],
        &["content-type: application/json; charset=utf-8; charset=utf-16"],
        &["content-type: application/json; Charset=\"ISO-8859-1\""],
        &[JSON, JSON],
        &[JSON, "content-type: text/plain"],
        &[JSON, "content-encoding: gzip"],
        &[JSON, "content-encoding: identity, gzip"],
        &[JSON, "content-encoding: identity", "content-encoding: gzip"],
    ] {
        assert_eq!(say(&gateway, &session, refused, r#"{"text":"hi"}"#).await, 415, "{refused:?}");
    }
    assert!(vendor.seen().is_empty());
    for taken in ["Application/JSON", "application/json;charset=UTF-8", "application/json ; charset=\"utf-8\""] {
        assert_eq!(say(&gateway, &session, &[&format!("content-type: {taken}")], "{}").await, 200, "{taken}");
    }
}

#[tokio::test]
async fn a_body_that_the_gateway_writes_is_called_json_also_where_the_client_sent_none() {
    let (vendor, gateway, session) = scene().await;

    assert_eq!(say(&gateway, &session, &[], "").await, 200);

    let seen = vendor.last();
    assert_eq!(text_of(&seen), with_ours(&session, ""));
    assert_eq!(seen.headers.get("content-type").map(|value| value.to_str().unwrap()), Some("application/json"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Each case is a gateway with twenty calls: names near to ours, in bodies, headers and queries.
    #[test]
    fn whatever_a_client_says_the_vendor_gets_our_session_and_key_once(calls in prop::collection::vec(call(), 20)) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let (vendor, gateway, session) = scene().await;
            for (members, headers, query) in &calls {
                let lines: Vec<&str> = headers.iter().map(String::as_str).chain([JSON]).collect();
                let target = format!("POST /sessions/{}/say?{query}", session.id);
                let before = vendor.seen().len();
                let answer = wire::call(&gateway, &session, &target, &lines, &format!("{{{}}}", members.join(","))).await;
                match wire::status(&answer) {
                    200 => is_ours(&vendor.last(), &session),
                    status => assert!(status == 400 && vendor.seen().len() == before, "{answer}"),
                }
            }
        });
    }
}

/// A client's body, headers and query, with names that are ours or nearly so.
fn call() -> impl Strategy<Value = (Vec<String>, Vec<String>, String)> {
    let name =
        r#"([sS]|\\u0073|ſ)(ession|ESSION)(_|\\u005[fF]| )(id|ID|Id)|[aA]pi_[kKK]ey|debug|text|options|[a-z"\\]{0,3}"#;
    let member =
        prop::string::string_regex(&format!(r#""({name})":("evil"|\["evil"\]|\{{"session_id":"evil"\}}|1e9)"#))
            .unwrap();
    let header = "(x-runas-[a-z]{1,4}|gkc_[a-z]{1,4}|cookie|forwarded|x-forwarded-[a-z]{1,4}|origin2|proxy-[a-z]{1,4}|x-note|te|connection): evil";
    let query = "((api_key|API_KEY|api%5fkey|page|debug)=evil&?){0,3}";
    (prop::collection::vec(member, 0..5), prop::collection::vec(header, 0..4), query)
}

fn is_ours(seen: &Seen, session: &Session) {
    let body: serde_json::Map<String, Value> = serde_json::from_slice(&seen.body).unwrap();
    let named = |wanted: &str| body.keys().filter(|name| name.eq_ignore_ascii_case(wanted)).count();
    assert_eq!((named("session_id"), named("api_key"), named("debug")), (1, 1, 0), "{seen:?}");
    assert_eq!((&body["session_id"], &body["api_key"]), (&Value::from(session.id.as_str()), &Value::from(KEY)));
    assert!(body.keys().all(|name| ["text", "options", "session_id", "api_key"].contains(&name.as_str())), "{seen:?}");
    assert_eq!(seen.target.to_ascii_lowercase().matches("api_key=").count(), 1, "{}", seen.target);
    assert!(seen.target.ends_with(&format!("api_key={KEY}")), "{}", seen.target);
    assert_eq!(seen.headers.get_all("authorization").iter().collect::<Vec<_>>(), [&format!("Bearer {KEY}")]);
    let written = ["authorization", "accept-encoding", "host", "content-length", "content-type", "x-note"];
    assert!(seen.headers.keys().all(|name| written.contains(&name.as_str())), "{:?}", seen.headers);
    assert!(!seen.contains(&session.token));
}
