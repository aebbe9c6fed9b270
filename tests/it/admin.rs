//! The admin listener: probes for all, sessions for operators, nothing for pages.

use keystile::bot::NewClient;
use keystile::id::Entropy;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::gateway::{TestGateway, refusal};
use crate::support::program::{complained, keystile, said};
use crate::support::vendor::TestVendor;

/// A gateway with an admin listener whose operators have a secret.
struct Operated {
    gateway: TestGateway,
    secret: String,
    _vendor: TestVendor,
}

impl Operated {
    fn start() -> Self {
        let made = NewClient::make("admin", &Entropy::system());
        let lines = format!("listen = \"127.0.0.1:0\"\nsecret_sha256 = \"{}\"", made.secret_sha256);
        let vendor = TestVendor::echo();
        let gateway = TestGateway::in_front_of(&vendor).admin(&lines).start();
        Self { gateway, secret: made.secret.expose().to_owned(), _vendor: vendor }
    }

    fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.gateway.admin.as_deref().unwrap();
        self.gateway.client.request(method, format!("{url}{path}"))
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(&self.secret)
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.call(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// The status of a session's call.
    async fn says(&self, id: &str, token: &str) -> u16 {
        let call = self.gateway.post(&format!("/sessions/{id}/say")).bearer_auth(token).json(&json!({"text": "hi"}));
        call.send().await.unwrap().status().as_u16()
    }
}

async fn refused(call: RequestBuilder) -> (u16, String) {
    refusal(call.send().await.unwrap()).await
}

fn told(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn probes_are_free_and_a_gateway_that_read_its_store_is_ready() {
    let operated = Operated::start();
    for (path, text) in [("/livez", "alive\n"), ("/readyz", "ready\n")] {
        let answer = operated.bare(Method::GET, path).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, text), "{path}");
    }
    assert_eq!(refused(operated.bare(Method::GET, "/nothing")).await, told(404, "not_found"));
    assert_eq!(refused(operated.gateway.call(Method::GET, "/readyz")).await, told(404, "not_found"));
}

#[tokio::test]
async fn nobody_who_opens_many_connections_keeps_a_probe_out() {
    let operated = Operated::start();
    let address = operated.gateway.admin.clone().unwrap();
    let address = address.trim_start_matches("http://");
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\n\r\n").repeat(50);
    let mut greedy = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Some ask for much and read nothing, the others do nothing at all.
        if number % 2 == 0 {
            stream.write_all(request.as_bytes()).await.unwrap();
        }
        greedy.push(stream);
    }
    let answer = operated.bare(Method::GET, "/livez").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    drop(greedy);
}

#[tokio::test]
async fn nobody_who_opens_many_connections_cuts_an_operators_call() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"id\":\"s1\"}";
    let (vendor, mut calls, release) = TestVendor::held(answer);
    let profile = "title = \"Slow\"\n[open]\ncall = \"POST /open\"\nset.header = { Authorization = \"Bearer {key}\" }\n\
                   session = \"/id\"\n[[route]]\ncall = \"GET /read\"\n";
    let made = NewClient::make("admin", &Entropy::system());
    let lines = format!("listen = \"127.0.0.1:0\"\nsecret_sha256 = \"{}\"", made.secret_sha256);
    let gateway = TestGateway::with_profile(&vendor, profile).admin(&lines).start();
    let admin = gateway.admin.clone().unwrap();
    let call = gateway.client.post(format!("{admin}/v1/bots/support/sessions")).bearer_auth(made.secret.expose());
    let opening = tokio::spawn(call.json(&json!({})).send());
    assert!(calls.recv().await.is_some());
    let mut greedy = Vec::new();
    for _ in 0..300 {
        greedy.push(TcpStream::connect(admin.trim_start_matches("http://")).await.unwrap());
    }
    let probe = gateway.client.get(format!("{admin}/livez")).send().await.unwrap();
    assert_eq!(probe.status(), 200, "all of those were accepted");
    release.notify_one();
    assert_eq!(opening.await.unwrap().unwrap().status(), 201);
}

#[tokio::test]
async fn no_page_calls_the_admin_listener_whatever_it_has() {
    let operated = Operated::start();
    for path in ["/livez", "/v1/sessions"] {
        let page = operated.call(Method::GET, path).header("origin", "http://127.0.0.1");
        assert_eq!(refused(page).await, told(403, "origin_not_allowed"), "{path}");
        let rebound = operated.call(Method::GET, path).header("host", "evil.example.com");
        assert_eq!(refused(rebound).await, told(403, "host_not_allowed"), "{path}");
    }
}

#[tokio::test]
async fn admin_api_needs_the_operators_secret_and_is_off_without_one() {
    let operated = Operated::start();
    let gateway = &operated.gateway;
    let list = || operated.bare(Method::GET, "/v1/sessions");
    assert_eq!(refused(list()).await, told(401, "credential_required"));
    assert_eq!(refused(list().bearer_auth(gateway.owner.expose())).await, told(401, "invalid_client"));
    assert_eq!(refused(list().bearer_auth("a.b.c")).await, told(401, "invalid_client"));
    // And the operators' secret opens nothing else.
    let other = gateway.call(Method::GET, "/v1/sessions").bearer_auth(&operated.secret);
    assert_eq!(refused(other).await, told(401, "invalid_client"));

    let vendor = TestVendor::echo();
    let without = TestGateway::in_front_of(&vendor).admin("listen = \"127.0.0.1:0\"").start();
    let url = format!("{}/v1/sessions", without.admin.as_deref().unwrap());
    assert_eq!(refused(without.client.get(url).bearer_auth(&operated.secret)).await, told(404, "not_found"));
}

