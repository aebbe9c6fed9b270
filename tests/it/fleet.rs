//! All vendors at their documented paths on one gateway: the session call as their own clients send it, with a client's
//! credential in the key's place, and the later calls with the token where the key was.

use http::Method;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::fleet::{Fleet, HOTTASK, HUB, MODEL, SUPERSEEK};
use crate::support::gateway::{KEY, PAGE, claims, refusal};

/// The token that a vendor's shape has no place for.
fn token_of(answer: &Response) -> String {
    assert_eq!(answer.headers()["cache-control"], "no-store");
    answer.headers()["keystile-token"].to_str().unwrap().to_owned()
}

async fn json_of(answer: Response) -> Value {
    let text = answer.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn superseek_has_its_key_in_the_query_and_then_in_the_body_and_the_id_is_our_token() {
    let fleet = Fleet::start();
    let (gateway, owner) = (&fleet.gateway, fleet.gateway.owner.expose());

    let path = format!("/session-id?bot_id={SUPERSEEK}&api_key={owner}");
    let answer = gateway.call(Method::GET, &path).send().await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["content-type"]),
        (200.try_into().unwrap(), &"text/plain; charset=utf-8".parse().unwrap())
    );
    let in_header = token_of(&answer);
    let token = answer.text().await.unwrap();
    assert_eq!(token, in_header);

    // As documented, with the id that was given: and the key's place holds whatever it held.
    let mut id = token;
    for question in ["Hello?", "And now?"] {
        let body = json!({"api_key": owner, "bot_id": 1234, "question": question, "session_id": id});
        let answer = json_of(gateway.post("/chat").json(&body).send().await.unwrap()).await;
        assert_eq!(answer["question"], question);
        id = answer["session_id"].as_str().unwrap().to_owned();
        assert_eq!(claims(&id)["bot"], "superseek", "the answer's id is our token again");
    }
    let answer =
        gateway.post("/qa").json(&json!({"api_key": id, "bot_id": 1234, "question": "x"})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let rating = json!({"api_key": id, "bot_id": 1234, "answer_id": 1, "rating": 1});
    assert_eq!(gateway.post("/answer-rating").json(&rating).send().await.unwrap().status(), 404);

    let seen = fleet.superseek.seen();
    assert_eq!(seen.len(), 4);
    let sessions: Vec<Value> = seen[1..3].iter().map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect();
    assert_eq!(sessions[0]["session_id"], sessions[1]["session_id"]);
    assert!(sessions.iter().all(|body| body["api_key"] == KEY && body["session_id"].as_str().unwrap().len() == 26));
}

