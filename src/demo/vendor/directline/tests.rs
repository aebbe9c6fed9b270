//! The simulated vendor over real sockets.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;
use crate::clock::Timestamp;

const KEY: &str = "directline-secret-0123456789abcdef";

/// A running vendor; it ends with the test.
struct Running {
    vendor: Arc<DirectLine>,
    clock: Clock,
    address: String,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    async fn start() -> Self {
        let clock = Clock::manual(Timestamp::from_seconds(1_800_000_000));
        let settings = Settings { key: Secret::new(KEY), pace: Duration::from_millis(1) };
        let vendor = DirectLine::new(settings, clock.clone(), Entropy::system());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address").to_string();
        let task = tokio::spawn(Arc::clone(&vendor).serve(listener));
        Self { vendor, clock, address, task }
    }

    fn request(&self, method: Method, path: &str, credential: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}/v3/directline/{path}", self.address);
        reqwest::Client::new().request(method, url).bearer_auth(credential)
    }

    fn post(&self, path: &str, credential: &str) -> reqwest::RequestBuilder {
        self.request(Method::POST, path, credential)
    }

    /// A started conversation's id, token, and WebSocket, for Ada.
    async fn open(&self) -> (String, String, String) {
        let body = json!({ "user": { "id": "dl_ada", "name": "Ada" }, "trustedOrigins": ["https://shop.example"] });
        let (status, token) = sent(self.post("tokens/generate", KEY).json(&body)).await;
        assert_eq!((status, &token["expires_in"]), (200, &json!(1800)), "{token}");
        let (status, opened) = sent(self.post("conversations", text(&token, "token"))).await;
        assert_eq!((status, &opened["conversationId"]), (201, &token["conversationId"]));
        let part = |name| text(&opened, name).to_owned();
        (part("conversationId"), part("token"), part("streamUrl"))
    }

    async fn connect(&self, url: &str) -> Result<WebSocketStream<TcpStream>, Error> {
        let stream = TcpStream::connect(&self.address).await.expect("a connection");
        client_async(url, stream).await.map(|(socket, _)| socket)
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().expect("a string")
}

