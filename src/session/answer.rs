//! What a vendor's answer to the session call says: a session id of the right kind, a token that is long enough to be
//! searched for in answers, an end that is not past.

use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::call::Reply;
use crate::bot::Vendor;
use crate::clock::Timestamp;
use crate::fault::{Code, Fault};
use crate::proxy::{hits, masked};
use crate::secret::Secret;
use crate::token::VendorSession;
use crate::vendor::{Open, Renew, SessionSource, SessionType, is_value};

/// The longest id of a vendor's session.
const LONGEST_ID: usize = 256;

/// What the vendor's answer says.
pub(super) struct VendorAnswer {
    pub(super) session: VendorSession,
    pub(super) token: Option<Secret>,
    pub(super) ends: Option<Timestamp>,
    /// All of it, secrets masked, where it was JSON.
    pub(super) whole: Option<Value>,
}

impl VendorAnswer {
    /// Where there is no session call: the gateway's own id is the session's.
    pub(super) fn none(id: &str) -> Self {
        Self { session: VendorSession::Text(id.to_owned()), token: None, ends: None, whole: None }
    }
}

/// Reads the answer.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn read(open: &Open, vendor: &Vendor, reply: &Reply, now: Timestamp) -> Result<VendorAnswer, Fault> {
    let mut answer = match &open.session {
        SessionSource::Text => {
            let text = std::str::from_utf8(reply.body()).map_err(|error| unusable("it is not UTF-8").because(error))?;
            // The whole answer is the id: whatever else a vendor could say in its place has a blank or a sign in it.
            let id = Some(text.trim()).filter(|text| is_value(text) && !says_nothing(text));
            let id = id.ok_or_else(|| unusable("it is no session id"))?;
            let session = match open.session_type {
                SessionType::Text => VendorSession::Text(id.to_owned()),
                SessionType::Integer => {
                    session_id(&id.parse::<i64>().map_or(Value::Null, Value::from), open.session_type)?
                }
            };
            VendorAnswer { session, token: None, ends: None, whole: None }
        }
        SessionSource::Pointer(pointer) => in_json(open, pointer, reply.json()?, now)?,
    };
    // A session's id is shown to whoever has the token, so no vendor may put a key or its token there.
    let secrets = || vendor.keys.secrets().chain(&answer.token);
    let told = hits(secrets(), answer.session.to_string().as_bytes());
    if told > 0 {
        vendor.note_masked(told, "session id");
        return Err(unusable("its session id holds a secret"));
    }
    // Twice: what is read and written again has lost an escape, behind which another form of a secret may be.
    let clean = |text: &[u8]| {
        // Its own token is where it belongs.
        vendor.note_masked(hits(vendor.keys.secrets(), text), "opening");
        serde_json::from_slice::<Value>(&masked(secrets(), text)).ok()
    };
    let whole = reply.json().ok().and_then(|_| clean(reply.body()));
    let whole = whole.and_then(|answer| clean(answer.to_string().as_bytes()));
    answer.whole = whole;
    Ok(answer)
}

fn in_json(open: &Open, pointer: &str, answer: &Value, now: Timestamp) -> Result<VendorAnswer, Fault> {
    let at = |pointer: &str| answer.pointer(pointer).filter(|value| !value.is_null());
    let session = session_id(at(pointer).ok_or_else(|| unusable("it has no session id"))?, open.session_type)?;
    let token = open.vendor_token.as_deref().map(|pointer| vendor_token(at(pointer))).transpose()?;
    let ends = match open.expires.as_deref().and_then(at) {
        None => None,
        Some(value) => Some(moment(value, now).ok_or_else(|| unusable("the end of the session is no time"))?),
    };
    Ok(VendorAnswer { session, token, ends, whole: None })
}

/// The vendor's new token, and its end where it says one.
pub(super) fn renewed(renew: &Renew, answer: &Value, now: Timestamp) -> Result<(Secret, Option<Timestamp>), Fault> {
    let at = |pointer: &str| answer.pointer(pointer).filter(|value| !value.is_null());
    let token = vendor_token(at(&renew.vendor_token))?;
    let ends = renew.expires.as_deref().and_then(at);
    let ends = ends.map(|value| moment(value, now).ok_or_else(|| unusable("the end of the session is no time")));
    Ok((token, ends.transpose()?))
}

/// Whether a word is what programs write where there is nothing: all who got it would share one session.
fn says_nothing(text: &str) -> bool {
    ["null", "undefined", "none", "nil", "nan", "true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn session_id(value: &Value, kind: SessionType) -> Result<VendorSession, Fault> {
    let is_plain = |text: &str| {
        (1..=LONGEST_ID).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && text != "."
            && text != ".."
    };
    match (value, kind) {
        (Value::String(text), SessionType::Text) if is_plain(text) => Ok(VendorSession::Text(text.clone())),
        // Zero is what a program has where it was given no number, and -1 says that there is none.
        (Value::Number(number), SessionType::Integer) => number
            .as_i64()
            .filter(|number| *number > 0)
            .map(VendorSession::Integer)
            .ok_or_else(|| unusable("the session id is not a positive integer")),
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

pub(super) fn unusable(what: &'static str) -> Fault {
    Fault::new(Code::VendorFailed, "the vendor's answer to the gateway's own call cannot be used").because(what)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
    fn a_session_id_has_the_type_that_the_profile_says() {
        let (text, integer) = (SessionType::Text, SessionType::Integer);
        assert_eq!(session_id(&json!(123_456), integer).unwrap(), VendorSession::Integer(123_456));
        assert_eq!(session_id(&json!("abc"), text).unwrap(), VendorSession::Text("abc".to_owned()));
        assert!(session_id(&json!("123456"), integer).is_err() && session_id(&json!(123_456), text).is_err());
        for wrong in [json!(0), json!(-1), json!(u64::MAX)] {
            assert!(session_id(&wrong, integer).is_err(), "{wrong}");
        }
        for wrong in [json!(""), json!(".."), json!(1.5), json!(true), json!([1]), json!("a b"), json!("a".repeat(300))]
        {
            assert!(session_id(&wrong, text).is_err() && session_id(&wrong, integer).is_err(), "{wrong}");
        }
    }
}
