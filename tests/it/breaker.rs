//! A vendor that does not answer is left alone for a while, and nobody waits for it meanwhile.

use keystile::clock::Clock;
use reqwest::{Method, Response};
use tokio::io::AsyncReadExt;

use crate::support::gateway::{KEY, PAGE, Session, TestGateway, refusal};
use crate::support::ports::free_address;
use crate::support::until;
use crate::support::vendor::TestVendor;
use crate::support::wire;

const UNLIMITED: &str =
    r#"limits = { streams = "off", per_session = "off", per_bot = "100000/1s", mint_per_ip = "100000/1s" }"#;

async fn read(gateway: &TestGateway, session: &Session) -> Response {
    gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap()
}

/// A vendor that is gone, and the address at which it was.
fn nobody() -> (String, u16) {
    let port = free_address().port();
    (format!("base_url = \"http://127.0.0.1:{port}\""), port)
}

#[tokio::test]
async fn a_vendor_that_cannot_be_reached_is_503_at_once_and_comes_back_by_itself() {
    let (_, port) = nobody();
    let away = TestVendor::at(format!("http://127.0.0.1:{port}"));
    let gateway = TestGateway::in_front_of(&away).bot(UNLIMITED).start();
    let session = gateway.mint("support").await;
    for _ in 0..5 {
        assert_eq!(refusal(read(&gateway, &session).await).await, (502, "vendor_unreachable".to_owned()));
    }

    let refused = read(&gateway, &session).await;
    assert!(["1", "2"].contains(&refused.headers()["retry-after"].to_str().unwrap()), "{refused:?}");
    assert_eq!(refusal(refused).await, (503, "vendor_unavailable".to_owned()));

    // It comes back at the same address.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while wire::next_message(&mut stream).await.is_some() {
                    wire::write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                }
            });
        }
    });
    until("it is tried again", async || (read(&gateway, &session).await.status() == 200).then_some(())).await;
    assert_eq!(read(&gateway, &session).await.status(), 200, "and then for all");
}

#[tokio::test]
async fn a_vendor_that_hangs_is_left_alone_only_if_several_visitors_find_it_so() {
    let mute = TestVendor::raw(|_, mut stream| async move {
        let _until_it_goes = stream.read_to_end(&mut Vec::new()).await;
    });
    let gateway = TestGateway::in_front_of(&mute).vendor("timeouts = { header = \"100ms\" }").bot(UNLIMITED).start();
    let session = gateway.mint("support").await;
    for _ in 0..8 {
        assert_eq!(refusal(read(&gateway, &session).await).await, (504, "vendor_timeout".to_owned()));
    }
    for _ in 0..4 {
        let other = gateway.mint("support").await;
        assert_eq!(refusal(read(&gateway, &other).await).await, (504, "vendor_timeout".to_owned()));
    }
    assert_eq!(refusal(read(&gateway, &session).await).await, (503, "vendor_unavailable".to_owned()));
}

#[tokio::test]
async fn another_vendor_goes_on_and_the_gateway_stays_ready_and_says_which_does_not_answer() {
    let (line, _) = nobody();
    let good = TestVendor::echo();
    let dead = format!(
        "[vendors.dead]\nprofile = \"openai\"\n{line}\nmount = \"/dead\"\nkeys = [{{ env = \"OTHER_KEY\" }}]\n\
         [bots.lost]\nvendor = \"dead\"\nvendor_id = \"m\"\nvisibility = \"private\"\nowners = [\"website\"]\n{UNLIMITED}\n"
    );
    let gateway = TestGateway::in_front_of(&good).sections(&dead).admin("listen = \"127.0.0.1:0\"").start();
    let (session, lost) = (gateway.mint("support").await, gateway.mint("lost").await);
    let call = || {
        let call = gateway.post("/dead/v1/chat/completions").bearer_auth(&lost.token);
        let call = call.json(&serde_json::json!({"messages": []}));
        async { call.send().await.unwrap().status().as_u16() }
    };
    let mut told = Vec::new();
    for _ in 0..6 {
        told.push(call().await);
    }
    assert_eq!(told, [502, 502, 502, 502, 502, 503]);

    let echo = gateway.post("/echo").bearer_auth(&session.token).body("still").send().await.unwrap();
    assert_eq!(echo.text().await.unwrap(), "still");
    let ready = format!("{}/readyz", gateway.admin.as_deref().unwrap());
    let ready = gateway.client.get(ready).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    let text = ready.text().await.unwrap();
    assert!(text.contains("vendor dead does not answer") && !text.contains(KEY), "{text}");
}

#[tokio::test]
async fn a_page_that_opens_session_after_session_stops_no_vendor() {
    let mute = TestVendor::raw(|_, mut stream| async move {
        let _until_it_goes = stream.read_to_end(&mut Vec::new()).await;
    });
    let gateway = TestGateway::in_front_of(&mute).vendor("timeouts = { header = \"100ms\" }").bot(UNLIMITED).start();
    for _ in 0..8 {
        let opened = gateway.post("/v1/bots/support/sessions").header("origin", PAGE).json(&serde_json::json!({}));
        let opened: serde_json::Value = opened.send().await.unwrap().json().await.unwrap();
        let call = gateway.call(Method::GET, "/read").bearer_auth(opened["token"].as_str().unwrap());
        let answer = call.header("origin", PAGE).send().await.unwrap();
        assert_eq!(refusal(answer).await, (504, "vendor_timeout".to_owned()), "it is one visitor");
    }
}

#[tokio::test]
async fn a_page_that_renews_session_after_session_stops_no_vendor() {
    let vendor = TestVendor::raw(|_, mut stream| async move {
        let ends = Clock::system().now().millis() + 3_600_000;
        let body = format!("{{\"conversationId\":\"conv_1\",\"token\":\"vt-0123456789abcdef\",\"expiresAt\":{ends}}}");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
        let answer = format!("{head} {}\r\n\r\n{body}", body.len());
        while wire::next_message(&mut stream).await.is_some_and(|call| call.contains("/bot/")) {
            wire::write(&mut stream, &answer).await;
        }
        // To a call that renews it says nothing.
        let _until_it_goes = stream.read_to_end(&mut Vec::new()).await;
    });
    let gateway = TestGateway::built_in(&vendor, "chatbotkit");
    let gateway = gateway.vendor("timeouts = { header = \"200ms\" }").bot(UNLIMITED).start();
    for _ in 0..8 {
        let opened = gateway.post("/v1/bots/support/sessions").header("origin", PAGE).json(&serde_json::json!({}));
        let opened: serde_json::Value = opened.send().await.unwrap().json().await.unwrap();
        let renew = gateway.post(&format!("/v1/sessions/{}/renew", opened["sessionId"].as_str().unwrap()));
        let renew = renew.bearer_auth(opened["token"].as_str().unwrap()).header("origin", PAGE);
        let answer = renew.json(&serde_json::json!({"durationInSeconds": 7200})).send().await.unwrap();
        assert_eq!(refusal(answer).await, (504, "vendor_timeout".to_owned()), "it is one visitor");
    }
}
