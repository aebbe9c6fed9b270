//! Bodies that are read whole: each bounded in length and in time, all of them together in memory.

use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::{Instant, timeout_at};

use crate::document::format_duration;
use crate::fault::{Code, Fault};

/// How long a client is asked to wait when there is no memory for its body. Most are held for less.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Reads bodies whole.
#[derive(Clone, Debug)]
pub struct Intake {
    /// For a body to come.
    patience: Duration,
    /// Bytes of all bodies that are held.
    free: Arc<AtomicU64>,
    /// Bytes of those whose callers have not yet shown who they are: what strangers send must not take the place of all
    /// others.
    unproven: Arc<AtomicU64>,
}

/// A body that was read, and its share of the memory for bodies.
pub struct Held {
    bytes: Bytes,
    share: Share,
}

#[derive(Debug)]
struct Share {
    free: Arc<AtomicU64>,
    taken: u64,
}

impl Intake {
    /// Waits `patience` for each body, and holds `most` bytes of all of them; a quarter of it, but at least one of the
    /// `longest`, for callers who have not yet shown who they are.
    pub fn new(patience: Duration, most: u64, longest: u64) -> Self {
        let unproven = Arc::new(AtomicU64::new((most / 4).max(longest)));
        Self { patience, free: Arc::new(AtomicU64::new(most)), unproven }
    }

    /// The same for bodies in which the caller's credential stands.
    pub fn unproven(&self) -> Self {
        Self { free: Arc::clone(&self.unproven), ..self.clone() }
    }

    /// How long a caller may take for a part of a body.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Reads a JSON body of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// A body that is not `application/json` in UTF-8 without content-coding, longer than `limit`, too slow, or broken
    /// off; or that too many others are held.
    pub async fn json<B>(&self, headers: &HeaderMap, body: B, limit: u64) -> Result<Held, Fault>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
    {
        if !body.is_end_stream() && !is_json(headers) {
            return Err(Fault::new(
                Code::UnsupportedMediaType,
                "send the body as `Content-Type: application/json` in UTF-8, without a Content-Encoding",
            ));
        }
        self.whole(body, limit).await
    }

    /// Reads a body of at most `limit` bytes, whatever it is.
    ///
    /// # Errors
    ///
    /// One that is longer, too slow, or broken off; or that too many others are held.
    pub async fn whole<B>(&self, mut body: B, limit: u64) -> Result<Held, Fault>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
    {
        let mut share = Share { free: Arc::clone(&self.free), taken: 0 };
        if body.is_end_stream() {
            return Ok(Held { bytes: Bytes::new(), share });
        }
        let too_large = || too_large(limit);
        if body.size_hint().lower() > limit {
            return Err(too_large());
        }
        let deadline = Instant::now() + self.patience;
        let mut parts = Parts::default();
        loop {
            let frame = match timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    return Err(Fault::new(Code::BadRequest, "the body of the request broke off").because(error));
                }
                Ok(None) => return Ok(Held { bytes: parts.whole(), share }),
                Err(_elapsed) => return Err(too_slow(self.patience)),
            };
            // Trailers are nobody's.
            let Ok(data) = frame.into_data() else { continue };
            // As the bytes come, not as they are announced: to announce costs nothing.
            share.grow(data.len())?;
            if share.taken > limit {
                return Err(too_large());
            }
            parts.add(data);
        }
    }
}

/// That a body is longer than it may be.
pub(super) fn too_large(limit: u64) -> Fault {
    Fault::new(Code::BodyTooLarge, format!("the body is longer than {limit} bytes"))
}

/// That a body did not come in time.
pub(super) fn too_slow(patience: Duration) -> Fault {
    Fault::new(
        Code::RequestTimeout,
        format!("the body of the request did not come within {}", format_duration(patience)),
    )
}

/// What has come so far. A body that comes in one part is not copied.
#[derive(Debug, Default)]
struct Parts {
    first: Bytes,
    all: BytesMut,
}

impl Parts {
    fn add(&mut self, part: Bytes) {
        if self.first.is_empty() {
            self.first = part;
        } else {
            if self.all.is_empty() {
                self.all.extend_from_slice(&self.first);
            }
            self.all.extend_from_slice(&part);
        }
    }