#[tokio::test]
async fn another_method_is_told_with_those_that_there_are() {
    let operated = Operated::start();
    for (method, path, allowed) in [
        (Method::PUT, "/v1/sessions", "GET, HEAD, DELETE"),
        (Method::GET, "/v1/bots/support/sessions", "POST"),
        (Method::POST, "/livez", "GET, HEAD"),
    ] {
        let answer = operated.call(method, path).send().await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!((header("allow").as_str(), header("cache-control").as_str()), (allowed, "no-store"), "{path}");
        assert_eq!(header("content-type"), "application/problem+json", "{path}");
        let told = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
        assert_eq!((told.0, &told.1["code"]), (405, &json!("method_not_allowed")), "{path}");
        assert_eq!(told.1["message"], format!("use {allowed}"), "{path}");
    }
    assert_eq!(refused(operated.bare(Method::PUT, "/v1/sessions")).await, told(401, "credential_required"));
}

#[tokio::test]
async fn operator_sees_and_ends_the_sessions_of_all_bots() {
    let operated = Operated::start();
    let (first, second) = (operated.gateway.mint("support").await, operated.gateway.mint("hidden").await);

    let all = operated.json("/v1/sessions").await;
    assert_eq!(all["sessions"].as_array().unwrap().len(), 2);
    let hidden = operated.json("/v1/sessions?bot=hidden").await;
    assert_eq!(hidden["sessions"][0]["sessionId"], second.id);
    assert_eq!(operated.json(&format!("/v1/sessions/{}", first.id)).await["state"], "open");
    assert!(!all.to_string().contains(&first.token));

    let end = operated.call(Method::DELETE, &format!("/v1/sessions/{}", first.id)).send().await.unwrap();
    assert_eq!(end.status(), 204);
    assert_eq!(
        (operated.says(&first.id, &first.token).await, operated.says(&second.id, &second.token).await),
        (401, 200)
    );
    let end = operated.call(Method::DELETE, "/v1/sessions?bot=hidden").send().await.unwrap();
    assert_eq!(end.status(), 200);
    assert_eq!(operated.says(&second.id, &second.token).await, 401);
}

#[tokio::test]
async fn operator_names_a_contact_with_the_client_that_vouched_for_it() {
    let operated = Operated::start();
    let ada = operated.gateway.mint_with("support", json!({"contact": {"email": "ada@example.com"}})).await;
    let other = operated.gateway.mint("support").await;

    let query = "/v1/sessions?contact=ada@example.com&client=website";
    let found = operated.json(query).await;
    assert_eq!((found["sessions"].as_array().unwrap().len(), &found["sessions"][0]["sessionId"]), (1, &json!(ada.id)));
    assert_eq!(operated.call(Method::DELETE, query).send().await.unwrap().status(), 200);
    assert_eq!((operated.says(&ada.id, &ada.token).await, operated.says(&other.id, &other.token).await), (401, 200));

    for query in ["contact=ada@example.com", "client=website", "contact=ada@example.com&client=nobody", "", "all=true"]
    {
        let call = operated.call(Method::DELETE, &format!("/v1/sessions?{query}"));
        assert_eq!(refused(call).await, told(400, "bad_request"), "{query}");
    }
    assert_eq!(refused(operated.call(Method::DELETE, "/v1/sessions?bot=x")).await, told(404, "unknown_bot"));
    assert_eq!(refused(operated.call(Method::GET, "/v1/sessions/x")).await, told(404, "not_found"));
}

#[tokio::test]
async fn session_command_lists_shows_and_ends_over_the_admin_listener() {
    let operated = Operated::start();
    let session = operated.gateway.mint("support").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keystile.toml");
    let address = operated.gateway.admin.as_deref().unwrap().trim_start_matches("http://");
    std::fs::write(&file, format!("[admin]\nlisten = \"{address}\"\n")).unwrap();
    let run = |arguments: &[&str], secret: &str| {
        let mut command = keystile();
        command.arg("session").args(arguments).arg("-c").arg(&file).env("KEYSTILE_ADMIN", secret);
        command.output().unwrap()
    };
    let secret = operated.secret.as_str();

    let listed = run(&["list", "--json"], secret);
    let listed: Value = serde_json::from_str(&said(&listed)).unwrap();
    assert_eq!(listed["sessions"][0]["sessionId"], session.id);
    assert!(said(&run(&["list", "--bot", "support"], secret)).contains(&session.id));
    assert!(said(&run(&["show", &session.id], secret)).contains("\"open\""));
    let wrong = run(&["list"], "ksc_admin_0123456789012345678901234567890123456789012");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(complained(&wrong).contains("401") && !complained(&wrong).contains("ksc_"), "{}", complained(&wrong));
    for misuse in [&["revoke"][..], &["revoke", "--contact", "a@example.com"]] {
        assert_eq!(run(misuse, secret).status.code(), Some(2), "{misuse:?}");
    }

    assert_eq!(run(&["revoke", &session.id], secret).status.code(), Some(0));
    assert_eq!(operated.says(&session.id, &session.token).await, 401);
}
