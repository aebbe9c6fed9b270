//! What a request presents: one credential, or none.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::fault::{Code, Fault};

/// The WebSocket subprotocol behind which a token stands: a browser's WebSocket has no other place for one.
pub const BEARER_PROTOCOL: &str = "keystile.bearer";

/// The one credential of a request, not yet checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'r> {
    /// None.
    None,
    /// What may be a session token.
    Token(&'r str),
    /// What may be a client's secret.
    Client(&'r str),
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token(…)",
            Self::Client(_) => "Client(…)",
        })
    }
}

impl<'r> Credential<'r> {
    /// What may be a session token.
    pub fn token(self) -> Option<&'r str> {
        match self {
            Self::Token(token) => Some(token),
            Self::None | Self::Client(_) => None,
        }
    }

    /// The credential in `Authorization: Bearer`, or where the vendor's clients put their key (`key_header`): there
    /// also without `Bearer`. In the request for a WebSocket also behind [`BEARER_PROTOCOL`]. `slot` is what stands in
    /// the query or body where the profile has a place for it.
    ///
    /// # Errors
    ///
    /// Two different credentials; a header that cannot be read. The same one twice is one.
    pub fn presented(
        headers: &'r HeaderMap,
        key_header: Option<&HeaderName>,
        slot: Option<&'r str>,
        is_socket: bool,
    ) -> Result<Self, Fault> {
        let mut found: Option<&str> = None;
        let mut take = |text: &'r str| match found {
            Some(other) if other != text => Err(two()),
            _ => {
                found = Some(text);
                Ok(())
            }
        };
        let is_own = key_header.is_some_and(|name| *name == header::AUTHORIZATION);
        for value in headers.get_all(header::AUTHORIZATION) {
            take(bearer(value, is_own)?)?;
        }
        for value in key_header.filter(|_| !is_own).into_iter().flat_map(|name| headers.get_all(name)) {
            take(bearer(value, true)?)?;
        }
        if is_socket {
            let (tokens, _) = offered(headers)?;
            tokens.into_iter().try_for_each(&mut take)?;
        }
        // Beside a credential, a slot may hold what the vendor's clients have there without us: an id, which is written
        // anew. What looks like a credential is one.
        if let Some(text) = slot.filter(|text| found.is_none_or(str::is_empty) || is_like_credential(text)) {
            match found {
                Some(other) if !other.is_empty() && other != text => return Err(two()),
                _ => found = Some(text),
            }
        }
        Ok(match found {
            None | Some("") => Self::None,
            Some(text) if crate::bot::is_client_secret(text) => Self::Client(text),
            Some(text) => Self::Token(text),
        })
    }
}

fn two() -> Fault {
    Fault::new(Code::TwoCredentials, "send one credential; this request has two different ones")
}

/// Whether this can only be meant as a credential of the gateway: a client's secret, or a JWT.
fn is_like_credential(text: &str) -> bool {
    crate::bot::is_client_secret(text)
        || (text.starts_with("eyJ") && text.bytes().filter(|byte| *byte == b'.').count() == 2)
}

/// The WebSocket protocols that a request offers, in one line or in several (RFC 6455 §11.3.4): the tokens, each behind
/// [`BEARER_PROTOCOL`], and all others, which are the vendor's.
///
/// # Errors
///
/// A line that is no text, or nothing where a token should be.
pub fn offered(headers: &HeaderMap) -> Result<(Vec<&str>, Vec<&str>), Fault> {
    let (mut tokens, mut others, mut is_token) = (Vec::new(), Vec::new(), false);
    for line in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        let list = line.to_str().map_err(|_not_ascii| unreadable())?;
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                token if std::mem::take(&mut is_token) => tokens.push(token),
                BEARER_PROTOCOL => is_token = true,
                other => others.push(other),
            }
        }
    }
    if is_token { Err(unreadable()) } else { Ok((tokens, others)) }
}

fn unreadable() -> Fault {
    let detail = "the credential must be offered as the protocols `keystile.bearer, <token>`, in this order";
    Fault::new(Code::InvalidToken, detail)
}

