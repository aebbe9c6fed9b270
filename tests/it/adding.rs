//! A vendor that is in no shipped file: its profile is written here, with everything that a profile can say, and a talk
//! goes through it in both directions. And what one gateway with several vendors is told.

use http::Method;
use keystile::config;
use keystile::document::Environment;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::gateway::{KEY, OTHER_KEY, PAGE, PUBLIC_URL, TestGateway, claims, refusal};
use crate::support::vendor::{Answer, Seen, TestVendor, whole};

const VENDOR_TOKEN: &str = "vt-0123456789abcdef0123456789abcdef";

/// Parley, which is nowhere.
const PROFILE: &str = r#"
title  = "Parley"
bot_id = "number"

[options]
realm    = { }
key_name = { default = "X-Parley-Key" }
depth    = { default = 3 }
loud     = { default = false }
greeting = { default = "" }
behalf   = { default = "for {contact.email}" }

[open]
call         = "PUT /{option.realm}/rooms"
set.header   = { "{option.key_name}" = "{key}", X-Greeting = "{option.greeting}", X-Behalf = "{option.behalf}" }
set.query    = { bot = "{bot}", realm = "{option.realm}", by = "s {sub}" }
set.body     = { ttl = "{ttl}", person = { name = "{contact.name}" }, first = "{messages}", data = "{meta}", visit = "{visit}", depth = "{option.depth}", loud = "{option.loud}", label = ["bot {bot}"] }
session      = "/room/{option.realm}/id"
session_type = "integer"
vendor_token = "/room/secret"
expires      = "/room/until"
failure      = { when = "/ok", code = "/problem/code", message = "/problem/text" }

[accept]
call       = "POST /rooms"
credential = "body Pass"
bot        = "query b"
fields     = { ttl = ["query seconds", "header X-Seconds"], contact = "body person", messages = "header X-First", meta = "body data", visit = "query visit" }
status     = 202
reply.json = { room = "{session}", pass = "{token}", until = "{expires_ms}", left = "{ttl}", bot = "{bot}", who = "{contact.name}", said = "{messages}", data = "{meta}", visit = "{visit}", colour = "{answer.colour}", all = "{answer}", at = "{gateway}/rooms" }

[identify]
call       = "PUT /{option.realm}/rooms/{session}/person"
set.header = { "{option.key_name}" = "{key}", X-Behalf = "{option.behalf}" }
set.body   = { person = "{contact}", phone = "{contact.phone}", data = "{meta}" }

[renew]
call         = "POST /{option.realm}/rooms/{session}/secret"
set.header   = { "{option.key_name}" = "{key}" }
vendor_token = "/secret"
expires      = "/until"

[[route]]
call        = "POST /rooms/{session}/say"
to          = "/{option.realm}/rooms/{session}/talk"
token       = ["query ticket", "body pass"]
set.header  = { "{option.key_name}" = "{key}", X-Room = "{vendor_token}", X-Behalf = "{option.behalf}" }
set.query   = { realm = "{option.realm}", none = "{option.greeting}" }
set.body    = { room = "{session}", depth = "{option.depth}", note = "{bot}/{session}", who = "{contact}" }
strip       = { header = ["x-secret*"], query = ["debug"], body = ["admin"] }
allow       = { header = ["x-note", "x-tag-*"], query = "*", body = "*" }
refuse.body = ["file"]
limits.body = "2KiB"
answer.json = { pass = "{token}", until = "{expires_ms}", left = "{ttl}", room = "{session}", watch = "{gateway.socket}/rooms/{session}?ticket={token}", phone = "{contact.phone}" }

[[route]]
call       = "GET /rooms/{session}/lines/{line}"
to         = "/{option.realm}/rooms/{session}/lines/l-{line}"
token      = "query ticket"
set.header = { "{option.key_name}" = "{key}" }
allow      = { header = [], query = ["from"] }

[[route]]
call       = "DELETE /rooms/{session}"
set.header = { X-Room = "{vendor_token}" }
allow      = { header = [], body = [] }

[[route]]
call        = "GET /bots/{bot}/rooms"
to          = "/{option.realm}/bots/{bot}"
who         = "owner"
set.header  = { "{option.key_name}" = "{key}" }
allow       = { header = [], query = ["page"] }
answer.json = { kind = "rooms", next = "{gateway}/bots" }

