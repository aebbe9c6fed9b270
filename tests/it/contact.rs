//! `POST /v1/sessions/{id}/contact`: a visitor who came as nobody becomes known, and what was made for nobody ends.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use keystile::id::hex;
use keystile::secret::sha256;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Mutex, mpsc};

use crate::support::fleet::Fleet;
use crate::support::gateway::{KEY, PAGE, Session, TestGateway, claims, refusal};
use crate::support::redis::TestRedis;
use crate::support::vendor::{TestVendor, whole};
use crate::support::{eventually, wire};

fn ada() -> Value {
    json!({"email": "ada@example.com"})
}

async fn sent(gateway: &TestGateway, id: &str, credential: &str, body: Value) -> Response {
    gateway.post(&format!("/v1/sessions/{id}/contact")).bearer_auth(credential).json(&body).send().await.unwrap()
}

/// The owner says that the visitor with this token is `contact`.
async fn becomes(gateway: &TestGateway, session: &Session, token: &str, contact: &Value) -> Response {
    sent(gateway, &session.id, gateway.owner.expose(), json!({"token": token, "contact": contact})).await
}

/// The same, and it goes well: the new token.
async fn known(gateway: &TestGateway, session: &Session, contact: &Value) -> String {
    let answer = becomes(gateway, session, &session.token, contact).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["cache-control"]), (200, &"no-store".parse().unwrap()));
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["sessionId"], &answer["conversationId"]), (&json!(session.id), &json!(session.conversation)));
    answer["token"].as_str().unwrap().to_owned()
}

async fn read(gateway: &TestGateway, token: &str) -> (u16, String) {
    refusal(gateway.call(Method::GET, "/read").bearer_auth(token).send().await.unwrap()).await
}

fn says(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn good() -> (u16, String) {
    says(200, "")
}

async fn by_a_page(gateway: &TestGateway, wish: Value) -> Session {
    let call = gateway.post("/v1/bots/support/sessions").header("origin", PAGE).json(&wish);
    let answer: Value = call.send().await.unwrap().json().await.unwrap();
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    Session { id: text("sessionId"), conversation: text("conversationId"), token: text("token") }
}

#[tokio::test]
async fn only_a_client_that_owns_the_bot_says_who_the_visitor_is() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let session = gateway.mint("support").await;
    let body = json!({"token": session.token, "contact": ada()});
    let path = format!("/v1/sessions/{}/contact", session.id);

    let stranger = sent(&gateway, &session.id, gateway.stranger.expose(), body.clone()).await;
    assert_eq!(refusal(stranger).await, says(404, "not_found"), "it is told of no session of others");
    let itself = sent(&gateway, &session.id, &session.token, body.clone()).await;
    assert_eq!(refusal(itself).await, says(403, "owner_required"));
    let nobody = gateway.post(&path).json(&body).send().await.unwrap();
    assert_eq!(refusal(nobody).await, says(401, "credential_required"));
    let page = gateway.post(&path).header("origin", PAGE).json(&body).send().await.unwrap();
    assert_eq!(refusal(page).await, says(401, "credential_required"));
    let in_a_page = gateway.post(&path).header("origin", PAGE).bearer_auth(gateway.owner.expose()).json(&body);
    assert_eq!(refusal(in_a_page.send().await.unwrap()).await, says(403, "client_in_browser"));
    let wrong = sent(&gateway, &session.id, "ksc_website_0123456789", body).await;
    assert_eq!(refusal(wrong).await, says(401, "invalid_client"));
    assert_eq!(read(&gateway, &session.token).await, good(), "and nothing has ended");
}

#[tokio::test]
async fn the_bodys_token_is_a_good_one_of_the_paths_session() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let (session, other) = (gateway.mint("support").await, gateway.mint("support").await);
    let foreign = TestGateway::in_front_of(&TestVendor::echo()).start().mint("support").await;
    let refused = async |id: &str, body: Value| refusal(sent(&gateway, id, gateway.owner.expose(), body).await).await;

    for token in [json!(null), json!(7), json!(""), json!("x"), json!(foreign.token), json!(gateway.owner.expose())] {
        let body = json!({"token": token, "contact": ada()});
        assert_eq!(refused(&session.id, body).await, says(400, "bad_request"), "{token}");
    }
    let body = json!({"token": session.token, "contact": ada()});
    for id in [other.id.as_str(), "support", &session.id.to_uppercase()] {
        assert_eq!(refused(id, body.clone()).await, says(403, "wrong_session"), "{id}");
    }
    gateway.clock.advance(Duration::from_secs(3700));
    assert_eq!(refused(&session.id, body).await, says(400, "bad_request"), "an expired token");
}

