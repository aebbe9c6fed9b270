//! Failures on vendors' own paths: each in the shape that this vendor's clients know, with the vendor's own words where it
//! has said some, and without its secrets.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::fleet::{Fleet, HOTTASK, HUB, SUPERSEEK};
use crate::support::gateway::{KEY, TestGateway};
use crate::support::openings::{Kind, Opening, gateway_of};
use crate::support::vendor::{TestVendor, whole};

/// How a vendor's clients read an error.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Problem,
    ChatBotKit,
    HotTask,
    OpenAi,
    DirectLine,
}

impl Shape {
    /// What the answer says the code is, if it has the shape.
    fn code(self, body: &Value) -> Option<Value> {
        let names =
            |value: &Value| value.as_object().map(|members| members.keys().cloned().collect::<Vec<_>>().join(" "));
        let (of, expected) = match self {
            Self::Problem => return body["type"].as_str()?.strip_prefix("urn:keystile:problem:").map(Value::from),
            Self::ChatBotKit => (body, "message code"),
            Self::HotTask => (body, "Data Version Success Code Message"),
            Self::OpenAi => (&body["error"], "message type code"),
            Self::DirectLine => (&body["error"], "code message"),
        };
        if names(of)? != expected {
            return None;
        }
        match self {
            Self::HotTask => Some(&of["Code"]).filter(|code| code.is_i64() && of["Success"] == false),
            _ => Some(&of["code"]).filter(|code| code.is_string() && of["message"].is_string()),
        }
        .cloned()
    }
}

/// A vendor's first call, as its clients make it.
struct Client {
    shape: Shape,
    method: Method,
    path: String,
    /// The header of the key, and what stands before it there.
    header: Option<(&'static str, &'static str)>,
    body: Value,
}

impl Client {
    /// All of them; the bot is called `bot`, if that is said.
    fn all(bot: Option<&str>) -> Vec<Self> {
        let named = |known: &str| bot.unwrap_or(known).to_owned();
        let new = |shape, method, path: String, header, body| Self { shape, method, path, header, body };
        let bearer = Some(("authorization", "Bearer "));
        let raw = Some(("authorization", ""));
        let knowledge = Some(("x-knowledge-key", ""));
        let ask = json!({"messages": [{"role": "user", "content": "hi"}]});
        let mut all = vec![
            new(Shape::Problem, Method::GET, format!("/session-id?bot_id={}", named(SUPERSEEK)), None, Value::Null),
            new(
                Shape::Problem,
                Method::POST,
                format!("/api/v1/chatbot/{}/session/create", named(HUB)),
                bearer,
                json!({}),
            ),
            new(
                Shape::ChatBotKit,
                Method::POST,
                format!("/api/v1/bot/{}/session/create", named("bot_1")),
                bearer,
                json!({}),
            ),
            new(
                Shape::HotTask,
                Method::POST,
                "/chat/Chatbot/GetSession".to_owned(),
                raw,
                json!({"serialNumber": named(HOTTASK)}),
            ),
        ];
        if bot.is_none() {
            all.extend([
                new(Shape::Problem, Method::PUT, "/sessions/new".to_owned(), knowledge, json!({})),
                new(Shape::OpenAi, Method::POST, "/v1/chat/completions".to_owned(), bearer, ask),
                new(Shape::DirectLine, Method::POST, "/v3/directline/tokens/generate".to_owned(), bearer, json!({})),
            ]);
        }
        all
    }

    fn call(&self, gateway: &TestGateway, credential: Option<&str>) -> RequestBuilder {
        let path = match (self.header, credential) {
            (None, Some(credential)) => format!("{}&api_key={credential}", self.path),
            _ => self.path.clone(),
        };
        let call = gateway.call(self.method.clone(), &path);
        match (self.header, credential) {
            (Some((name, before)), Some(credential)) => call.header(name, format!("{before}{credential}")),
            _ => call,
        }
    }

    fn with_body(&self, call: RequestBuilder) -> RequestBuilder {
        if self.body.is_null() { call } else { call.json(&self.body) }
    }

