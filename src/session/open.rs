//! Opening a session: with the vendor, then as a token.
//!
//! Nothing is minted unless the vendor's answer was exactly what its profile says: a session id of the right kind, a
//! token that is long enough to be searched for in answers, an end that is not past.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::wish::Wish;
use crate::access::{MintGrant, Minter};
use crate::bot::{Bot, PUBLIC, Vendor};
use crate::clock::{Clock, Timestamp};
use crate::fault::{Code, Fault};
use crate::id::Entropy;
use crate::net::percent_encode;
use crate::proxy::is_told;
use crate::secret::Secret;
use crate::token::{Authority, Binding, Contact, ContactSource, Session, VendorSession};
use crate::upstream::keys::VendorKey;
use crate::upstream::{RequestBody, SendError, pool};
use crate::vendor::{Open, SessionSource, Values, Variable, is_value};

/// No caller waits longer for a session, whatever the vendor's time-outs.
const LONGEST_OPENING: Duration = Duration::from_secs(120);
/// The longest answer to a session call that is read.
const LONGEST_ANSWER: usize = 64 << 10;
/// The longest id of a vendor's session.
const LONGEST_ID: usize = 256;
/// A vendor's session that ends sooner is of no use.
const SHORTEST_SESSION: Duration = Duration::from_secs(60);

/// Opens sessions.
#[derive(Clone, Debug)]
pub struct Opener {
    /// Makes the tokens.
    pub authority: Arc<Authority>,
    /// The time.
    pub clock: Clock,
    /// Where ids come from.
    pub entropy: Entropy,
}

/// A session that is open.
#[derive(Debug)]
pub struct Opened {
    /// What its token says.
    pub session: Session,
    /// The vendor's id of it, with its type.
    pub vendor_session: VendorSession,
    /// Its token.
    pub token: Secret,
}

/// What the vendor's answer says.
struct VendorAnswer {
    session: VendorSession,
    token: Option<Secret>,
    ends: Option<Timestamp>,
}

impl Opener {
    /// Opens a session as it was granted and wished for.
    ///
    /// # Errors
    ///
    /// What is wrong with the vendor, or with the session that it gave. No token was made then.
    pub async fn open(&self, grant: &MintGrant, wish: &Wish) -> Result<Opened, Fault> {
        let bot = grant.bot();
        let vendor = &bot.vendor;
        let key = vendor.keys.next().ok_or_else(|| Fault::new(Code::Internal, "the vendor has no key"))?;
        let id = self.entropy.session_id();
        let source = source_of(grant, &wish.contact);
        let subject = self.subject(grant, source, &wish.contact);
        let answer = match &vendor.profile.open {
            None => VendorAnswer { session: VendorSession::Text(id.clone()), token: None, ends: None },
            Some(open) => {
                ask(open, bot, key, &OpenValues { bot, key, wish, subject: &subject }, self.clock.now()).await?
            }
        };
        let issued = self.clock.now();
        let expires = end(issued, wish.ttl, answer.ends)?;
        let session = Session {
            conversation: conversation(&answer.session, &id),
            id,
            bot: bot.name.clone(),
            client: match grant.minter() {
                Minter::Owner(client) => client.name.clone(),
                Minter::Page(_) => PUBLIC.to_owned(),
            },
            subject,
            origin: wish.origin.clone(),
            contact: wish.contact.clone(),
            source,
            opened: Timestamp::from_seconds(issued.seconds()),
            issued: Timestamp::from_seconds(issued.seconds()),
            expires,
        };
        let vendor_session = answer.session.clone();
        let binding = binding(bot, key, answer);
        let token = self.authority.mint(session.clone(), &binding)?;
        Ok(Opened { session, vendor_session, token: Secret::new(token) })
    }

    /// Stable for a contact that a client vouches for; random for one that a browser claims.
    fn subject(&self, grant: &MintGrant, source: Option<ContactSource>, contact: &Contact) -> String {
        let identity = contact.email.as_ref().map(|email| email.to_lowercase()).or_else(|| contact.phone.clone());
        match (source, grant.minter(), identity) {
            (
                Some(source @ (ContactSource::Asserted | ContactSource::Verified)),
                Minter::Owner(client),
                Some(identity),
            ) => self.authority.subject(&client.name, source, &identity),
            _ => self.entropy.token_id(),
        }
    }
}

