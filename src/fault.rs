//! Why a call was not served: one table from cause to status, code and whose fault it is.
//!
//! Modules turn their own errors into a [`Fault`]; only `gateway` turns a fault into an answer, a record and a metric.
//! The caller sees the code and the detail. The cause, which may name hosts and libraries, is for the log.
//!
//! Statuses that client libraries retry by themselves (429 and 5xx) stand only where a retry can help; where a call
//! may have been carried out although its answer was lost, the status is 409. Some retry that as well, unless they are told
//! not to: [`Fault::is_final`].

mod cause;
mod quota;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::StatusCode;

pub use self::cause::Causes;
pub use self::quota::Quota;
use crate::document::Rate;
use crate::text::shown;

/// Whose doing it was that a call was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The caller's: the call as it stands cannot be served.
    Client,
    /// Ours.
    Gateway,
    /// The vendor's.
    Vendor,
}

impl Blame {
    /// As the record writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Vendor => "vendor",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $blame:ident, $title:literal;)*) => {
        /// What went wrong, as a machine reads it. The documentation of each variant says when it is used.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// All codes, in the table's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The `code` that the caller sees.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The same in one sentence: the `title` of a problem (RFC 9457 §3.1.3).
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// Whose doing it is.
            pub const fn blame(self) -> Blame {
                match self { $(Self::$variant => Blame::$blame,)* }
            }

            const fn status_number(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }
        }
    };
}

