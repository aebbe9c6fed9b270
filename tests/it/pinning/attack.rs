//! Requests as an attacker writes them who has a token of one session, a client's credential that owns nothing, and the
//! ids of others. What is between `@` signs stands for what only the running gateway knows.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

use super::judge::Call;
use super::scene::Scene;
use crate::support::gateway::PAGE;

/// Values of nobody's, or of somebody else's.
const EVIL: &[&str] = &["evil", "999999", "b4jq98hls3kl691gquh1j78n4q", "5678", "hidden", "1", "", "null"];
/// Credentials that are right, in places where they are not or where they are not enough.
const CREDENTIALS: &[&str] =
    &["@TOKEN@", "@STRANGER@", "Bearer @TOKEN@", "Bearer @STRANGER@", "keystile.bearer, @TOKEN@"];
/// Names that some vendor believes.
const KNOWN: &[&str] = &[
    "api_key",
    "bot_id",
    "session_id",
    "sessionID",
    "serialNumber",
    "tenantId",
    "userId",
    "user",
    "model",
    "store",
    "n",
    "key",
    "token",
    "gkc_customerId",
    "fileIds",
    "file_id",
    "extensions",
    "debug",
    "conversationId",
    "access_token",
];
/// Header lines that no call needs.
const LINES: &[&str] = &[
    "gkc_customerId: evil",
    "gkc_customerId: victim@example.com",
    "GKC-AGENTID: evil",
    "gkc_agentid: @TOKEN@",
    "x-runas-user-id: evil",
    "X_RunAs_UserId: evil",
    "X-RunAs-Child-User-Email: @STRANGER@",
    "cookie: session=@TOKEN@",
    "cookie2: evil",
    "x-forwarded-for: 1.2.3.4",
    "forwarded: for=1.2.3.4",
    "x_forwarded_host: evil",
    "x-real-ip: 1.2.3.4",
    "x-http-method-override: DELETE",
    "x-original-url: /evil",
    "proxy-authorization: Basic @STRANGER@",
    "proxy: http://evil.test",
    "keystile-token: @TOKEN@",
    "keystile_contact: evil",
    "te: trailers",
    "trailer: authorization",
    "keep-alive: timeout=5",
    "range: bytes=0-1",
    "via: 1.1 evil",
    "upgrade: websocket",
    "sec-websocket-protocol: keystile.bearer, @TOKEN@",
    "sec-websocket-version: 13",
    "connection: authorization",
    "connection: x-api-key, content-type",
    "Connection: X-Deployment-Key, gkc_customerId",
    "x-api-key: @TOKEN@",
    "x-api-key: evil",
    "user-agent: @TOKEN@",
    "x-internal-role: admin",
    "X_Internal_Role: admin",
    "x-timezone: UTC",
    "x-stainless-os: Linux",
    "accept: application/jsonl",
    "accept-language: de",
    "content-language: @FF@",
    "x-note: @FF@evil",
    "if-range: evil",
    "authorization : Bearer @TOKEN@",
    "x-a: b@CR@gkc_customerId: evil",
    "x-a: b\r\n gkc_customerId: evil",
    "x-a: @NUL@",
    ": evil",
    "content-type: text/plain",
    "content-encoding: gzip",
    "sec-fetch-site: same-origin",
    "idempotency-key: 1",
];
/// Bodies that are none, or not of one reading.
const BODIES: &[&str] = &[
    "",
    "[]",
    "{",
    "{}{}",
    "\u{feff}{}",
    "{\"a\":1,}",
    "{\"a\":1,\"a\":2}",
    "{\"a\":\"@FF@\"}",
    "{}\n@NUL@",
    "null",
    "{\"\\ud800\":1}",
    "{'a':1}",
    "{/**/}",
];

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Attack {
    path: Vec<String>,
    query: Vec<String>,
    headers: Vec<String>,
    credentials: Vec<Place>,
    /// Members of the body, each written out; or a body that is none.
    body: Result<Vec<String>, String>,
}

/// Where the attacker's token stands.
#[derive(Clone, Debug)]
enum Place {
    Bearer,
    Named(String),
}