    /// The answer has this status and the vendor's shape; its code.
    async fn refused(&self, answer: Response, status: u16) -> Value {
        assert_eq!(answer.status(), status, "{}", self.path);
        let text = answer.text().await.unwrap();
        assert!(!text.contains(KEY) && !text.contains("ksc_"), "{text}");
        let body = serde_json::from_str(&text).unwrap();
        self.shape.code(&body).unwrap_or_else(|| panic!("{} in the shape of {:?}: {text}", self.path, self.shape))
    }
}

#[tokio::test]
async fn a_wrong_or_missing_credential_is_told_in_each_vendors_shape() {
    let fleet = Fleet::start();
    for client in Client::all(None) {
        for credential in [Some("ksc_website_0123456789"), Some("eyJhbGciOiJFZERTQSJ9.e30.x"), Some(KEY), None] {
            let answer = client.with_body(client.call(&fleet.gateway, credential)).send().await.unwrap();
            assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"), "{}", client.path);
            let code = client.refused(answer, 401).await;
            let expected = match client.shape {
                Shape::Problem => ["credential_required", "invalid_token", "invalid_client"]
                    .map(Value::from)
                    .into_iter()
                    .find(|expected| *expected == code),
                Shape::ChatBotKit => Some(json!("NOT_AUTHENTICATED")),
                Shape::HotTask => Some(json!(401)),
                Shape::OpenAi => Some(json!("invalid_api_key")),
                Shape::DirectLine => Some(json!("BadArgument")),
            };
            assert_eq!(Some(code), expected, "{}", client.path);
        }
        let stranger = client.call(&fleet.gateway, Some(fleet.gateway.stranger.expose()));
        let status = if matches!(client.shape, Shape::OpenAi) { 401 } else { 403 };
        client.refused(client.with_body(stranger).send().await.unwrap(), status).await;
    }
}

#[tokio::test]
async fn an_unknown_bot_is_told_in_each_vendors_shape() {
    let fleet = Fleet::start();
    for client in Client::all(Some("999")) {
        let call = client.call(&fleet.gateway, Some(fleet.gateway.owner.expose()));
        client.refused(client.with_body(call).send().await.unwrap(), 404).await;
    }
}

#[tokio::test]
async fn a_body_that_is_none_is_told_in_each_vendors_shape() {
    let fleet = Fleet::start();
    let owner = fleet.gateway.owner.expose();
    let model = fleet.gateway.mint("openai").await;
    for client in Client::all(None).into_iter().filter(|client| !client.body.is_null()) {
        let credential = if matches!(client.shape, Shape::OpenAi) { model.token.as_str() } else { owner };
        let call = || client.call(&fleet.gateway, Some(credential));
        for body in ["{", "[]", "\"text\"", "{\"a\":1,\"a\":2}x", "\u{0}"] {
            let answer = call().header("content-type", "application/json").body(body).send().await.unwrap();
            client.refused(answer, 400).await;
        }
        for media in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"] {
            let answer = call().header("content-type", media).body(client.body.to_string()).send().await.unwrap();
            client.refused(answer, 415).await;
        }
        let encoded = client.with_body(call().header("content-encoding", "gzip")).send().await.unwrap();
        client.refused(encoded, 415).await;
        let long = json!({"durationInSeconds": "x".repeat(2 << 20)});
        client.refused(call().json(&long).send().await.unwrap(), 413).await;
    }
    assert!(fleet.hottask.seen().is_empty() && fleet.openai.seen().is_empty() && fleet.directline.seen().is_empty());
}

#[tokio::test]
async fn a_vendor_that_is_down_is_told_in_each_vendors_shape() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}", socket.local_addr().unwrap());
    drop(socket);
    for kind in Kind::ALL {
        let mut vendor = TestVendor::echo();
        vendor.url.clone_from(&nowhere);
        let gateway = gateway_of(kind, &vendor).start();
        let answer = kind.ask(&gateway, gateway.owner.expose()).await;
        assert_eq!(answer.status(), 502);
        let body: Value = answer.json().await.unwrap();
        assert!(kind.is_error(&body), "{body}");
        assert!(body.to_string().contains("the vendor cannot be reached"), "{body}");
    }
    let vendor = TestVendor { url: nowhere, seen: std::sync::Arc::default() };
    let gateway = TestGateway::built_in(&vendor, "openai").start();
    let session = gateway.mint("support").await;
    let call = gateway.post("/v1/chat/completions").bearer_auth(&session.token);
    let answer = call.json(&json!({"messages": []})).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(Shape::OpenAi.code(&body), Some(json!("vendor_unreachable")));
}