    fn whole(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

impl Share {
    fn grow(&mut self, by: usize) -> Result<(), Fault> {
        let by = u64::try_from(by).unwrap_or(u64::MAX);
        let taken = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(by));
        if taken.is_err() {
            let fault = Fault::new(Code::Overloaded, "the gateway holds as many bodies as it may; try again");
            return Err(fault.retry_after(RETRY_AFTER));
        }
        self.taken += by;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.free.fetch_add(self.taken, Ordering::Relaxed);
    }
}

impl Held {
    /// The same body, if it has at most `limit` bytes: what was read before the limit was known.
    ///
    /// # Errors
    ///
    /// A longer one.
    pub fn within(self, limit: u64) -> Result<Self, Fault> {
        if self.share.taken > limit { Err(too_large(limit)) } else { Ok(self) }
    }

    /// The text of the member `name`, in whatever case it is written.
    ///
    /// # Errors
    ///
    /// A body that is no JSON object, or has the member twice.
    pub fn text_of(&self, name: &str) -> Result<Option<String>, Fault> {
        Ok(super::json::text_of(self, name)?)
    }

    /// The body itself: it keeps its share of the memory until it is sent.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(Counted { bytes: self.bytes, _share: self.share })
    }

    /// What was made of the body: it keeps the body's share of the memory until it is sent.
    pub(super) fn replaced_by(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Counted { bytes, _share: self.share })
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Held({} bytes)", self.bytes.len())
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes that count against the memory for bodies.
struct Counted<T> {
    bytes: T,
    _share: Share,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Counted<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(Ok(text)), None) = (types.next().map(HeaderValue::to_str), types.next()) else { return false };
    let mut parts = text.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let is_plain = codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    is_json && is_utf8 && is_plain
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn headers() -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))])
    }

    async fn read(intake: &Intake, text: &'static str) -> Result<Held, Code> {
        let read = intake.json(&headers(), Full::new(Bytes::from_static(text.as_bytes())), 16).await;
        read.map_err(|fault| fault.code())
    }

    #[tokio::test]
    async fn all_bodies_together_have_a_bound() {
        let intake = Intake::new(PATIENCE, 20, 0);
        let first = read(&intake, "0123456789").await.unwrap();
        assert_eq!(read(&intake, "01234567890").await.unwrap_err(), Code::Overloaded);
        let second = read(&intake, "0123456789").await.unwrap();
        drop(first);
        assert!(read(&intake, "0123456789").await.is_ok());
        drop(second);
        assert_eq!(intake.free.load(Ordering::Relaxed), 20);
    }

    #[tokio::test]
    async fn what_is_made_of_a_body_keeps_its_share() {
        let intake = Intake::new(PATIENCE, 10, 0);
        let made = read(&intake, "0123456789").await.unwrap().replaced_by(b"other".to_vec());
        assert_eq!(read(&intake, "0").await.unwrap_err(), Code::Overloaded);
        assert_eq!(&*made, b"other");
        drop(made);
        assert!(read(&intake, "0").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_refused_when_its_time_is_over() {
        let parts = stream::unfold((), |()| async {
            tokio::time::sleep(PATIENCE / 8).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))), ()))
        });
        let intake = Intake::new(PATIENCE, 100, 0);
        let read = intake.json(&headers(), StreamBody::new(Box::pin(parts)), 100).await;
        assert_eq!(read.unwrap_err().code(), Code::RequestTimeout);
        assert_eq!(intake.free.load(Ordering::Relaxed), 100);
    }

    #[tokio::test]
    async fn what_strangers_send_leaves_room_for_all_others() {
        let intake = Intake::new(PATIENCE, 40, 10);
        let strange = intake.unproven();
        let _held = read(&strange, "0123456789").await.unwrap();
        assert_eq!(read(&strange, "0").await.unwrap_err(), Code::Overloaded);
        assert!(read(&intake, "0123456789").await.is_ok());
    }

    #[tokio::test]
    async fn parts_come_together_and_the_limit_counts_all_of_them() {
        let parts = |count: usize| {
            let part = |_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"abc")));
            StreamBody::new(stream::iter((0..count).map(part)))
        };
        let intake = Intake::new(PATIENCE, 100, 0);
        assert_eq!(&*intake.json(&headers(), parts(3), 9).await.unwrap(), b"abcabcabc");
        assert_eq!(intake.json(&headers(), parts(4), 9).await.unwrap_err().code(), Code::BodyTooLarge);
    }
}