/// A request without malice.
pub(super) fn honest(call: &Call) -> Attack {
    let path = placeholders(&call.line).into_iter().map(|name| honest_value(&name).to_owned()).collect();
    let (query, body) = bot_in(call);
    Attack { path, query, headers: Vec::new(), credentials: vec![Place::Bearer], body: Ok(body) }
}

/// Requests to `call`.
pub(super) fn on(call: &Call) -> BoxedStrategy<Attack> {
    let path: Vec<_> = placeholders(&call.line).iter().map(|name| segment(name)).collect();
    let (query, headers) = (vec(parameter(call), 0..4), vec(line(call), 0..5));
    let (named, also) = bot_in(call);
    let body = prop_oneof![8 => vec(member(call), 0..6).prop_map(Ok), 1 => select(BODIES).prop_map(|text| Err(text.to_owned()))];
    (path, query, headers, credentials(call), body)
        .prop_map(move |(path, mut query, headers, credentials, mut body)| {
            query.extend(named.clone());
            if let Ok(members) = &mut body {
                members.extend(also.clone());
            }
            Attack { path, query, headers, credentials, body }
        })
        .boxed()
}

/// Where the session call has no place for the bot in its path, it stands in the query or in the body.
fn bot_in(call: &Call) -> (Vec<String>, Vec<String>) {
    // The first place is the credential's.
    let bot = call.places.get(1).filter(|_| call.is_opening);
    match bot.and_then(|place| place.split_once(' ')) {
        Some(("query", name)) => (vec![format!("{name}=@BOT@")], Vec::new()),
        Some(("body", name)) => (Vec::new(), vec![format!("\"{name}\":\"@BOT@\"")]),
        _ => (Vec::new(), Vec::new()),
    }
}

fn placeholders(line: &str) -> Vec<String> {
    line.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(str::to_owned).collect()
}

fn honest_value(placeholder: &str) -> &'static str {
    match placeholder {
        "session" => "@SESSION@",
        "bot" => "@BOT@",
        _ => "m-1",
    }
}

fn segment(name: &str) -> BoxedStrategy<String> {
    let honest = honest_value(name).to_owned();
    let own = if name == "session" { "@OWN_ID@".to_owned() } else { honest.clone() };
    let (escaped, dotted) = (format!("{honest}%2f..%2fevil"), format!("{honest}/../evil"));
    let odd = [
        escaped,
        dotted,
        format!("{honest};evil"),
        format!("{honest}@NUL@"),
        format!("{honest}%00"),
        format!("{honest}@FF@"),
    ];
    let odd = odd
        .into_iter()
        .chain(["..", ".", "%2e%2e", "", "evil", "5678", "999999", "hidden", "\\evil"].map(str::to_owned));
    prop_oneof![8 => Just(honest), 2 => Just(own), 1 => select(odd.collect::<Vec<_>>())].boxed()
}

fn credentials(call: &Call) -> BoxedStrategy<Vec<Place>> {
    let named = call.places.iter().cloned().map(Place::Named);
    let all: Vec<Place> = if call.is_owners { Vec::new() } else { named.collect() };
    let one = select([vec![Place::Bearer], all].concat());
    prop_oneof![4 => Just(vec![Place::Bearer]), 4 => one.clone().prop_map(|place| vec![place]), 1 => vec(one, 0..3)]
        .boxed()
}

/// A name, each letter as it is or in another writing; mostly all as they are.
fn written(names: Vec<String>, other: fn(char, u8) -> String) -> BoxedStrategy<String> {
    let odd = (select(names.clone()), vec(0..6_u8, 40)).prop_map(move |(name, choices)| {
        name.chars().zip(choices).map(|(letter, choice)| other(letter, choice)).collect()
    });
    prop_oneof![select(names), odd].boxed()
}

fn swapped(letter: char) -> char {
    if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
}

fn in_json(letter: char, choice: u8) -> String {
    match (choice, letter) {
        (0, _) => swapped(letter).to_string(),
        (1, _) => format!("\\u{:04x}", u32::from(letter)),
        (2, _) => format!("\\u{:04X}", u32::from(swapped(letter))),
        (3, 's') => 'ſ'.to_string(),
        (3, 'k') => '\u{212a}'.to_string(),
        (3, 'i') => "\\u0131".to_owned(),
        (3, 'I') => "\\u0130".to_owned(),
        _ => letter.to_string(),
    }
}