#[tokio::test]
async fn hottasks_business_error_comes_in_its_envelope_with_its_code_and_words() {
    let opening = Opening::of(Kind::HotTask);
    for (said, status, code, words) in [
        (
            json!({"Success": false, "Code": 404, "Message": "SerialNumber does not exist"}),
            200,
            json!(404),
            "SerialNumber",
        ),
        (json!({"Success": false, "Code": 10_021, "Message": "Quota"}), 200, json!(10_021), "Quota"),
        (json!({"Success": false, "Code": 500, "Message": "oops"}), 500, json!(500), "oops"),
        // What clients read as an integer stays one, and no error says that all went well.
        (json!({"Success": false, "Code": "E17", "Message": "odd"}), 200, json!(502), "odd"),
        (json!({"Success": false, "Code": 200, "Message": "odd"}), 200, json!(502), "odd"),
        (json!({"Success": false, "Code": 4.5, "Message": "odd"}), 200, json!(502), "odd"),
        (json!({"Success": "false", "Code": null, "Message": null}), 200, json!(502), "the vendor could not"),
        (json!({"Success": false}), 200, json!(502), "the vendor could not"),
    ] {
        let text = said.to_string();
        opening.answer(move |_| whole(status, "application/json", text.clone()));
        let answer = opening.kind.ask(&opening.gateway, opening.gateway.owner.expose()).await;
        assert_eq!(answer.status(), 502, "{said}");
        assert!(!answer.headers().contains_key("keystile-token"));
        let body: Value = answer.json().await.unwrap();
        assert_eq!(Shape::HotTask.code(&body), Some(code), "{said} became {body}");
        assert!(body["Message"].as_str().unwrap().contains(words), "{said} became {body}");
        assert_eq!((&body["Data"], &body["Version"]), (&json!({}), &json!("1.0.0")));
    }
}

#[tokio::test]
async fn chatbotkits_and_direct_lines_own_errors_keep_their_code_and_words() {
    let opening = Opening::of(Kind::ChatBotKit);
    opening.answer(|_| whole(400, "application/json", r#"{"message":"Invalid contact email","code":"BAD_REQUEST"}"#));
    let answer = opening.kind.ask(&opening.gateway, opening.gateway.owner.expose()).await;
    assert_eq!(answer.status(), 502);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body, json!({"message": "Invalid contact email", "code": "BAD_REQUEST"}));

    let vendor = TestVendor::answering(|_| {
        let error = json!({"error": {"code": "MissingProperty", "message": "Invalid user id"}});
        whole(400, "application/json", error.to_string())
    });
    let gateway = TestGateway::built_in(&vendor, "directline").start();
    let native: Value = gateway.ask("support", json!({})).await.json().await.unwrap();
    assert_eq!(native["code"], "vendor_failed");
    assert!(native["detail"].as_str().unwrap().ends_with("Invalid user id"), "{native}");
}

#[tokio::test]
async fn a_limit_is_told_in_each_vendors_shape_with_the_time_to_wait() {
    for kind in Kind::ALL {
        let vendor = TestVendor::answering(move |_| whole(200, "application/json", kind.good()));
        let limits = r#"limits = { per_bot = "1/1m" }"#;
        let gateway = TestGateway::with_profile(&vendor, &kind.profile()).hidden_of("stranger").bot(limits).start();
        let owner = gateway.owner.expose();
        assert!(kind.ask(&gateway, owner).await.status().is_success());

        let answer = kind.ask(&gateway, owner).await;

        assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"60".parse().unwrap()));
        let body: Value = answer.json().await.unwrap();
        assert!(kind.is_error(&body), "{body}");
        assert_eq!(vendor.seen().len(), 1);
    }
    let limits = r#"limits = { per_session = "1/1m" }"#;
    let gateway = TestGateway::built_in(&TestVendor::echo(), "openai").bot(limits).start();
    let session = gateway.mint("support").await;
    let call = || gateway.post("/v1/chat/completions").bearer_auth(&session.token).json(&json!({"messages": []}));
    assert_eq!(call().send().await.unwrap().status(), 200);
    let answer = call().send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"60".parse().unwrap()));
    assert_eq!(Shape::OpenAi.code(&answer.json().await.unwrap()), Some(json!("rate_limit_exceeded")));
}

