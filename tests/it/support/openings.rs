//! Vendors whose session call answers what a test says, one of each kind that profiles know.

use std::sync::Arc;

use http::Method;
use parking_lot::Mutex;
use reqwest::Response;
use serde_json::{Value, json};

use super::gateway::{Builder, KEY, TestGateway, claims};
use super::vendor::{Answer, Seen, TestVendor, whole};

/// Of all bots together, so that no test meets a limit that it does not mean.
const UNLIMITED: &str = r#"limits = { per_bot = "100000/1s", mint_per_ip = "100000/1s" }"#;

/// How a vendor says which session it has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The whole answer is the id.
    Superseek,
    /// The id is a string in JSON.
    Hub,
    /// The same, and the vendor has one bot only.
    Genesys,
    /// The id is an integer in an envelope, and a failure can be inside of a 200.
    HotTask,
    /// With a token of the vendor's own, and its end.
    ChatBotKit,
    /// The same, and the vendor has one bot only.
    DirectLine,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Superseek, Self::Hub, Self::Genesys, Self::HotTask, Self::ChatBotKit, Self::DirectLine];

    /// The built-in profile; its bots' ids are text here, as the tests' are.
    pub(crate) fn profile(self) -> String {
        let text = match self {
            Self::Superseek => include_str!("../../../config/vendors/superseek.toml"),
            Self::Hub => include_str!("../../../config/vendors/aichatbothub.toml"),
            Self::Genesys => include_str!("../../../config/vendors/genesys.toml"),
            Self::HotTask => include_str!("../../../config/vendors/hottask.toml"),
            Self::ChatBotKit => include_str!("../../../config/vendors/chatbotkit.toml"),
            Self::DirectLine => include_str!("../../../config/vendors/directline.toml"),
        };
        text.replace("bot_id   = \"number\"", "")
    }

    /// What the vendor says to an opening that went well, with `id` as it stands in the answer.
    pub(crate) fn with_id(self, id: &Value) -> String {
        match self {
            Self::Superseek => id.as_str().map_or_else(|| id.to_string(), str::to_owned),
            Self::Hub => json!({"created_at": "now", "modified_at": "now", "uuid": id}).to_string(),
            Self::Genesys => json!({"sessionId": id, "visitId": "v1"}).to_string(),
            Self::HotTask => {
                let data = json!({"SessionID": id});
                json!({"Data": data, "Version": "1.0.0", "Success": true, "Code": 200, "Message": ""}).to_string()
            }
            Self::ChatBotKit => {
                json!({"conversationId": id, "token": "vendor-token-0123456789", "expiresAt": 7200}).to_string()
            }
            Self::DirectLine => {
                json!({"conversationId": id, "token": "vendor-token-0123456789", "expires_in": 7200}).to_string()
            }
        }
    }

    /// The same with an id that is one.
    pub(crate) fn good(self) -> String {
        match self {
            Self::HotTask => self.with_id(&json!(123_456)),
            _ => self.with_id(&json!("a3ip87gkr2jh580fptg0i67m3p")),
        }
    }

    /// The session call as the vendor's own clients send it.
    pub(crate) async fn ask(self, gateway: &TestGateway, credential: &str) -> Response {
        let call = match self {
            Self::Superseek => gateway.call(Method::GET, &format!("/session-id?bot_id=bot_1&api_key={credential}")),
            Self::Hub => gateway.post("/api/v1/chatbot/bot_1/session/create").bearer_auth(credential),
            Self::Genesys => {
                gateway.call(Method::PUT, "/sessions/new").header("authorization", credential).json(&json!({}))
            }
            Self::HotTask => gateway
                .post("/chat/Chatbot/GetSession")
                .header("authorization", credential)
                .json(&json!({"serialNumber": "bot_1"})),
            Self::ChatBotKit => {
                gateway.post("/api/v1/bot/bot_1/session/create").bearer_auth(credential).json(&json!({}))
            }
            Self::DirectLine => gateway.post("/v3/directline/tokens/generate").bearer_auth(credential).json(&json!({})),
        };
        call.send().await.unwrap()
    }

    /// Whether `body` is an error as this vendor writes them.
    pub(crate) fn is_error(self, body: &Value) -> bool {
        match self {
            Self::Superseek | Self::Hub | Self::Genesys => {
                body["type"].as_str().is_some_and(|text| text.starts_with("urn:keystile:"))
            }
            Self::HotTask => {
                let is_code = body["Code"].as_i64().is_some_and(|code| code >= 400);
                body["Success"] == false && is_code && body["Message"].is_string() && body["Data"].is_object()
            }
            Self::ChatBotKit => body["code"].is_string() && body["message"].is_string(),
            Self::DirectLine => body["error"]["code"].is_string() && body["error"]["message"].is_string(),
        }
    }
}

