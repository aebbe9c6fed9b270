//! A conversation in bytes: what is sent, what is answered, what becomes of the connection.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer is never waited for longer.
const LONGEST: Duration = Duration::from_secs(10);
/// Nor this long where a server that waits for the rest of a request is right.
const SHORT: Duration = Duration::from_secs(2);
/// A call that every gateway answers, and its answer.
const PROBE: &str = "GET /.well-known/jwks.json HTTP/1.1\r\nHost: probe\r\n\r\n";
const PROBED: &str = "application/jwk-set+json";

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// What became of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It serves another call.
    Open,
    /// The gateway closed it.
    Closed,
    /// The gateway waits for more.
    Silent,
}

/// What came back.
pub(crate) struct Outcome {
    pub(crate) answers: Vec<Answer>,
    pub(crate) end: End,
}

impl Outcome {
    /// The first status; 0 if there is none.
    pub(crate) fn status(&self) -> u16 {
        self.answers.first().map_or(0, |answer| answer.status)
    }
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    has_ended: bool,
}

/// Sends each of `payloads` once the one before is answered, and then asks whether the connection still serves.
/// `is_unfinished` says that the last one has no end, and so may have no answer.
pub(crate) async fn exchange(address: &str, payloads: &[Vec<u8>], is_unfinished: bool) -> Outcome {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut connection = Connection { stream, read: Vec::new(), has_ended: false };
    let mut answers = Vec::new();
    for payload in payloads {
        // It may have been closed already: the answers tell.
        let _closed = connection.stream.write_all(payload).await;
        let patience = if is_unfinished { SHORT } else { LONGEST };
        match timeout(patience, connection.answer(payload.starts_with(b"HEAD"))).await {
            Ok(Some(answer)) => answers.push(answer),
            Ok(None) => return Outcome { answers, end: End::Closed },
            Err(_elapsed) => return Outcome { answers, end: End::Silent },
        }
    }
    let _closed = connection.stream.write_all(PROBE.as_bytes()).await;
    let patience = if is_unfinished { SHORT } else { LONGEST };
    loop {
        let end = match timeout(patience, connection.answer(false)).await {
            Ok(Some(answer)) if answer.head.contains(PROBED) => End::Open,
            Ok(Some(answer)) => {
                answers.push(answer);
                continue;
            }
            Ok(None) => End::Closed,
            Err(_elapsed) => End::Silent,
        };
        return Outcome { answers, end };
    }
}

impl Connection {
    /// The next final answer; nothing at the end of the connection.
    async fn answer(&mut self, is_head: bool) -> Option<Answer> {
        loop {
            let head = self.until("\r\n\r\n").await?.to_ascii_lowercase();
            let status = head.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{head:?}"));
            if status == 101 || status >= 200 {
                let body = if is_head || status == 204 { Some(String::new()) } else { self.body(&head).await };
                return Some(Answer { status, head, body: body.unwrap_or_default() });
            }
        }
    }

    async fn body(&mut self, head: &str) -> Option<String> {
        if head.contains("\r\ntransfer-encoding: chunked") {
            return self.until("0\r\n\r\n").await;
        }
        let length = head.split("\r\ncontent-length: ").nth(1)?.split("\r\n").next()?.parse().unwrap();
        while self.read.len() < length {
            self.more().await?;
        }
        Some(text(self.read.drain(..length)))
    }

    async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end.as_bytes()) {
                return Some(text(self.read.drain(..at + end.len())));
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Option<()> {
        let mut part = [0; 4096];
        if !self.has_ended {
            match self.stream.read(&mut part).await {
                Ok(length @ 1..) => self.read.extend_from_slice(&part[..length]),
                _ended => self.has_ended = true,
            }
        }
        (!self.has_ended).then_some(())
    }
}

fn text(bytes: impl Iterator<Item = u8>) -> String {
    bytes.map(char::from).collect()
}
