//! The audit record: each thing that is done to sessions is one record, nothing secret is in it, and what was done to the
//! record itself is found.

mod program;

use keystile::bot::NewClient;
use keystile::id::Entropy;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::gateway::{PAGE, Session, TestGateway, refusal};
use crate::support::program::{complained, keystile, said};
use crate::support::vendor::TestVendor;
use crate::support::{eventually, wire};

const EMAIL: &str = "ada.lovelace@example.com";
const NAME: &str = "Augusta Ada King";
const PHONE: &str = "+442071838750";

/// Makes the call, which must succeed, and gives its answer and the one record that it left.
async fn recorded(gateway: &TestGateway, call: RequestBuilder) -> (Value, Value) {
    let before = gateway.audit().len();
    let answer = call.send().await.unwrap();
    let request = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{status} {text}");
    let after = gateway.audit();
    assert_eq!(after.len(), before + 1, "{after:#?}");
    let record = after.last().unwrap().clone();
    assert_eq!((&record["request"], &record["from"]), (&json!(request), &json!("127.0.0.1")), "{record}");
    (serde_json::from_str(&text).unwrap_or_default(), record)
}

/// That the record says: this was done by them to that session.
fn says(record: &Value, action: &str, who: Value, session: &Session) {
    let told = (&record["action"], &record["who"], &record["session"]);
    assert_eq!(told, (&json!(action), &who, &json!(session.id)), "{record}");
}

fn session_of(answer: &Value) -> Session {
    let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    Session { id: text("sessionId"), conversation: text("conversationId"), token: text("token") }
}

#[tokio::test]
async fn every_action_leaves_one_record_that_says_who_and_holds_no_secret() {
    let operator = NewClient::make("admin", &Entropy::system());
    let admin = format!("listen = \"127.0.0.1:0\"\nsecret_sha256 = \"{}\"", operator.secret_sha256);
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).admin(&admin).start();
    let (owner, website) = (gateway.owner.expose().to_owned(), json!({"client": "website"}));
    let contact = json!({"name": NAME, "email": EMAIL, "phone": PHONE});
    let open = |wish: &Value| gateway.post("/v1/bots/support/sessions").json(wish);
    let mut tokens = Vec::new();

    let (answer, record) = recorded(&gateway, open(&json!({"contact": contact})).bearer_auth(&owner)).await;
    let known = session_of(&answer);
    says(&record, "session.mint", website.clone(), &known);
    assert_eq!((&record["bot"], &record["source"]), (&json!("support"), &json!("asserted")), "{record}");
    assert!(record["expires"].is_string() && record["subject"].is_string(), "{record}");

    let (answer, record) = recorded(&gateway, open(&json!({"contact": contact})).header("origin", PAGE)).await;
    let page = session_of(&answer);
    says(&record, "session.mint", json!({"page": PAGE}), &page);
    assert_eq!(record["source"], "claimed");

    let path = format!("/v1/sessions/{}/renew", known.id);
    let (answer, record) = recorded(&gateway, gateway.post(&path).bearer_auth(&known.token)).await;
    says(&record, "session.renew", json!({"bearer": known.id}), &known);
    assert!(record["expires"].is_string(), "{record}");
    tokens.push(session_of(&answer).token);

    let once = || open(&json!({})).bearer_auth(&owner).header("idempotency-key", "the-same");
    let (answer, first) = recorded(&gateway, once()).await;
    let nobody = session_of(&answer);
    let (_, again) = recorded(&gateway, once()).await;
    says(&again, "session.mint", website.clone(), &nobody);
    assert_eq!((&first["replayed"], &again["replayed"]), (&Value::Null, &json!(true)));
    assert_eq!((&first["expires"], &first["subject"]), (&again["expires"], &again["subject"]));

    let body = json!({"token": nobody.token, "contact": contact});
    let call = gateway.post(&format!("/v1/sessions/{}/contact", nobody.id)).bearer_auth(&owner).json(&body);
    let (answer, record) = recorded(&gateway, call).await;
    says(&record, "session.contact", website.clone(), &nobody);
    assert_eq!((&record["source"], record["expires"].is_string()), (&json!("asserted"), true), "{record}");
    let nobody = session_of(&answer);

    let delete = |path: &str| gateway.call(Method::DELETE, path);
    let one = |session: &Session| format!("/v1/sessions/{}", session.id);
    let (_, record) = recorded(&gateway, delete(&one(&nobody)).bearer_auth(&nobody.token)).await;
    says(&record, "session.revoke", json!({"bearer": nobody.id}), &nobody);
    let (_, record) = recorded(&gateway, delete(&one(&known)).bearer_auth(&owner)).await;
    says(&record, "session.revoke", website.clone(), &known);
    let (_, record) = recorded(&gateway, delete(&format!("/v1/sessions?contact={EMAIL}")).bearer_auth(&owner)).await;
    assert_eq!((&record["action"], &record["who"]), (&json!("sessions.revoke"), &website), "{record}");
    assert!(record["subject"].is_string() && record["session"].is_null() && record["bot"].is_null(), "{record}");

    let operated = |path: &str| {
        let url = format!("{}{path}", gateway.admin.as_deref().unwrap());
        gateway.client.delete(url).bearer_auth(operator.secret.expose())
    };
    let (_, record) = recorded(&gateway, operated(&one(&page))).await;
    says(&record, "session.revoke", json!({"operator": "admin"}), &page);
    let (_, record) = recorded(&gateway, operated("/v1/sessions?bot=support")).await;
    assert_eq!((&record["action"], &record["bot"]), (&json!("sessions.revoke"), &json!("support")), "{record}");

    let text = std::fs::read_to_string(gateway.audit_file()).unwrap();
    tokens.extend([owner, operator.secret.expose().to_owned(), known.token, page.token, nobody.token]);
    tokens.extend([EMAIL, NAME, PHONE, "lovelace", "Ada", "sk-real"].map(str::to_owned));
    for secret in &tokens {
        assert!(!text.contains(secret.as_str()), "{secret} in {text}");
    }
    assert_eq!(verified(&gateway)["ok"], true);
}

