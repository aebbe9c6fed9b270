//! The token: what is in it, when it is good, and what it is not good for.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::gateway::{KEY, PAGE, PLAIN_PROFILE, PUBLIC_URL, Session, TestGateway, claims, refusal};
use crate::support::vendor::{TestVendor, whole};
use crate::support::wire;

fn read(gateway: &TestGateway, token: &str) -> RequestBuilder {
    gateway.call(Method::GET, "/read").bearer_auth(token)
}

async fn verdict(gateway: &TestGateway, token: &str) -> (u16, String) {
    refusal(read(gateway, token).send().await.unwrap()).await
}

fn invalid() -> (u16, String) {
    (401, "invalid_token".to_owned())
}

fn header(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

async fn key_set(gateway: &TestGateway) -> Vec<Value> {
    let answer = gateway.call(Method::GET, "/.well-known/jwks.json").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json::<Value>().await.unwrap()["keys"].as_array().unwrap().clone()
}

#[tokio::test]
async fn every_algorithm_signs_and_verifies_and_only_public_keys_are_shown() {
    for (algorithm, kty) in [("EdDSA", Some("OKP")), ("ES256", Some("EC")), ("RS256", Some("RSA")), ("HS256", None)] {
        let gateway =
            TestGateway::in_front_of(&TestVendor::echo()).tokens(&format!("algorithm = \"{algorithm}\"")).start();
        let session = gateway.mint("support").await;

        assert_eq!(read(&gateway, &session.token).send().await.unwrap().status(), 200, "{algorithm}");
        let (header, keys) = (header(&session.token), key_set(&gateway).await);
        assert_eq!((&header["alg"], &header["typ"]), (&json!(algorithm), &json!("at+jwt")));
        assert_eq!(keys.len(), usize::from(kty.is_some()), "{algorithm}");
        for key in &keys {
            assert_eq!((&key["kid"], key["kty"].as_str(), &key["alg"]), (&header["kid"], kty, &header["alg"]));
            for private in ["d", "k", "p", "q", "dp", "dq", "qi"] {
                assert!(key.get(private).is_none(), "{algorithm} shows {private}");
            }
            assert!(holds(&session.token, key, algorithm), "any JWT library verifies it: {algorithm}");
        }
    }
}

fn holds(token: &str, key: &Value, algorithm: &str) -> bool {
    let text = |name: &str| key[name].as_str().unwrap();
    let (key, algorithm) = match algorithm {
        "EdDSA" => (jsonwebtoken::DecodingKey::from_ed_components(text("x")), jsonwebtoken::Algorithm::EdDSA),
        "ES256" => {
            (jsonwebtoken::DecodingKey::from_ec_components(text("x"), text("y")), jsonwebtoken::Algorithm::ES256)
        }
        _ => (jsonwebtoken::DecodingKey::from_rsa_components(text("n"), text("e")), jsonwebtoken::Algorithm::RS256),
    };
    let (signed, signature) = token.rsplit_once('.').unwrap();
    jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key.unwrap(), algorithm).unwrap()
}

#[tokio::test]
async fn token_has_these_claims_and_no_others() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let (session, other) = (gateway.mint("support").await, gateway.mint("support").await);

    let (claims, others) = (claims(&session.token), claims(&other.token));
    let names: Vec<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    insta::assert_debug_snapshot!(names.join(" "), @r#""iss aud sub sid jti iat nbf exp auth_time client_id bot cid scope bnd""#);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(PUBLIC_URL), &json!(PUBLIC_URL)));
    assert_eq!(
        (&claims["bot"], &claims["client_id"], &claims["scope"]),
        (&json!("support"), &json!("website"), &json!("conversation"))
    );
    assert_eq!((&claims["sid"], &claims["cid"]), (&json!(session.id), &json!(session.conversation)));
    let now = json!(gateway.clock.now().seconds());
    assert_eq!((&claims["iat"], &claims["nbf"], &claims["auth_time"]), (&now, &now, &now));
    let jti = URL_SAFE_NO_PAD.decode(claims["jti"].as_str().unwrap()).unwrap();
    assert_eq!(jti.len(), 16, "128 bits");
    for fresh in ["jti", "sid", "sub", "bnd"] {
        assert_ne!(claims[fresh], others[fresh], "{fresh}");
    }
}