#[tokio::test]
async fn a_body_that_says_something_else_is_refused() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    for (more, code) in [
        (json!({}), "invalid_contact"),
        (json!({"contact": null}), "invalid_contact"),
        (json!({"contact": {}}), "invalid_contact"),
        (json!({"contact": {"name": "", "email": null}}), "invalid_contact"),
        (json!({"contact": "ada@example.com"}), "invalid_contact"),
        (json!({"contact": {"email": "ada"}}), "invalid_contact"),
        (json!({"contact": {"email": "ada@example.com", "email_verified": true}}), "invalid_contact"),
        (json!({"contact": ada(), "keepPrevious": "yes"}), "bad_request"),
        (json!({"contact": ada(), "durationInSeconds": 86_400}), "bad_request"),
        (json!({"contact": ada(), "visitId": "v1"}), "not_supported"),
    ] {
        let mut body = json!({"token": session.token});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = sent(&gateway, &session.id, gateway.owner.expose(), body).await;
        assert_eq!(refusal(answer).await, says(400, code), "{more}");
    }
    assert_eq!(read(&gateway, &session.token).await, good());
}

#[tokio::test]
async fn a_bot_that_takes_no_contact_takes_none_later() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).bot(r#"contact = "none""#).start();
    let session = gateway.mint("support").await;
    let answer = becomes(&gateway, &session, &session.token, &ada()).await;
    assert_eq!(refusal(answer).await, says(400, "invalid_contact"));

    let gateway = TestGateway::in_front_of(&TestVendor::echo()).bot(r#"contact = "required""#).start();
    let session = gateway.mint_with("support", json!({"contact": ada()})).await;
    assert_eq!(becomes(&gateway, &session, &session.token, &ada()).await.status(), 200);
}

#[tokio::test]
async fn what_the_call_that_tells_the_vendor_has_no_place_for_is_refused() {
    // Where it is opened, it has places for both.
    let opening = "title = \"Own\"\n[open]\ncall = \"POST /open\"\nsession = \"/id\"\n\
        set.body = { meta = \"{meta}\", visit = \"{visit}\" }\n";
    let identifying = "[identify]\ncall = \"POST /upsert\"\nset.body = { email = \"{contact.email}\", PLACES }\n";
    for (identify, status) in [
        (String::new(), 400),
        (identifying.replace(", PLACES", ""), 400),
        (identifying.replace("PLACES", "meta = \"{meta}\", visit = \"{visit}\""), 200),
    ] {
        let vendor = TestVendor::answering(|_| whole(200, "application/json", json!({"id": "s1"}).to_string()));
        let gateway = TestGateway::with_profile(&vendor, &format!("{opening}{identify}")).start();
        let session = gateway.mint_with("support", json!({"visitId": "v1", "meta": {"plan": "gold"}})).await;
        vendor.take();
        for more in [("meta", json!({"plan": "gold"})), ("visitId", json!("v2"))] {
            let mut body = json!({"token": session.token, "contact": ada(), "keepPrevious": true});
            body[more.0] = more.1.clone();
            let answer = sent(&gateway, &session.id, gateway.owner.expose(), body).await;
            assert_eq!(answer.status(), status, "{identify} {more:?}");
            if status == 200 {
                let told: Value = serde_json::from_slice(&vendor.take()[0].body).unwrap();
                assert_eq!(told[more.0.trim_end_matches("Id")], more.1, "{told}");
            } else {
                assert_eq!(refusal(answer).await, says(400, "not_supported"), "{identify} {more:?}");
                assert!(vendor.seen().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn the_new_token_says_who_it_is_and_lives_no_longer_than_the_old_one() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let (first, second) = (gateway.mint("support").await, gateway.mint("hidden").await);
    gateway.clock.advance(Duration::from_secs(600));

    let answer = becomes(&gateway, &first, &first.token, &json!({"email": "Ada@Example.com", "name": "Ada"})).await;
    let answer: Value = answer.json().await.unwrap();
    let (old, new) = (claims(&first.token), claims(answer["token"].as_str().unwrap()));
    let other = claims(&known(&gateway, &second, &ada()).await);

    for same in ["iss", "aud", "sid", "cid", "bot", "client_id", "scope", "auth_time", "exp"] {
        assert_eq!(old[same], new[same], "{same}");
    }
    for fresh in ["jti", "sub", "bnd"] {
        assert_ne!(old[fresh], new[fresh], "{fresh}");
    }
    assert_eq!(new["iat"].as_u64().unwrap(), old["iat"].as_u64().unwrap() + 600);
    assert_eq!(
        (&new["email"], &new["name"], &new["email_verified"]),
        (&json!("Ada@Example.com"), &json!("Ada"), &json!(false))
    );
    assert_eq!(new["sub"], other["sub"], "the same owner's same visitor, in another session of another bot");
    assert_eq!((&answer["expiresIn"], &answer["tokenType"]), (&json!(3000), &json!("Bearer")));
    assert_eq!(answer["expiresAt"].as_u64().unwrap(), old["exp"].as_u64().unwrap() * 1000);
    assert!((2100..=2550).contains(&answer["renewAfter"].as_u64().unwrap()), "{answer}");
}

#[tokio::test]
async fn earlier_tokens_end_with_it_unless_the_owner_keeps_them() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let (ended, kept) = (gateway.mint("support").await, gateway.mint("support").await);

    let new = known(&gateway, &ended, &ada()).await;
    assert_eq!(read(&gateway, &ended.token).await, says(401, "token_replaced"));
    assert_eq!(read(&gateway, &new).await, good());

    let body = json!({"token": kept.token, "contact": ada(), "keepPrevious": true});
    let answer: Value = sent(&gateway, &kept.id, gateway.owner.expose(), body).await.json().await.unwrap();
    assert_eq!(read(&gateway, &kept.token).await, good());
    assert_eq!(read(&gateway, answer["token"].as_str().unwrap()).await, good());
}

#[tokio::test]
async fn what_a_page_claimed_gives_way_to_what_an_owner_says() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let session = by_a_page(&gateway, json!({"contact": {"email": "eve@example.com"}})).await;

    let new = known(&gateway, &session, &ada()).await;

    let (old, claims) = (claims(&session.token), claims(&new));
    assert_eq!((&claims["email"], &claims["origin"]), (&json!("ada@example.com"), &json!(PAGE)));
    assert_ne!(old["sub"], claims["sub"]);
    let call = |token: &str| gateway.call(Method::GET, "/read").header("origin", PAGE).bearer_auth(token);
    assert_eq!(refusal(call(&session.token).send().await.unwrap()).await, says(401, "token_replaced"));
    assert_eq!(call(&new).send().await.unwrap().status(), 200);
    assert_eq!(read(&gateway, &new).await, says(403, "origin_not_allowed"), "it is still that page's");
}

#[tokio::test]
async fn a_known_visitor_becomes_nobody_else_and_may_be_named_again() {
    for kept in ["claims", "sealed", "omit"] {
        let gateway = TestGateway::in_front_of(&TestVendor::echo()).tokens(&format!("contact = \"{kept}\"")).start();
        let session = gateway.mint("support").await;
        let first = known(&gateway, &session, &ada()).await;
        let conflict = says(409, "contact_conflict");

        let again = becomes(&gateway, &session, &first, &ada()).await;
        assert_eq!(again.status(), 200, "{kept}");
        let again: Value = again.json().await.unwrap();
        let again = again["token"].as_str().unwrap();
        assert_eq!(claims(again)["sub"], claims(&first)["sub"]);
        // Whoever lost the answer asks with the token that it has.
        assert_eq!(becomes(&gateway, &session, &session.token, &ada()).await.status(), 200, "{kept}");
        for token in [first.as_str(), again, &session.token] {
            let eve = becomes(&gateway, &session, token, &json!({"email": "eve@example.com"})).await;
            assert_eq!(refusal(eve).await, conflict, "{kept}");
        }
        assert_eq!(read(&gateway, &first).await, good());
    }
}

#[tokio::test]
async fn who_has_the_same_address_is_the_same_visitor_whatever_the_spelling_and_the_name() {
    for contact in ["claims", "sealed", "omit"] {
        let tokens = format!("contact = \"{contact}\"");
        let gateway = TestGateway::in_front_of(&TestVendor::echo()).tokens(&tokens).start();
        for named_at_the_mint in [true, false] {
            let first = json!({"email": "Ada@Example.com", "name": "Ada"});
            let wish = if named_at_the_mint { json!({"contact": first}) } else { json!({}) };
            let session: Value = gateway.ask("support", wish).await.json().await.unwrap();
            let (id, mut token) = (session["sessionId"].as_str().unwrap(), session["token"].clone());
            for contact in [&first, &json!({"email": "ada@example.com", "name": "Ada L"}), &ada()] {
                let body = json!({"token": token, "contact": contact});
                let answer = sent(&gateway, id, gateway.owner.expose(), body).await;
                assert_eq!(answer.status(), 200, "{contact}");
                token = answer.json::<Value>().await.unwrap()["token"].clone();
            }
            let call = gateway.call(Method::GET, &format!("/v1/sessions/{id}")).bearer_auth(gateway.owner.expose());
            let shown: Value = call.send().await.unwrap().json().await.unwrap();
            let newest = if contact == "claims" { ada() } else { Value::Null };
            assert_eq!(shown["contact"], newest, "{contact}");
            let phoned = json!({"email": "ada@example.com", "phone": "+14155552671"});
            for other in [json!({"email": "eve@example.com"}), json!({"email": "ad\u{e1}@example.com"}), phoned] {
                let body = json!({"token": token, "contact": other});
                let answer = sent(&gateway, id, gateway.owner.expose(), body).await;
                assert_eq!(refusal(answer).await, says(409, "contact_conflict"), "{other}");
            }
        }
    }
}

/// There are few enough phone numbers to try them all.
#[tokio::test]
async fn a_store_that_is_to_know_no_contact_does_not_tell_whether_one_was_guessed() {
    let redis = TestRedis::start();
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).sections(&store).tokens("contact = \"omit\"").start();
    let session = gateway.mint("support").await;
    let contact = json!({"phone": "+14155552671"});
    known(&gateway, &session, &contact).await;
    let kept = redis.ask(&["HGET", &format!("{{keystile}}:session:{}", session.id), "known"]);
    assert!(kept.starts_with("$32\r\n"), "{kept}");
    for guessed in [contact.to_string(), "+14155552671".to_owned()] {
        let digest = &sha256(guessed.as_bytes())[..16];
        assert!(!kept.contains(&hex(digest)), "{kept}");
    }
}

#[tokio::test]
async fn an_address_with_a_kelvin_sign_is_not_the_one_with_a_k() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let mut subjects = Vec::new();
    for email in ["jack@example.com", "JACK@example.com", "jac\u{212a}@example.com"] {
        let session: Value = gateway.ask("support", json!({"contact": {"email": email}})).await.json().await.unwrap();
        subjects.push(claims(session["token"].as_str().unwrap())["sub"].clone());
    }
    assert_eq!(subjects[0], subjects[1]);
    assert_ne!(subjects[0], subjects[2]);
}

#[tokio::test]
async fn a_visitor_without_address_keeps_the_pseudonym_when_named_again() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let session = gateway.mint("support").await;
    let name = json!({"name": "Ada"});
    let first = known(&gateway, &session, &name).await;

    let again: Value = becomes(&gateway, &session, &first, &name).await.json().await.unwrap();

    assert_eq!(claims(again["token"].as_str().unwrap())["sub"], claims(&first)["sub"]);
}