[[route]]
call  = "GET /status"
scrub = "none"

[error]
json  = { ok = false, problem = { code = "{code}", text = "Parley: {message}" } }
codes = { 401 = "WHO", 403 = "WRONG" }
key   = [402]
"#;

/// Parley as it answers: it has no room for the visit `full`, and tells what it was sent.
fn parley(seen: &Seen) -> Answer {
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let answer = match seen.method.as_str() {
        "PUT" if body["visit"] == "full" => json!({"ok": false, "problem": {"code": "FULL", "text": "no rooms"}}),
        "PUT" => json!({
            "ok": true, "colour": "red", "told": KEY,
            "room": {"north": {"id": 77}, "south": {"id": 88}, "secret": VENDOR_TOKEN, "until": 2000},
        }),
        "POST" => {
            json!({"pass": "theirs", "left": 1, "until": 1, "room": 1, "watch": "wss://vendor", "phone": "x", "text": body["text"]})
        }
        _ => json!({"kind": "theirs", "next": "https://vendor/next", "rooms": [77], "told": VENDOR_TOKEN}),
    };
    whole(200, "application/json", answer.to_string())
}

fn scene() -> (TestVendor, TestGateway) {
    let vendor = TestVendor::answering(parley);
    let gateway = TestGateway::with_profile(&vendor, PROFILE)
        .ids("1", "2")
        .vendor("mount = \"/p\"\noptions = { realm = \"north\", loud = true }");
    let third = "[bots.third]\nvendor = \"acme\"\nvendor_id = \"3\"\nvisibility = \"private\"\nowners = [\"website\"]\noptions = { realm = \"south\", key_name = \"X-Other\", depth = 9, greeting = \"hello\" }";
    (vendor, gateway.sections(third).start())
}

#[tokio::test]
async fn preflight_names_the_headers_that_pass_and_no_other_spelling_of_them() {
    let (_vendor, gateway) = scene();
    let asked = gateway
        .call(Method::OPTIONS, "/p/rooms/1/say")
        .header("origin", PAGE)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-tag-a,x_tag_b,x-note");
    let answer = asked.send().await.unwrap();
    let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap();
    let names: Vec<_> = allowed.split(", ").filter(|name| name.starts_with(['x', 'X'])).collect();
    assert!(names.contains(&"x-tag-a") && names.contains(&"x-note"), "{allowed}");
    assert!(!allowed.contains("x_tag_b"), "{allowed}");
}

/// What a client of Parley's sends to get a room.
fn enter(gateway: &TestGateway, query: &str, body: &Value) -> RequestBuilder {
    let mut body = body.clone();
    body["Pass"] = json!(gateway.owner.expose());
    gateway.post(&format!("/p/rooms?{query}")).json(&body)
}

