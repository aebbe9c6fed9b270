//! What a request presents: one credential, or none.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::fault::{Code, Fault};

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
    /// The credential in `Authorization: Bearer`, or where the vendor's clients put their key (`key_header`): there
    /// also without `Bearer`.
    ///
    /// # Errors
    ///
    /// Two different credentials; a header that cannot be read. The same one twice is one.
    pub fn presented(headers: &'r HeaderMap, key_header: Option<&HeaderName>) -> Result<Self, Fault> {
        let mut found: Option<&str> = None;
        let mut take = |values: http::header::GetAll<'r, HeaderValue>, may_be_raw: bool| {
            for value in values {
                let text = bearer(value, may_be_raw)?;
                match found {
                    Some(other) if other != text => {
                        return Err(Fault::new(
                            Code::TwoCredentials,
                            "send one credential; this request has two different ones",
                        ));
                    }
                    _ => found = Some(text),
                }
            }
            Ok(())
        };
        let is_own = key_header.is_some_and(|name| *name == header::AUTHORIZATION);
        take(headers.get_all(header::AUTHORIZATION), is_own)?;
        if let Some(name) = key_header.filter(|_| !is_own) {
            take(headers.get_all(name), true)?;
        }
        Ok(match found {
            None | Some("") => Self::None,
            Some(text) if crate::bot::is_client_secret(text) => Self::Client(text),
            Some(text) => Self::Token(text),
        })
    }
}

/// The token of `Bearer <token>` (RFC 6750 §2.1; the scheme in any case).
fn bearer(value: &HeaderValue, may_be_raw: bool) -> Result<&str, Fault> {
    let wrong = || Fault::new(Code::InvalidToken, "the credential must be sent as `Authorization: Bearer <token>`");
    let text = value.to_str().map_err(|_not_ascii| wrong())?.trim();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_start()),
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
        match Credential::presented(&headers, key.map(HeaderName::from_static).as_ref()) {
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
    fn a_raw_credential_counts_only_where_the_vendor_takes_its_key() {
        assert_eq!(presented(&[("authorization", "a.b.c")], None), Err(Code::InvalidToken));
        assert_eq!(presented(&[("authorization", "a.b.c")], Some("authorization")).as_deref(), Ok("token a.b.c"));
        assert_eq!(presented(&[("authorization", "Basic abc")], Some("authorization")), Err(Code::InvalidToken));
    }

    #[test]
    fn a_client_secret_is_told_from_a_token() {
        assert_eq!(presented(&[("authorization", "Bearer ksc_a_b")], None).as_deref(), Ok("client ksc_a_b"));
        assert_eq!(presented(&[], None).as_deref(), Ok("none"));
        assert_eq!(presented(&[("authorization", "Bearer ")], None).as_deref(), Ok("none"));
    }
}
