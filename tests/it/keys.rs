//! Several keys of one vendor: spread, set aside by what the profile marks, and all used up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Response;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::gateway::{KEY, OTHER_KEY, TestGateway, refusal};
use crate::support::vendor::{Answer, TestVendor, whole};
use crate::support::wire;

const PROFILE: &str = r#"
title = "Keys"

[open]
call       = "POST /open"
set.header = { Authorization = "Bearer {key}" }
session    = "/id"
failure    = { when = "/ok", code = "/code", message = "/message" }

[[route]]
call       = "POST /say"
set.header = { Authorization = "Bearer {key}" }
allow      = { header = [], body = ["text"] }

[error]
json = { message = "{message}", code = "{code}" }
key  = [401, 403, 429]
"#;

/// What a vendor answers to a key.
#[derive(Clone, Copy)]
enum Mood {
    Good,
    Status(u16),
    /// A 429 with this `Retry-After`.
    Wait(&'static str),
    /// The same with a date.
    Until(SystemTime),
    /// This code inside of a 200.
    Inside(u16),
}

/// A vendor with a mood for each of the two keys.
fn vendor(moods: &Arc<Mutex<[Mood; 2]>>) -> TestVendor {
    let (moods, count) = (Arc::clone(moods), AtomicUsize::new(0));
    TestVendor::answering(move |seen| {
        let place = usize::from(seen.headers["authorization"] != format!("Bearer {KEY}").as_str());
        let good = json!({"ok": true, "id": format!("s{}", count.fetch_add(1, Ordering::Relaxed))});
        match moods.lock()[place] {
            Mood::Good => whole(200, "application/json", good.to_string()),
            Mood::Status(status) => whole(status, "application/json", json!({"message": KEY}).to_string()),
            Mood::Wait(wait) => waiting(wait),
            Mood::Until(when) => waiting(&httpdate::fmt_http_date(when)),
            Mood::Inside(code) => {
                whole(200, "application/json", json!({"ok": false, "code": code, "message": "no"}).to_string())
            }
        }
    })
}

fn waiting(wait: &str) -> Answer {
    let body = http_body_util::Empty::new().boxed();
    Response::builder().status(429).header("retry-after", wait).body(body).unwrap()
}

fn start(first: Mood, second: Mood) -> (Arc<Mutex<[Mood; 2]>>, TestVendor, TestGateway) {
    let moods = Arc::new(Mutex::new([first, second]));
    let vendor = vendor(&moods);
    let sections = two(&vendor.url, "");
    let gateway = TestGateway::with_profile(&vendor, PROFILE).sections(&sections).start();
    (moods, vendor, gateway)
}

/// The vendor with both keys, and its bot.
fn two(url: &str, more: &str) -> String {
    format!(
        r#"
[vendors.two]
profile = "./plain.toml"
base_url = "{url}"
mount = "/two"
keys = [{{ env = "KEY" }}, {{ env = "OTHER_KEY" }}]
{more}
[bots.two]
vendor = "two"
vendor_id = "bot_9"
visibility = "private"
owners = ["website"]
"#
    )
}

/// How many calls came with each key.
fn used(vendor: &TestVendor) -> [usize; 2] {
    let seen = vendor.seen();
    [KEY, OTHER_KEY]
        .map(|key| seen.iter().filter(|seen| seen.headers["authorization"] == format!("Bearer {key}").as_str()).count())
}

async fn say(gateway: &TestGateway, token: &str) -> u16 {
    let call = gateway.post("/two/say").bearer_auth(token).json(&json!({"text": "x"}));
    call.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn sessions_are_spread_and_stay_with_the_key_that_opened_them() {
    let (_, vendor, gateway) = start(Mood::Good, Mood::Good);

    for _ in 0..4 {
        let token = gateway.mint("two").await.token;
        let opened = vendor.last().headers["authorization"].clone();
        assert_eq!(say(&gateway, &token).await, 200);
        assert_eq!(vendor.last().headers["authorization"], opened);
    }

    assert_eq!(used(&vendor), [4, 4]);
}

#[tokio::test]
async fn an_opening_goes_on_with_the_next_key_and_the_refused_one_is_left_alone_until_its_time_is_over() {
    for (mood, wait) in
        [(Mood::Status(401), 60), (Mood::Wait("90"), 90), (Mood::Inside(429), 60), (Mood::Inside(401), 60)]
    {
        let (moods, vendor, gateway) = start(mood, Mood::Good);

        for _ in 0..3 {
            gateway.mint("two").await;
        }
        assert_eq!(used(&vendor), [1, 3], "asked once, and then left alone");

        moods.lock()[0] = Mood::Good;
        gateway.clock.advance(Duration::from_secs(wait - 1));
        gateway.mint("two").await;
        assert_eq!(used(&vendor)[0], 1);
        gateway.clock.advance(Duration::from_secs(1));
        gateway.mint("two").await;
        gateway.mint("two").await;
        assert_eq!(used(&vendor)[0], 2, "and back after {wait} s");
    }
}

#[tokio::test]
async fn a_403_sets_a_key_aside_only_after_three_sessions_and_never_the_last_one() {
    let (_, vendor, gateway) = start(Mood::Status(403), Mood::Good);
    for _ in 0..8 {
        gateway.mint("two").await;
    }
    assert_eq!(used(&vendor)[0], 3);

    let (_, vendor, gateway) = start(Mood::Status(403), Mood::Status(403));
    for _ in 0..6 {
        assert_eq!(gateway.ask("two", json!({})).await.status(), 503);
    }
    assert!(used(&vendor).into_iter().max() == Some(6), "the last one is always asked: {:?}", used(&vendor));
}

#[tokio::test]
async fn all_keys_used_up_is_an_error_of_its_own_that_says_when_to_come_back() {
    let (_, vendor, gateway) = start(Mood::Wait("300"), Mood::Wait("120"));

    let answer = gateway.ask("two", json!({})).await;
    assert_eq!(answer.headers()["retry-after"], "120");
    assert_eq!(refusal(answer).await, (503, "vendor_keys_exhausted".to_owned()));
    gateway.clock.advance(Duration::from_secs(20));
    let answer = gateway.ask("two", json!({})).await;
    assert_eq!(answer.headers()["retry-after"], "100");
    assert_eq!(used(&vendor), [1, 1], "nobody is asked meanwhile");
}

#[tokio::test]
async fn a_conversation_call_is_never_repeated_but_its_answer_sets_the_key_aside() {
    let (moods, vendor, gateway) = start(Mood::Good, Mood::Good);
    let tokens = [gateway.mint("two").await.token, gateway.mint("two").await.token];
    moods.lock()[0] = Mood::Wait("90");

    assert_eq!(say(&gateway, &tokens[0]).await, 429, "it is the caller's to know");
    assert_eq!((used(&vendor), say(&gateway, &tokens[1]).await), ([2, 1], 200));
    for _ in 0..2 {
        gateway.mint("two").await;
    }
    assert_eq!(used(&vendor), [2, 4], "new sessions go elsewhere");
    assert_eq!(say(&gateway, &tokens[0]).await, 429, "and the old one stays where it is");
    assert_eq!(used(&vendor), [3, 4]);
}

#[tokio::test]
async fn what_is_not_about_the_key_never_fails_over() {
    for status in [400, 404, 500, 503] {
        let (_, vendor, gateway) = start(Mood::Status(status), Mood::Status(status));
        let answer = gateway.ask("two", json!({})).await;
        let text = answer.text().await.unwrap();
        assert!(text.contains("vendor_failed") && !text.contains(KEY), "{text}");
        assert_eq!(used(&vendor).iter().sum::<usize>(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_vendor_that_knows_no_sessions_gets_a_set_aside_keys_session_with_another_key() {
    let (moods, vendor, gateway) = {
        let moods = Arc::new(Mutex::new([Mood::Good, Mood::Good]));
        let vendor = vendor(&moods);
        let (_, without) = PROFILE.split_once("[[route]]").unwrap();
        let profile = format!("title = \"Keys\"\n[[route]]{without}");
        let keys = format!(
            "[vendors.two]\nprofile = \"./plain.toml\"\nbase_url = \"{}\"\nmount = \"/two\"\nkeys = [{{ env = \"KEY\" }}, {{ env = \"OTHER_KEY\" }}]\n\
             [bots.two]\nvendor = \"two\"\nvendor_id = \"m\"\nvisibility = \"private\"\nowners = [\"website\"]\n",
            vendor.url
        );
        let gateway = TestGateway::with_profile(&vendor, &profile).sections(&keys).start();
        (moods, vendor, gateway)
    };
    let token = gateway.mint("two").await.token;
    moods.lock()[0] = Mood::Status(401);

    assert_eq!(say(&gateway, &token).await, 502, "the refusal itself is told");
    assert_eq!(say(&gateway, &token).await, 200);
    assert_eq!(used(&vendor), [1, 1]);
}

#[tokio::test]
async fn the_vendors_own_code_and_words_are_told_without_its_key() {
    let vendor = TestVendor::answering(|_| {
        let said = json!({"ok": false, "code": "E-17", "message": format!("no bot for {KEY}")});
        whole(200, "application/json", said.to_string())
    });
    let accept = "[accept]\ncall = \"POST /open/{bot}\"\nreply.json = { id = \"{session}\" }\n\n[[route]]";
    let gateway = TestGateway::with_profile(&vendor, &PROFILE.replacen("[[route]]", accept, 1)).start();

    let answer = gateway.post("/open/bot_1").bearer_auth(gateway.owner.expose()).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert!(!answer.headers().contains_key("keystile-token"));
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body, json!({"message": format!("no bot for {}", "*".repeat(KEY.len())), "code": "E-17"}));

    let native: Value = gateway.ask("support", json!({})).await.json().await.unwrap();
    assert_eq!(native["code"], "vendor_failed");
    assert!(native["detail"].as_str().unwrap().starts_with("the vendor could not open a session: no bot for **"));
}

#[tokio::test]
async fn an_opening_that_fails_is_a_502_with_a_code_and_leaves_nothing() {
    const INTEGER: &str = "session    = \"/id\"\nsession_type = \"integer\"";
    let html = "<html>sorry</html>";
    for (profile, body) in [
        (PROFILE.to_owned(), html.to_owned()),
        (PROFILE.to_owned(), String::new()),
        (PROFILE.to_owned(), "{\"ok\":true,\"id\":".to_owned()),
        (PROFILE.to_owned(), json!({"ok": true}).to_string()),
        (PROFILE.to_owned(), json!({"ok": true, "id": ""}).to_string()),
        (PROFILE.to_owned(), json!({"ok": true, "id": 7}).to_string()),
        (PROFILE.to_owned(), json!({"ok": true, "id": KEY}).to_string()),
        (PROFILE.to_owned(), json!({"ok": "yes", "id": "a"}).to_string()),
        (PROFILE.to_owned(), json!({"ok": true, "id": "a", "more": "x".repeat(65_536)}).to_string()),
        (PROFILE.replace("session    = \"/id\"", INTEGER), json!({"ok": true, "id": "7"}).to_string()),
        (PROFILE.replace("session    = \"/id\"", INTEGER), json!({"ok": true, "id": 7.5}).to_string()),
        (PROFILE.replace("\"/id\"", "\"text\""), "Over quota, sorry.".to_owned()),
        (PROFILE.replace("\"/id\"", "\"text\""), html.to_owned()),
        (PROFILE.replace("\"/id\"", "\"text\""), "a".repeat(129)),
    ] {
        let answer_body = body.clone();
        let vendor = TestVendor::answering(move |_| whole(200, "application/json", answer_body.clone()));
        let gateway = TestGateway::with_profile(&vendor, &profile).start();
        let answer = gateway.ask("support", json!({})).await;
        let text = answer.text().await.unwrap();
        assert!(text.contains("\"status\":502") && text.contains("vendor_failed"), "{body}: {text}");
        assert!(!text.contains("eyJ") && !text.contains(KEY), "{text}");
        assert_eq!(vendor.seen().len(), 1, "it is not asked twice: {body}");
        assert!(gateway.records_of(1).await[0]["session"].is_null());
    }
}

#[tokio::test]
async fn a_date_to_wait_for_is_kept_like_seconds() {
    let (moods, vendor, gateway) = start(Mood::Good, Mood::Good);
    let when = UNIX_EPOCH + Duration::from_secs(gateway.clock.now().seconds() + 600);
    moods.lock()[0] = Mood::Until(when);
    for _ in 0..4 {
        gateway.mint("two").await;
    }
    assert_eq!(used(&vendor), [1, 4]);
    gateway.clock.advance(Duration::from_secs(599));
    gateway.mint("two").await;
    assert_eq!(used(&vendor)[0], 1);

    moods.lock()[0] = Mood::Good;
    gateway.clock.advance(Duration::from_secs(1));
    for _ in 0..2 {
        gateway.mint("two").await;
    }
    assert_eq!(used(&vendor)[0], 2);
}

#[tokio::test]
async fn a_straggler_does_not_bring_a_key_back_sooner() {
    let (moods, vendor, gateway) = start(Mood::Good, Mood::Good);
    let tokens = [gateway.mint("two").await.token, gateway.mint("two").await.token];
    moods.lock()[0] = Mood::Wait("900");
    assert_eq!(say(&gateway, &tokens[0]).await, 429);
    // The next answer says nothing of the time: a minute is what is meant then.
    moods.lock()[0] = Mood::Status(429);
    assert_eq!(say(&gateway, &tokens[0]).await, 429);
    let before = used(&vendor)[0];

    gateway.clock.advance(Duration::from_secs(120));
    for _ in 0..3 {
        gateway.mint("two").await;
    }
    assert_eq!(used(&vendor)[0], before);
}

#[tokio::test]
async fn many_openings_at_once_all_succeed_while_one_key_is_refused() {
    for mood in [Mood::Status(401), Mood::Status(403), Mood::Status(429), Mood::Inside(429)] {
        let (_, vendor, gateway) = start(mood, Mood::Good);
        let mut openings = JoinSet::new();
        for _ in 0..40 {
            let call = gateway.post("/v1/bots/two/sessions").bearer_auth(gateway.owner.expose()).json(&json!({}));
            openings.spawn(async move { call.send().await.unwrap().status().as_u16() });
        }
        let statuses = openings.join_all().await;
        assert!(statuses.iter().all(|status| *status == 201), "{statuses:?}");
        assert_eq!(used(&vendor)[1], 40);
    }
}

#[tokio::test]
async fn a_vendor_that_does_not_answer_or_is_away_is_not_asked_with_another_key() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let vendor = TestVendor::raw(move |_, mut stream| {
        let count = Arc::clone(&count);
        async move {
            let call = wire::next_message(&mut stream).await;
            if call.is_some() && count.fetch_add(1, Ordering::SeqCst) == 0 {
                std::future::pending::<()>().await;
            }
        }
    });
    let keys = two(&vendor.url, "timeouts = { header = \"200ms\" }");
    let gateway = TestGateway::with_profile(&vendor, PROFILE).sections(&keys).start();

    assert_eq!(refusal(gateway.ask("two", json!({})).await).await, (504, "vendor_timeout".to_owned()));
    assert_eq!(refusal(gateway.ask("two", json!({})).await).await, (502, "vendor_failed".to_owned()));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_key_whose_rate_is_spent_gets_no_new_session_and_its_calls_do_not_reach_the_vendor() {
    let moods = Arc::new(Mutex::new([Mood::Good, Mood::Good]));
    let vendor = vendor(&moods);
    let mut sections = two(&vendor.url, "limits = { per_key = \"3/1h\" }");
    sections.push_str("limits = { per_bot = \"12/1h\" }");
    let gateway = TestGateway::with_profile(&vendor, PROFILE).sections(&sections).start();
    let tokens = [gateway.mint("two").await.token, gateway.mint("two").await.token];
    assert_eq!([say(&gateway, &tokens[0]).await, say(&gateway, &tokens[0]).await], [200, 200]);
    assert_eq!(used(&vendor), [3, 1]);

    for _ in 0..10 {
        let call = gateway.post("/two/say").bearer_auth(&tokens[0]).json(&json!({"text": "x"}));
        let refused = call.send().await.unwrap();
        let told = ["retry-after", "ratelimit", "ratelimit-policy"].map(|name| refused.headers()[name].clone());
        assert_eq!(told, ["1200", "\"vendor_key\";r=0;t=1200", "\"vendor_key\";q=3;w=3600"]);
        assert_eq!(refusal(refused).await, (429, "rate_limited".to_owned()));
    }
    assert_eq!(say(&gateway, &tokens[1]).await, 200, "the other key is not spent, nor is the bot's rate");
    gateway.mint("two").await;
    assert_eq!(used(&vendor), [3, 3], "new sessions go to the other key");
    let none = gateway.ask("two", json!({})).await;
    assert_eq!(none.headers()["ratelimit-policy"], "\"vendor_key\";q=3;w=3600");
    assert_eq!(refusal(none).await, (429, "rate_limited".to_owned()));
    gateway.clock.advance(Duration::from_secs(1200));
    assert_eq!(say(&gateway, &tokens[0]).await, 200);
}
