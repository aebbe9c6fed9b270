//! What fuzz targets and benches may call that is private otherwise, re-exported as `keystile::internal`.
//!
//! Each is the very function that a proxied call goes through, with plain data in the place of a grant: nothing here
//! decides anything.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::{outgoing, scrub, socket};
use crate::fault::Fault;
use crate::secret::Secret;
use crate::vendor::{Route, Values};

/// The target of a call towards the vendor.
///
/// # Errors
///
/// What is wrong with the query, or a placeholder that has no value.
pub fn uri(route: &Route, values: &impl Values, prefix: &str, query: Option<&str>) -> Result<Uri, Fault> {
    outgoing::uri(route, values, prefix, query)
}

/// The headers of a call towards the vendor.
///
/// # Errors
///
/// A value that no header can have.
pub fn headers(
    route: &Route,
    values: &impl Values,
    authority: &HeaderValue,
    credential: Option<&HeaderName>,
    from: &HeaderMap,
) -> Result<HeaderMap, Fault> {
    outgoing::headers(route, values, authority, credential, from)
}

/// The JSON body of a call towards the vendor.
///
/// # Errors
///
/// What is wrong with the client's.
pub fn body(route: &Route, values: &impl Values, body: &[u8]) -> Result<Bytes, Fault> {
    outgoing::rewritten(route, values, body).map(Bytes::from)
}

/// What to look for in bodies.
#[derive(Clone, Debug)]
pub struct Needles(Arc<scrub::Needles>);

impl Needles {
    /// The forms of these secrets.
    pub fn of(secrets: &[Secret]) -> Self {
        Self(Arc::new(scrub::Needles::of(secrets)))
    }
}

/// Scans one body.
pub struct Scrubber(scrub::Scrubber);

impl Scrubber {
    /// Looks for these.
    pub fn new(needles: &Needles) -> Self {
        Self(scrub::Scrubber::new(Arc::clone(&needles.0)))
    }

    /// Takes the next chunk and returns what may go out.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        self.0.push(chunk)
    }

    /// Returns what a pause lets go out.
    pub fn release(&mut self) -> Bytes {
        self.0.release()
    }

    /// Returns what is left at the end of the body.
    pub fn finish(&mut self) -> Bytes {
        self.0.finish()
    }
}

/// What passes through a WebSocket, each way.
pub struct Socket {
    down: socket::Down,
    up: socket::Up,
}

impl Socket {
    /// One whose messages have at most `limit` bytes, with these secrets masked.
    pub fn new(needles: &Needles, limit: u64) -> Self {
        Self { down: socket::Down::new(Arc::clone(&needles.0), limit), up: socket::Up::new(limit) }
    }

    /// Takes what the vendor wrote, adds what may go to the client to `out`, and says whether it was refused.
    pub fn down(&mut self, input: Bytes, out: &mut BytesMut) -> bool {
        self.down.push(input, false, out).is_err()
    }

    /// The same for a pause.
    pub fn release(&mut self, out: &mut BytesMut) {
        self.down.release(out);
    }

    /// Takes what the client wrote, adds what may go to the vendor to `out`, and says whether it was refused.
    pub fn up(&mut self, mut input: Bytes, out: &mut BytesMut) -> bool {
        self.up.push(&mut input, out, |_| Ok(())).is_err()
    }
}