#[tokio::test]
async fn sessions_by_a_vendors_own_calls_are_on_record_too() {
    let gateway = TestGateway::chatbotkit().start();
    let owner = gateway.owner.expose().to_owned();
    let call = gateway.post("/api/v1/bot/bot_1/session/create").bearer_auth(&owner).json(&json!({}));
    let (answer, record) = recorded(&gateway, call).await;
    assert_eq!((&record["action"], &record["who"]["client"]), (&json!("session.mint"), &json!("website")), "{record}");
    let (conversation, token) = (answer["conversationId"].as_str().unwrap(), answer["token"].as_str().unwrap());
    let path = format!("/api/v1/conversation/{conversation}/contact/upsert");
    let call = gateway.post(&path).bearer_auth(token).json(&json!({"name": NAME, "email": EMAIL}));
    let (_, told) = recorded(&gateway, call).await;
    assert_eq!((&told["action"], &told["source"]), (&json!("session.contact"), &json!("claimed")), "{told}");
    assert_eq!((&told["session"], &told["who"]["bearer"]), (&record["session"], &record["session"]), "{told}");
    let text = std::fs::read_to_string(gateway.audit_file()).unwrap();
    assert!(!text.contains(EMAIL) && !text.contains(NAME) && !text.contains(token), "{text}");

    let profile =
        "title = \"Own\"\n[[route]]\ncall = \"POST /refresh\"\nrenews = true\nanswer.json = { token = \"{token}\" }\n";
    let vendor = TestVendor::echo();
    let gateway = TestGateway::with_profile(&vendor, profile).start();
    let session = gateway.mint("support").await;
    let (answer, record) = recorded(&gateway, gateway.post("/refresh").bearer_auth(&session.token)).await;
    says(&record, "session.renew", json!({"bearer": session.id}), &session);
    assert!(answer["token"].is_string() && record["expires"].is_string(), "{answer} {record}");
}