#[tokio::test]
async fn superseeks_page_of_an_allowed_origin_needs_no_credential() {
    let fleet = Fleet::start();
    let call = |path: &str| fleet.gateway.call(Method::GET, path).header("origin", PAGE);

    let answer = call(&format!("/session-id?bot_id={SUPERSEEK}&durationInSeconds=1800"))
        .header("keystile-contact", r#"{"name":"Ada"}"#)
        .send()
        .await
        .unwrap();

    assert_eq!(answer.headers()["access-control-allow-origin"], PAGE);
    let claims = claims(&answer.text().await.unwrap());
    assert_eq!(
        (claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), &claims["name"]),
        (1800, &json!("Ada"))
    );
    assert_eq!(refusal(call("/session-id").send().await.unwrap()).await, (404, "unknown_bot".to_owned()));
    let twice = format!("/session-id?bot_id={SUPERSEEK}&bot_id=1");
    assert_eq!(call(&twice).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn ai_chatbot_hub_streams_raw_text_and_lists_sessions_for_an_owner_only() {
    let fleet = Fleet::start();
    let (gateway, owner) = (&fleet.gateway, fleet.gateway.owner.expose());

    let answer =
        gateway.post(&format!("/api/v1/chatbot/{HUB}/session/create")).bearer_auth(owner).send().await.unwrap();
    let token = token_of(&answer);
    let session = json_of(answer).await;
    assert!(session["created_at"].is_string() && session["modified_at"].is_string());
    let id = session["uuid"].as_str().unwrap();

    let said = gateway.post(&format!("/api/v1/session/{id}/message/stream")).bearer_auth(&token);
    let said = said.json(&json!({"query": "Hello?", "debug": true})).send().await.unwrap();
    assert!(said.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    assert!(said.text().await.unwrap().contains("Hello?"));
    let own = gateway.call(Method::GET, &format!("/api/v1/session/{id}")).bearer_auth(&token);
    assert_eq!(json_of(own.send().await.unwrap()).await["uuid"], id);
    let other = gateway.call(Method::GET, "/api/v1/session/00000000-0000-0000-0000-000000000000").bearer_auth(&token);
    assert_eq!(refusal(other.send().await.unwrap()).await, (403, "wrong_session".to_owned()));

    let before = fleet.hub.seen().len();
    let list = || gateway.call(Method::GET, &format!("/api/v1/chatbot/{HUB}/sessions"));
    assert_eq!(refusal(list().bearer_auth(&token).send().await.unwrap()).await, (403, "owner_required".to_owned()));
    let stranger = list().bearer_auth(gateway.stranger.expose()).send().await.unwrap();
    assert_eq!(refusal(stranger).await, (403, "owner_required".to_owned()));
    assert_eq!(refusal(list().send().await.unwrap()).await, (401, "credential_required".to_owned()));
    let paged = list().bearer_auth(owner).header("origin", PAGE).send().await.unwrap();
    assert_eq!(refusal(paged).await, (403, "client_in_browser".to_owned()));
    assert_eq!(fleet.hub.seen().len(), before);
    let all = json_of(list().bearer_auth(owner).send().await.unwrap()).await;
    assert_eq!(all.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn hottasks_integer_session_is_set_by_the_gateway_in_whatever_case_its_name_comes() {
    let fleet = Fleet::start();
    let (gateway, owner) = (&fleet.gateway, fleet.gateway.owner.expose());

    let ask = |serial: &str, key: &str| {
        gateway
            .post("/chat/Chatbot/GetSession")
            .header("authorization", key)
            .json(&json!({"serialNumber": serial}))
            .send()
    };
    let answer = ask(HOTTASK, owner).await.unwrap();
    let token = token_of(&answer);
    let session = json_of(answer).await;
    let id = session["Data"]["SessionID"].as_i64().expect("an integer stays one");
    assert_eq!(
        session,
        json!({"Data": {"SessionID": id}, "Version": "1.0.0", "Success": true, "Code": 200, "Message": ""})
    );

    let say = |body: Value| gateway.post("/chat/Chat/ClientAsk").header("authorization", &token).json(&body).send();
    for name in ["sessionID", "SessionID", "SESSIONID", "session\u{131}d"] {
        let answer = say(json!({name: 1, "content": "Hello?", "stream": false})).await.unwrap();
        assert_eq!(json_of(answer).await["Success"], true, "{name}");
        let body: Value = serde_json::from_slice(&fleet.hottask.seen().pop().unwrap().body).unwrap();
        assert_eq!(body, json!({"content": "Hello?", "stream": false, "sessionID": id}));
    }
    let before = fleet.hottask.seen().len();
    let refused = say(json!({"content": "Hello?", "FileIDs": [7]})).await.unwrap();
    assert_eq!(refused.status(), 400);
    let refused = json_of(refused).await;
    assert_eq!((&refused["Success"], &refused["Code"]), (&json!(false), &json!(400)));
    assert!(refused["Message"].as_str().unwrap().contains("fileIds"));
    let history = || gateway.post("/chat/Chatbot/ChatContentHistory").json(&json!({"SerialNumber": "SN-OTHER"}));
    assert_eq!(history().header("authorization", &token).send().await.unwrap().status(), 403);
    assert_eq!(fleet.hottask.seen().len(), before);
    let all = json_of(history().header("authorization", owner).send().await.unwrap()).await;
    assert_eq!(all["Success"], true, "the owner's own bot, whatever was asked for: {all}");
    assert!(say(json!({"content": "Hello?", "fileIds": []})).await.unwrap().status().is_success());

    for (answer, code) in [(ask("SN-OTHER", owner).await, 404), (ask(HOTTASK, "ksc_website_wrong").await, 401)] {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), code);
        assert_eq!(json_of(answer).await["Code"], code, "an integer, in the vendor's own envelope");
    }
}

#[tokio::test]
async fn genesys_knows_the_customer_only_from_the_gateway() {
    let fleet = Fleet::start();
    let (gateway, owner) = (&fleet.gateway, fleet.gateway.owner.expose());
    let new = || gateway.call(Method::PUT, "/sessions/new?tenantId=other");

    // A page that calls itself a customer is nobody's.
    let answer = new().header("origin", PAGE).header("gkc_customerId", "eve@example.com").send().await.unwrap();
    let page_token = token_of(&answer);
    let claimed = json_of(answer).await["sessionId"].as_str().unwrap().to_owned();
    assert_eq!((fleet.genesys.customer_of(&claimed), &claims(&page_token)["email"]), (None, &json!("eve@example.com")));

    let answer = new()
        .header("X-Knowledge-Key", owner)
        .json(&json!({"visitId": "v1", "globalVisitId": "g1"}))
        .send()
        .await
        .unwrap();
    let token = token_of(&answer);
    let info = json_of(answer).await;
    assert_eq!(
        (&info["visitId"], &info["globalVisitId"], &info["customerId"]),
        (&json!("v1"), &json!("g1"), &json!(null))
    );
    let id = info["sessionId"].as_str().unwrap();
    let read = |token: &str, id: &str| {
        let call = gateway.call(Method::GET, &format!("/sessions/{id}")).header("X-Knowledge-Key", token);
        call.header("gkc_customerId", "eve@example.com").header("gkc-agentid", "boss").send()
    };
    assert_eq!(json_of(read(&token, id).await.unwrap()).await["sessionId"], id);
    assert_eq!(read(&token, "unknown").await.unwrap().status(), 403);
    assert_eq!(fleet.genesys.customer_of(id), None);

    // The site's server has recognised the visitor.
    let contact = |body: Value| {
        let path = format!("/v1/sessions/{}/contact", claims(&token)["sid"].as_str().unwrap());
        gateway.post(&path).bearer_auth(owner).json(&body).send()
    };
    let answer =
        contact(json!({"token": token, "contact": {"email": "ada@example.com"}, "visitId": "v1"})).await.unwrap();
    assert_eq!(answer.status(), 200);
    let known = json_of(answer).await["token"].as_str().unwrap().to_owned();
    assert_eq!(fleet.genesys.customer_of(id).as_deref(), Some("ada@example.com"));
    let (old, new_claims) = (claims(&token), claims(&known));
    for same in ["sid", "cid", "auth_time", "exp", "client_id"] {
        assert_eq!(old[same], new_claims[same], "{same}");
    }
    assert!(
        new_claims["email"] == "ada@example.com" && new_claims["sub"] != old["sub"] && new_claims["jti"] != old["jti"]
    );
    assert_eq!(refusal(read(&token, id).await.unwrap()).await, (401, "token_replaced".to_owned()));
    assert_eq!(read(&known, id).await.unwrap().status(), 200);
    assert_eq!(fleet.genesys.seen().pop().unwrap().headers["gkc_customerid"], "ada@example.com");
    let other = contact(json!({"token": known, "contact": {"email": "eve@example.com"}})).await.unwrap();
    assert_eq!(refusal(other).await, (409, "contact_conflict".to_owned()));
    assert!(fleet.genesys.seen().iter().all(|seen| seen.query.as_deref() == Some("tenantId=acme")));
}

#[tokio::test]
async fn openais_model_and_length_are_the_bots_and_nothing_of_the_account_is_reached() {
    let fleet = Fleet::start();
    let gateway = &fleet.gateway;
    let token = gateway.mint("openai").await.token;
    let say = |path: &str, body: Value| gateway.post(path).bearer_auth(&token).json(&body).send();

    let body = json!({"model": "gpt-9-expensive", "max_tokens": 1_000_000, "n": 50, "user": "eve", "stream": true,
        "messages": [{"role": "user", "content": "Hello?"}]});
    let answer = say("/v1/chat/completions", body).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert!(answer.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    let seen: Value = serde_json::from_slice(&fleet.openai.seen().pop().unwrap().body).unwrap();
    assert_eq!((&seen["model"], &seen["max_completion_tokens"], &seen["n"]), (&json!(MODEL), &json!(4096), &json!(1)));
    assert!(seen["user"] != "eve" && seen["user"] == claims(&token)["sub"] && seen.get("max_tokens").is_none());

    assert_eq!(say("/v1/responses", json!({"input": "Hello?"})).await.unwrap().status(), 200);
    let before = fleet.openai.seen().len();
    for body in [
        json!({"input": "x", "previous_response_id": "resp_1"}),
        json!({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]}),
    ] {
        let refused = say("/v1/responses", body).await.unwrap();
        assert_eq!(refused.status(), 400);
        assert!(json_of(refused).await["error"]["message"].as_str().unwrap().contains("refused"));
    }
    assert_eq!(fleet.openai.seen().len(), before);
}

#[tokio::test]
async fn direct_lines_tokens_and_stream_addresses_are_ours() {
    let fleet = Fleet::start();
    let (gateway, owner) = (&fleet.gateway, fleet.gateway.owner.expose());

    let user = json!({"user": {"id": "dl_eve"}});
    let answer = gateway.post("/v3/directline/tokens/generate").bearer_auth(owner).json(&user).send().await.unwrap();
    let answer = json_of(answer).await;
    assert_eq!(answer["expires_in"], 1800);
    let (id, token) = (answer["conversationId"].as_str().unwrap(), answer["token"].as_str().unwrap());
    assert_eq!(claims(token)["cid"], id);

    let started = gateway.post("/v3/directline/conversations").bearer_auth(token).send().await.unwrap();
    assert_eq!(started.status(), 201);
    let started = json_of(started).await;
    assert_eq!((&started["token"], &started["conversationId"]), (&json!(token), &json!(id)));
    let stream = format!("wss://chat.example.com/v3/directline/conversations/{id}/stream?watermark=-&t={token}");
    assert_eq!(started["streamUrl"], stream);

    let here = stream.replace("wss://chat.example.com", &gateway.url.replace("http", "ws"));
    let stream = TcpStream::connect(gateway.url.trim_start_matches("http://")).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(here, stream).await.unwrap();
    let activities = format!("/v3/directline/conversations/{id}/activities");
    let hello = json!({"type": "message", "from": {"id": "dl_eve"}, "text": "Hello?"});
    assert_eq!(gateway.post(&activities).bearer_auth(token).json(&hello).send().await.unwrap().status(), 200);
    let mut heard = String::new();
    while !heard.contains("I heard") {
        heard += futures_util::StreamExt::next(&mut socket).await.unwrap().unwrap().to_text().unwrap();
    }
    assert!(!heard.contains("dl_eve"), "the user is bound: {heard}");
    let seen = fleet.directline.seen();
    assert!(seen.iter().all(|seen| !seen.query.as_deref().unwrap_or_default().contains(token)));
    assert!(
        seen[1..]
            .iter()
            .all(|seen| seen.headers.get("authorization").is_none_or(|value| !value.to_str().unwrap().contains(KEY)))
    );
}

#[tokio::test]
async fn no_token_of_one_vendor_is_good_for_another() {
    let fleet = Fleet::start();
    let token = fleet.gateway.mint("openai").await.token;

    for (path, body) in [
        ("/chat", json!({"question": "x", "session_id": token})),
        ("/chat/Chat/ClientAsk", json!({"content": "x"})),
        ("/v3/directline/conversations", json!({})),
    ] {
        let answer = fleet.gateway.post(path).bearer_auth(&token).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{path}");
    }
    assert!(fleet.superseek.seen().is_empty() && fleet.hottask.seen().is_empty() && fleet.directline.seen().is_empty());
}