fn in_query(letter: char, choice: u8) -> String {
    match choice {
        0 => swapped(letter).to_string(),
        1 => format!("%{:02x}", u32::from(letter)),
        2 => format!("%{:02X}", u32::from(swapped(letter))),
        _ => letter.to_string(),
    }
}

fn in_header(letter: char, choice: u8) -> String {
    match (choice, letter) {
        (0, _) => swapped(letter).to_string(),
        (1, '-') => "_".to_owned(),
        (1, '_') => "-".to_owned(),
        _ => letter.to_string(),
    }
}

fn known() -> Vec<String> {
    KNOWN.iter().map(|name| (*name).to_owned()).collect()
}

fn any_value() -> impl Strategy<Value = String> {
    select([EVIL, CREDENTIALS, &["@SESSION@", "@OWN_ID@", "@BOT@"]].concat()).prop_map(str::to_owned)
}

/// A parameter that is ours or unknown, with any value; or one that passes.
fn parameter(call: &Call) -> BoxedStrategy<String> {
    let value = prop_oneof![
        8 => any_value().prop_map(|value| value.replace(' ', "+")),
        1 => select(vec!["%", "%zz", "%ff", "a;api_key=evil", "a%26api_key%3devil", "a#b", "@FF@"]).prop_map(str::to_owned),
    ];
    // Where all parameters pass, what is in an unknown one is the client's own business.
    let passing = call.passing("query");
    let unknown = if passing.is_some() { value.clone().boxed() } else { Just("evil".to_owned()).boxed() };
    let pair = |(name, value): (String, String)| format!("{name}={value}");
    let unknown = (written(known(), in_query), unknown).prop_map(pair);
    let mut kinds = vec![(2, unknown.boxed())];
    let reserved = call.reserved("query");
    if !reserved.is_empty() {
        kinds.push((4, (written(reserved, in_query), value).prop_map(pair).boxed()));
    }
    let shaped = (select(known()), select(vec!["[]", "%00", "%20", ".x", "%5bx%5d"]));
    let shaped = shaped.prop_map(|(name, tail)| format!("{name}{tail}=evil"));
    kinds.push((1, shaped.boxed()));
    kinds.push((1, select(vec!["", "=", "&", "x"]).prop_map(str::to_owned).boxed()));
    let passing = passing.unwrap_or_default();
    if !passing.is_empty() {
        kinds.push((3, written(passing, in_query).prop_map(|name| format!("{name}=7")).boxed()));
    }
    Union::new_weighted(kinds).boxed()
}

/// A header that is ours or nobody's.
fn line(call: &Call) -> BoxedStrategy<String> {
    let names: Vec<String> =
        call.reserved("header").into_iter().filter(|name| !name.eq_ignore_ascii_case("authorization")).collect();
    // Where all headers pass, one of the client's own may say what it likes.
    let is_own = |line: &str| line.starts_with("user-agent: @") || line.starts_with("x-api-key: @");
    let lines: Vec<&str> =
        LINES.iter().copied().filter(|line| call.passing("header").is_some() || !is_own(line)).collect();
    let fixed = select(lines).prop_map(str::to_owned);
    if names.is_empty() {
        return fixed.boxed();
    }
    let ours = (written(names, in_header), any_value()).prop_map(|(name, value)| format!("{name}: {value}"));
    prop_oneof![3 => fixed, 1 => ours].boxed()
}