async fn read(answer: Response) -> (u16, Value) {
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn header<'s>(seen: &'s Seen, name: &str) -> Option<&'s str> {
    seen.headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_session_is_opened_as_a_profile_says_that_is_in_no_shipped_file() {
    let (vendor, gateway) = scene();
    let body = json!({"person": {"name": "Jo", "email": "jo@example.com"}, "data": {"a": 1}, "other": 1});
    let call =
        enter(&gateway, "b=support&visit=v1&seconds=", &body).header("x-first", r#"[{"type":"user","text":"hi"}]"#);
    assert_eq!(call.send().await.unwrap().status(), 400, "the first place where something stands counts");

    let call = enter(&gateway, "B=%31&Visit=v1", &body).header("x-first", r#"[{"type":"user","text":"hi"}]"#);
    let (status, answer) = read(call.header("x-seconds", "4000").send().await.unwrap()).await;

    let token = answer["pass"].as_str().unwrap();
    let masked = "*".repeat(KEY.len());
    let whole = json!({
        "ok": true, "colour": "red", "told": masked,
        "room": {"north": {"id": 77}, "south": {"id": 88}, "secret": "*".repeat(VENDOR_TOKEN.len()), "until": 2000},
    });
    let until = claims(token)["exp"].as_u64().unwrap() * 1000;
    let expected = json!({
        "room": 77, "pass": token, "until": until, "left": 2000, "bot": 1, "who": "Jo",
        "said": [{"type": "user", "text": "hi"}], "data": {"a": 1}, "visit": "v1", "colour": "red", "all": whole,
        "at": format!("{PUBLIC_URL}/p/rooms"),
    });
    assert_eq!((status, &answer), (202, &expected));
    let seen = vendor.last();
    let subject = claims(token)["sub"].as_str().unwrap().to_owned();
    assert_eq!(
        (seen.method.as_str(), seen.target),
        ("PUT", format!("/north/rooms?bot=1&realm=north&by=s%20{subject}"))
    );
    let sent = vendor.last();
    assert_eq!(header(&sent, "x-parley-key"), Some(KEY));
    assert_eq!((header(&sent, "x-greeting"), header(&sent, "x-behalf")), (None, Some("for jo@example.com")));
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    let expected = json!({
        "ttl": 4000, "person": {"name": "Jo"}, "first": [{"type": "user", "text": "hi"}], "data": {"a": 1}, "visit": "v1",
        "depth": 3, "loud": true, "label": ["bot 1"],
    });
    assert_eq!(body, expected);
    assert!(!sent.contains("ksc_"));
}

#[tokio::test]
async fn a_talk_goes_both_ways_with_the_token_where_the_vendors_clients_have_theirs() {
    let (vendor, gateway) = scene();
    let (_, room) = read(enter(&gateway, "b=support", &json!({})).send().await.unwrap()).await;
    let token = room["pass"].as_str().unwrap().to_owned();
    let say = |query: &str, body: Value| gateway.post(&format!("/p/rooms/77/say?{query}")).json(&body);

    let call = say(
        "extra=1&DEBUG=1&Realm=evil&none=x",
        json!({"text": "hi", "PASS": token, "Admin": 1, "room": 78, "who": "x"}),
    );
    let call = call.header("x-note", "n").header("x-tag-a", "t").header("x-secret-b", "s").header("x-else", "e");
    let call = call.header("x_parley_key", "evil").header("X-Room", "evil").header("x-behalf", "evil");
    let (status, answer) = read(call.send().await.unwrap()).await;

    let seen = vendor.last();
    assert_eq!(seen.target, "/north/rooms/77/talk?extra=1&realm=north");
    assert_eq!(seen.body, r#"{"text":"hi","room":77,"depth":3,"note":"1/77"}"#);
    let ours = ["x-parley-key", "x-room", "x-note", "x-tag-a", "x-behalf", "x-secret-b", "x-else", "x_parley_key"];
    let sent: Vec<_> = ours.iter().map(|name| header(&seen, name)).collect();
    assert_eq!(sent, [Some(KEY), Some(VENDOR_TOKEN), Some("n"), Some("t"), None, None, None, None]);
    assert!(!seen.contains(&token));
    let watch = format!("{}/p/rooms/77?ticket={token}", PUBLIC_URL.replace("https", "wss"));
    let expected =
        json!({"pass": token, "left": 2000, "until": room["until"], "room": 77, "watch": watch, "text": "hi"});
    assert_eq!((status, &answer), (200, &expected));

    let next = answer["pass"].as_str().unwrap();
    assert_eq!(say(&format!("ticket={next}&Ticket2=x"), json!({"text": "again"})).send().await.unwrap().status(), 200);
    assert_eq!(vendor.last().target, "/north/rooms/77/talk?Ticket2=x&realm=north");
    for (path, target) in [("l1?from=2&to=3&ticket=", "l-l1?from=2"), ("..l?Ticket=", "l-..l")] {
        let line = gateway.call(Method::GET, &format!("/p/rooms/77/lines/{path}{next}"));
        let text = line.send().await.unwrap().text().await.unwrap();
        assert_eq!(vendor.last().target, format!("/north/rooms/77/lines/{target}"));
        assert!(!text.contains(VENDOR_TOKEN), "{text}");
    }
    let end = gateway.call(Method::DELETE, "/p/rooms/77").bearer_auth(next).json(&json!({"pass": next, "all": true}));
    assert_eq!(end.send().await.unwrap().status(), 200);
    assert_eq!((vendor.last().method.as_str(), &vendor.last().body[..]), ("DELETE", &b"{}"[..]));
    assert_eq!(gateway.call(Method::GET, "/p/status").bearer_auth(next).send().await.unwrap().status(), 200);
    assert_eq!((vendor.last().target.as_str(), header(&vendor.last(), "x-parley-key")), ("/status", None));
}

#[tokio::test]
async fn what_the_profile_does_not_let_pass_is_refused_in_its_own_words() {
    let (vendor, gateway) = scene();
    let (_, room) = read(enter(&gateway, "b=support", &json!({})).send().await.unwrap()).await;
    let token = room["pass"].as_str().unwrap();
    vendor.take();
    let say = |body: Value| gateway.post("/p/rooms/77/say").json(&body);
    let problem = |code: Value| json!({"ok": false, "problem": {"code": code, "text": ""}});

    for (call, status, code) in [
        (say(json!({"pass": token, "deep": [{"FILE": 1}]})), 400, json!("bad_request")),
        (say(json!({"pass": token, "text": "x".repeat(3000)})), 413, json!("body_too_large")),
        (say(json!({"pass": gateway.owner.expose()})), 401, json!("WHO")),
        (say(json!({"text": "hi"})), 401, json!("WHO")),
        (gateway.post("/p/rooms/78/say").bearer_auth(token).json(&json!({})), 403, json!("WRONG")),
        (gateway.call(Method::GET, "/p/bots/1/rooms").bearer_auth(token), 403, json!("WRONG")),
        (gateway.call(Method::PUT, "/p/rooms/77/say").bearer_auth(token), 405, json!("method_not_allowed")),
    ] {
        let (told, mut body) = read(call.send().await.unwrap()).await;
        assert!(body["problem"]["text"].as_str().unwrap().starts_with("Parley: "), "{body}");
        body["problem"]["text"] = json!("");
        assert_eq!((told, body), (status, problem(code)));
    }
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn a_failure_inside_of_a_200_is_told_in_the_vendors_own_code_and_words() {
    let (_vendor, gateway) = scene();

    let (status, answer) = read(enter(&gateway, "b=support&visit=full", &json!({})).send().await.unwrap()).await;

    assert_eq!((status, answer), (502, json!({"ok": false, "problem": {"code": "FULL", "text": "Parley: no rooms"}})));
    let (status, native) = read(gateway.ask("support", json!({"visitId": "full"})).await).await;
    let told = "the vendor could not open a session: no rooms";
    assert_eq!((status, &native["code"], &native["message"]), (502, &json!("vendor_failed"), &json!(told)));
}

#[tokio::test]
async fn a_bots_own_options_stand_before_its_vendors() {
    let (vendor, gateway) = scene();
    let (status, room) = read(enter(&gateway, "b=third", &json!({})).send().await.unwrap()).await;
    assert_eq!((status, &room["room"], &room["bot"]), (202, &json!(88), &json!(3)));
    let seen = vendor.last();
    assert!(seen.target.starts_with("/south/rooms?bot=3&realm=south"), "{}", seen.target);
    let keys =
        |seen: &Seen| ["x-other", "x-parley-key", "x-greeting"].map(|name| header(seen, name).map(str::to_owned));
    assert_eq!(keys(&seen), [Some(KEY.to_owned()), None, Some("hello".to_owned())]);

    let say = gateway.post("/p/rooms/88/say?None=x").json(&json!({"pass": room["pass"], "depth": 100}));
    let say = say.header("x-other", "evil").header("X_Other", "evil").header("x-parley-key", "evil");
    assert_eq!(say.send().await.unwrap().status(), 200);
    let seen = vendor.last();
    assert_eq!(seen.target, "/south/rooms/88/talk?realm=south&none=hello");
    assert_eq!(seen.body, r#"{"room":88,"depth":9,"note":"3/88"}"#);
    assert_eq!(keys(&seen), [Some(KEY.to_owned()), None, None]);
}

#[tokio::test]
async fn an_owners_call_is_answered_as_the_profile_writes_it() {
    let (vendor, gateway) = scene();
    let list = |bot: &str| gateway.call(Method::GET, &format!("/p/bots/{bot}/rooms?page=2&ticket=x&pass=y"));

    let (status, answer) = read(list("third").bearer_auth(gateway.owner.expose()).send().await.unwrap()).await;

    assert_eq!((status, &answer["kind"], &answer["rooms"]), (200, &json!("rooms"), &json!([77])));
    assert_eq!(answer["next"], format!("{PUBLIC_URL}/p/bots"));
    let seen = vendor.last();
    assert_eq!((seen.target.as_str(), header(&seen, "x-other")), ("/south/bots/3?page=2", Some(KEY)));
    assert!(!seen.contains("ksc_"));
    for (secret, status) in [(gateway.stranger.expose(), 403), (KEY, 401)] {
        assert_eq!(list("3").bearer_auth(secret).send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn who_the_visitor_is_is_told_to_the_vendor_as_the_profile_says() {
    let (vendor, gateway) = scene();
    let session = gateway.mint("support").await;
    let wish = json!({
        "token": session.token, "meta": {"a": 1}, "contact": {"name": "Jo", "email": "jo@example.com", "phone": "+4930123456"},
    });
    let call = gateway.post(&format!("/v1/sessions/{}/contact", session.id)).bearer_auth(gateway.owner.expose());

    let (status, answer) = read(call.json(&wish).send().await.unwrap()).await;

    assert_eq!(status, 200, "{answer}");
    let seen = vendor.last();
    assert_eq!(seen.target, "/north/rooms/77/person");
    assert_eq!((header(&seen, "x-parley-key"), header(&seen, "x-behalf")), (Some(KEY), Some("for jo@example.com")));
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body, json!({"person": wish["contact"], "phone": "+4930123456", "data": {"a": 1}}));
    // From then on calls tell it, too.
    let say = gateway.post("/p/rooms/77/say").json(&json!({"pass": answer["token"], "who": "x"}));
    assert_eq!(say.send().await.unwrap().status(), 200);
    let body: Value = serde_json::from_slice(&vendor.last().body).unwrap();
    assert_eq!((&body["who"], header(&vendor.last(), "x-behalf")), (&wish["contact"], Some("for jo@example.com")));
}

#[tokio::test]
async fn whom_a_page_claims_to_be_is_in_no_header() {
    let (vendor, gateway) = scene();
    let body = json!({"person": {"name": "Jo", "email": "victim@example.com"}});
    let call = gateway.post("/p/rooms?b=support").header("origin", PAGE).json(&body);

    let (status, room) = read(call.send().await.unwrap()).await;

    assert_eq!((status, &room["who"]), (202, &json!("Jo")));
    assert_eq!(header(&vendor.last(), "x-behalf"), None);
    let say = gateway.post("/p/rooms/77/say").header("origin", PAGE).json(&json!({"pass": room["pass"]}));
    assert_eq!(say.send().await.unwrap().status(), 200);
    assert_eq!(header(&vendor.last(), "x-behalf"), None);
}

/// What is wrong with a configuration of these sections, in which the profile of Parley is a file.
fn problems(profile: &str, sections: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("parley.toml"), profile).unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{PUBLIC_URL}\"\n[tokens]\nkeys = \"signing\"\n[clients.website]\nsecret_sha256 \
         = \"{}\"\n{sections}",
        "ab".repeat(32)
    );
    let environment = Environment::given(folder.path(), [("KEY", KEY), ("OTHER_KEY", OTHER_KEY)]);
    config::parse("test", &text, &environment).err().map_or_else(String::new, |error| error.to_string())
}

fn vendor(name: &str, profile: &str, lines: &str) -> String {
    format!(
        "[vendors.{name}]\nprofile = \"{profile}\"\nbase_url = \"https://{name}.example.com\"\nkeys = [{{ env = \"KEY\" }}]\n{lines}\n"
    )
}

fn bot(name: &str, vendor: &str, id: &str, lines: &str) -> String {
    format!(
        "[bots.{name}]\nvendor = \"{vendor}\"\nvendor_id = \"{id}\"\nvisibility = \"private\"\nowners = [\"website\"]\n{lines}\n"
    )
}

#[test]
fn an_option_that_must_be_given_is_asked_for_where_it_is_missing() {
    let parley = vendor("parley", "./parley.toml", "");
    let profile = &PROFILE.replace("/room/{option.realm}/id", "/room/id");
    let told = problems(profile, &format!("{parley}{}", bot("one", "parley", "1", "")));
    assert!(told.contains("needs `realm`: here, or in [vendors.parley.options]"), "{told}");
    let given = bot("one", "parley", "1", "options = { realm = \"north\" }");
    assert_eq!(problems(profile, &format!("{parley}{given}")), "");
}

#[test]
fn a_bots_own_options_do_not_move_the_place_of_a_credential() {
    let moved = PROFILE
        .replace("[options]", "[options]\nslot = { default = \"ticket\" }")
        .replace("query ticket", "query {option.slot}");
    let sections = |options: &str| {
        let parley = vendor("parley", "./parley.toml", "options = { realm = \"north\", slot = \"t\" }");
        format!("{parley}{}", bot("one", "parley", "1", options))
    };
    assert_eq!(problems(&moved, &sections("options = { depth = 1 }")), "");
    let told = problems(&moved, &sections("options = { slot = \"other\" }"));
    assert!(told.contains("bots.one.options") && told.contains("before the bot is known"), "{told}");
}

#[test]
fn the_five_vendors_stand_at_the_root_of_one_gateway() {
    let five = ["aichatbothub", "chatbotkit", "genesys", "hottask", "superseek"];
    let sections: String =
        five.iter().map(|name| vendor(name, name, "") + &bot(&format!("of-{name}"), name, "1", "")).collect();
    assert_eq!(problems("", &sections), "");
    let others: String = ["directline", "openai"].iter().map(|name| vendor(name, name, "")).collect();
    assert!(problems("", &format!("{sections}{others}")).is_empty());
}

#[tokio::test]
async fn one_gateway_answers_the_session_calls_of_five_vendors() {
    let ids = json!({
        "uuid": "u-1", "conversationId": "c-1", "token": VENDOR_TOKEN, "sessionId": "g-1", "Success": true,
        "Data": {"SessionID": 5},
    });
    let answer = ids.to_string();
    let theirs = TestVendor::answering(move |seen| match seen.target.starts_with("/session-id") {
        true => whole(200, "text/plain", "s-1"),
        false => whole(200, "application/json", answer.clone()),
    });
    let others: String = ["aichatbothub", "genesys", "hottask", "superseek"]
        .iter()
        .map(|name| {
            let vendor = vendor(name, name, "").replace(&format!("https://{name}.example.com"), &theirs.url);
            vendor + &bot(&format!("of-{name}"), name, "1", "")
        })
        .collect();
    let gateway = TestGateway::built_in(&theirs, "chatbotkit").sections(&others).start();
    let secret = gateway.owner.expose();
    let url = |path: &str| format!("{}{path}", gateway.url);
    let client = &gateway.client;
    for (call, session) in [
        (client.post(url("/api/v1/chatbot/1/session/create")).bearer_auth(secret), "u-1"),
        (client.post(url("/api/v1/bot/bot_1/session/create")).bearer_auth(secret), "c-1"),
        (client.put(url("/sessions/new")).bearer_auth(secret), "g-1"),
        (
            client
                .post(url("/chat/Chatbot/GetSession"))
                .header("authorization", secret)
                .json(&json!({"serialNumber": "1"})),
            "5",
        ),
        (client.get(url(&format!("/session-id?bot_id=1&api_key={secret}"))), "s-1"),
    ] {
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{session}");
        let token = answer.headers()["keystile-token"].to_str().unwrap().to_owned();
        assert_eq!(claims(&token)["cid"], session);
        // It is a token of that vendor's and of no other's.
        let path = if session == "5" { "/qa" } else { "/chat/Chat/ClientAsk" };
        let elsewhere = client.post(url(path)).bearer_auth(token).json(&json!({"question": "hi", "content": "hi"}));
        assert_eq!(elsewhere.send().await.unwrap().status(), 403, "{session}");
    }
    assert_eq!(theirs.seen().len(), 5);
    let (status, code) =
        refusal(client.get(url("/session-id?bot_id=of-hottask")).bearer_auth(secret).send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (404, "unknown_bot"), "a name is looked for within its vendor");
}

#[test]
fn names_and_ids_share_one_name_space_within_a_vendor_and_not_beyond() {
    let two = vendor("hub", "aichatbothub", "") + &vendor("ask", "hottask", "");
    let pair = |second: String| problems("", &format!("{two}{}{second}", bot("one", "hub", "1", "")));
    for second in [bot("two", "hub", "1", ""), bot("two", "hub", "one", ""), bot("1", "hub", "2", "")] {
        assert!(pair(second).contains("shares a name or vendor_id with bots.one"));
    }
    assert_eq!(pair(bot("two", "ask", "1", "")), "");
    assert_eq!(pair(bot("two", "ask", "one", "")), "");
    assert_eq!(pair(bot("1", "ask", "2", "")), "");
}