#[tokio::test]
async fn what_a_visitor_told_the_vendor_is_on_record_though_the_visitor_has_left() {
    let profile = "title = \"Own\"\n[identify]\ncall = \"POST /upsert\"\n[[route]]\ncall = \"POST /upsert\"\n";
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let (vendor, mut all, release) = TestVendor::held(answer);
    let gateway = TestGateway::with_profile(&vendor, profile).start();
    let session = gateway.mint("support").await;
    let head = ["content-length: 2", "content-type: application/json"];
    for more in ["x-note: none", "idempotency-key: the-same"] {
        let before = gateway.audit().len();
        let head = wire::head(&session, "POST /upsert", &[head[0], head[1], more]);
        let client = wire::send(&gateway, format!("{head}{{}}")).await;
        assert!(all.recv().await.unwrap().starts_with("POST /upsert"));
        let all_left = || gateway.records().iter().filter(|record| record["complete"] == false).count();
        let left = all_left();
        drop(client);
        eventually("the record of the call that was left", || all_left() > left).await;
        release.notify_one();
        eventually("the audit record", || gateway.audit().len() > before).await;
        assert_eq!(gateway.audit().last().unwrap()["action"], "session.contact", "{more}");
    }
}

#[tokio::test]
async fn what_a_visitor_told_the_vendor_and_cannot_be_put_on_record_is_not_told_again() {
    let profile = "title = \"Own\"\n[identify]\ncall = \"POST /upsert\"\n[[route]]\ncall = \"POST /upsert\"\n";
    let vendor = TestVendor::echo();
    let gateway = TestGateway::with_profile(&vendor, profile).start();
    let session = gateway.mint("support").await;
    let upsert = async || {
        let call = gateway.post("/upsert").bearer_auth(&session.token).header("idempotency-key", "the-same");
        refusal(call.json(&json!({})).send().await.unwrap()).await
    };
    // Another process that writes for longer than anybody waits.
    let held = std::fs::File::open(gateway.audit_file()).unwrap();
    held.lock().unwrap();
    let first = upsert().await;
    drop(held);
    let maybe_sent = (409, "maybe_sent".to_owned());
    assert_eq!([first, upsert().await], [maybe_sent.clone(), maybe_sent]);
    assert_eq!(vendor.seen().len(), 1);
}

#[tokio::test]
async fn what_is_refused_and_what_only_reads_or_talks_leaves_no_record() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;
    let before = gateway.audit().len();
    let owner = gateway.owner.expose();
    let say = format!("/sessions/{}/say", session.id);
    for call in [
        gateway.post(&say).bearer_auth(&session.token).json(&json!({"text": "hi"})),
        gateway.call(Method::GET, &format!("/v1/sessions/{}", session.id)).bearer_auth(owner),
        gateway.call(Method::GET, "/v1/sessions").bearer_auth(owner),
        gateway.post("/v1/bots/hidden/sessions").json(&json!({})),
        gateway.post("/v1/bots/support/sessions").bearer_auth(owner).json(&json!({"durationInSeconds": 1})),
        gateway.post(&format!("/v1/sessions/{}/renew", session.id)).bearer_auth("a.b.c"),
        gateway.call(Method::DELETE, &format!("/v1/sessions/{}", session.id)).bearer_auth(gateway.stranger.expose()),
    ] {
        call.send().await.unwrap();
    }
    assert_eq!(gateway.audit().len(), before);
}

/// What the command says of the gateway's record, which it is writing.
fn verified(gateway: &TestGateway) -> Value {
    let run = keystile().args(["audit", "verify", "--json"]).arg(gateway.audit_file()).output().unwrap();
    serde_json::from_str(&said(&run)).unwrap()
}