/// The token of `Bearer <token>` (RFC 6750 §2.1; the scheme in any case).
fn bearer(value: &HeaderValue, may_be_raw: bool) -> Result<&str, Fault> {
    let wrong = || Fault::new(Code::InvalidToken, "the credential must be sent as `Authorization: Bearer <token>`");
    // Not `to_str`, which looks at each byte. What is text and no token is refused as a wrong one.
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_not_text| wrong())?.trim_ascii();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_ascii_start()),
        None if text.eq_ignore_ascii_case("bearer") => Ok(""),
        None if may_be_raw => Ok(text),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presented(values: &[(&'static str, &'static str)], key: Option<&'static str>) -> Result<String, Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, HeaderValue::from_static(value));
        }
        shown(Credential::presented(&headers, key.map(HeaderName::from_static).as_ref(), None, true))
    }

    fn shown(presented: Result<Credential<'_>, Fault>) -> Result<String, Code> {
        match presented {
            Ok(Credential::None) => Ok("none".into()),
            Ok(Credential::Token(token)) => Ok(format!("token {token}")),
            Ok(Credential::Client(secret)) => Ok(format!("client {secret}")),
            Err(fault) => Err(fault.code()),
        }
    }

    #[test]
    fn two_different_credentials_are_refused_and_the_same_twice_is_one() {
        let two = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert_eq!(presented(&two, None), Err(Code::TwoCredentials));
        let same = [("authorization", "Bearer a"), ("authorization", "bearer a")];
        assert_eq!(presented(&same, None).as_deref(), Ok("token a"));
        let places = [("authorization", "Bearer a"), ("x-api-key", "b")];
        assert_eq!(presented(&places, Some("x-api-key")), Err(Code::TwoCredentials));
        assert_eq!(presented(&places, None).as_deref(), Ok("token a"));
    }

    #[test]
    fn a_slot_holds_the_credential_or_what_is_none() {
        let in_slot = |headers: &HeaderMap, slot: &str| shown(Credential::presented(headers, None, Some(slot), false));
        let none = HeaderMap::new();
        assert_eq!(in_slot(&none, "a.b.c").as_deref(), Ok("token a.b.c"));
        assert_eq!(in_slot(&none, "ksc_a_b").as_deref(), Ok("client ksc_a_b"));
        assert_eq!(in_slot(&none, "").as_deref(), Ok("none"));
        let bearer = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Bearer eyJ.b.c"))]);
        assert_eq!(in_slot(&bearer, "eyJ.b.c").as_deref(), Ok("token eyJ.b.c"));
        assert_eq!(in_slot(&bearer, "a3ip87gkr2jh580fptg0i67m3p").as_deref(), Ok("token eyJ.b.c"));
        assert_eq!(in_slot(&bearer, "eyJ.other.c"), Err(Code::TwoCredentials));
        assert_eq!(in_slot(&bearer, "ksc_a_b"), Err(Code::TwoCredentials));
    }

    #[test]
    fn a_websocket_offers_its_token_as_a_protocol() {
        const NAME: &str = "sec-websocket-protocol";
        assert_eq!(presented(&[(NAME, "chat, keystile.bearer, a.b.c, v2")], None).as_deref(), Ok("token a.b.c"));
        assert_eq!(presented(&[(NAME, "chat"), (NAME, "keystile.bearer,a.b.c")], None).as_deref(), Ok("token a.b.c"));
        assert_eq!(presented(&[(NAME, "chat, a.b.c")], None).as_deref(), Ok("none"));
        assert_eq!(
            presented(&[(NAME, "keystile.bearer, a"), ("authorization", "Bearer b")], None),
            Err(Code::TwoCredentials)
        );
        // RFC 6455 §11.3.4: several lines are one list.
        let lines = [(NAME, "chat, keystile.bearer"), (NAME, "a.b.c"), (NAME, "v2")];
        assert_eq!(presented(&lines, None).as_deref(), Ok("token a.b.c"));
        for wrong in ["keystile.bearer", "keystile.bearer, ", "a, keystile.bearer"] {
            assert_eq!(presented(&[(NAME, wrong)], None), Err(Code::InvalidToken), "{wrong}");
        }
        let twice = |second| presented(&[(NAME, "keystile.bearer, a"), (NAME, second)], None);
        assert_eq!(twice("keystile.bearer, a").as_deref(), Ok("token a"));
        assert_eq!(twice("keystile.bearer, b"), Err(Code::TwoCredentials));
    }

    #[test]
    fn a_raw_credential_counts_only_where_the_vendor_takes_its_key() {
        assert_eq!(presented(&[("authorization", "a.b.c")], None), Err(Code::InvalidToken));
        assert_eq!(presented(&[("authorization", "a.b.c")], Some("authorization")).as_deref(), Ok("token a.b.c"));
        assert_eq!(presented(&[("authorization", "Basic abc")], Some("authorization")), Err(Code::InvalidToken));
    }

    #[test]
    fn what_is_text_and_no_token_is_a_wrong_one_and_what_is_no_text_is_none() {
        let presented = |bytes: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(bytes).unwrap());
            shown(Credential::presented(&headers, None, None, false))
        };
        assert_eq!(presented("Bearer é".as_bytes()), presented(b"Bearer x").map(|x| x.replace('x', "é")));
        assert_eq!(presented(b"Bearer \xff"), Err(Code::InvalidToken));
        assert_eq!(presented(b"\t Bearer  x \t"), presented(b"Bearer x"));
    }

    #[test]
    fn a_client_secret_is_told_from_a_token() {
        assert_eq!(presented(&[("authorization", "Bearer ksc_a_b")], None).as_deref(), Ok("client ksc_a_b"));
        assert_eq!(presented(&[], None).as_deref(), Ok("none"));
        assert_eq!(presented(&[("authorization", "Bearer ")], None).as_deref(), Ok("none"));
    }
}
