//! The body of an answer on its way to the caller.
//!
//! Each part leaves when it arrives, scrubbed; nothing is read from the vendor that the caller has not asked for, so
//! that a slow caller slows the vendor. There is one timer at most, made only when the vendor is silent for the first
//! time: it serves the three things that can happen in silence (bytes that were held back go out, the vendor is too
//! slow, the token ends). At that end the stream goes on if its session was renewed, and nothing passes until that is known.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::farewell::{Border, Format};
use super::renewal::Renewal;
use super::right::GRACE;
use super::scrub::{HOLD, Needles, Scrubber};
use crate::access::{CallGrant, Over, Watch};
use crate::alarm::Alarm;
use crate::clock::instant;
use crate::fault::Code;
use crate::limit::OpenCall;
use crate::net::READ_BUFFER;
use crate::token::LEEWAY;
use crate::upstream::pool::AnswerBody;

/// Why a body was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// The token ended.
    #[error("the token expired while the answer was streaming")]
    Expired,
    /// The token ended before its time.
    #[error("the token was good no more while the answer was streaming")]
    Over(Over),
    /// The vendor was silent for too long.
    #[error("the vendor was silent for too long")]
    Idle,
    /// The vendor broke off.
    #[error("the vendor broke off")]
    Broken,
}

impl Cut {
    /// What kind of fault it is.
    pub fn code(self) -> Code {
        match self {
            Self::Expired => Code::TokenExpired,
            Self::Over(over) => over.code(),
            Self::Idle => Code::VendorTimeout,
            Self::Broken => Code::VendorFailed,
        }
    }
}

/// The body of a vendor's answer, as the caller reads it.
pub struct AnswerStream {
    /// Nothing once the body has ended: the connection is given back, or closed, at that moment.
    body: Option<AnswerBody>,
    /// What was read of it already, and comes first.
    front: Option<Bytes>,
    scrubber: Scrubber,
    format: Format,
    border: Border,
    /// When the token ends: from then on the stream ends at the next border, unless its session was renewed.
    ends: Instant,
    /// When it is cut without a border.
    latest: Instant,
    /// Why it ends, if not by time.
    over: Option<Over>,
    renewal: Renewal,
    /// What came after the token's end, and passes if there is another.
    waiting: Option<Bytes>,
    /// Wakes it in silence when its token ends before its time.
    watch: Option<Watch>,
    idle: Duration,
    last_part: Instant,
    held_since: Option<Instant>,
    alarm: Alarm,
    cut: Option<Cut>,
    /// A cut that is told at the next poll, see [`Self::parting`].
    parting: Option<Cut>,
    grant: CallGrant,
    open: Option<OpenCall>,
}

impl fmt::Debug for AnswerStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AnswerStream").field("format", &self.format).finish_non_exhaustive()
    }
}

impl AnswerStream {
    /// The stream of `body`, whose head came at `now`, and whose token ends at `ends`.
    pub(super) fn new(
        body: AnswerBody,
        needles: Arc<Needles>,
        format: Format,
        (now, ends): (Instant, Instant),
        grant: CallGrant,
        open: Option<OpenCall>,
    ) -> Self {
        let idle = grant.bot().vendor.upstream.timeouts().idle;
        Self {
            body: Some(body),
            front: None,
            scrubber: Scrubber::new(needles),
            format,
            border: Border::default(),
            ends,
            latest: ends + LEEWAY,
            over: None,
            renewal: Renewal::default(),
            waiting: None,
            watch: None,
            idle,
            last_part: now,
            held_since: None,
            alarm: Alarm::default(),
            cut: None,
            parting: None,
            grant,
            open,
        }
    }

    /// Why the body ended before the vendor ended it, if it did.
    pub fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// Whether it is a stream of events or lines.
    pub fn has_events(&self) -> bool {
        self.format != Format::Plain
    }

    /// Puts back what was read so far.
    pub fn put_back(&mut self, read: Bytes) {
        self.front = Some(read);
    }

    /// Ends the body: the vendor's connection is closed if it has not been read to the end.
    fn end(&mut self, cut: Option<Cut>) {
        self.body = None;
        self.waiting = None;
        self.alarm = Alarm::default();
        self.watch = None;
        self.open = None;
        self.cut = cut;
    }

