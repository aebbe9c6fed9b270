//! How much: each limit refuses what is above it, says when to come back, and takes from nobody else.

use std::time::Duration;

use bytes::Bytes;
use keystile::bot::NewClient;
use keystile::id::Entropy;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::gateway::{PAGE, Session, TestGateway, refusal};
use crate::support::vendor::{TestVendor, streaming};
use crate::support::{eventually, wire};

async fn call(gateway: &TestGateway, session: &Session) -> Response {
    gateway.post("/echo").bearer_auth(&session.token).body("{}").send().await.unwrap()
}

async fn mint_as_page(gateway: &TestGateway) -> Response {
    gateway.post("/v1/bots/support/sessions").header("origin", PAGE).json(&json!({})).send().await.unwrap()
}

fn retry_after(answer: &Response) -> Option<u64> {
    Some(answer.headers().get("retry-after")?.to_str().unwrap().parse().unwrap())
}

async fn code(answer: Response) -> String {
    answer.json::<Value>().await.unwrap()["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn per_session_limits_the_calls_of_a_session_and_of_no_other() {
    let vendor = TestVendor::echo();
    let limits = r#"limits = { per_session = "2/1m", per_bot = "600/1m", mint_per_ip = "30/1m" }"#;
    let gateway = TestGateway::in_front_of(&vendor).bot(limits).start();
    let (first, other) = (gateway.mint("support").await, gateway.mint("support").await);

    assert_eq!([call(&gateway, &first).await.status(), call(&gateway, &first).await.status()], [200, 200]);
    let refused = call(&gateway, &first).await;

    assert_eq!((refused.status().as_u16(), retry_after(&refused)), (429, Some(30)));
    assert_eq!(code(refused).await, "rate_limited");
    assert_eq!(call(&gateway, &other).await.status(), 200);
    gateway.clock.advance(Duration::from_secs(30));
    assert_eq!(call(&gateway, &first).await.status(), 200);
    assert_eq!(call(&gateway, &first).await.status(), 429);
    assert_eq!(vendor.seen().len(), 4, "what is refused does not reach the vendor");
}

#[tokio::test]
async fn what_a_session_wastes_is_not_taken_from_the_others_of_its_bot() {
    let vendor = TestVendor::echo();
    let limits = r#"limits = { per_session = "2/1m", per_bot = "8/1m", mint_per_ip = "30/1m" }"#;
    let gateway = TestGateway::in_front_of(&vendor).bot(limits).start();
    let (greedy, other) = (gateway.mint("support").await, gateway.mint("support").await);

    for _ in 0..20 {
        call(&gateway, &greedy).await;
    }

    assert_eq!([call(&gateway, &other).await.status(), call(&gateway, &other).await.status()], [200, 200]);
}

#[tokio::test]
async fn per_bot_limits_all_sessions_of_a_bot_and_no_other_bot() {
    let vendor = TestVendor::echo();
    let limits = r#"limits = { per_session = "off", per_bot = "4/1m", mint_per_ip = "30/1m" }"#;
    let gateway = TestGateway::in_front_of(&vendor).bot(limits).start();
    let (first, second, hidden) =
        (gateway.mint("support").await, gateway.mint("support").await, gateway.mint("hidden").await);

    // Two mints have counted already.
    assert_eq!([call(&gateway, &first).await.status(), call(&gateway, &second).await.status()], [200, 200]);
    let refused = call(&gateway, &second).await;

    assert_eq!((refused.status().as_u16(), retry_after(&refused)), (429, Some(15)));
    assert_eq!(call(&gateway, &hidden).await.status(), 200);
    assert_eq!(vendor.seen().len(), 3);
}

#[tokio::test]
async fn mint_per_ip_limits_pages_and_not_owners() {
    let vendor = TestVendor::echo();
    let limits = r#"limits = { mint_per_ip = "2/1m", per_bot = "600/1m" }"#;
    let gateway = TestGateway::in_front_of(&vendor).bot(limits).start();

    assert_eq!([mint_as_page(&gateway).await.status(), mint_as_page(&gateway).await.status()], [201, 201]);
    let refused = mint_as_page(&gateway).await;

    assert_eq!((refused.status().as_u16(), retry_after(&refused)), (429, Some(30)));
    assert_eq!(refused.headers()["access-control-allow-origin"], PAGE, "the page can read why");
    for _ in 0..3 {
        gateway.mint("support").await;
    }
    gateway.clock.advance(Duration::from_secs(30));
    assert_eq!(mint_as_page(&gateway).await.status(), 201);
}

/// Whoever opens the page has the secret, and is one visitor of many.
#[tokio::test]
async fn a_client_whose_secret_is_in_a_page_is_limited_as_a_page_is() {
    let (vendor, widget) = (TestVendor::echo(), NewClient::make("widget", &Entropy::system()));
    let section = format!(
        "[bots.open]\nvendor = \"acme\"\nvendor_id = \"bot_3\"\nvisibility = \"private\"\nowners = [\"widget\"]\norigins = [\"{PAGE}\"]\nlimits = {{ mint_per_ip = \
         \"2/1m\", per_bot = \"600/1m\" }}\n[clients.widget]\nbrowser = true\nsecret_sha256 = \"{}\"",
        widget.secret_sha256
    );
    let gateway = TestGateway::in_front_of(&vendor).sections(&section).start();
    let mint = |body: Value| {
        let call = gateway.post("/v1/bots/open/sessions").bearer_auth(widget.secret.expose());
        call.header("origin", PAGE).json(&body).send()
    };
    let named = mint(json!({"visitorAddress": "192.0.2.1"})).await.unwrap();
    assert_eq!(refusal(named).await, (400, "bad_request".to_owned()), "another's address would pay for it");
    assert_eq!(mint(json!({})).await.unwrap().status(), 201);
    let refused = mint(json!({})).await.unwrap();
    assert_eq!((refused.status().as_u16(), retry_after(&refused)), (429, Some(30)));
}

#[tokio::test]
async fn an_owners_mints_count_for_the_visitors_address_if_it_gives_one() {
    let vendor = TestVendor::echo();
    let limits = r#"limits = { mint_per_ip = "1/1m", per_bot = "600/1m" }"#;
    let gateway = TestGateway::in_front_of(&vendor).bot(limits).start();

    for (address, status) in
        [("192.0.2.1", 201), ("192.0.2.1", 429), ("192.0.2.2", 201), ("2001:db8::1", 201), ("2001:db8::2", 429)]
    {
        let answer = gateway.ask("support", json!({"visitorAddress": address})).await;
        assert_eq!(answer.status(), status, "{address}");
    }
}

#[tokio::test]
async fn a_forged_token_takes_nothing_from_a_session_or_bot() {
    let vendor = TestVendor::echo();
    let limits = r#"limits = { per_session = "2/1m", per_bot = "3/1m", mint_per_ip = "30/1m" }"#;
    let gateway = TestGateway::in_front_of(&vendor).bot(limits).start();
    let session = gateway.mint("support").await;
    let (signed, signature) = session.token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    let forged = Session { token: forged, id: String::new(), conversation: String::new() };

    for _ in 0..10 {
        assert_eq!(call(&gateway, &forged).await.status(), 401);
    }

    assert_eq!([call(&gateway, &session).await.status(), call(&gateway, &session).await.status()], [200, 200]);
}

#[tokio::test]
async fn streams_limits_a_sessions_open_calls_until_one_ends() {
    let (vendor, senders) = streaming("text/event-stream");
    let limits = r#"limits = { streams = 2, per_bot = "600/1m", mint_per_ip = "30/1m" }"#;
    let gateway = TestGateway::in_front_of(&vendor).bot(limits).start();
    let (session, other) = (gateway.mint("support").await, gateway.mint("support").await);
    let open =
        async |session: &Session| gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();

    let (left, ended) = (open(&session).await, open(&session).await);
    let refused = open(&session).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(code(refused).await, "too_many_streams");
    assert_eq!(open(&other).await.status(), 200, "another session has its own");
    assert_eq!(senders.lock().len(), 3);

    // One place comes back when a client leaves, one when the vendor ends.
    drop(left);
    senders.lock().remove(1);
    assert_eq!(ended.text().await.unwrap(), "");
    let first = senders.lock()[0].clone();
    eventually("the end of the call that was left", || first.is_closed()).await;
    let again = [open(&session).await, open(&session).await];
    assert!(again.iter().all(|answer| answer.status() == 200));
    assert_eq!(open(&session).await.status(), 429);
    assert_eq!(vendor.seen().len(), 5);
}

#[tokio::test]
async fn an_expired_stream_gives_its_place_back() {
    let (vendor, senders) = streaming("text/event-stream");
    let limits = r#"limits = { streams = 1, per_bot = "600/1m", mint_per_ip = "30/1m" }"#;
    let gateway = TestGateway::in_front_of(&vendor).bot(limits).start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(Duration::from_millis(3_599_900));

    let open = async || gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();
    assert!(open().await.text().await.unwrap().contains("token_expired"));

    // The clock stands still by hand: the token is as good as before.
    assert_eq!(open().await.status(), 200);
    assert_eq!(senders.lock().len(), 2);
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test]
async fn body_limits_what_is_read_whole_with_and_without_a_length() {
    let vendor = TestVendor::echo();
    let limits = r#"limits = { body = "1KiB", per_bot = "600/1m", mint_per_ip = "30/1m" }"#;
    let gateway = TestGateway::in_front_of(&vendor).bot(limits).start();
    let session = gateway.mint("support").await;
    let path = format!("/sessions/{}/say", session.id);
    let body = |length: usize| format!(r#"{{"text":"{}"}}"#, "x".repeat(length - 11));

    for (length, status) in [(1024, 200), (1025, 413), (1 << 20, 413)] {
        let post = || gateway.post(&path).bearer_auth(&session.token).header("content-type", "application/json");
        assert_eq!(post().body(body(length)).send().await.unwrap().status(), status, "{length}, told");
        let parts: Vec<_> = body(length)
            .into_bytes()
            .chunks(100)
            .map(|part| Ok::<_, std::io::Error>(Bytes::copy_from_slice(part)))
            .collect();
        let streamed = reqwest::Body::wrap_stream(futures_util::stream::iter(parts));
        let answer = wire_status(post().body(streamed).send().await);
        assert!(answer.is_none_or(|answer| answer == status), "{length}, not told: {answer:?}");
    }
    assert_eq!(vendor.seen().len(), 2);
}

/// The status, or nothing where the client was still sending when the gateway closed.
fn wire_status(answer: reqwest::Result<Response>) -> Option<u16> {
    answer.ok().map(|answer| answer.status().as_u16())
}

#[tokio::test]
async fn a_body_that_says_it_is_too_long_is_refused_before_it_comes() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let headers = ["content-type: application/json", "content-length: 262145"];

    let mut client =
        wire::send(&gateway, wire::head(&session, &format!("POST /sessions/{}/say", session.id), &headers)).await;

    let answer = wire::read_until(&mut client, "body_too_large").await;
    assert_eq!(wire::status(&answer), 413);
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn upload_limits_what_streams_with_and_without_a_length() {
    let vendor = TestVendor::echo();
    let limits = r#"limits = { upload = "1KiB", per_bot = "600/1m", mint_per_ip = "30/1m" }"#;
    let gateway = TestGateway::in_front_of(&vendor).bot(limits).start();
    let session = gateway.mint("support").await;
    let post = |body: String| gateway.post("/echo").bearer_auth(&session.token).body(body).send();

    assert_eq!(post("x".repeat(1024)).await.unwrap().status(), 200);
    assert_eq!(post("x".repeat(1025)).await.unwrap().status(), 413);
    let mut client = wire::send(&gateway, wire::head(&session, "POST /echo", &["transfer-encoding: chunked"])).await;
    client.write_all(format!("401\r\n{}\r\n", "x".repeat(1025)).as_bytes()).await.unwrap();

    let answer = wire::read_until(&mut client, "body_too_large").await;
    assert_eq!(wire::status(&answer), 413, "{answer}");
    assert_eq!(vendor.seen().len(), 1, "a body that broke off is no call");
}

#[tokio::test]
async fn uploads_are_not_bounded_by_the_body_limit() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let answer = gateway.post("/echo").bearer_auth(&session.token).body(vec![b'x'; 3 << 20]).send().await.unwrap();

    assert_eq!(answer.bytes().await.unwrap().len(), 3 << 20);
}