async fn sent(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// The status and code of a refusal.
async fn refused(request: reqwest::RequestBuilder) -> (u16, String) {
    let (status, body) = sent(request).await;
    assert!(body["error"]["message"].is_string(), "{body}");
    (status, text(&body["error"], "code").to_owned())
}

fn because(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn hello() -> Value {
    json!({ "type": "message", "from": { "id": "dl_eve" }, "text": "hi" })
}

/// The next set of activities: who said what, and the watermark.
async fn heard(socket: &mut WebSocketStream<TcpStream>) -> (Vec<(String, String)>, String) {
    let message = socket.next().await.expect("a message").expect("a good one").into_text().expect("text");
    let set: Value = serde_json::from_str(&message).expect("JSON");
    let activities = set["activities"].as_array().expect("activities").iter();
    let said = activities.map(|one| (text(&one["from"], "id").to_owned(), text(one, "text").to_owned()));
    (said.collect(), text(&set, "watermark").to_owned())
}

#[tokio::test]
async fn a_token_is_generated_with_the_secret_only() {
    let running = Running::start().await;
    let (_, token, _) = running.open().await;
    let bare = reqwest::Client::new().post(format!("http://{}/v3/directline/tokens/generate", running.address));
    assert_eq!(refused(bare).await, because(401, "BadArgument"));
    for wrong in ["directline-secret-0123456789abcdee", &token] {
        assert_eq!(refused(running.post("tokens/generate", wrong)).await, because(403, "BadArgument"));
    }
    for body in [
        json!({ "user": { "id": "ada" } }),
        json!({ "user": { "id": 1 } }),
        json!({ "user": "dl_ada" }),
        json!({ "trustedOrigins": "https://shop.example" }),
    ] {
        let asked = running.post("tokens/generate", KEY).json(&body);
        assert_eq!(refused(asked).await, because(400, "BadArgument"), "{body}");
    }
    let untyped = running.post("tokens/generate", KEY).header("content-type", "text/plain").body("{}");
    assert_eq!(refused(untyped).await, because(400, "BadSyntax"));
    assert_eq!(sent(running.post("tokens/generate", KEY)).await.0, 200);
    let seen = running.vendor.seen();
    assert_eq!(seen[0].honoured, ["user.id"]);
    assert!(!format!("{seen:?}").contains(KEY));
}

#[tokio::test]
async fn a_token_is_good_for_exactly_its_conversation_and_its_time() {
    let running = Running::start().await;
    let (own, token, _) = running.open().await;
    let (other, foreign, _) = running.open().await;
    let activities = |id: &str| format!("conversations/{id}/activities");
    assert_eq!(refused(running.post(&activities(&other), &token).json(&hello())).await, because(403, "BadArgument"));
    let unknown = running.request(Method::GET, "conversations/none", &token);
    assert_eq!(refused(unknown).await, because(403, "BadArgument"));
    let unknown = running.request(Method::GET, "conversations/none", KEY);
    assert_eq!(refused(unknown).await, because(404, "BadArgument"));
    assert_eq!(sent(running.post(&activities(&own), KEY).json(&hello())).await.0, 200);

    running.clock.advance(Duration::from_millis(1_799_999));
    let (status, fresh) = sent(running.post("tokens/refresh", &token)).await;
    assert_eq!((status, text(&fresh, "conversationId")), (200, own.as_str()));
    running.clock.advance(Duration::from_millis(1));
    assert_eq!(refused(running.post("tokens/refresh", &token)).await, because(403, "TokenExpired"));
    assert_eq!(refused(running.post("conversations", &foreign)).await, because(403, "TokenExpired"));
    assert_eq!(refused(running.post("tokens/refresh", KEY)).await, because(403, "BadArgument"));
    assert_eq!(sent(running.post(&activities(&own), text(&fresh, "token")).json(&hello())).await.0, 200);
}

#[tokio::test]
async fn a_conversation_is_started_once() {
    let running = Running::start().await;
    let (_, generated) = sent(running.post("tokens/generate", KEY)).await;
    let (id, token) = (text(&generated, "conversationId"), text(&generated, "token"));
    let say = || running.post(&format!("conversations/{id}/activities"), token).json(&hello());
    assert_eq!(refused(say()).await, because(404, "BadArgument"));
    assert_eq!(sent(running.post("conversations", token)).await.0, 201);
    assert_eq!(sent(running.post("conversations", token).json(&json!({ "user": {} }))).await.0, 200);
    assert_eq!(sent(say()).await.0, 200);
    let (status, new) = sent(running.post("conversations", KEY)).await;
    assert_eq!(status, 201);
    assert_ne!(text(&new, "conversationId"), id);
}

#[tokio::test]
async fn the_user_of_a_token_is_who_speaks() {
    let running = Running::start().await;
    let (id, bound, _) = running.open().await;
    let path = format!("conversations/{id}/activities");
    let (_, answer) = sent(running.post(&path, &bound).json(&hello())).await;
    assert_eq!(answer["id"], format!("{id}|0000001"));
    sent(running.post(&path, KEY).json(&hello())).await;
    let (_, set) = sent(running.request(Method::GET, &path, &bound)).await;
    let from: Vec<_> = set["activities"].as_array().expect("activities").iter().map(|one| &one["from"]).collect();
    let bot = &json!({ "id": "bot", "name": "Bot", "role": "bot" });
    assert_eq!(from, [&json!({ "id": "dl_ada", "name": "Ada" }), bot, &json!({ "id": "dl_eve" }), bot]);
    let believed: Vec<_> = running.vendor.seen().into_iter().map(|seen| seen.honoured).collect();
    assert_eq!(believed[2..], [vec![], vec!["from.id".to_owned()], vec![]]);

    let later = sent(running.request(Method::GET, &format!("{path}?watermark=3"), &bound)).await.1;
    assert_eq!(
        (later["activities"][0]["replyToId"].clone(), &later["watermark"]),
        (json!(format!("{id}|0000003")), &json!("4"))
    );
    let beyond = running.request(Method::GET, &format!("{path}?watermark=5"), &bound);
    assert_eq!(refused(beyond).await, because(400, "BadArgument"));
}

#[tokio::test]
async fn what_is_no_activity_is_refused() {
    let running = Running::start().await;
    let (id, bound, _) = running.open().await;
    let path = format!("conversations/{id}/activities");
    for (body, code) in [
        (json!([]), "BadSyntax"),
        (json!({ "from": { "id": "a" } }), "MissingProperty"),
        (json!({ "type": "message", "text": "hi" }), "MissingProperty"),
        (json!({ "type": "message", "from": "a" }), "BadArgument"),
        (json!({ "type": "message", "from": { "id": "a" }, "text": 1 }), "BadArgument"),
    ] {
        assert_eq!(refused(running.post(&path, KEY).json(&body)).await, because(400, code), "{body}");
    }
    let big = json!({ "type": "message", "text": "x".repeat(300_000) });
    assert_eq!(refused(running.post(&path, &bound).json(&big)).await, because(413, "MessageSizeTooBig"));
    assert_eq!(refused(running.request(Method::PUT, &path, KEY)).await, because(405, "BadArgument"));
    for unknown in ["", "tokens", "conversations/", "conversations/a/b"] {
        assert_eq!(
            refused(running.post(unknown, KEY)).await.0,
            404 + u16::from(unknown == "conversations/"),
            "{unknown}"
        );
    }
}

#[tokio::test]
async fn an_upload_is_an_activity() {
    let running = Running::start().await;
    let (id, bound, _) = running.open().await;
    let path = format!("conversations/{id}/upload");
    let image = |path: &str, credential| running.post(path, credential).header("content-type", "image/png").body("png");
    assert_eq!(refused(image(&path, KEY)).await, because(400, "MissingProperty"));
    assert_eq!(sent(image(&path, &bound)).await, (200, json!({ "id": format!("{id}|0000001") })));
    assert_eq!(sent(image(&format!("{path}?userId=dl_eve"), KEY)).await.0, 200);
    assert_eq!(running.vendor.seen().last().expect("a call").honoured, ["userId"]);
    let multipart = |body: &'static str| {
        running.post(&path, &bound).header("content-type", "multipart/form-data; boundary=b").body(body)
    };
    assert_eq!(sent(multipart("--b\r\n\r\nx\r\n--b--\r\n")).await.0, 200);
    assert_eq!(refused(multipart("x")).await, because(400, "BadSyntax"));
}

#[tokio::test]
async fn activities_come_on_the_websocket_and_again_after_a_reconnect() {
    let running = Running::start().await;
    let (id, token, url) = running.open().await;
    let mut socket = running.connect(&url).await.expect("a WebSocket");
    sent(running.post(&format!("conversations/{id}/activities"), &token).json(&hello())).await;
    let (ada, bot) = (("dl_ada".to_owned(), "hi".to_owned()), ("bot".to_owned(), "I heard: hi".to_owned()));
    assert_eq!(heard(&mut socket).await, (vec![ada.clone()], "1".to_owned()));
    assert_eq!(heard(&mut socket).await, (vec![bot.clone()], "2".to_owned()));
    socket.send(Message::text("")).await.expect("what a client says has no meaning");
    socket.close(None).await.expect("closed");
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_))) | None));

    let again = running.request(Method::GET, &format!("conversations/{id}?watermark=1"), &token);
    let (status, again) = sent(again).await;
    assert_eq!((status, text(&again, "conversationId")), (200, id.as_str()));
    assert!(text(&again, "streamUrl").contains("?watermark=1&t="));
    let mut socket = running.connect(text(&again, "streamUrl")).await.expect("a WebSocket");
    assert_eq!(heard(&mut socket).await, (vec![bot], "2".to_owned()));

    // Without a watermark it begins with what comes next.
    let (_, again) = sent(running.request(Method::GET, &format!("conversations/{id}"), &token)).await;
    let mut socket = running.connect(text(&again, "streamUrl")).await.expect("a WebSocket");
    sent(running.post(&format!("conversations/{id}/activities"), &token).json(&hello())).await;
    assert_eq!(heard(&mut socket).await, (vec![ada], "3".to_owned()));
    assert_eq!(running.vendor.aborted(), 0);
}