/// The vendor's id of the session where it can stand in a path, as clients put it there; else the gateway's.
fn conversation(session: &VendorSession, id: &str) -> String {
    Some(session.to_string()).filter(|text| is_value(text)).unwrap_or_else(|| id.to_owned())
}

fn source_of(grant: &MintGrant, contact: &Contact) -> Option<ContactSource> {
    if contact.is_empty() {
        return None;
    }
    Some(match grant.minter() {
        Minter::Owner(_) => ContactSource::Asserted,
        Minter::Page(_) => ContactSource::Claimed,
    })
}

fn binding(bot: &Bot, key: &VendorKey, answer: VendorAnswer) -> Binding {
    Binding {
        vendor: bot.vendor.name.clone(),
        profile: bot.vendor.profile.name.clone(),
        base: bot.vendor.upstream.base_digest().to_owned(),
        bot: bot.vendor_id.clone(),
        key: key.fingerprint.clone(),
        session: Some(answer.session),
        token: answer.token,
    }
}

/// The end of the token: as wished, or where the vendor's own session ends first.
fn end(issued: Timestamp, ttl: Duration, vendor_ends: Option<Timestamp>) -> Result<Timestamp, Fault> {
    let wished = issued.plus(ttl);
    let ends = vendor_ends.map_or(wished, |ends| ends.min(wished));
    if ends.since(issued) < SHORTEST_SESSION {
        return Err(unusable("it ends in less than a minute"));
    }
    Ok(Timestamp::from_seconds(ends.seconds()))
}

/// Makes the vendor's session call.
async fn ask(
    open: &Open,
    bot: &Bot,
    key: &VendorKey,
    values: &OpenValues<'_>,
    now: Timestamp,
) -> Result<VendorAnswer, Fault> {
    let vendor = &bot.vendor;
    let request = session_call(open, vendor, values)?;
    let response = pool::send(&vendor.upstream, request, Instant::now() + LONGEST_OPENING).await.map_err(failed)?;
    let status = response.status();
    let is_encoded = response.headers().get_all(header::CONTENT_ENCODING).iter().any(|encoding| encoding != "identity");
    if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
        // By its place in the configuration: a fingerprint says nothing to an operator, and belongs under the seal.
        let number = vendor.keys.place_of(&key.fingerprint).map_or(0, |place| place + 1);
        let cause = format!("{} answered {status} to the session call with its key {number}", vendor.name);
        return Err(Fault::new(Code::VendorRefusedKey, "the vendor refused the gateway's key").because(cause));
    }
    if !status.is_success() || is_encoded {
        let cause = format!("{} answered {status} to the session call (encoded: {is_encoded})", vendor.name);
        return Err(Fault::new(Code::VendorFailed, "the vendor could not open a session").because(cause));
    }
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect();
    let body = match tokio::time::timeout(vendor.upstream.timeouts().idle, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return Err(unusable("it broke off or is too long").because(error)),
        Err(_elapsed) => return Err(Fault::new(Code::VendorTimeout, "the vendor did not finish its answer in time")),
    };
    let answer = read_answer(open, &body, now)?;
    if holds_a_secret(&answer, vendor) {
        return Err(unusable("its session id holds a secret"));
    }
    Ok(answer)
}

/// A session's id is shown to whoever has the token, so no vendor may put a key or its token there.
fn holds_a_secret(answer: &VendorAnswer, vendor: &Vendor) -> bool {
    is_told(vendor.keys.secrets().chain(&answer.token), &answer.session.to_string())
}

