//! HTTP/1.1 as bytes: for what a client library would refuse to send, or tidy up.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::gateway::{Session, TestGateway};

/// A connection to the gateway.
pub(crate) async fn connect(gateway: &TestGateway) -> TcpStream {
    TcpStream::connect(gateway.url.trim_start_matches("http://")).await.unwrap()
}

/// Sends these bytes on a connection of their own.
pub(crate) async fn send(gateway: &TestGateway, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = connect(gateway).await;
    stream.write_all(bytes.as_ref()).await.unwrap();
    stream
}

/// The head of a call by `session`, and the empty line behind it. Each of `headers` is a whole line.
pub(crate) fn head(session: &Session, call: &str, headers: &[&str]) -> String {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{call} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {}\r\n{lines}\r\n", session.token)
}

/// Sends a call by `session` and reads the answer until the gateway closes.
pub(crate) async fn call(gateway: &TestGateway, session: &Session, call: &str, headers: &[&str], body: &str) -> String {
    let length = format!("content-length: {}", body.len());
    let headers: Vec<&str> = headers.iter().copied().chain([length.as_str(), "connection: close"]).collect();
    let mut stream = send(gateway, head(session, call, &headers) + body).await;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of an answer.
pub(crate) fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{answer:?} has a status"))
}

/// Reads from `stream` until `end` has come, and answers all of it.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(end) {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).await.unwrap();
        assert!(length > 0, "{:?} ended before {end:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&part[..length]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Writes to a connection whose other end may have gone.
pub(crate) async fn write(stream: &mut TcpStream, text: &str) {
    // The test tells by what the gateway answers.
    let _gone = stream.write_all(text.as_bytes()).await;
}

/// What is read of the next call or answer on this connection: its head, and as much body as it says. Nothing at the end.
pub(crate) async fn next_message(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .to_ascii_lowercase()
                .split("content-length: ")
                .nth(1)
                .map_or(0, |rest| rest.split("\r\n").next().unwrap_or_default().parse().unwrap());
            if body.len() >= length {
                return Some(text);
            }
        }
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(length) if length > 0 => text.push_str(&String::from_utf8_lossy(&part[..length])),
            _ended => return None,
        }
    }
}
