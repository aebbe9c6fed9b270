//! What the simple bots say, and how it is streamed: raw text, a word at a time.

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

/// What is done when everything was said, which it never is to a client that left.
type Keep = Box<dyn FnOnce() + Send>;

/// A bot says what it heard.
pub(super) fn reply(heard: &str) -> String {
    format!("I heard: {heard}")
}

/// How long a bot that takes `pace` for each word thinks about the whole.
pub(super) fn thinking(text: &str, pace: Duration) -> Duration {
    pace * u32::try_from(words(text).count()).unwrap_or(u32::MAX)
}

/// The streamed answer: the first word at once, `pace` before each other, `keep` with the last.
pub(super) fn stream(text: &str, pace: Duration, keep: impl FnOnce() + Send + 'static) -> Answer {
    let words = words(text).map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let mut answer = Response::new(Words { words, pace, pause: None, keep: Some(Box::new(keep)) }.boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// Words with the blank behind them: joined, they are the text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

/// The body of a streamed answer. One word is one frame.
struct Words {
    words: VecDeque<Bytes>,
    pace: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    keep: Option<Keep>,
}

impl Body for Words {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
        }
        let word = self.words.pop_front();
        let has_more = !self.words.is_empty();
        self.pause = has_more.then(|| Box::pin(tokio::time::sleep(self.pace)));
        if !has_more && let Some(keep) = self.keep.take() {
            keep();
        }
        Poll::Ready(word.map(|word| Ok(Frame::data(word))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_text_is_told_word_by_word_at_its_pace() {
        let (pace, start) = (Duration::from_secs(60), tokio::time::Instant::now());
        let is_kept = Arc::new(AtomicBool::new(false));
        let kept = Arc::clone(&is_kept);
        let mut body = stream("one  two", pace, move || kept.store(true, Ordering::Relaxed)).into_body();
        let mut told = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            let word = frame.into_data().expect("data");
            told.push((word, start.elapsed().as_secs(), is_kept.load(Ordering::Relaxed)));
        }
        assert_eq!(told, [("one ".into(), 0, false), (" ".into(), 60, false), ("two".into(), 120, true)]);
        assert_eq!(thinking("one  two", pace), pace * 3);
    }
}
