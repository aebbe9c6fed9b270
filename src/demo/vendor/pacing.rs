//! Answers that are told bit by bit, as a model thinks of them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame};
use tokio::time::Sleep;

use super::Answer;

/// What is done when the last event is told.
pub(super) type Keep = Box<dyn FnOnce() + Send>;

/// One thing that a stream says, and the silence before it.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) after: Duration,
    pub(super) bytes: Bytes,
}

/// A streamed answer. `keep` is called with the last event, which is never told to a client that left.
pub(super) fn stream(media_type: &'static str, events: Vec<Event>, keep: Keep) -> Answer {
    let paced = Paced { events: events.into(), pause: None, keep: Some(keep) };
    let mut answer = Response::new(paced.boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// Splits a text so that the pieces joined are the text: words with the blank behind them, and outside of ASCII single
/// characters with what modifies them, so that no token holds half an emoji.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut before = ' ';
    for character in text.chars() {
        let splits = match character {
            _ if before == '\u{200D}' => false,
            '\u{200D}' | '\u{FE00}'..='\u{FE0F}' | '\u{0300}'..='\u{036F}' | '\u{1F3FB}'..='\u{1F3FF}' => false,
            ascii if ascii.is_ascii() && before.is_ascii() => before == ' ',
            ' ' => false,
            _ => true,
        };
        match tokens.last_mut() {
            Some(last) if !splits => last.push(character),
            _ => tokens.push(character.to_string()),
        }
        before = character;
    }
    tokens
}

/// The body of a streamed answer: one event is one frame.
struct Paced {
    events: VecDeque<Event>,
    pause: Option<Pin<Box<Sleep>>>,
    keep: Option<Keep>,
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(after) = self.events.front().map(|event| event.after) else { return Poll::Ready(None) };
        if !after.is_zero() {
            let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let event = self.events.pop_front();
        if self.events.is_empty()
            && let Some(keep) = self.keep.take()
        {
            keep();
        }
        Poll::Ready(event.map(|event| Ok(Frame::data(event.bytes))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn tokens_are_whole_and_join_to_the_text() {
        let text = "I heard: hello 世界、👩‍💻 \u{2764}\u{FE0F}!";
        let tokens = tokens(text);
        assert_eq!(tokens.concat(), text);
        assert_eq!(tokens, ["I ", "heard: ", "hello ", "世", "界", "、", "👩‍💻 ", "\u{2764}\u{FE0F}", "!"]);
    }

    #[tokio::test(start_paused = true)]
    async fn events_come_after_their_silence_and_the_last_is_kept() {
        let events = [(0, "a"), (25, "b"), (5, "c")];
        let events = events.map(|(after, text)| Event { after: Duration::from_secs(after), bytes: text.into() });
        let (kept, seen) = (Arc::new(AtomicBool::new(false)), tokio::time::Instant::now());
        let keep = {
            let kept = Arc::clone(&kept);
            Box::new(move || kept.store(true, Ordering::Relaxed))
        };
        let mut body = stream("text/plain", events.into(), keep).into_body();
        let mut told = Vec::new();
        while let Some(frame) = body.frame().await {
            let text = frame.expect("no error").into_data().expect("data");
            told.push((text, seen.elapsed().as_secs(), kept.load(Ordering::Relaxed)));
        }
        assert_eq!(told, [("a".into(), 0, false), ("b".into(), 25, false), ("c".into(), 30, true)]);
    }
}