codes! {
    /// The call cannot be read: a malformed body, query or header.
    BadRequest = "bad_request", 400, Client, "The request is malformed";
    /// Two parsers could read the path differently.
    AmbiguousPath = "ambiguous_path", 400, Client, "The path can be read in more than one way";
    /// The host of the call is missing, malformed, or contradicts itself.
    BadHost = "bad_host", 400, Client, "The Host of the request is missing or ambiguous";
    /// Two different credentials came in one request.
    TwoCredentials = "two_credentials", 400, Client, "The request carries two different credentials";
    /// `durationInSeconds` is outside its bounds.
    InvalidDuration = "invalid_duration", 400, Client, "The requested duration is out of bounds";
    /// Name, email or phone of the contact is not what it should be.
    InvalidContact = "invalid_contact", 400, Client, "The contact is not valid";
    /// A message to begin with is not of type `user`, or has no text.
    InvalidMessages = "invalid_messages", 400, Client, "The messages are not valid";
    /// The vendor behind this bot has no place for what was asked for.
    NotSupported = "not_supported", 400, Client, "The vendor of this bot does not support this";
    /// A credential is needed and none came.
    CredentialRequired = "credential_required", 401, Client, "A credential is required";
    /// A session token is needed and something else came.
    SessionTokenRequired = "session_token_required", 401, Client, "A session token is required";
    /// The token is malformed, forged, or not of this gateway.
    InvalidToken = "invalid_token", 401, Client, "The token is not valid";
    /// The token was good once.
    TokenExpired = "token_expired", 401, Client, "The token has expired";
    /// The session has become a recognised visitor's, and this token is from before.
    TokenReplaced = "token_replaced", 401, Client, "The token was replaced by a later one";
    /// The session was ended before its time.
    TokenRevoked = "token_revoked", 401, Client, "The token was revoked";
    /// No client has this secret.
    InvalidClient = "invalid_client", 401, Client, "The client credential is not valid";
    /// A client credential came from a web page.
    ClientInBrowser = "client_in_browser", 403, Client, "A client credential must not be used in a browser";
    /// The bot belongs to other clients.
    OwnerRequired = "owner_required", 403, Client, "Only an owner of the bot may do this";
    /// The page's origin is not in the bot's list, or not the one the token was minted for.
    OriginNotAllowed = "origin_not_allowed", 403, Client, "The origin is not allowed";
    /// The admin listener was called by another name than its own.
    HostNotAllowed = "host_not_allowed", 403, Client, "The host is not this listener's";
    /// The path names another bot than the token.
    WrongBot = "wrong_bot", 403, Client, "The token is for another bot";
    /// The path names another session than the token.
    WrongSession = "wrong_session", 403, Client, "The token is for another session";
    /// The session has a contact already, which a session token cannot change.
    ContactSet = "contact_set", 403, Client, "The session has a contact already";
    /// Nothing is at this host and path.
    NotFound = "not_found", 404, Client, "There is nothing here";
    /// The gateway offers no such bot.
    UnknownBot = "unknown_bot", 404, Client, "There is no such bot";
    /// Something is at this path, but not for this method.
    MethodNotAllowed = "method_not_allowed", 405, Client, "The method is not allowed here";
    /// A recognised session does not change to another contact.
    ContactConflict = "contact_conflict", 409, Client, "The session is another contact's";
    /// The configuration now says otherwise than the token's binding: vendor, bot id or key have changed.
    SessionMoved = "session_moved", 409, Client, "The session belongs to an earlier configuration";
    /// The session ends so soon that a new token of it would be of no use, or was ended while it was opened.
    SessionEnding = "session_ending", 409, Client, "The session is about to end";
    /// A call with the same `Idempotency-Key` is being made.
    InFlight = "in_flight", 409, Client, "The same call is being made";
    /// The vendor may have carried the call out, but its answer was lost: to repeat it could do it twice.
    MaybeSent = "maybe_sent", 409, Vendor, "The vendor may have received the call, but its answer was lost";
    /// The body of the request did not come in time.
    RequestTimeout = "request_timeout", 408, Client, "The request did not come in time";
    /// The body is longer than the limit.
    BodyTooLarge = "body_too_large", 413, Client, "The body is too large";
    /// The route reads JSON.
    UnsupportedMediaType = "unsupported_media_type", 415, Client, "The body must be application/json";
    /// The host of the call is not one that its TLS connection is for.
    MisdirectedRequest = "misdirected_request", 421, Client, "The connection is for another host";
    /// The `Idempotency-Key` was used for another call.
    KeyReused = "key_reused", 422, Client, "The key was used for another call";
    /// The WebSocket is asked for in a version that is not spoken here.
    UpgradeRequired = "upgrade_required", 426, Client, "Another version of the protocol is required";
    /// A limit on calls or mints is reached.
    RateLimited = "rate_limited", 429, Client, "Too many requests";
    /// The visitor has as many open sessions as may be.
    TooManySessions = "too_many_sessions", 429, Client, "Too many open sessions";
    /// The session has as many open streams as it may.
    TooManyStreams = "too_many_streams", 429, Client, "Too many open streams";
    /// Too many wrong credentials came from this address.
    TooManyFailures = "too_many_failures", 429, Client, "Too many failed credentials";
    /// A bug or an exhausted machine.
    Internal = "internal", 500, Gateway, "The gateway failed";
    /// The gateway holds as many bodies as it has memory for.
    Overloaded = "overloaded", 503, Gateway, "The gateway has too much to do";
    /// The process ends, and what is open with it.
    ShuttingDown = "shutting_down", 503, Gateway, "The gateway is going away";
    /// The store is away: nothing new can be kept.
    StoreUnavailable = "store_unavailable", 503, Gateway, "The store cannot be reached";
    /// The audit record cannot be written: nothing is done that would not be on it.
    AuditUnavailable = "audit_unavailable", 503, Gateway, "The audit record cannot be written";
    /// No connection to the vendor could be had; nothing was sent.
    VendorUnreachable = "vendor_unreachable", 502, Vendor, "The vendor cannot be reached";
    /// The vendor's answer is not what its profile says.
    VendorFailed = "vendor_failed", 502, Vendor, "The vendor's answer cannot be used";
    /// The vendor refused the gateway's own key.
    VendorRefusedKey = "vendor_refused_key", 502, Vendor, "The vendor refused the gateway's key";
    /// The vendor's session does not fit into a token.
    BindingTooLarge = "binding_too_large", 502, Vendor, "The vendor's session does not fit into a token";
    /// All connections that the vendor may have are in use; nothing was sent.
    VendorBusy = "vendor_busy", 503, Gateway, "All connections to the vendor are in use";
    /// The vendor did not answer others, and is left alone for a while; nothing was sent.
    VendorUnavailable = "vendor_unavailable", 503, Vendor, "The vendor does not answer just now";
    /// Every key of the vendor is refused or used up, as the vendor says.
    VendorKeysExhausted = "vendor_keys_exhausted", 503, Vendor, "All keys of the vendor are refused or used up";
    /// The vendor did not answer in time, and nothing is lost by asking again.
    VendorTimeout = "vendor_timeout", 504, Vendor, "The vendor did not answer in time";
}