#[tokio::test]
async fn audit_verify_says_which_line_is_broken_and_how() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    for _ in 0..4 {
        gateway.mint("support").await;
    }
    let whole = verified(&gateway);
    assert_eq!((&whole["ok"], &whole["records"], &whole["last"]["n"]), (&json!(true), &json!(4), &json!(4)), "{whole}");
    let folder = tempfile::tempdir().unwrap();
    let (copy, config) = (folder.path().join("audit.jsonl"), folder.path().join("keystile.toml"));
    std::fs::write(&config, "[audit]\nfile = \"audit.jsonl\"\n").unwrap();
    let text = std::fs::read_to_string(gateway.audit_file()).unwrap();
    let run = |text: &str, more: &[&str]| {
        std::fs::write(&copy, text).unwrap();
        keystile().args(["audit", "verify", "-c"]).arg(&config).args(more).output().unwrap()
    };
    let noted = format!("--expect=4:{}", whole["last"]["hash"].as_str().unwrap());
    let ran = run(&text, &[&noted]);
    assert_eq!(ran.status.code(), Some(0), "{}", said(&ran));
    assert!(said(&ran).contains("unbroken") && said(&ran).contains("to note  4:"), "{}", said(&ran));

    let lines: Vec<&str> = text.lines().collect();
    let cut = format!("{}\n", lines[..3].join("\n"));
    for (broken, more, breach, line) in [
        (text.replacen("127.0.0.1", "127.0.0.2", 1), "--json", "changed", json!(1)),
        (text.replacen(&format!("{}\n", lines[1]), "", 1), "--json", "missing", json!(2)),
        (format!("{text}{}\n", lines[1]), "--json", "inserted", json!(5)),
        (text.replacen(lines[2], "{}", 1), "--json", "no_record", json!(3)),
        (text.trim_end().to_owned(), "--json", "torn", json!(4)),
        (cut, noted.as_str(), "cut_off", Value::Null),
        (text.replacen("website", "another", 4).replace(lines[3], ""), noted.as_str(), "changed", json!(1)),
    ] {
        let ran = run(&broken, &["--json", more][usize::from(more == "--json")..]);
        let told: Value = serde_json::from_str(&said(&ran)).unwrap();
        assert_eq!((ran.status.code(), &told["breach"], &told["line"]), (Some(1), &json!(breach), &line), "{told}");
        let words = run(&broken, if more == "--json" { &[] } else { std::slice::from_ref(&more) });
        assert!(said(&words).contains("BROKEN"), "{}", said(&words));
    }
    for wrong in ["4", "4:abc", "x:y", &format!("0:{}", "0".repeat(64))] {
        assert_eq!(run(&text, &["--expect", wrong]).status.code(), Some(2), "{wrong}");
    }
    std::fs::write(&config, "[audit]\nfile = \"off\"\n").unwrap();
    let off = run(&text, &[]);
    assert_eq!(off.status.code(), Some(2));
    assert!(complained(&off).contains("\"off\""), "{}", complained(&off));
    let missing = keystile().args(["audit", "verify"]).arg(folder.path().join("x")).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
}

#[tokio::test]
async fn a_session_whose_caller_leaves_while_it_is_opened_is_on_record_and_ended() {
    let (vendor, mut calls, answer) = TestVendor::held(concat!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 83\r\n\r\n",
        r#"{"conversationId":"conv_1","token":"vt-0123456789abcdef","expiresAt":4000000000000}"#
    ));
    let gateway = TestGateway::built_in(&vendor, "chatbotkit").start();
    let open = gateway.post("/v1/bots/support/sessions").bearer_auth(gateway.owner.expose()).json(&json!({}));
    let open = tokio::spawn(open.send());
    calls.recv().await.unwrap();
    open.abort();
    // The gateway has seen that it left.
    gateway.record(|record| record["status"] == 499).await;
    answer.notify_one();

    eventually("both records", || gateway.audit().len() == 2).await;
    let audit = gateway.audit();
    let told: Vec<_> = audit.iter().map(|record| (&record["action"], &record["session"])).collect();
    let session = &audit[0]["session"];
    assert_eq!(told, [(&json!("session.mint"), session), (&json!("session.revoke"), session)]);
    let path = format!("/v1/sessions/{}", session.as_str().unwrap());
    let shown = gateway.call(Method::GET, &path).bearer_auth(gateway.owner.expose()).send().await.unwrap();
    assert_eq!(shown.json::<Value>().await.unwrap()["state"], "ended");
}
