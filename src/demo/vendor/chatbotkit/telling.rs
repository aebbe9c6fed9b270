//! What the bot says, and how it is told: at once, or token by token.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame};
use serde_json::{Value, json};
use tokio::time::Sleep;

use super::format::Format;
use crate::clock::Clock;
use crate::demo::vendor::Answer;
use crate::demo::vendor::pacing::{Keep, tokens};

/// How often a silent stream says that it is alive.
const PING: Duration = Duration::from_secs(10);

/// One thing that a stream says, and the silence before it.
struct Event {
    kind: &'static str,
    data: Value,
    after: Duration,
}

impl Event {
    fn new(kind: &'static str, data: Value) -> Self {
        Self { kind, data, after: Duration::ZERO }
    }
}

/// What the bot says to one text.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    id: String,
    text: String,
    tokens: Vec<String>,
}

impl Reply {
    /// It says what it heard.
    pub(super) fn to(heard: &str, id: String) -> Self {
        let text = format!("I heard: {heard}");
        let tokens = tokens(&text);
        Self { id, text, tokens }
    }

    /// Its id as a message.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The whole of it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// How many tokens it has.
    pub(super) fn length(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX)
    }

    /// The answer that is not streamed, and the last event of the one that is.
    pub(super) fn result(&self) -> Value {
        json!({
            "id": self.id,
            "text": self.text,
            "usage": { "token": self.tokens.len() },
            "end": { "reason": "stop" },
        })
    }

    /// The streamed answer to the message `sent`. `keep` is called when the bot's message is complete, which it never
    /// is for a client that left.
    pub(super) fn tell(&self, sent: &str, format: Format, pace: Duration, clock: Clock, keep: Keep) -> Answer {
        let tokens =
            self.tokens.iter().map(|token| Event { after: pace, ..Event::new("token", json!({ "token": token })) });
        let mut events = VecDeque::from([Event::new("sendResult", json!({ "id": sent }))]);
        events.extend(tokens);
        events.push_back(Event::new("message", json!({ "id": self.id, "type": "bot", "text": self.text })));
        events.push_back(Event::new("receiveResult", self.result()));
        events.push_back(Event::new("result", self.result()));
        let telling = Telling { events, left: Duration::ZERO, pause: None, format, clock, keep: Some(keep) };
        let mut answer = Response::new(telling.boxed_unsync());
        answer.headers_mut().insert(CONTENT_TYPE, format.media_type());
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer
    }
}

/// The body of a streamed answer. One event is one frame: the vendor's own SDK cannot read a character that is cut.
struct Telling {
    events: VecDeque<Event>,
    /// What is left of the silence before the next event, behind `pause`.
    left: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    format: Format,
    clock: Clock,
    keep: Option<Keep>,
}

impl Telling {
    /// What is to be said now, and the beginning of the silence after it.
    fn next(&mut self) -> Option<Event> {
        let event = match self.left {
            Duration::ZERO => self.events.pop_front()?,
            _ => Event::new("ping", json!({})),
        };
        if event.kind == "message"
            && let Some(keep) = self.keep.take()
        {
            keep();
        }
        if self.left.is_zero() {
            self.left = self.events.front().map_or(Duration::ZERO, |next| next.after);
        }
        let pause = self.left.min(PING);
        self.left -= pause;
        self.pause = (!pause.is_zero()).then(|| Box::pin(tokio::time::sleep(pause)));
        Some(event)
    }
}

impl Body for Telling {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
        }
        let event = self.next();
        Poll::Ready(event.map(|event| Ok(Frame::data(self.format.event(event.kind, &event.data, self.clock.now())))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_stream_pings_every_ten_seconds() {
        let slow = Event { after: Duration::from_secs(25), ..Event::new("token", json!({})) };
        let mut telling = Telling {
            events: VecDeque::from([Event::new("sendResult", json!({})), slow]),
            left: Duration::ZERO,
            pause: None,
            format: Format::Lines,
            clock: Clock::system(),
            keep: None,
        };
        let mut told = Vec::new();
        while let Some(event) = telling.next() {
            let silence = telling.pause.as_ref().map(|pause| pause.deadline() - tokio::time::Instant::now());
            told.push((event.kind, silence.unwrap_or_default().as_secs_f64().round()));
        }
        assert_eq!(told, [("sendResult", 10.0), ("ping", 10.0), ("ping", 5.0), ("token", 0.0)]);
    }
}
