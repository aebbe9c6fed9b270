//! Whether a connection ends with an answer.
//!
//! HTTP/2 has streams; with HTTP/1 whatever was not read stands before the next request.

use http::{Request, StatusCode, Version};
use hyper::body::Body;

use crate::fault::Code;
use crate::proxy::asks_for_upgrade;

/// A body of this length has mostly come with its head, and hyper clears it away by itself.
const LONGEST_DRAINED: u64 = 8 << 10;

/// What of a request decides it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    is_http1: bool,
    may_be_unread: bool,
    is_ambiguous: bool,
    asks_for_upgrade: bool,
}

impl Ending {
    /// Looks at a request before it is served.
    pub(super) fn of<B: Body>(request: &Request<B>, is_ambiguous: bool) -> Self {
        Self {
            is_http1: request.version() < Version::HTTP_2,
            may_be_unread: request.body().size_hint().exact().is_none_or(|length| length > LONGEST_DRAINED),
            is_ambiguous,
            asks_for_upgrade: asks_for_upgrade(request.headers()),
        }
    }

    /// Whether nothing is to be read on the connection after this answer. The client is told, or it would send its next
    /// call on it and lose it.
    pub(super) fn is_due(self, fault: Option<Code>, status: StatusCode) -> bool {
        let is_refused = match fault {
            None => false,
            // The rest of a body that was too slow may come now.
            Some(Code::RequestTimeout) => true,
            // hyper ends a connection on which a body was left unread, and cannot know it yet when it writes the head.
            // After a request with two readings nobody knows where the next one begins.
            Some(_) => self.may_be_unread || self.is_ambiguous,
        };
        // What stands behind the request for another protocol may be written in that protocol, and is not read as HTTP.
        let is_refused_upgrade = self.asks_for_upgrade && status != StatusCode::SWITCHING_PROTOCOLS;
        self.is_http1 && (is_refused || is_refused_upgrade)
    }
}