fn failed(error: SendError) -> Fault {
    match &error {
        SendError::Connect(_) => Fault::new(Code::VendorUnreachable, "the vendor cannot be reached").because(error),
        SendError::Busy => Fault::new(Code::VendorBusy, "all connections to the vendor are in use").because(error),
        SendError::Timeout => Fault::new(Code::VendorTimeout, "the vendor did not answer in time").because(error),
        // A session that was opened in vain is nobody's loss: to ask again is right.
        SendError::Lost(_) | SendError::Caller(_) => {
            Fault::new(Code::VendorFailed, "the vendor broke off while opening a session").because(error)
        }
    }
}

fn session_call(open: &Open, vendor: &Vendor, values: &OpenValues<'_>) -> Result<Request<RequestBody>, Fault> {
    let wrong = |what: &'static str| Fault::new(Code::Internal, "the session call could not be made").because(what);
    let path = open.target.path(values).ok_or_else(|| wrong("the path of the session call has no value"))?;
    let mut uri = format!("{}{path}", vendor.upstream.prefix());
    let mut separator = '?';
    for (name, template) in &open.set.query {
        if let Some(text) = template.fill(values) {
            uri.push(separator);
            percent_encode(name, &mut uri);
            uri.push('=');
            percent_encode(&text, &mut uri);
            separator = '&';
        }
    }
    let mut request = Request::builder()
        .method(open.target.method.clone())
        .uri(uri)
        .header(header::HOST, vendor.upstream.authority())
        .header(header::ACCEPT, "application/json, text/plain;q=0.9, */*;q=0.1")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::USER_AGENT, concat!("keystile/", env!("CARGO_PKG_VERSION")));
    for (name, template) in &open.set.header {
        if let Some(text) = template.fill(values) {
            let mut value = http::HeaderValue::try_from(text)
                .map_err(|error| wrong("a header of the session call is not one").because(error))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
    }
    let body = if open.set.body.is_empty() {
        RequestBody::empty()
    } else {
        let members: serde_json::Map<String, Value> =
            open.set.body.iter().filter_map(|(name, shape)| Some((name.clone(), shape.fill(values)?))).collect();
        request = request.header(header::CONTENT_TYPE, "application/json");
        RequestBody::whole(Bytes::from(Value::Object(members).to_string()))
    };
    request.body(body).map_err(|error| wrong("the session call is not a request").because(error))
}

fn read_answer(open: &Open, body: &[u8], now: Timestamp) -> Result<VendorAnswer, Fault> {
    let text = std::str::from_utf8(body).map_err(|error| unusable("it is not UTF-8").because(error))?;
    let pointer = match &open.session {
        SessionSource::Text => {
            return Ok(VendorAnswer { session: session_id(&Value::from(text.trim()))?, token: None, ends: None });
        }
        SessionSource::Pointer(pointer) => pointer,
    };
    // serde_json's error holds a position, and nothing of the text.
    let answer: Value = serde_json::from_str(text).map_err(|error| unusable("it is not JSON").because(error))?;
    let at = |pointer: &str| answer.pointer(pointer).filter(|value| !value.is_null());
    let session = session_id(at(pointer).ok_or_else(|| unusable("it has no session id"))?)?;
    let token = open.vendor_token.as_deref().map(|pointer| vendor_token(at(pointer))).transpose()?;
    let ends = match open.expires.as_deref().and_then(at) {
        None => None,
        Some(value) => Some(moment(value, now).ok_or_else(|| unusable("the end of the session is no time"))?),
    };
    Ok(VendorAnswer { session, token, ends })
}

fn session_id(value: &Value) -> Result<VendorSession, Fault> {
    let is_plain = |text: &str| {
        (1..=LONGEST_ID).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && text != "."
            && text != ".."
    };
    match value {
        Value::String(text) if is_plain(text) => Ok(VendorSession::Text(text.clone())),
        Value::Number(number) => {
            number.as_i64().map(VendorSession::Integer).ok_or_else(|| unusable("the session id is not an integer"))
        }
        _ => Err(unusable("the session id is empty, too long, or of the wrong type")),
    }
}

