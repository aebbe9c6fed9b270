//! Calls that are made once: `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header).
//!
//! A call with a key is carried out to its end, also if its caller leaves meanwhile: whoever lost the answer asks again with
//! the same key, and gets the answer that was given, byte for byte. It may hold a token of a session that has been ended
//! since.
//!
//! The store sees neither keys nor bodies nor answers: digests that only who has the key directory can make, and an answer
//! that only those can open. Access and limits are asked before: to repeat a call takes the same right, and counts, as to
//! make it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::ledger::Ledger;
use crate::aside::aside;
use crate::fault::{Code, Fault};
use crate::store::Begun;
use crate::token::Authority;

/// Where a caller writes the key of a call.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// So long a key stands for its call.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// The longest key.
const LONGEST: usize = 255;
/// When to ask again for a call that is being made.
const COME_BACK: Duration = Duration::from_secs(1);

/// A call that is to be made once.
#[derive(Clone, Copy, Debug)]
pub struct Once {
    /// Whose key it is, for what, and which.
    key: [u8; 32],
    /// What was asked for with it.
    digest: [u8; 32],
}

/// What is kept of a call that was made.
#[derive(Debug, Deserialize, Serialize)]
pub enum Kept {
    /// Its answer, for whoever asks again.
    Answer(KeptAnswer),
    /// That it was made, or may have been: its answer cannot be given again, and nobody may make it again.
    Made,
}

/// An answer as it lies under the seal.
#[derive(Deserialize, Serialize)]
pub struct KeptAnswer {
    /// The session that was opened, where one was.
    pub session: Option<KeptSession>,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// What is kept of a session beside its answer.
#[derive(Debug, Deserialize, Serialize)]
pub struct KeptSession {
    /// Its id.
    pub id: String,
    /// Whose it is, as a pseudonym.
    pub subject: String,
    /// When its token ends, in milliseconds since the epoch.
    pub expires: u64,
}

impl std::fmt::Debug for KeptAnswer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KeptAnswer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// What a call that is made once comes to.
pub trait Repeatable: Sized + Send + 'static {
    /// What is kept of it; nothing where it may be made again.
    fn kept(&self) -> Option<Kept>;

    /// The same after it failed.
    fn kept_of(fault: &Fault) -> Option<Kept>;

    /// The same again; nothing if it cannot be read any more.
    fn again(kept: KeptAnswer) -> Option<Self>;
}

/// Makes calls once.
#[derive(Debug)]
pub struct Repeats {
    /// Whose key directory seals answers.
    pub authority: Arc<Authority>,
    /// Where they are kept.
    pub ledger: Arc<Ledger>,
    /// Those that are being made.
    pub tasks: TaskTracker,
}

impl Repeats {
    /// The call that is `asked` for with a key. `whose` says whose key it is, for what, and which.
    pub fn once(&self, whose: &[&str], asked: &[&str]) -> Once {
        let key = self.authority.digest("idempotency key", whose);
        Once { key, digest: self.authority.digest("idempotent call", asked) }
    }

    /// Makes the call, or answers what it was answered before.
    ///
    /// # Errors
    ///
    /// Those of the call; that it is being made, was another, cannot be answered again; that the store is away.
    pub async fn make<T: Repeatable>(
        self: &Arc<Self>,
        once: Once,
        call: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let repeats = Arc::clone(self);
        // A task of its own: what was begun in the store must not depend on a caller's patience.
        let task = self.tasks.spawn(aside(|| async move { repeats.carry_out(once, call).await }));
        match task.await {
            Ok(made) => made,
            Err(_panicked) => {
                self.keep(once, T::kept_of(&failed())).await;
                Err(failed())
            }
        }
    }

    async fn carry_out<T: Repeatable>(
        &self,
        once: Once,
        call: impl Future<Output = Result<T, Fault>> + Send,
    ) -> Result<T, Fault> {
        match self.ledger.begin(once.key, once.digest, REMEMBERED).await? {
            Begun::New => {}
            Begun::InFlight => {
                let detail = "a call with this Idempotency-Key is being made; ask again in a moment";
                return Err(Fault::new(Code::InFlight, detail).retry_after(COME_BACK));
            }
            Begun::Other => {
                let detail = "this Idempotency-Key was used for another call; a new call needs a new key";
                return Err(Fault::new(Code::KeyReused, detail));
            }
            Begun::Answered(sealed) => return self.again(once, &sealed),
        }
        let made = call.await;
        self.keep(once, made.as_ref().map_or_else(T::kept_of, T::kept)).await;
        made
    }