#[tokio::test]
async fn exhausted_keys_are_told_in_each_vendors_shape_with_the_time_to_wait() {
    for kind in Kind::ALL {
        let opening = Opening::of(kind);
        opening.answer(|_| {
            let mut answer = whole(429, "application/json", r#"{"Success":false,"Code":429,"message":"slow down"}"#);
            answer.headers_mut().insert("retry-after", "90".parse().unwrap());
            answer
        });
        for _ in 0..2 {
            let answer = kind.ask(&opening.gateway, opening.gateway.owner.expose()).await;
            assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"90".parse().unwrap()));
            let body: Value = answer.json().await.unwrap();
            assert!(kind.is_error(&body), "{body}");
        }
        assert_eq!(opening.vendor.seen().len(), 1, "and nobody is asked meanwhile");
    }
}

#[tokio::test]
async fn a_key_in_the_vendors_words_is_masked_however_it_is_written() {
    let percent: String = KEY.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let hex: String = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
    for kind in [Kind::HotTask, Kind::ChatBotKit] {
        let opening = Opening::of(kind);
        for written in [
            KEY.to_owned(),
            STANDARD.encode(KEY),
            URL_SAFE_NO_PAD.encode(format!("x{KEY}")),
            STANDARD.encode(format!("id:{KEY}")),
            percent.clone(),
            percent.to_lowercase(),
            hex.clone(),
        ] {
            let text = format!("no such key: {written}.");
            let said = json!({"Success": false, "Code": text, "Message": text, "code": text, "message": text});
            opening.answer(move |_| whole(400, "application/json", said.to_string()));
            let native = opening.gateway.ask("support", json!({})).await;
            let own = kind.ask(&opening.gateway, opening.gateway.owner.expose()).await;
            for answer in [native, own] {
                let told = answer.text().await.unwrap();
                // At the edges of base64 a character that the key does not fill may stay.
                let core = &written[4..written.len() - 4];
                assert!(!told.contains(core), "{written} in {told}");
                assert!(told.contains("no such key: ") && told.contains("****"), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn a_failed_conversation_call_keeps_the_vendors_own_answer_without_its_key() {
    let fleet = Fleet::start();
    let session = fleet.gateway.mint("openai").await;
    let call = fleet.gateway.post("/v1/chat/completions").bearer_auth(&session.token);
    let answer = call.json(&json!({"messages": "none"})).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let error: Value = answer.json().await.unwrap();
    assert!(error["error"]["message"].is_string(), "{error}");

    let vendor = TestVendor::answering(|_| {
        let error = json!({"error": {"message": format!("Incorrect API key provided: {KEY}"), "code": KEY}});
        whole(400, "application/json", error.to_string())
    });
    let gateway = TestGateway::built_in(&vendor, "openai").start();
    let session = gateway.mint("support").await;
    let call = gateway.post("/v1/chat/completions").bearer_auth(&session.token);
    let text = call.json(&json!({"messages": []})).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("Incorrect API key provided: ****") && !text.contains(KEY), "{text}");
}

#[tokio::test]
async fn a_token_that_is_over_is_told_as_the_vendors_clients_ask_for_a_new_one() {
    let opening = Opening::of(Kind::DirectLine);
    let session = opening.kind.ask(&opening.gateway, opening.gateway.owner.expose()).await;
    let token = session.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    opening.gateway.clock.advance(std::time::Duration::from_secs(2 * 3600));

    let path = "/v3/directline/conversations/a3ip87gkr2jh580fptg0i67m3p/activities";
    let answer = opening.gateway.call(Method::GET, path).bearer_auth(&token).send().await.unwrap();

    assert_eq!(answer.status(), 403);
    assert!(answer.headers()["www-authenticate"].to_str().unwrap().contains("the token has expired"));
    let body: Value = answer.json().await.unwrap();
    assert_eq!(Shape::DirectLine.code(&body), Some(json!("TokenExpired")), "{body}");
}