#[tokio::test]
async fn a_kept_token_makes_its_session_nobody_elses() {
    let gateway = TestGateway::chatbotkit().start();
    let session = gateway.mint("support").await;
    let body = json!({"token": session.token, "contact": ada(), "keepPrevious": true});
    assert_eq!(sent(&gateway, &session.id, gateway.owner.expose(), body).await.status(), 200);

    let eve = becomes(&gateway, &session, &session.token, &json!({"email": "eve@example.com"})).await;
    assert_eq!(refusal(eve).await, says(409, "contact_conflict"));
    let upsert = gateway.post(&format!("/api/v1/conversation/{}/contact/upsert", session.conversation));
    let upsert = upsert.bearer_auth(&session.token).json(&json!({"email": "eve@example.com"}));
    assert_eq!(refusal(upsert.send().await.unwrap()).await, says(403, "NOT_AUTHORIZED"));

    // Said once more without it, they end.
    known(&gateway, &session, &ada()).await;
    let call = gateway.post(&format!("/api/v1/conversation/{}/complete", session.conversation));
    let call = call.bearer_auth(&session.token).json(&json!({"text": "hi"}));
    assert_eq!(call.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn an_upsert_whose_body_comes_after_its_visitor_became_known_is_not_sent() {
    let gateway = TestGateway::chatbotkit().start();
    let session = gateway.mint("support").await;
    let path = format!("/api/v1/conversation/{}/contact/upsert", session.conversation);
    let eve = r#"{"email":"eve@example.com"}"#;
    let length = format!("content-length: {}", eve.len());
    let headers = ["content-type: application/json", &length, "expect: 100-continue"];
    let mut upsert = wire::send(&gateway, wire::head(&session, &format!("POST {path}"), &headers)).await;
    wire::read_until(&mut upsert, "100 Continue\r\n\r\n").await;
    let body = json!({"token": session.token, "contact": ada(), "keepPrevious": true});
    assert_eq!(sent(&gateway, &session.id, gateway.owner.expose(), body).await.status(), 200);

    upsert.write_all(eve.as_bytes()).await.unwrap();
    let answer = wire::read_until(&mut upsert, "}").await;

    assert_eq!(wire::status(&answer), 403, "{answer}");
}

#[tokio::test]
async fn of_two_who_are_named_at_once_one_becomes_the_visitor() {
    let gateway = TestGateway::with_profile(&identifying(200, &json!({})), IDENTIFYING).start();
    for _ in 0..10 {
        let session = gateway.mint("support").await;
        let (ada, eve) = (ada(), json!({"email": "eve@example.com"}));
        let (one, two) = tokio::join!(
            becomes(&gateway, &session, &session.token, &ada),
            becomes(&gateway, &session, &session.token, &eve)
        );
        let mut statuses = [one.status().as_u16(), two.status().as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
    }
}

#[tokio::test]
async fn chatbotkit_is_told_with_the_sessions_own_token() {
    let gateway = TestGateway::chatbotkit().start();
    let session = gateway.mint("support").await;

    let new = known(&gateway, &session, &json!({"email": "ada@example.com", "phone": "(415) 555-2671"})).await;

    let seen = gateway.chatbotkit.as_ref().unwrap().seen().pop().unwrap();
    assert_eq!(seen.path, format!("/v1/conversation/{}/contact/upsert", session.conversation));
    assert_eq!(
        serde_json::from_slice::<Value>(&seen.body).unwrap(),
        json!({"email": "ada@example.com", "phone": "+14155552671"})
    );
    let credential = seen.headers["authorization"].to_str().unwrap();
    assert!(!credential.contains(KEY) && !credential.contains(&session.token) && !credential.contains(&new));
    let call = gateway.post(&format!("/api/v1/conversation/{}/complete", session.conversation));
    assert_eq!(call.bearer_auth(&new).json(&json!({"text": "hi"})).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn genesys_is_told_by_header_whom_an_owner_named() {
    let fleet = Fleet::start();
    let gateway = &fleet.gateway;
    let session = gateway.mint("genesys").await;

    known(gateway, &session, &ada()).await;

    let seen = fleet.genesys.seen().pop().unwrap();
    assert_eq!(
        (seen.method.as_str(), seen.path.as_str()),
        ("POST", format!("/sessions/{}", session.conversation).as_str())
    );
    assert_eq!(seen.headers["gkc_customerid"], "ada@example.com");
}

const IDENTIFYING: &str = r#"
title = "Identifying"

[open]
call         = "POST /open"
set.header   = { Authorization = "Bearer {key}" }
session      = "/id"
vendor_token = "/token"
failure      = { code = "/code", message = "/message" }

[identify]
call       = "POST /identify/{session}"
set.header = { Authorization = "Bearer {key}", X-Session = "{vendor_token}" }
set.body   = { email = "{contact.email}" }

[[route]]
call       = "GET /read"
set.header = { X-Session = "{vendor_token}" }

[error]
key = [401, 429]
"#;

const VENDOR_TOKEN: &str = "vendor-token-0123456789";

/// A vendor that says this to the identifying call.
fn identifying(status: u16, said: &Value) -> TestVendor {
    let said = said.to_string();
    TestVendor::answering(move |seen| {
        if seen.target.starts_with("/identify") {
            return whole(status, "application/json", said.clone());
        }
        whole(200, "application/json", json!({"id": "s1", "token": VENDOR_TOKEN}).to_string())
    })
}

#[tokio::test]
async fn where_the_vendor_refuses_there_is_no_new_token_and_the_old_one_stays_good() {
    for (status, code) in
        [(400, "vendor_failed"), (302, "vendor_failed"), (401, "vendor_refused_key"), (403, "vendor_refused_key")]
    {
        let said = json!({"code": VENDOR_TOKEN, "message": format!("{VENDOR_TOKEN} is not {KEY}")});
        let gateway = TestGateway::with_profile(&identifying(status, &said), IDENTIFYING).start();
        let session = gateway.mint("support").await;

        let answer = becomes(&gateway, &session, &session.token, &ada()).await;

        assert_eq!(answer.status(), 502, "{status}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(code), "{text}");
        for secret in [VENDOR_TOKEN, KEY, "eyJ"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert_eq!(read(&gateway, &session.token).await, good(), "{status}");
    }
}

#[tokio::test]
async fn a_key_that_is_refused_for_it_is_left_alone_by_new_sessions() {
    for status in [401, 429] {
        let vendor = identifying(status, &json!({}));
        let gateway = TestGateway::with_profile(&vendor, IDENTIFYING).start();
        let session = gateway.mint("support").await;
        assert_eq!(becomes(&gateway, &session, &session.token, &ada()).await.status(), 502, "it is not repeated");
        assert_eq!(vendor.seen().len(), 2);

        let answer = gateway.ask("support", json!({})).await;
        assert_eq!(refusal(answer).await, says(503, "vendor_keys_exhausted"), "{status}");
    }
}

#[tokio::test]
async fn a_vendor_without_such_a_call_is_not_asked() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    known(&gateway, &session, &ada()).await;

    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn it_counts_like_an_opening_of_the_client() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).bot(r#"limits = { per_bot = "2/1m" }"#).start();
    let session = gateway.mint("support").await;
    let first = known(&gateway, &session, &ada()).await;

    let answer = becomes(&gateway, &session, &first, &ada()).await;

    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"30".parse().unwrap()));
    gateway.clock.advance(Duration::from_secs(30));
    let answer = becomes(&gateway, &session, &first, &ada()).await;
    let header = |name: &str| answer.headers()[name].to_str().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!((header("ratelimit"), header("ratelimit-policy")), ("\"mint\";r=0;t=30", "\"mint\";q=2;w=60"));
}

/// A vendor that hears the identifying call, and answers it when it is told to: well, or not at all.
fn hesitating() -> (TestVendor, mpsc::UnboundedReceiver<String>, mpsc::UnboundedSender<bool>) {
    let ((heard, calls), (answer, answers)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let answers = Arc::new(Mutex::new(answers));
    let vendor = TestVendor::raw(move |_, mut stream| {
        let (heard, answers) = (heard.clone(), Arc::clone(&answers));
        async move {
            let body = json!({"id": "s1", "token": VENDOR_TOKEN}).to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            while let Some(call) = wire::next_message(&mut stream).await {
                if call.contains("/identify") {
                    let _listening = heard.send(call);
                    if answers.lock().await.recv().await != Some(true) {
                        return;
                    }
                }
                wire::write(&mut stream, &answer).await;
            }
        }
    });
    (vendor, calls, answer)
}

#[tokio::test]
async fn what_has_ended_or_can_be_kept_nowhere_is_not_told_to_the_vendor() {
    let (vendor, mut redis) = (identifying(200, &json!({})), TestRedis::start());
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    let gateway = TestGateway::with_profile(&vendor, IDENTIFYING).sections(&store).start();
    let (ended, kept) = (gateway.mint("support").await, gateway.mint("support").await);
    gateway.end(&ended).await;
    let refused = becomes(&gateway, &ended, &ended.token, &ada()).await;
    assert!(!refused.headers().contains_key("www-authenticate"), "the credential of whoever calls is good");
    assert_eq!(refusal(refused).await, says(400, "bad_request"));

    redis.stop();
    let refused = becomes(&gateway, &kept, &kept.token, &ada()).await;
    assert_eq!(refusal(refused).await, says(503, "store_unavailable"));
    assert!(vendor.seen().iter().all(|seen| !seen.target.contains("/identify")));
}

#[tokio::test]
async fn a_vendor_that_may_know_the_visitor_takes_earlier_tokens_along_and_may_be_told_again() {
    let (vendor, _heard, answer) = hesitating();
    let gateway = TestGateway::with_profile(&vendor, IDENTIFYING).start();
    let session = gateway.mint("support").await;
    answer.send(false).unwrap();
    assert_eq!(becomes(&gateway, &session, &session.token, &ada()).await.status(), 502);
    assert_eq!(read(&gateway, &session.token).await.0, 401, "it could talk as somebody who is known to the vendor");
    let records = gateway.audit();
    let last = records.last().unwrap();
    assert_eq!((&last["action"], last.get("expires")), (&json!("session.contact"), None), "no token left");

    answer.send(true).unwrap();
    let token = known(&gateway, &session, &ada()).await;
    assert_eq!(read(&gateway, &token).await, good());
}

#[tokio::test]
async fn of_two_names_at_once_the_vendor_hears_one() {
    let (vendor, mut heard, answer) = hesitating();
    let gateway = TestGateway::with_profile(&vendor, IDENTIFYING).start();
    let session = gateway.mint("support").await;
    let eve = json!({"email": "eve@example.com"});
    let (first, second) = (ada(), ada());
    let naming = becomes(&gateway, &session, &session.token, &first);
    let meanwhile = async {
        assert!(heard.recv().await.unwrap().contains("ada@example.com"));
        for other in [&eve, &second] {
            let refused = becomes(&gateway, &session, &session.token, other).await;
            assert!(refused.headers().contains_key("retry-after"));
            assert_eq!(refusal(refused).await, says(409, "in_flight"));
        }
        answer.send(true).unwrap();
    };
    let (named, ()) = tokio::join!(naming, meanwhile);
    assert_eq!(named.status(), 200);
    let refused = becomes(&gateway, &session, &session.token, &eve).await;
    assert_eq!(refusal(refused).await, says(409, "contact_conflict"));
    assert!(heard.try_recv().is_err(), "nobody told it of another");
}

#[tokio::test]
async fn a_vendor_that_fails_may_know_the_visitor_all_the_same() {
    for status in [500, 502, 504] {
        let gateway = TestGateway::with_profile(&identifying(status, &json!({})), IDENTIFYING).start();
        let session = gateway.mint("support").await;
        assert_eq!(becomes(&gateway, &session, &session.token, &ada()).await.status(), 502, "{status}");
        assert_eq!(read(&gateway, &session.token).await, says(401, "token_replaced"), "{status}");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_leaves_no_vendor_that_knows_more_than_the_gateway() {
    let (vendor, mut heard, answer) = hesitating();
    let gateway = TestGateway::with_profile(&vendor, IDENTIFYING).start();
    let session = gateway.mint("support").await;
    let body = json!({"token": session.token, "contact": ada()});
    let call = gateway.post(&format!("/v1/sessions/{}/contact", session.id)).bearer_auth(gateway.owner.expose());
    let asking = tokio::spawn(call.json(&body).send());
    assert!(heard.recv().await.is_some());
    asking.abort();
    drop(asking.await);
    gateway.record(|record| record["complete"] == false).await;

    answer.send(true).unwrap();
    eventually("the audit record", || gateway.audit().last().unwrap()["action"] == "session.contact").await;
    assert_eq!(read(&gateway, &session.token).await.0, 401);
}