#[tokio::test]
async fn subject_is_stable_for_an_asserted_contact_and_random_for_a_claimed_one() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let subject = async |bot: &str, contact: Value| {
        let answer = gateway.ask(bot, json!({"contact": contact})).await.json::<Value>().await.unwrap();
        claims(answer["token"].as_str().unwrap())["sub"].as_str().unwrap().to_owned()
    };
    let by_page = async || {
        let call = gateway.post("/v1/bots/support/sessions").header("origin", PAGE);
        let answer = call.json(&json!({"contact": {"email": "jo@example.com"}})).send().await.unwrap();
        claims(answer.json::<Value>().await.unwrap()["token"].as_str().unwrap())
    };
    let jo = subject("support", json!({"email": "jo@example.com"})).await;

    assert_eq!(subject("hidden", json!({"email": "JO@Example.com", "phone": "+14155552671"})).await, jo);
    assert_eq!(
        subject("support", json!({"phone": "+14155552671"})).await,
        subject("support", json!({"phone": "(415) 555-2671"})).await
    );
    let others = [
        json!({"email": "al@example.com"}),
        json!({"phone": "+14155552671"}),
        json!({"name": "Jo"}),
        json!({"name": "Jo"}),
    ];
    let mut all = HashSet::from([jo.clone()]);
    for contact in others {
        assert!(all.insert(subject("support", contact.clone()).await), "{contact}");
    }
    let (one, two) = (by_page().await, by_page().await);
    assert!(all.insert(one["sub"].to_string()) && all.insert(two["sub"].to_string()) && one["sub"] != jo.as_str());
    assert_eq!(
        (&one["client_id"], &one["origin"], &one["email"]),
        (&json!("public"), &json!(PAGE), &json!("jo@example.com"))
    );
    assert!(!jo.contains("jo@") && !jo.contains("example"), "a pseudonym");
}

#[tokio::test]
async fn contact_stands_in_the_open_only_where_the_configuration_says_so() {
    for (kept, is_open) in [("claims", true), ("sealed", false), ("omit", false)] {
        let gateway = TestGateway::in_front_of(&TestVendor::echo()).tokens(&format!("contact = \"{kept}\"")).start();
        let session = gateway.mint_with("support", json!({"contact": {"name": "Jo", "email": "jo@example.com"}})).await;
        let claims = claims(&session.token);
        assert_eq!((claims.get("email").is_some(), claims.get("name").is_some()), (is_open, is_open), "{kept}");
    }
}

#[tokio::test]
async fn token_is_good_five_seconds_past_its_end_and_no_longer() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let session = gateway.mint_with("support", json!({"durationInSeconds": 1800})).await;

    // The last moment of all is a unit test's: a call needs some of the five seconds to be answered in.
    gateway.clock.advance(Duration::from_secs(1802));
    let last = read(&gateway, &session.token).send().await.unwrap();
    assert_eq!((last.status().as_u16(), &last.headers()["keystile-expires-in"]), (200, &"0".parse().unwrap()));
    gateway.clock.advance(Duration::from_millis(3001));

    let answer = read(&gateway, &session.token).send().await.unwrap();
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(challenge.contains("error=\"invalid_token\"") && challenge.contains("expired"), "{challenge}");
    assert_eq!(refusal(answer).await, (401, "token_expired".to_owned()));
}