/// A member of the body: ours in any writing with any value, or one that passes, with what may be deep in it.
fn member(call: &Call) -> BoxedStrategy<String> {
    let text = any_value().prop_map(|value| format!("\"{value}\""));
    let other = select(vec!["999999", "1e9", "null", "[\"evil\"]", "{\"session_id\":\"evil\"}", "[]", "true"])
        .prop_map(str::to_owned);
    let value = prop_oneof![3 => text, 1 => other].boxed();
    let mut kinds = Vec::new();
    let reserved = call.reserved("body");
    if !reserved.is_empty() {
        kinds.push((
            6,
            (written(reserved, in_json), value.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}")).boxed(),
        ));
    }
    let passing = call.passing("body");
    // Where nothing is listed all else passes, and is the client's own business.
    let unknown = if passing.is_some() { value } else { Just("\"evil\"".to_owned()).boxed() };
    kinds.push((1, (select(known()), unknown).prop_map(|(name, value)| format!("\"{name} \":{value}")).boxed()));
    let lookalikes = vec![
        "\"ｓession_id\":\"evil\"",
        "\"session\\u0000_id\":\"evil\"",
        "\"__proto__\":{\"session_id\":\"evil\"}",
        "\"\":\"evil\"",
    ];
    kinds.push((1, select(lookalikes).prop_map(str::to_owned).boxed()));
    let names = passing.filter(|names| !names.is_empty()).unwrap_or_else(|| vec!["text".to_owned()]);
    let inner = deep(call);
    kinds.push((3, (select(names), inner).prop_map(|(name, value)| format!("\"{name}\":{value}")).boxed()));
    Union::new_weighted(kinds).boxed()
}

/// A value that passes, with the names that are refused somewhere in it.
fn deep(call: &Call) -> BoxedStrategy<String> {
    let plain = select(vec!["\"hi\"", "1.0", "[{\"role\":\"user\",\"content\":\"hi\"}]", "{ \"a\" : [ ] }", "null"])
        .prop_map(str::to_owned);
    if call.refuse.is_empty() {
        return plain.boxed();
    }
    let value =
        select(vec!["\"file-evil\"", "[7]", "7", "{}", "null", "[]", "{\"$serde_json::private::RawValue\":\"null\"}"]);
    let refused =
        (written(call.refuse.clone(), in_json), value, option::of(0..60_usize)).prop_map(|(name, value, depth)| {
            let depth = depth.unwrap_or(1);
            format!("{}{{\"{name}\":{value}}}{}", "[".repeat(depth), "]".repeat(depth))
        });
    prop_oneof![3 => plain, 1 => refused].boxed()
}

impl Attack {
    /// The bytes of it.
    pub(super) fn request(&self, call: &Call, scene: &Scene) -> Vec<u8> {
        let (method, template) = call.line.split_once(' ').unwrap();
        let mut values = self.path.iter();
        let path: Vec<&str> = template
            .split('/')
            .map(|part| if part.starts_with('{') { values.next().unwrap().as_str() } else { part })
            .collect();
        let (mut query, mut lines) = (self.query.clone(), self.headers.clone());
        let mut body = self.body.clone();
        for place in &self.credentials {
            let credential = if call.is_owners { "@OWNER@" } else { "@TOKEN@" };
            match place {
                // A page has no credential but where it is.
                _ if call.is_opening => lines.push(format!("origin: {PAGE}")),
                Place::Bearer => lines.push(format!("authorization: Bearer {credential}")),
                Place::Named(place) => match (place.split_once(' ').unwrap(), &mut body) {
                    (("header", name), _) => lines.push(format!("{name}: {credential}")),
                    (("query", name), _) => query.push(format!("{name}={credential}")),
                    ((_, name), Ok(members)) => members.push(format!("\"{name}\":\"{credential}\"")),
                    ((_, _), Err(_)) => {}
                },
            }
        }
        let mut body = match body {
            Ok(members) => format!("{{{}}}", members.join(",")),
            Err(text) => text,
        };
        if method == "GET" && body == "{}" {
            body.clear();
        }
        let has_type = lines.iter().any(|line| line.starts_with("content-type"));
        if !body.is_empty() && !has_type {
            lines.push("content-type: application/json".to_owned());
        }
        let body = filled(&body, scene);
        let mark = if query.is_empty() { "" } else { "?" };
        let head = format!(
            "{method} {}{mark}{} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-length: {}\r\n{}\r\n\r\n",
            path.join("/"),
            query.join("&"),
            body.len(),
            lines.join("\r\n"),
        );
        let head = head.replace("\r\n\r\n\r\n", "\r\n\r\n");
        [filled(&head, scene), body].concat()
    }
}

/// The text with what stands for something put in.
fn filled(text: &str, scene: &Scene) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, part) in text.split('@').enumerate() {
        match scene.symbol(part).filter(|_| at % 2 == 1) {
            Some(symbol) => bytes.extend_from_slice(symbol),
            None => bytes.extend_from_slice(part.as_bytes()),
        }
    }
    bytes
}