type Script = Arc<Mutex<Box<dyn Fn(&Seen) -> Answer + Send>>>;

/// A vendor of one kind, what it answers, and a gateway before it.
pub(crate) struct Opening {
    pub(crate) kind: Kind,
    pub(crate) vendor: TestVendor,
    pub(crate) gateway: TestGateway,
    script: Script,
}

impl Opening {
    /// One whose openings go well. There is one connection to the vendor: what does not give it back stops all others.
    pub(crate) fn of(kind: Kind) -> Self {
        let script: Script = Arc::new(Mutex::new(Box::new(move |_| whole(200, "application/json", kind.good()))));
        let told = Arc::clone(&script);
        let vendor = TestVendor::answering(move |seen| told.lock()(seen));
        let gateway = gateway_of(kind, &vendor).start();
        Self { kind, vendor, gateway, script }
    }

    /// From here on the vendor answers so.
    pub(crate) fn answer(&self, script: impl Fn(&Seen) -> Answer + Send + 'static) {
        *self.script.lock() = Box::new(script);
    }

    /// From here on with a 200 and this body.
    pub(crate) fn says(&self, body: impl Into<String>) {
        let body = body.into();
        self.answer(move |_| whole(200, "application/json", body.clone()));
    }

    /// Both session calls fail with this status and code, tell nothing, and the next ones go well.
    pub(crate) async fn fails_with(&self, status: u16, code: &str, what: &str) {
        fails(self.kind, &self.gateway, status, code, what).await;
        let kind = self.kind;
        self.says(kind.good());
        succeeds(kind, &self.gateway, what).await;
    }
}

/// A gateway with one connection to a vendor of this kind.
pub(crate) fn gateway_of(kind: Kind, vendor: &TestVendor) -> Builder {
    let gateway = TestGateway::with_profile(vendor, &kind.profile()).bot(UNLIMITED).vendor("max_connections = 1");
    // Of whom a client owns one bot only, its calls need not name it.
    gateway.hidden_of("stranger")
}

/// Both session calls fail with this status and code, and say nothing that they must not.
pub(crate) async fn fails(kind: Kind, gateway: &TestGateway, status: u16, code: &str, what: &str) {
    let (native, own) = (gateway.ask("support", json!({})).await, kind.ask(gateway, gateway.owner.expose()).await);
    for (is_own, answer) in [(false, native), (true, own)] {
        let told = format!("{kind:?}, {what}, own: {is_own}");
        assert_eq!(answer.status(), status, "{told}");
        let (headers, id) = (format!("{:?}", answer.headers()), answer.headers()["x-request-id"].clone());
        let text = answer.text().await.unwrap();
        for secret in ["eyJ", "keystile-token", KEY, gateway.owner.expose()] {
            assert!(!text.contains(secret) && !headers.contains(secret), "{told}: {text} {headers}");
        }
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{told}: {error} in {text}"));
        if is_own {
            assert!(kind.is_error(&body), "{told}: {body}");
        } else {
            assert_eq!(body["code"], code, "{told}: {body}");
        }
        let record = gateway.record(|record| record["id"] == id.to_str().unwrap()).await;
        assert!(record["status"] == status && record["session"].is_null(), "{told}: {record}");
    }
}

/// Both session calls go well.
pub(crate) async fn succeeds(kind: Kind, gateway: &TestGateway, what: &str) {
    gateway.mint("support").await;
    let answer = kind.ask(gateway, gateway.owner.expose()).await;
    assert!(answer.status().is_success(), "{kind:?} after {what}: {}", answer.text().await.unwrap());
    assert_eq!(claims(answer.headers()["keystile-token"].to_str().unwrap())["bot"], "support");
}