    /// Keeps the answer. What was made is made: without this its caller gets the answer all the same.
    async fn keep(&self, once: Once, kept: Option<Kept>) {
        let Some(kept) = kept else {
            if let Err(fault) = self.ledger.abandon(once.key, once.digest).await {
                tracing::warn!("an Idempotency-Key of a call that failed is not free again: {fault:?}");
            }
            return;
        };
        let plain = serde_json::to_vec(&kept).ok().map(Zeroizing::new);
        match plain.and_then(|plain| self.authority.seal_answer(&once.key, &plain)) {
            Some(sealed) => {
                if let Err(fault) = self.ledger.finish(once.key, once.digest, sealed).await {
                    tracing::warn!("the answer to a call with an Idempotency-Key is not kept: {fault:?}");
                }
            }
            None => tracing::error!("the answer to a call with an Idempotency-Key could not be sealed"),
        }
    }

    fn again<T: Repeatable>(&self, once: Once, sealed: &[u8]) -> Result<T, Fault> {
        let plain = self.authority.open_answer(&once.key, sealed);
        let answer = match plain.and_then(|plain| serde_json::from_slice(&plain).ok()) {
            Some(Kept::Made) => {
                let detail = "the call with this Idempotency-Key was made, or may have been; its answer was not kept";
                return Err(Fault::new(Code::MaybeSent, detail));
            }
            Some(Kept::Answer(answer)) => T::again(answer),
            None => None,
        };
        answer.ok_or_else(|| {
            Fault::new(Code::Internal, "the answer to this call cannot be read any more; use another key")
        })
    }
}

impl KeptAnswer {
    /// An answer that is text; nothing if it is not.
    pub fn of(response: &Response<Bytes>, session: Option<KeptSession>) -> Option<Self> {
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        Some(Self {
            session,
            status: response.status().as_u16(),
            headers: headers.collect::<Option<_>>()?,
            body: String::from_utf8(response.body().to_vec()).ok()?,
        })
    }

    /// The answer again, and marked as that.
    pub fn into_response(self) -> Option<Response<Bytes>> {
        let mut response = Response::new(Bytes::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).ok()?;
        for (name, value) in self.headers {
            let mut value = HeaderValue::try_from(value).ok()?;
            let name = HeaderName::try_from(name).ok()?;
            // One of them may be a token.
            value.set_sensitive(name.as_str().starts_with("keystile-"));
            response.headers_mut().append(name, value);
        }
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        Some(response)
    }
}

fn failed() -> Fault {
    Fault::new(Code::Internal, "the call could not be made")
}

/// The key of a call: printable ASCII, as it stands or as a quoted string (RFC 9651 §3.3.3), which means the same.
///
/// # Errors
///
/// Two of them, or what is none.
pub fn key_of(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let mut values = headers.get_all(&IDEMPOTENCY_KEY).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(Fault::new(Code::BadRequest, "the header `Idempotency-Key` comes twice")),
    };
    let key = value.to_str().ok().and_then(unquoted);
    let is_printable = |key: &String| key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let key = key.filter(|key| (1..=LONGEST).contains(&key.len()) && is_printable(key));
    key.map(Some).ok_or_else(|| {
        let detail = format!("`Idempotency-Key` must be 1 to {LONGEST} printable ASCII characters, best a random UUID");
        Fault::new(Code::BadRequest, detail)
    })
}

fn unquoted(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('"') else { return Some(text.to_owned()) };
    let inner = rest.strip_suffix('"')?;
    let (mut key, mut letters) = (String::new(), inner.chars());
    while let Some(letter) = letters.next() {
        key.push(match letter {
            '\\' => letters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?,
            '"' => return None,
            other => other,
        });
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<Option<String>> {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        key_of(&HeaderMap::from_iter([(IDEMPOTENCY_KEY, value)])).ok()
    }

    #[test]
    fn a_key_means_the_same_quoted_and_plain() {
        for (text, key) in [("abc", "abc"), ("\"abc\"", "abc"), ("\"a\\\"b\\\\\"", "a\"b\\"), ("a b", "a b")] {
            assert_eq!(read(text), Some(Some(key.to_owned())), "{text}");
        }
        assert_eq!(read(&"k".repeat(255)), Some(Some("k".repeat(255))));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "k".repeat(256);
        for text in ["", "\"\"", "\"", "\"abc", "\"a\"b\"", "\"a\\b\"", "\"abc\";x=1", "ä", "a\tb", &long] {
            assert_eq!(read(text), None, "{text}");
        }
        let mut twice = HeaderMap::from_iter([(IDEMPOTENCY_KEY, HeaderValue::from_static("a"))]);
        twice.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        assert!(key_of(&twice).is_err());
    }
}
