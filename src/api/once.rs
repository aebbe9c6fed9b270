//! Calls that are made once: `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header) on all that opens a session.
//!
//! A call with a key is carried out to its end, also if its caller leaves meanwhile: whoever lost the answer asks again with
//! the same key, and gets the answer that was given, byte for byte. It may hold a token of a session that has been ended
//! since. An opening that failed is forgotten, so that it can be tried again.
//!
//! A key is its caller's own, and for one bot. The store sees neither keys nor bodies nor answers: digests that only who
//! has the key directory can make, and an answer that only those can open. Access and limits are asked before: to repeat a
//! call takes the same right, and counts, as to make it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Api, TOKEN};
use crate::access::{Caller, MintGrant, Minter};
use crate::fault::{Code, Fault};
use crate::id::hex;
use crate::secret::sha256;
use crate::store::Begun;
use crate::vendor::Accept;

/// Where a caller writes the key of a call.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// So long a key stands for its call.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// The longest key.
const LONGEST: usize = 255;
/// When to ask again for a call that is being made.
const COME_BACK: Duration = Duration::from_secs(1);

/// A call that is to be made once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Once {
    /// Whose key it is, for which bot, and which.
    key: [u8; 32],
    /// What was asked for with it.
    digest: [u8; 32],
}

/// A session, and how its opening is answered.
pub(super) struct Minted {
    pub(super) session: String,
    pub(super) response: Response<Bytes>,
}

/// An answer as it lies under the seal.
#[derive(Deserialize, Serialize)]
struct Kept {
    session: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Api {
    /// What the call that `grant` is for says of being made once. `accept` is of the vendor whose session call it is.
    pub(super) fn once(
        &self,
        head: &Parts,
        body: &[u8],
        grant: &MintGrant,
        caller: &Caller,
        accept: Option<&Accept>,
    ) -> Result<Option<Once>, Fault> {
        let Some(key) = key_of(&head.headers)? else { return Ok(None) };
        let [who, page, address] = scope(grant, caller);
        let authority = &self.opener.authority;
        let key = authority.digest("idempotency key", &[&who, &page, &address, &grant.bot().name, &key]);
        let body = hex(&sha256(body));
        let mut asked = vec![head.method.as_str(), head.uri.path(), head.uri.query().unwrap_or_default(), &body];
        // What a vendor's client says in headers is asked for as well; its key is not, and may be another by now.
        let credential = accept.and_then(|accept| accept.credential.header());
        let names = accept.into_iter().flat_map(Accept::headers).filter(|name| Some(*name) != credential);
        asked
            .extend(names.map(|name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()));
        Ok(Some(Once { key, digest: authority.digest("idempotent call", &asked) }))
    }

    /// Makes the call, or answers what it was answered before.
    pub(super) async fn make_once(
        self: &Arc<Self>,
        once: Option<Once>,
        opening: impl Future<Output = Result<Minted, Fault>> + Send + 'static,
    ) -> Result<Minted, Fault> {
        let Some(once) = once else { return opening.await };
        let api = Arc::clone(self);
        // A task of its own: what was begun in the store must not depend on a caller's patience.
        let task = tokio::spawn(async move { api.carry_out(once, opening).await });
        match task.await {
            Ok(made) => made,
            Err(_panicked) => {
                self.forget(once).await;
                Err(Fault::new(Code::Internal, "the session could not be opened"))
            }
        }
    }

    async fn carry_out(
        &self,
        once: Once,
        opening: impl Future<Output = Result<Minted, Fault>> + Send,
    ) -> Result<Minted, Fault> {
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
            Begun::Answered(sealed) => return self.replay(once, &sealed),
        }
        match opening.await {
            Ok(minted) => {
                self.remember(once, &minted).await;
                Ok(minted)
            }
            Err(fault) => {
                self.forget(once).await;
                Err(fault)
            }
        }
    }

    /// Keeps the answer. The session is open and in the store: without this its caller gets the token all the same.
    async fn remember(&self, once: Once, minted: &Minted) {
        let sealed = minted.kept().and_then(|kept| self.opener.authority.seal_answer(&once.key, &kept));
        match sealed {
            Some(sealed) => {
                if let Err(fault) = self.ledger.finish(once.key, sealed).await {
                    tracing::warn!("the answer to a call with an Idempotency-Key is not kept: {fault:?}");
                }
            }
            None => tracing::error!("the answer to a call with an Idempotency-Key could not be sealed"),
        }
    }

    async fn forget(&self, once: Once) {
        if let Err(fault) = self.ledger.abandon(once.key).await {
            tracing::warn!("an Idempotency-Key of a call that failed is not free again: {fault:?}");
        }
    }

    fn replay(&self, once: Once, sealed: &[u8]) -> Result<Minted, Fault> {
        let kept = self.opener.authority.open_answer(&once.key, sealed);
        kept.and_then(|kept| Minted::of_kept(&kept)).ok_or_else(|| {
            Fault::new(Code::Internal, "the answer to this call cannot be read any more; use another key")
        })
    }
}

impl Minted {
    fn kept(&self) -> Option<Zeroizing<Vec<u8>>> {
        let headers = self.response.headers().iter();
        let headers = headers.map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        let kept = Kept {
            session: self.session.clone(),
            status: self.response.status().as_u16(),
            headers: headers.collect::<Option<_>>()?,
            body: String::from_utf8(self.response.body().to_vec()).ok()?,
        };
        serde_json::to_vec(&kept).ok().map(Zeroizing::new)
    }

    fn of_kept(kept: &[u8]) -> Option<Self> {
        let kept: Kept = serde_json::from_slice(kept).ok()?;
        let mut response = Response::new(Bytes::from(kept.body));
        *response.status_mut() = StatusCode::from_u16(kept.status).ok()?;
        for (name, value) in kept.headers {
            let mut value = HeaderValue::try_from(value).ok()?;
            let name = HeaderName::try_from(name).ok()?;
            value.set_sensitive(name == TOKEN);
            response.headers_mut().append(name, value);
        }
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        Some(Self { session: kept.session, response })
    }
}

/// Whose a key is: a client's, and from which page; of a page, or of a client whose secret is in one, also from which address,
/// as everybody can be that.
fn scope(grant: &MintGrant, caller: &Caller) -> [String; 3] {
    let page = grant.page().map(|page| page.as_str().to_owned()).unwrap_or_default();
    let address = || caller.address.to_string();
    match grant.minter() {
        Minter::Owner(client) if client.is_browser => [client.name.clone(), page, address()],
        Minter::Owner(client) => [client.name.clone(), page, String::new()],
        Minter::Page(origin) => [String::new(), origin.as_str().to_owned(), address()],
    }
}

/// The key of a call: printable ASCII, as it stands or as a quoted string (RFC 9651 §3.3.3), which means the same.
fn key_of(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let mut values = headers.get_all(&KEY).iter();
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
        let headers = HeaderMap::from_iter([(KEY, HeaderValue::from_bytes(value.as_bytes()).expect("a value"))]);
        key_of(&headers).ok()
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
        let mut twice = HeaderMap::from_iter([(KEY, HeaderValue::from_static("a"))]);
        twice.append(KEY, HeaderValue::from_static("a"));
        assert!(key_of(&twice).is_err());
    }
}