impl Code {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.status_number()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// One failure: what the caller is told, and the cause that the log keeps.
pub struct Fault(Box<Inner>);

/// What a vendor said of a failure, without secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Its own code, a string or a number.
    pub code: Option<serde_json::Value>,
    /// Its own words.
    pub message: Option<String>,
}

struct Inner {
    code: Code,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    quota: Option<Quota>,
    said: Option<Said>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault of this kind. `detail` says what was wrong and what would be right; the caller reads it.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { code, detail: detail.into(), retry_after: None, quota: None, said: None, cause: None }))
    }

    /// The same, with the cause for the log. A cause never holds a secret.
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The same, with what the vendor said of it: on the vendor's own paths that is what the caller reads.
    pub fn said(mut self, said: Said) -> Self {
        self.0.said = Some(said);
        self
    }

    /// The same, with the time after which a retry can succeed.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// The same, with the rate of which nothing was free, under the name that callers know, and how long until one is.
    pub fn spent(mut self, policy: &'static str, rate: Rate, wait: Duration) -> Self {
        self.0.quota = Some(Quota::none(policy, rate, wait));
        self.retry_after(wait)
    }

    /// A rate is spent; [`Fault::spent`] says which.
    pub fn limited(detail: &'static str) -> Self {
        Self::new(Code::RateLimited, detail)
    }

    /// What kind of fault it is.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What the caller is told.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What the vendor said of it.
    pub fn vendor_said(&self) -> Option<&Said> {
        self.0.said.as_ref()
    }

    /// When a retry can succeed.
    pub fn wait(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether its status is one that some client libraries retry by themselves although the same call cannot succeed, or may
    /// have been carried out.
    pub fn is_final(&self) -> bool {
        self.code().status() == StatusCode::CONFLICT && self.wait().is_none()
    }

    /// The rate of which nothing was free.
    pub fn quota(&self) -> Option<Quota> {
        self.0.quota
    }

    /// The cause, for the log only.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }
}

/// As the log has it.
impl fmt::Debug for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.0.code.name(), shown(&self.0.detail))?;
        self.cause().map_or(Ok(()), |error| cause::write(formatter, error))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_statuses_are_errors() {
        let names: HashSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
        }
    }

    #[test]
    fn what_a_retry_cannot_mend_has_no_status_that_libraries_retry() {
        let mendable = [
            Code::RateLimited,
            Code::TooManyStreams,
            Code::TooManyFailures,
            // One of the visitor's other sessions ends, or is ended.
            Code::TooManySessions,
            Code::StoreUnavailable,
            Code::AuditUnavailable,
            Code::Internal,
            Code::ShuttingDown,
            Code::Overloaded,
            Code::VendorUnreachable,
            Code::VendorFailed,
            Code::VendorTimeout,
            Code::VendorBusy,
            Code::VendorKeysExhausted,
            Code::VendorUnavailable,
            // These two are 502 although an operator must act: the fault lies behind the gateway.
            Code::VendorRefusedKey,
            Code::BindingTooLarge,
        ];
        for code in Code::ALL.iter().filter(|code| !mendable.contains(code)) {
            assert!(!code.status().is_server_error() && code.status() != StatusCode::TOO_MANY_REQUESTS, "{code:?}");
        }
        let is_final = |code: &&Code| Fault::new(**code, "").is_final();
        // The last always comes with the time after which a retry can succeed.
        let all = [Code::ContactConflict, Code::SessionMoved, Code::SessionEnding, Code::MaybeSent, Code::InFlight];
        assert!(Code::ALL.iter().filter(is_final).all(|code| all.contains(code)));
        for code in all {
            let fault = Fault::new(code, "");
            assert!(fault.is_final() && !fault.retry_after(Duration::from_secs(1)).is_final(), "{code:?}");
        }
    }
}