#[tokio::test]
async fn a_websocket_wants_its_own_token_in_time() {
    let running = Running::start().await;
    let (id, token, url) = running.open().await;
    let (other, ..) = running.open().await;
    let status = |tried: Result<WebSocketStream<TcpStream>, Error>| match tried {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        _ => 101,
    };
    let stream = url.split("?t=").next().expect("a URL").split('?').next().expect("a URL");
    assert_eq!(status(running.connect(stream).await), 401);
    assert_eq!(status(running.connect(&format!("{stream}?t={token}")).await), 101);
    assert_eq!(status(running.connect(&format!("{}?t={token}", stream.replace(&id, &other))).await), 403);
    assert_eq!(status(running.connect(&format!("{stream}?t={KEY}")).await), 403);
    assert_eq!(status(running.connect(&url.replace(&id, &other)).await), 403);
    let plain = reqwest::Client::new().get(url.replace("ws://", "http://"));
    assert_eq!(refused(plain).await, because(400, "BadArgument"));
    assert_eq!(status(running.connect(&url).await), 101);
    let misused = url.split("&t=").nth(1).expect("a token");
    assert_eq!(refused(running.post("conversations", misused)).await, because(403, "BadArgument"));
    running.clock.advance(Duration::from_secs(60));
    assert_eq!(status(running.connect(&url).await), 403);
}

#[tokio::test]
async fn a_websocket_ends_with_its_vendor() {
    let running = Running::start().await;
    let (_, _, url) = running.open().await;
    let mut socket = running.connect(&url).await.expect("a WebSocket");
    running.task.abort();
    assert!(matches!(socket.next().await, Some(Err(_)) | None));
}