    /// Tells of a cut one poll later. At an error hyper drops what it has not written yet, which may be the last part
    /// or the whole head; while a body is pending it writes. A caller that got no head would think that nothing was
    /// sent, and might send it again.
    fn parting(&mut self, cut: Cut, context: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.parting = Some(cut);
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// A part came from the vendor.
    fn part(&mut self, data: Bytes, context: &mut Context<'_>) -> Option<Result<Bytes, Cut>> {
        let now = instant();
        self.last_part = now;
        self.look_at_token(now);
        let goes_on = self.goes_on(now, context);
        if self.renewal.is_asked() {
            self.waiting = Some(data);
            return None;
        }
        let mut out = self.scrubber.push(data);
        self.held_since = self.scrubber.is_releasable().then_some(now);
        if !goes_on {
            if let Some(length) = self.border.ahead(self.format, &out) {
                out.truncate(length);
                return Some(Ok(self.farewell(out)));
            }
            if now >= self.latest {
                return Some(Err(self.token_ends()));
            }
        }
        if out.is_empty() {
            return None;
        }
        self.border.pass(&out);
        Some(Ok(out))
    }

    /// A token that has ended before its time ends the stream as its expiry would.
    fn look_at_token(&mut self, now: Instant) {
        if self.over.is_some() {
            return;
        }
        if let Some(over) = self.grant.over() {
            // What has no borders is cut here: nothing more of the conversation is for this caller.
            let grace = if self.format == Format::Plain { Duration::ZERO } else { GRACE };
            // Also in the leeway of a token that has ended by itself.
            (self.ends, self.latest) = (self.ends.min(now), self.latest.min(now + grace));
            self.over = Some(over);
        }
    }

    /// Whether the token has not ended, or another has taken its place; also while nobody knows that.
    fn goes_on(&mut self, now: Instant, context: &mut Context<'_>) -> bool {
        if now < self.ends {
            return true;
        }
        if self.over.is_some() || !self.renewal.ask(Some(&self.grant), now) {
            return false;
        }
        match self.renewal.poll(context) {
            Poll::Pending if self.renewal.until().is_some_and(|until| now < until) => true,
            Poll::Pending => {
                self.renewal.give_up();
                false
            }
            Poll::Ready(None) => false,
            Poll::Ready(Some(until)) => {
                // The vendor was not read meanwhile.
                (self.ends, self.latest, self.last_part) = (until, until + LEEWAY, now);
                // What ended meanwhile woke it when nobody looked.
                self.look_at_token(now);
                self.over.is_none()
            }
        }
    }

    /// The end, because the token's has come.
    fn token_ends(&mut self) -> Cut {
        let cut = self.over.map_or(Cut::Expired, Cut::Over);
        self.end(Some(cut));
        cut
    }

    /// The last part, and the event that says why there is no more.
    fn farewell(&mut self, last: Bytes) -> Bytes {
        let cut = self.token_ends();
        let words = self.format.last_words(self.grant.bot(), cut.code()).unwrap_or_default();
        if last.is_empty() { Bytes::from(words) } else { Bytes::from([last.as_ref(), words.as_bytes()].concat()) }
    }

    /// What has happened in the vendor's silence, if anything has.
    fn in_silence(&mut self, context: &mut Context<'_>) -> Option<Result<Bytes, Cut>> {
        let now = Instant::now();
        self.look_at_token(now);
        if !self.goes_on(now, context) {
            if self.border.is_here(self.format) {
                return Some(Ok(self.farewell(Bytes::new())));
            }
            if now >= self.latest {
                return Some(Err(self.token_ends()));
            }
        }
        if !self.renewal.is_asked() && now >= self.last_part + self.idle {
            self.end(Some(Cut::Idle));
            return Some(Err(Cut::Idle));
        }
        if self.held_since.is_some_and(|since| now >= since + HOLD) {
            self.held_since = None;
            let out = self.scrubber.release();
            self.border.pass(&out);
            return (!out.is_empty()).then_some(Ok(out));
        }
        None
    }

    /// Waits for the next thing that can happen in silence.
    fn poll_alarm(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.watch.is_none() {
            // Only now: most answers are whole before anybody has to wait for more.
            self.watch = Some(self.grant.watch());
            // What ended before it was watched wakes nobody. Once is enough: then the stream has an end to wait for.
            if self.over.is_none() && self.grant.over().is_some() {
                return Poll::Ready(());
            }
        }
        if self.over.is_none() && self.watch.as_mut().is_some_and(|watch| watch.poll_woken(context).is_ready()) {
            return Poll::Ready(());
        }
        let now = Instant::now();
        if now >= self.ends && self.over.is_none() && self.renewal.is_due() {
            return Poll::Ready(());
        }
        // Whether it was renewed may be told in silence.
        if self.renewal.is_asked() {
            self.goes_on(now, context);
            if !self.renewal.is_asked() {
                return Poll::Ready(());
            }
        }
        let token = if now < self.ends { self.ends } else { self.latest };
        // While the store is asked the vendor is not read.
        let silence = self.renewal.until().unwrap_or_else(|| token.min(self.last_part + self.idle));
        let next = self.held_since.map_or(silence, |since| silence.min(since + HOLD));
        self.alarm.poll(context, next)
    }
}

impl Body for AnswerStream {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let stream = self.get_mut();
        if let Some(mut front) = stream.front.take() {
            let part = front.split_to(front.len().min(READ_BUFFER));
            stream.front = Some(front).filter(|rest| !rest.is_empty());
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        if let Some(cut) = stream.parting.take() {
            return Poll::Ready(Some(Err(cut)));
        }
        loop {
            let Some(body) = &mut stream.body else { return Poll::Ready(None) };
            let next = match stream.waiting.take() {
                // Nothing passes while nobody knows whether the token's end is the stream's.
                waiting if stream.renewal.is_asked() => {
                    stream.waiting = waiting;
                    Poll::Pending
                }
                Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
                None => Pin::new(body).poll_frame(context),
            };
            match next {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers do not pass.
                    let Ok(data) = frame.into_data() else { continue };
                    match stream.part(data, context) {
                        Some(Ok(out)) => return Poll::Ready(Some(Ok(Frame::data(out)))),
                        Some(Err(cut)) => return stream.parting(cut, context),
                        None => {}
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "a vendor's answer broke off");
                    stream.look_at_token(Instant::now());
                    // An upload that ends with the token takes the vendor's answer with it.
                    if stream.over.is_some() || stream.renewal.is_over() {
                        if stream.border.is_here(stream.format) {
                            return Poll::Ready(Some(Ok(Frame::data(stream.farewell(Bytes::new())))));
                        }
                        let cut = stream.token_ends();
                        return stream.parting(cut, context);
                    }
                    stream.end(Some(Cut::Broken));
                    return stream.parting(Cut::Broken, context);
                }
                Poll::Ready(None) => {
                    let rest = stream.scrubber.finish();
                    stream.end(None);
                    return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))));
                }
                Poll::Pending => {
                    if stream.poll_alarm(context).is_pending() {
                        return Poll::Pending;
                    }
                    match stream.in_silence(context) {
                        Some(Ok(out)) => return Poll::Ready(Some(Ok(Frame::data(out)))),
                        Some(Err(cut)) => return stream.parting(cut, context),
                        None => {}
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.front.is_none()
            && self.parting.is_none()
            && self.waiting.is_none()
            && self.body.as_ref().is_none_or(Body::is_end_stream)
            && !self.scrubber.is_holding()
    }

    fn size_hint(&self) -> SizeHint {
        // Masking keeps the length, so that a length that the vendor gave stays true. What is held back is part of it.
        let has_more = self.scrubber.is_holding() || self.front.is_some() || self.waiting.is_some();
        match (&self.body, has_more || self.has_events()) {
            (Some(body), false) => body.size_hint(),
            // A last event may come that the vendor did not count.
            (Some(_), true) => SizeHint::default(),
            (None, _) => SizeHint::with_exact(self.front.as_ref().map_or(0, |front| front.len() as u64)),
        }
    }
}

impl Drop for AnswerStream {
    fn drop(&mut self) {
        self.grant.bot().vendor.note_masked(self.scrubber.hits(), "body");
    }
}