#[tokio::test]
async fn token_of_a_replica_whose_clock_is_five_seconds_ahead_is_good_and_no_more() {
    let vendor = TestVendor::echo();
    let ahead = TestGateway::in_front_of(&vendor).start();
    let behind = TestGateway::in_front_of(&vendor).in_place_of(&ahead).start();

    ahead.clock.advance(Duration::from_secs(5));
    let good = ahead.mint("support").await;
    ahead.clock.advance(Duration::from_secs(1));
    let early = ahead.mint("support").await;

    assert_eq!(read(&behind, &good.token).send().await.unwrap().status(), 200);
    assert_eq!(verdict(&behind, &early.token).await, invalid());
    behind.clock.advance(Duration::from_secs(1));
    assert_eq!(read(&behind, &early.token).send().await.unwrap().status(), 200, "a refusal is not remembered");
}

#[tokio::test]
async fn forged_tokens_are_refused_whichever_way_they_are_forged() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let (token, other) = (gateway.mint("support").await.token, gateway.mint("support").await.token);
    let strange = TestGateway::in_front_of(&vendor).start().mint("support").await.token;
    let [head, body, seal] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let with_header = |name: &str, value: Value| {
        let mut header = header(&token);
        header[name] = value;
        format!("{}.{body}.{seal}", encode(&header))
    };
    let mut longer = claims(&token);
    longer["exp"] = json!(9_999_999_999_u64);

    for (what, forged) in [
        ("claims", format!("{head}.{}.{seal}", encode(&longer))),
        ("another's signature", format!("{head}.{body}.{}", other.rsplit('.').next().unwrap())),
        ("no signature", format!("{head}.{body}.")),
        ("none", with_header("alg", json!("none"))),
        ("another algorithm", with_header("alg", json!("HS256"))),
        ("another type", with_header("typ", json!("JWT"))),
        ("unknown key", with_header("kid", json!("k"))),
        ("crit", with_header("crit", json!([]))),
        ("jwk", with_header("jwk", json!({}))),
        ("padding", format!("{token}=")),
        ("another gateway's key", strange),
        ("no token", "abc".to_owned()),
        ("more than 8 KiB", format!("{head}.{}.{seal}", "a".repeat(8192))),
    ] {
        assert_eq!(verdict(&gateway, &forged).await, invalid(), "{what}");
    }
    assert!(vendor.seen().is_empty());
    assert_eq!(read(&gateway, &token).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn token_of_another_issuer_is_refused_although_the_keys_are_the_same() {
    let vendor = TestVendor::echo();
    let first = TestGateway::in_front_of(&vendor).start();
    let second = TestGateway::in_front_of(&vendor).in_place_of(&first).public_url("http://localhost:1").start();

    assert_eq!(verdict(&second, &first.mint("support").await.token).await, invalid());
}

#[tokio::test]
async fn token_counts_also_raw_where_the_vendor_takes_its_key() {
    let gateway = TestGateway::chatbotkit().start();
    let session = gateway.mint("support").await;
    let list = format!("/api/v1/conversation/{}/message/list", session.conversation);

    let raw = gateway.call(Method::GET, &list).header("authorization", &session.token).send().await.unwrap();
    assert_eq!(raw.status(), 200);
    let create = gateway.post("/api/v1/bot/bot_2/session/create").header("authorization", gateway.owner.expose());
    assert_eq!(create.send().await.unwrap().status(), 200);
    let elsewhere = gateway.post("/v1/bots/hidden/sessions").header("authorization", gateway.owner.expose());
    assert_eq!(refusal(elsewhere.send().await.unwrap()).await, invalid(), "no vendor takes a key there");
}

async fn everything(answer: reqwest::Response) -> String {
    let head = format!(
        "{:?}",
        answer.headers().iter().map(|(n, v)| (n, v.as_bytes().escape_ascii().to_string())).collect::<Vec<_>>()
    );
    format!("{head}{}", answer.text().await.unwrap())
}

#[tokio::test]
async fn neither_the_key_nor_the_vendors_token_is_in_anything_that_the_client_gets() {
    let gateway = TestGateway::chatbotkit().start();
    let minted =
        gateway.post("/api/v1/bot/support/session/create").bearer_auth(gateway.owner.expose()).send().await.unwrap();
    let token = minted.headers()["keystile-token"].to_str().unwrap().to_owned();
    let conversation = claims(&token)["cid"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/conversation/{conversation}/complete");
    let told = gateway.post(&path).bearer_auth(&token).json(&json!({"text": "hi"})).send().await.unwrap();
    assert_eq!(told.status(), 200);

    let seen = gateway.chatbotkit.as_ref().unwrap().seen().pop().unwrap();
    let vendors = seen.headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
    assert!(vendors.len() > 16 && vendors != KEY && vendors != token, "the conversation has a token of its own");
    let got =
        [everything(minted).await, everything(told).await, claims(&token).to_string(), header(&token).to_string()]
            .concat();
    assert!(!got.contains(KEY) && !got.contains(&vendors));
}

#[tokio::test]
async fn binding_tells_not_even_the_length_of_what_is_sealed() {
    let profile = PLAIN_PROFILE.replacen(
        "[[route]]",
        "[open]\ncall = \"POST /open\"\nsession = \"/id\"\nvendor_token = \"/token\"\n[[route]]",
        1,
    );
    let sealed = async |length: usize| {
        let answer = json!({"id": "c1", "token": "t".repeat(length)}).to_string();
        let vendor = TestVendor::answering(move |_| whole(200, "application/json", answer.clone()));
        // The address is in the seal as a digest, so that only the token's length differs.
        let Session { token, .. } = TestGateway::with_profile(&vendor, &profile).start().mint("support").await;
        claims(&token)["bnd"].as_str().unwrap().len()
    };

    let lengths: HashSet<usize> = [sealed(32).await, sealed(33).await, sealed(34).await, sealed(35).await].into();
    assert!(lengths.len() <= 2, "{lengths:?}");
}

#[tokio::test]
async fn a_body_that_is_held_back_does_not_carry_its_call_past_the_tokens_end() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint_with("support", json!({"durationInSeconds": 1800})).await;
    // All of its life and the leeway but a moment.
    gateway.clock.advance(Duration::from_millis(1_804_900));
    let headers = ["content-type: application/json", "content-length: 12"];
    let call = wire::head(&session, &format!("POST /sessions/{}/say", session.id), &headers);

    let mut stream = wire::send(&gateway, call + "{\"text\":").await;
    let answer = wire::read_until(&mut stream, "token_expired").await;

    assert_eq!(wire::status(&answer), 401);
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn a_renewal_whose_body_comes_after_the_tokens_end_renews_nothing() {
    let vendor = TestVendor::echo();
    for (ends, code) in [(true, "token_expired"), (false, "token_revoked")] {
        let gateway = TestGateway::in_front_of(&vendor).start();
        let session = gateway.mint_with("support", json!({"durationInSeconds": 1800})).await;
        let headers = ["content-type: application/json", "content-length: 2", "expect: 100-continue"];
        let call = wire::head(&session, &format!("POST /v1/sessions/{}/renew", session.id), &headers);
        let mut stream = wire::send(&gateway, call).await;
        // Only now is the body asked for, and the token was looked at before.
        wire::read_until(&mut stream, "100 Continue\r\n\r\n").await;
        if ends {
            gateway.clock.advance(Duration::from_millis(1_806_000));
        } else {
            let end = gateway.call(Method::DELETE, &format!("/v1/sessions/{}", session.id));
            assert_eq!(end.bearer_auth(&session.token).send().await.unwrap().status(), 204);
        }

        stream.write_all(b"{}").await.unwrap();
        let answer = wire::read_until(&mut stream, "}").await;

        assert_eq!((wire::status(&answer), answer.contains(code)), (401, true), "{answer}");
    }
}
