//! The simulated vendor over real sockets.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::clock::Timestamp;

const KEY: &str = "gkc-deployment-0123456789abcdef";

/// A running vendor; it ends with the test.
struct Running {
    vendor: Arc<Genesys>,
    base: String,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    async fn start(tenant: Option<&str>) -> Self {
        let tenant = tenant.map(str::to_owned);
        let settings = Settings { key_header: "X-GKC-Key".to_owned(), key: Secret::new(KEY), tenant };
        let clock = Clock::manual(Timestamp::from_seconds(1_800_000_000));
        let vendor = Genesys::new(settings, clock, Entropy::system());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let task = tokio::spawn(Arc::clone(&vendor).serve(listener));
        Self { vendor, base, task }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        reqwest::Client::new().request(method, format!("{}{path}", self.base)).header("x-gkc-key", KEY)
    }
}

/// The status, and the body, which is JSON in every case.
async fn sent(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn status(request: reqwest::RequestBuilder) -> u16 {
    let (status, body) = sent(request).await;
    assert_eq!(body["statusCode"].as_u64(), (status >= 400).then_some(status.into()), "{body}");
    status
}

fn id(information: &Value) -> &str {
    information["sessionId"].as_str().expect("an id")
}

#[tokio::test]
async fn a_session_is_opened_with_the_key_only() {
    let running = Running::start(None).await;
    let create = || reqwest::Client::new().put(format!("{}/sessions/new", running.base));
    assert_eq!(status(create()).await, 401);
    assert_eq!(status(create().header("x-gkc-key", "gkc-deployment-0123456789abcdee")).await, 401);
    assert_eq!(status(create().header("x-gkc-key", KEY).header("x-gkc-key", KEY)).await, 401);
    assert_eq!(status(create().bearer_auth(KEY)).await, 401, "not the header of this deployment");

    let visit = json!({ "visitId": "v1", "globalVisitId": "g1" });
    let request = create().header("x-gkc-key", KEY).header("gkc_customerId", "ada").header("gkc_agentId", "a7");
    let (code, information) = sent(request.json(&visit)).await;
    assert_eq!(code, 200);
    let expected = json!({
        "sessionId": id(&information), "customerId": "ada", "agentId": "a7",
        "visitId": "v1", "globalVisitId": "g1", "created": 1_800_000_000_000_u64,
    });
    assert_eq!(information, expected);
    assert_eq!(running.vendor.seen().last().expect("a call").honoured, ["gkc_agentid", "gkc_customerid"]);

    let (_, anonymous) = sent(running.request(Method::PUT, "/sessions/new")).await;
    assert_eq!(anonymous["customerId"], Value::Null);
    assert!(running.vendor.seen().last().expect("a call").honoured.is_empty());
    assert_eq!(running.vendor.seen().last().expect("a call").headers["x-gkc-key"], KEY);
    assert!(!format!("{:?}", running.vendor.seen()).contains(KEY));
}

#[tokio::test]
async fn a_visit_has_one_session() {
    let running = Running::start(None).await;
    let create = |visit: Value| running.request(Method::PUT, "/sessions/new").json(&visit);
    assert_eq!(status(create(json!({ "visitId": "v", "globalVisitId": "g" }))).await, 200);
    assert_eq!(status(create(json!({ "visitId": "v", "globalVisitId": "g" }))).await, 400);
    let (_, other) = sent(create(json!({ "visitId": "v", "globalVisitId": "h" }))).await;
    let join = running.request(Method::POST, &format!("/sessions/{}", id(&other))).header("gkc_customerId", "ada");
    assert_eq!(status(join.json(&json!({ "visitId": "v", "globalVisitId": "g" }))).await, 400);
    assert_eq!(status(create(json!({ "visitId": "v" }))).await, 200);
    assert_eq!(status(create(json!({ "visitId": "v" }))).await, 200);
}

#[tokio::test]
async fn an_unknown_session_is_silently_a_new_one() {
    let running = Running::start(None).await;
    let (code, new) = sent(running.request(Method::GET, "/sessions/chosen").header("gkc_customerId", "eve")).await;
    assert_eq!((code, &new["customerId"]), (200, &json!("eve")));
    assert_ne!(id(&new), "chosen");

    // Of a known one the headers change nothing.
    let path = format!("/sessions/{}", id(&new));
    let (_, known) = sent(running.request(Method::GET, &path).header("gkc_customerId", "ada")).await;
    assert_eq!(known, new);
    assert_eq!(running.vendor.customer_of(id(&new)).as_deref(), Some("eve"));
}

#[tokio::test]
async fn a_recognised_user_is_associated_with_a_session_that_began_anonymously() {
    let running = Running::start(None).await;
    let (_, new) = sent(running.request(Method::PUT, "/sessions/new")).await;
    assert_eq!(running.vendor.customer_of(id(&new)), None);
    let path = format!("/sessions/{}", id(&new));
    let associate = || running.request(Method::POST, &path).json(&json!({ "visitId": "v1" }));

    assert_eq!(status(associate()).await, 400);
    assert_eq!(status(associate().header("gkc_customerId", "")).await, 400);
    assert_eq!(status(associate().header("gkc_customerId", "a").header("gkc_customerId", "b")).await, 400);
    let (code, information) = sent(associate().header("gkc_customerId", "ada")).await;
    assert_eq!((code, &information["customerId"], &information["visitId"]), (200, &json!("ada"), &json!("v1")));
    assert_eq!(running.vendor.customer_of(id(&new)).as_deref(), Some("ada"));
    assert_eq!(status(running.request(Method::POST, "/sessions/x").header("gkc_customerId", "ada")).await, 404);
}

#[tokio::test]
async fn what_is_not_documented_is_refused() {
    let running = Running::start(None).await;
    let (_, new) = sent(running.request(Method::PUT, "/sessions/new")).await;
    let path = format!("/sessions/{}", id(&new));
    assert_eq!(status(running.request(Method::DELETE, &path)).await, 405);
    assert_eq!(status(running.request(Method::POST, "/sessions/new")).await, 405);
    for unknown in ["/", "/sessions", "/sessions/", "/sessions/a/b", "/v1/sessions/new"] {
        assert_eq!(status(running.request(Method::GET, unknown)).await, 404, "{unknown}");
    }
    for body in [json!([]), json!({ "visitId": 1 }), json!({ "visitId": null }), json!({ "globalVisitId": "" })] {
        assert_eq!(status(running.request(Method::PUT, "/sessions/new").json(&body)).await, 400, "{body}");
    }
    let untyped = running.request(Method::PUT, "/sessions/new").header("content-type", "text/plain").body("{}");
    assert_eq!(status(untyped).await, 400);
    assert_eq!(running.vendor.aborted(), 0);
}

#[tokio::test]
async fn a_deployment_of_tenants_wants_its_tenant() {
    let running = Running::start(Some("acme & sons")).await;
    for (query, code) in [("", 400), ("?tenantId=other", 400), ("?tenantId=acme+%26%20sons", 200)] {
        assert_eq!(status(running.request(Method::PUT, &format!("/sessions/new{query}"))).await, code, "{query}");
    }
    let twice = "/sessions/new?tenantId=acme+%26+sons&tenantId=acme+%26+sons";
    assert_eq!(status(running.request(Method::PUT, twice)).await, 400);
    assert_eq!(running.vendor.seen()[1].query.as_deref(), Some("tenantId=other"));
}
