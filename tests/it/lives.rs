//! A session's life: seen, listed, renewed, ended, by those who may; and what ends with it.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use http::{Method, StatusCode};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::eventually;
use crate::support::fleet::Fleet;
use crate::support::gateway::{PAGE, Session, TestGateway, claims, refusal};
use crate::support::redis::TestRedis;
use crate::support::vendor::{TestVendor, streamed, whole};

const HOUR: Duration = Duration::from_secs(3600);

async fn send(gateway: &TestGateway, method: Method, path: &str, credential: &str) -> Response {
    gateway.call(method, path).bearer_auth(credential).send().await.unwrap()
}

async fn json_of(answer: Response) -> Value {
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    answer.json().await.unwrap()
}

/// What a conversation call with this token is answered.
async fn call(gateway: &TestGateway, session: &Session, token: &str) -> (u16, String) {
    let path = format!("/api/v1/conversation/{}/message/list", session.conversation);
    let answer = send(gateway, Method::GET, &path, token).await;
    if answer.status().is_success() { (200, String::new()) } else { refusal(answer).await }
}

fn says(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn path(session: &Session) -> String {
    format!("/v1/sessions/{}", session.id)
}

#[tokio::test]
async fn a_session_is_seen_by_its_bearer_and_by_an_owner_of_its_bot() {
    let gateway = TestGateway::chatbotkit().start();
    let session = gateway.mint_with("support", json!({"contact": {"email": "Ada@example.com"}})).await;
    let other = gateway.mint("support").await;

    let by_bearer = json_of(send(&gateway, Method::GET, &path(&session), &session.token).await).await;
    let by_owner = json_of(send(&gateway, Method::GET, &path(&session), gateway.owner.expose()).await).await;

    assert_eq!(by_bearer, by_owner);
    assert_eq!(by_bearer["sessionId"], json!(session.id));
    assert_eq!(by_bearer["conversationId"], json!(session.conversation));
    assert_eq!(by_bearer["contact"], json!({"email": "Ada@example.com"}));
    assert_eq!((&by_bearer["contactSource"], &by_bearer["state"]), (&json!("asserted"), &json!("open")));
    assert_eq!(by_bearer["subject"], claims(&session.token)["sub"]);
    let text = by_bearer.to_string();
    assert!(!text.contains("token") && !text.contains("bnd"), "{text}");

    let stranger = send(&gateway, Method::GET, &path(&session), gateway.stranger.expose()).await;
    assert_eq!(refusal(stranger).await, says(404, "not_found"));
    let elsewhere = send(&gateway, Method::GET, &path(&session), &other.token).await;
    assert_eq!(refusal(elsewhere).await, says(403, "wrong_session"));
    let nobody = gateway.call(Method::GET, &path(&session)).send().await.unwrap();
    assert_eq!(refusal(nobody).await, says(401, "credential_required"));
    let nothing = send(&gateway, Method::GET, "/v1/sessions/none", gateway.owner.expose()).await;
    assert_eq!(refusal(nothing).await, says(404, "not_found"));
}

#[tokio::test]
async fn a_token_names_its_session_by_either_id_and_an_owner_by_the_sessions_alone() {
    let gateway = TestGateway::chatbotkit().start();
    let session = gateway.mint("support").await;
    assert_ne!(session.id, session.conversation);
    let conversation = format!("/v1/sessions/{}", session.conversation);

    let shown = json_of(send(&gateway, Method::GET, &conversation, &session.token).await).await;
    assert_eq!(shown["sessionId"], json!(session.id));
    let renewed = send(&gateway, Method::POST, &format!("{conversation}/renew"), &session.token).await;
    assert_eq!(renewed.status(), 200);
    let wish = json!({"token": session.token, "contact": {"name": "Ada"}, "keepPrevious": true});
    let named = gateway.post(&format!("{conversation}/contact")).bearer_auth(gateway.owner.expose()).json(&wish);
    assert_eq!(named.send().await.unwrap().status(), 200);
    for method in [Method::GET, Method::DELETE] {
        let by_owner = send(&gateway, method, &conversation, gateway.owner.expose()).await;
        assert_eq!(refusal(by_owner).await, says(404, "not_found"));
    }
    assert_eq!(send(&gateway, Method::DELETE, &conversation, &session.token).await.status(), 204);
    assert_eq!(call(&gateway, &session, &session.token).await, says(401, "NOT_AUTHENTICATED"));
}

#[tokio::test]
async fn an_owner_lists_the_sessions_of_its_bots_page_by_page() {
    let gateway = TestGateway::chatbotkit().start();
    let mut opened = Vec::new();
    for number in 0..5 {
        let bot = if number == 3 { "hidden" } else { "support" };
        let contact = format!("visitor{number}@example.com");
        opened.push(gateway.mint_with(bot, json!({"contact": {"email": contact}})).await.id);
        gateway.clock.advance(Duration::from_secs(1));
    }
    opened.reverse();
    let list = async |query: &str| {
        json_of(send(&gateway, Method::GET, &format!("/v1/sessions{query}"), gateway.owner.expose()).await).await
    };
    let ids = |page: &Value| {
        let sessions = page["sessions"].as_array().unwrap();
        sessions.iter().map(|session| session["sessionId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };

    let first = list("?limit=2").await;
    assert_eq!(ids(&first), opened[..2]);
    let newer = gateway.mint("support").await;
    let second = list(&format!("?limit=2&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!(ids(&second), opened[2..4], "a session that was opened since moves no page");
    let last = list(&format!("?limit=2&cursor={}", second["next"].as_str().unwrap())).await;
    assert_eq!((ids(&last), &last["next"]), (opened[4..].to_vec(), &Value::Null));

    assert_eq!(ids(&list("?bot=hidden").await), [opened[1].clone()]);
    assert_eq!(ids(&list("?contact=VISITOR0@example.com").await), [opened[4].clone()]);
    let until = list("").await["sessions"][1]["openedAt"].as_u64().unwrap();
    assert_eq!(ids(&list(&format!("?from={}", until + 1)).await), [newer.id]);
    for wrong in ["?limit=0", "?limit=201", "?cursor=x", "?bots=support", "?contact=ada", "?limit=2&limit=3"] {
        let answer = send(&gateway, Method::GET, &format!("/v1/sessions{wrong}"), gateway.owner.expose()).await;
        assert_eq!(refusal(answer).await, says(400, "bad_request"), "{wrong}");
    }
    let answer = send(&gateway, Method::GET, "/v1/sessions?bot=none", gateway.owner.expose()).await;
    assert_eq!(refusal(answer).await, says(404, "unknown_bot"));
    assert_eq!(
        json_of(send(&gateway, Method::GET, "/v1/sessions", gateway.stranger.expose()).await).await["sessions"],
        json!([])
    );
}

#[tokio::test]
async fn a_renewed_token_and_the_one_before_it_live_each_to_their_own_end() {
    let gateway = TestGateway::chatbotkit().start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(HOUR / 2);

    let answer =
        json_of(send(&gateway, Method::POST, &format!("{}/renew", path(&session)), &session.token).await).await;

    let token = answer["token"].as_str().unwrap();
    let (old, new) = (claims(&session.token), claims(token));
    for same in ["sid", "cid", "sub", "auth_time", "bot", "client_id"] {
        assert_eq!(old[same], new[same], "{same}");
    }
    assert_eq!(new["exp"].as_u64().unwrap() - old["exp"].as_u64().unwrap(), 1800);
    assert_ne!(old["jti"], new["jti"]);
    assert_eq!(answer["expiresAt"], json!(new["exp"].as_u64().unwrap() * 1000));
    assert_eq!(call(&gateway, &session, &session.token).await, says(200, ""));
    assert_eq!(call(&gateway, &session, token).await, says(200, ""));
    gateway.clock.advance(HOUR / 2 + Duration::from_secs(10));
    assert_eq!(call(&gateway, &session, &session.token).await.0, 401);
    assert_eq!(call(&gateway, &session, token).await, says(200, ""));
}

#[tokio::test]
async fn a_session_ends_a_day_after_its_opening_however_often_it_is_renewed() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::built_in(&vendor, "openai").bot("ttl = { default = \"12h\", max = \"24h\" }").start();
    let session = gateway.mint("support").await;
    let mut token = session.token.clone();
    for _ in 0..2 {
        gateway.clock.advance(11 * HOUR);
        let answer = send(&gateway, Method::POST, &format!("{}/renew", path(&session)), &token).await;
        token = json_of(answer).await["token"].as_str().unwrap().to_owned();
    }
    let (first, last) = (claims(&session.token), claims(&token));
    assert_eq!(last["exp"].as_u64().unwrap() - first["auth_time"].as_u64().unwrap(), 24 * 3600);
    gateway.clock.advance(2 * HOUR - Duration::from_secs(30));
    let answer = send(&gateway, Method::POST, &format!("{}/renew", path(&session)), &token).await;
    assert_eq!(refusal(answer).await.0, 409);
}

#[tokio::test]
async fn a_renewal_asks_for_what_its_bot_allows() {
    let gateway = TestGateway::chatbotkit().start();
    let session = gateway.mint("support").await;
    let renew =
        |body: Value| gateway.post(&format!("{}/renew", path(&session))).bearer_auth(&session.token).json(&body).send();
    let answer = json_of(renew(json!({"durationInSeconds": 1800})).await.unwrap()).await;
    assert_eq!(answer["expiresIn"], json!(1800));
    for wrong in [json!({"durationInSeconds": 60}), json!({"durationInSeconds": 90_000}), json!({"ttl": 1})] {
        assert_eq!(renew(wrong.clone()).await.unwrap().status(), 400, "{wrong}");
    }
    let owner = send(&gateway, Method::POST, &format!("{}/renew", path(&session)), gateway.owner.expose()).await;
    assert_eq!(refusal(owner).await, says(401, "session_token_required"));
}

#[tokio::test]
async fn an_ended_session_is_refused_and_stays_so() {
    for by_owner in [false, true] {
        let gateway = TestGateway::chatbotkit().start();
        let session = gateway.mint("support").await;
        let renewed = send(&gateway, Method::POST, &format!("{}/renew", path(&session)), &session.token).await;
        let renewed = json_of(renewed).await["token"].as_str().unwrap().to_owned();
        assert_eq!(call(&gateway, &session, &session.token).await, says(200, ""));

        let who = if by_owner { gateway.owner.expose() } else { &session.token };
        assert_eq!(send(&gateway, Method::DELETE, &path(&session), who).await.status(), 204);

        for token in [&session.token, &renewed] {
            assert_eq!(call(&gateway, &session, token).await.0, 401);
            let answer = send(&gateway, Method::POST, &format!("{}/renew", path(&session)), token).await;
            assert_eq!(refusal(answer).await, says(401, "token_revoked"));
        }
        let shown = json_of(send(&gateway, Method::GET, &path(&session), gateway.owner.expose()).await).await;
        assert_eq!((&shown["state"], shown["endedAt"].is_u64()), (&json!("ended"), true));
        let again = send(&gateway, Method::DELETE, &path(&session), gateway.owner.expose()).await;
        assert_eq!(again.status(), 204);
    }
}

#[tokio::test]
async fn all_sessions_of_a_contact_or_a_bot_end_together_and_later_ones_do_not() {
    let (email, phone) = (json!({"email": " ada@example.com"}), json!({"phone": "+44 20 7946 0958"}));
    for (query, contact) in [
        ("contact=ada@example.com", &email),
        ("contact=%20Ada@example.com%20", &email),
        ("contact=%2B44%2020%207946%200958", &phone),
        ("contact=%2B442079460958", &phone),
        ("bot=support", &email),
    ] {
        let gateway = TestGateway::chatbotkit().start();
        let ada = gateway.mint_with("support", json!({"contact": contact})).await;
        let other_bot = gateway.mint_with("hidden", json!({"contact": {"email": "eve@example.com"}})).await;
        assert_eq!(call(&gateway, &ada, &ada.token).await, says(200, ""));
        gateway.clock.advance(Duration::from_secs(2));

        let ended = send(&gateway, Method::DELETE, &format!("/v1/sessions?{query}"), gateway.owner.expose()).await;
        assert!(json_of(ended).await["openedUntil"].is_u64());

        assert_eq!(call(&gateway, &ada, &ada.token).await.0, 401, "{query}");
        assert_eq!(call(&gateway, &other_bot, &other_bot.token).await, says(200, ""), "{query}");
        gateway.clock.advance(Duration::from_secs(2));
        let later = gateway.mint_with("support", json!({"contact": contact})).await;
        assert_eq!(call(&gateway, &later, &later.token).await, says(200, ""), "{query}");
    }
    let gateway = TestGateway::chatbotkit().start();
    for wrong in ["", "?bot=support&contact=a@example.com", "?limit=3", "?contact=ada"] {
        let answer = send(&gateway, Method::DELETE, &format!("/v1/sessions{wrong}"), gateway.owner.expose()).await;
        assert_eq!(refusal(answer).await, says(400, "bad_request"), "{wrong}");
    }
    for nobody in ["@", "%2B1", "ada@example.com%00"] {
        let query = format!("/v1/sessions?contact={nobody}");
        let answer = send(&gateway, Method::DELETE, &query, gateway.owner.expose()).await;
        assert_eq!(refusal(answer).await, says(400, "invalid_contact"), "{nobody}");
    }
    let stranger = send(&gateway, Method::DELETE, "/v1/sessions?bot=support", gateway.stranger.expose()).await;
    assert_eq!(refusal(stranger).await, says(404, "unknown_bot"));
}

#[tokio::test]
async fn a_silent_stream_is_cut_when_its_session_is_ended() {
    // The last is in the middle of an event, and cut there.
    let streams = [("text/event-stream", "data: one\n\n"), ("text/plain", "one"), ("text/event-stream", "data: one")];
    for (media, part) in streams {
        let (answer, sender) = streamed(media);
        let answer = parking_lot::Mutex::new(Some(answer));
        let open =
            json!({"conversationId": "conv_1", "token": "vt-0123456789abcdef", "expiresAt": 4_000_000_000_000_u64});
        let vendor = TestVendor::answering(move |seen| {
            if seen.target.contains("/complete") {
                return answer.lock().take().unwrap();
            }
            whole(200, "application/json", open.to_string())
        });
        let gateway = TestGateway::built_in(&vendor, "chatbotkit").start();
        let session = gateway.mint("support").await;
        let call = gateway.post("/api/v1/conversation/conv_1/complete").bearer_auth(&session.token);
        let mut stream = call.json(&json!({"text": "hi"})).send().await.unwrap();
        sender.send(part.into()).await.unwrap();
        assert_eq!(stream.chunk().await.unwrap().unwrap(), part);

        assert_eq!(send(&gateway, Method::DELETE, &path(&session), gateway.owner.expose()).await.status(), 204);

        let (mut heard, ended) = (String::new(), Instant::now());
        while let Ok(Some(chunk)) = stream.chunk().await {
            heard += &String::from_utf8_lossy(&chunk);
        }
        assert_eq!(heard.contains("revoked"), part.ends_with("\n\n"), "{heard}");
        assert!(ended.elapsed() < Duration::from_secs(3), "{media} {part:?} went on for {:?}", ended.elapsed());
        eventually("the end of the vendor's call", || sender.is_closed()).await;
        gateway.record(|record| record["code"] == "token_revoked").await;
    }
}

#[tokio::test]
async fn a_contact_that_is_revoked_takes_the_tokens_from_before_it_was_known_along() {
    let gateway = TestGateway::chatbotkit().start();
    let session = gateway.mint("support").await;
    let body = json!({"token": session.token, "contact": {"email": "ada@example.com"}, "keepPrevious": true});
    let known = gateway.post(&format!("{}/contact", path(&session))).bearer_auth(gateway.owner.expose());
    assert!(known.json(&body).send().await.unwrap().status().is_success());
    assert_eq!(call(&gateway, &session, &session.token).await, says(200, ""), "the owner keeps it");

    let all = "/v1/sessions?contact=ada@example.com";
    assert!(send(&gateway, Method::DELETE, all, gateway.owner.expose()).await.status().is_success());

    assert_eq!(call(&gateway, &session, &session.token).await.0, 401);
}

#[tokio::test]
async fn a_silent_websocket_is_closed_with_4401_when_its_session_is_ended() {
    let fleet = Fleet::start();
    let gateway = &fleet.gateway;
    let session = gateway.mint("directline").await;
    let started = send(gateway, Method::POST, "/v3/directline/conversations", &session.token).await;
    assert!(started.status().is_success());
    let address = gateway.url.replace("http", "ws");
    let url = format!("{address}/v3/directline/conversations/{}/stream?t={}", session.conversation, session.token);
    let stream = TcpStream::connect(gateway.url.trim_start_matches("http://")).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();

    assert_eq!(send(gateway, Method::DELETE, &path(&session), &session.token).await.status(), 204);

    let mut end = None;
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Close(frame) = message {
            end = frame.map(|frame| (u16::from(frame.code), frame.reason.to_string()));
        }
    }
    assert_eq!(end, Some((4401, "the session was ended".to_owned())));
}

#[tokio::test]
async fn what_was_answered_outlives_the_process() {
    let state = tempfile::tempdir().unwrap();
    let store = format!("[store]\nurl = \"sqlite:{}\"", state.path().join("sessions.db").display());
    let first = TestGateway::chatbotkit().sections(&store).start();
    let (kept, ended) = (first.mint("support").await, first.mint("support").await);
    assert_eq!(send(&first, Method::DELETE, &path(&ended), &ended.token).await.status(), 204);

    let second = TestGateway::chatbotkit().sections(&store).in_place_of(&first).start();

    let shown = json_of(send(&second, Method::GET, &path(&kept), second.owner.expose()).await).await;
    assert_eq!(shown["state"], "open");
    let refused = send(&second, Method::GET, &path(&ended), &ended.token).await;
    assert_eq!(refusal(refused).await, says(401, "token_revoked"));
}

#[tokio::test]
async fn the_vendor_is_asked_for_no_session_that_is_one_too_many() {
    let redis = TestRedis::start();
    for store in [String::new(), format!("[store]\nurl = \"{}\"", redis.url())] {
        let open =
            json!({"conversationId": "conv_1", "token": "vt-0123456789abcdef", "expiresAt": 4_000_000_000_000_u64});
        let vendor = TestVendor::answering(move |_| whole(200, "application/json", open.to_string()));
        let limits = "limits = { mint_per_ip = \"100/1m\", per_bot = \"100/1m\", sessions_per_ip = 1, sessions_per_contact = 1 }";
        let gateway = TestGateway::built_in(&vendor, "chatbotkit").sections(&store).bot(limits).start();
        let page = || gateway.post("/v1/bots/support/sessions").header("origin", PAGE).json(&json!({})).send();
        let ada = || gateway.ask("support", json!({"contact": {"email": "ada@example.com"}}));
        assert_eq!((page().await.unwrap().status(), ada().await.status()), (StatusCode::CREATED, StatusCode::CREATED));
        for refused in [page().await.unwrap(), ada().await] {
            assert_eq!(refusal(refused).await, says(429, "too_many_sessions"));
        }
        assert_eq!(vendor.seen().len(), 2);
    }
}

#[tokio::test]
async fn visitors_of_one_address_have_as_many_open_sessions_as_may_be() {
    let gateway = TestGateway::chatbotkit().bot("limits = { mint_per_ip = \"100/1m\", per_bot = \"100/1m\", sessions_per_ip = 2, sessions_per_contact = 1 }").start();
    let page = || gateway.post("/v1/bots/support/sessions").header("origin", PAGE).json(&json!({})).send();
    let first: Value = json_of(page().await.unwrap()).await;
    assert_eq!(page().await.unwrap().status(), 201);
    assert_eq!(refusal(page().await.unwrap()).await, says(429, "too_many_sessions"));
    let token = first["token"].as_str().unwrap();
    let id = format!("/v1/sessions/{}", first["sessionId"].as_str().unwrap());
    let ended = gateway.call(Method::DELETE, &id).bearer_auth(token).header("origin", PAGE).send().await.unwrap();
    assert_eq!(ended.status(), 204);
    assert_eq!(page().await.unwrap().status(), 201, "one that has ended makes room");

    let ada = json!({"contact": {"email": "ada@example.com"}});
    assert_eq!(gateway.ask("support", ada.clone()).await.status(), 201);
    assert_eq!(refusal(gateway.ask("support", ada).await).await, says(429, "too_many_sessions"));
    assert_eq!(gateway.ask("support", json!({})).await.status(), 201, "an owner's own address is nobody's");
}

#[tokio::test]
async fn a_renewal_exchanges_the_vendors_token_where_that_would_end_first() {
    let gateway = TestGateway::chatbotkit().start();
    let session = gateway.mint("support").await;
    gateway.clock.advance(HOUR / 2);
    let renewal = format!("{}/renew", path(&session));
    let answer = json_of(send(&gateway, Method::POST, &renewal, &session.token).await).await;
    gateway.clock.advance(HOUR / 2 + Duration::from_secs(60));

    // Only with a token of the vendor's that is good now does it answer this call.
    let complete = format!("/api/v1/conversation/{}/complete", session.conversation);
    let token = answer["token"].as_str().unwrap();
    let said = gateway.post(&complete).bearer_auth(token).json(&json!({"text": "hi"})).send().await.unwrap();
    assert_eq!(said.status(), 200);

    let seen = gateway.chatbotkit.as_ref().unwrap().seen();
    let exchanged =
        seen.iter().filter(|seen| seen.path.ends_with("/session/create") && seen.path.contains("conv")).count();
    assert_eq!(exchanged, 1);
}

#[tokio::test]
async fn a_token_renews_its_session_after_its_end_only_for_the_grace_that_is_configured() {
    for (tokens, renews) in [("", false), ("renew_grace = \"10m\"", true)] {
        let gateway = TestGateway::chatbotkit().tokens(tokens).start();
        let (session, late) = (gateway.mint("support").await, gateway.mint("support").await);
        gateway.clock.advance(HOUR + Duration::from_secs(9 * 60));
        assert_eq!(call(&gateway, &session, &session.token).await.0, 401, "for all else it has ended");
        let answer = send(&gateway, Method::POST, &format!("{}/renew", path(&session)), &session.token).await;
        if !renews {
            assert_eq!(refusal(answer).await, says(401, "token_expired"));
            continue;
        }
        let token = json_of(answer).await["token"].as_str().unwrap().to_owned();
        assert_eq!(call(&gateway, &session, &token).await, says(200, ""));
        gateway.clock.advance(Duration::from_secs(2 * 60));
        let answer = send(&gateway, Method::POST, &format!("{}/renew", path(&late)), &late.token).await;
        assert_eq!(refusal(answer).await, says(401, "token_expired"));
    }
}

#[tokio::test]
async fn the_grace_of_a_renewal_is_also_for_a_vendors_own_call_that_renews() {
    let profile = "title = \"Own\"\n[[route]]\ncall = \"POST /refresh\"\nrenews = true\nanswer.json = { token = \"{token}\" }\n\
         [[route]]\ncall = \"GET /read\"\n";
    for (tokens, renews) in [("", false), ("renew_grace = \"10m\"", true)] {
        let gateway = TestGateway::with_profile(&TestVendor::echo(), profile).tokens(tokens).start();
        let session = gateway.mint("support").await;
        gateway.clock.advance(HOUR + Duration::from_secs(9 * 60));
        assert_eq!(
            send(&gateway, Method::GET, "/read", &session.token).await.status(),
            401,
            "for all else it has ended"
        );
        let answer = send(&gateway, Method::POST, "/refresh", &session.token).await;
        if !renews {
            assert_eq!(refusal(answer).await, says(401, "token_expired"));
            continue;
        }
        let token = json_of(answer).await["token"].as_str().unwrap().to_owned();
        assert_eq!(send(&gateway, Method::GET, "/read", &token).await.status(), 200);
        gateway.clock.advance(Duration::from_secs(2 * 60));
        let answer = send(&gateway, Method::POST, "/refresh", &session.token).await;
        assert_eq!(refusal(answer).await, says(401, "token_expired"));
    }
}

#[tokio::test]
async fn direct_lines_own_client_gets_a_new_token_where_it_asks_for_one() {
    let fleet = Fleet::start();
    let gateway = &fleet.gateway;
    let session = gateway.mint("directline").await;
    let refresh = "/v3/directline/tokens/refresh";
    assert!(send(gateway, Method::POST, "/v3/directline/conversations", &session.token).await.status().is_success());

    let answer = json_of(send(gateway, Method::POST, refresh, &session.token).await).await;

    assert_eq!((&answer["conversationId"], &answer["expires_in"]), (&json!(session.conversation), &json!(1800)));
    let token = answer["token"].as_str().unwrap();
    assert_eq!(claims(token)["sid"], json!(session.id));
    let activities = format!("/v3/directline/conversations/{}/activities", session.conversation);
    assert_eq!(send(gateway, Method::GET, &activities, token).await.status(), 200);
    // The vendor was asked with its own token and never saw ours.
    let seen = fleet.directline.seen();
    let asked = seen.iter().filter(|seen| seen.path.ends_with("/tokens/refresh")).collect::<Vec<_>>();
    assert_eq!(asked.len(), 1);
    assert!(!asked[0].headers["authorization"].to_str().unwrap().contains(&session.token));
    assert_eq!(send(gateway, Method::DELETE, &path(&session), token).await.status(), 204);
    assert_eq!(send(gateway, Method::POST, refresh, token).await.status(), 403);
    assert_eq!(send(gateway, Method::POST, refresh, gateway.owner.expose()).await.status(), 401);
}