fn vendor_token(value: Option<&Value>) -> Result<Secret, Fault> {
    let token = value.and_then(Value::as_str).map(Secret::new).ok_or_else(|| unusable("it has no session token"))?;
    if token.is_too_short() || !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unusable("its session token is too short to be kept out of answers, or not one word"));
    }
    Ok(token)
}

/// A moment as vendors write it: milliseconds or seconds since the epoch, seconds from now, or RFC 3339. Numbers are
/// told apart by their size: 10¹¹ seconds are the year 5138, 10⁹ seconds are 31 years.
fn moment(value: &Value, now: Timestamp) -> Option<Timestamp> {
    const MILLIS_FROM: u64 = 100_000_000_000;
    const SECONDS_FROM: u64 = 1_000_000_000;
    match value {
        Value::String(text) => {
            let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
            Some(Timestamp::from_millis(u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()?))
        }
        other => Some(match other.as_u64()? {
            millis if millis >= MILLIS_FROM => Timestamp::from_millis(millis),
            seconds if seconds >= SECONDS_FROM => Timestamp::from_seconds(seconds),
            from_now => now.plus(Duration::from_secs(from_now)),
        }),
    }
}

fn unusable(what: &'static str) -> Fault {
    Fault::new(Code::VendorFailed, "the vendor's answer to the session call cannot be used").because(what)
}

/// What the placeholders of the session call stand for.
struct OpenValues<'c> {
    bot: &'c Bot,
    key: &'c VendorKey,
    wish: &'c Wish,
    subject: &'c str,
}

impl Values for OpenValues<'_> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, Value>> {
        let contact = &self.wish.contact;
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let value = match variable {
            Variable::Key => Some(json!(self.key.secret.expose())),
            Variable::Bot => Some(self.bot.vendor_id_json()),
            Variable::Ttl => Some(json!(self.wish.ttl.as_secs())),
            Variable::Contact => contact.to_json(),
            Variable::ContactName => text(&contact.name),
            Variable::ContactEmail => text(&contact.email),
            Variable::ContactPhone => text(&contact.phone),
            Variable::Messages => (!self.wish.messages.is_empty()).then(|| Value::from(self.wish.messages.clone())),
            Variable::Meta => self.wish.meta.clone(),
            Variable::Visit => text(&self.wish.visit),
            Variable::Subject => Some(json!(self.subject)),
            Variable::Session
            | Variable::VendorToken
            | Variable::Token
            | Variable::ExpiresMs
            | Variable::Segment(_) => None,
        };
        value.map(Cow::Owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_session_is_read_in_every_form_that_vendors_write() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let hour = Some(Timestamp::from_seconds(1_800_003_600));
        for value in [json!(1_800_003_600_000_u64), json!(1_800_003_600), json!(3600), json!("2027-01-15T09:00:00Z")] {
            assert_eq!(moment(&value, now), hour, "{value}");
        }
        for value in [json!(-1), json!(1.5), json!("soon"), json!([])] {
            assert_eq!(moment(&value, now), None, "{value}");
        }
    }

    #[test]
    fn a_session_id_keeps_its_type_and_must_be_one() {
        assert_eq!(session_id(&json!(123_456)).unwrap(), VendorSession::Integer(123_456));
        assert_eq!(session_id(&json!("abc")).unwrap(), VendorSession::Text("abc".to_owned()));
        for wrong in [json!(""), json!(".."), json!(1.5), json!(true), json!([1]), json!("a b"), json!("a".repeat(300))]
        {
            assert!(session_id(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_vendor_session_that_ends_sooner_shortens_the_token() {
        let now = Timestamp::from_millis(1_800_000_000_500);
        let hour = Duration::from_secs(3600);
        assert_eq!(end(now, hour, None).unwrap().seconds(), 1_800_003_600);
        assert_eq!(end(now, hour, Some(Timestamp::from_seconds(1_800_001_000))).unwrap().seconds(), 1_800_001_000);
        assert_eq!(end(now, hour, Some(Timestamp::from_seconds(1_900_000_000))).unwrap().seconds(), 1_800_003_600);
        assert!(end(now, hour, Some(Timestamp::from_seconds(1_800_000_030))).is_err());
    }
}
