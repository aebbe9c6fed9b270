//! Moves the bytes of one WebSocket in both directions until one side, or the clock, ends it.
//!
//! Nothing is read from one side while bytes wait for the other: a slow client slows the vendor, and the other way
//! round. All timers are one, set to the next thing that can happen.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use super::frame::{Violation, Writer, close};
use super::relay::{Down, Seen, Up, Wanted};
use super::side::Side;
use crate::access::{CallGrant, Over, Watch};
use crate::fault::Code;
use crate::proxy::renewal::Renewal;
use crate::proxy::right::GRACE;
use crate::proxy::scrub::HOLD;
use crate::token::LEEWAY;

/// How long the other side may take to answer a close, and to go.
const GOODBYE: Duration = Duration::from_secs(5);
/// Frames of a client a second that are no message: signs of life, and parts of messages of up to 125 bytes. More wait.
const MOST_TRIFLES: u32 = 100;

/// The close codes that an application gives itself begin at 4000 (RFC 6455 §7.4.2): ours for the end of the token.
const EXPIRED: u16 = 4401;
const GOING_AWAY: u16 = 1001;
const BROKEN: u16 = 1011;
const TRY_AGAIN_LATER: u16 = 1013;

/// When a WebSocket ends, and what it may do until then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// When the token ends: from then on at the next border of two frames.
    pub(super) ends: Instant,
    /// When it is cut without one.
    pub(super) latest: Instant,
    /// A side that is silent for so long is pinged, and given up after as long again.
    pub(super) ping: Duration,
    /// Without a message for so long it ends.
    pub(super) idle: Duration,
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// One side closed, and the other agreed or has gone.
    Closed,
    /// The token ended.
    Expired,
    /// The token ended before its time.
    Over(Over),
    /// Nobody said anything for too long.
    Idle,
    /// The client broke off, or did not answer a ping.
    ClientLost,
    /// The vendor broke off, or did not answer a ping.
    VendorLost,
    /// The client's frames are wrong.
    ClientViolation(Violation),
    /// The vendor's frames are wrong.
    VendorViolation(Violation),
}

impl End {
    /// Whether it ended as it should.
    pub(super) fn is_complete(self) -> bool {
        matches!(self, Self::Closed | Self::Expired | Self::Over(_) | Self::Idle)
    }

    /// What stands on the record.
    pub(super) fn code(self) -> Option<Code> {
        match self {
            Self::Closed | Self::Idle | Self::ClientLost => None,
            Self::Expired => Some(Code::TokenExpired),
            Self::Over(over) => Some(over.code()),
            Self::VendorLost | Self::VendorViolation(_) => Some(Code::VendorFailed),
            Self::ClientViolation(Violation::TooLong) => Some(Code::BodyTooLarge),
            Self::ClientViolation(Violation::Protocol) => Some(Code::BadRequest),
        }
    }

    /// What the client is told, if it still listens.
    fn farewell(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Closed | Self::ClientLost => None,
            Self::Expired => Some((EXPIRED, "the token has expired")),
            Self::Over(Over::Revoked) => Some((EXPIRED, "the session was ended")),
            Self::Over(Over::Unknown) => Some((TRY_AGAIN_LATER, "what was revoked is not known")),
            Self::Over(Over::Closed) => Some((EXPIRED, "the bot is not offered any more")),
            Self::Over(Over::Stopping) => Some((GOING_AWAY, "the gateway is going away")),
            Self::Over(Over::Replaced) => Some((EXPIRED, "the token was replaced")),
            Self::Idle => Some((GOING_AWAY, "nothing was said for too long")),
            Self::VendorLost => Some((BROKEN, "the vendor broke off")),
            Self::ClientViolation(violation @ Violation::TooLong)
            | Self::VendorViolation(violation @ Violation::TooLong) => {
                Some((violation.status(), "the message is too long"))
            }
            Self::ClientViolation(violation) => Some((violation.status(), "the frame is malformed")),
            Self::VendorViolation(_) => Some((BROKEN, "the vendor's frame is refused")),
        }
    }
}

/// Counts frames that no limit counts: they cost the vendor a look each.
struct Trifles {
    since: Instant,
    count: u32,
}

impl Trifles {
    fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        let end = self.since + Duration::from_secs(1);
        if now >= end {
            (self.since, self.count) = (now, 0);
        } else if self.count >= MOST_TRIFLES {
            return Err(end - now);
        }
        self.count += 1;
        Ok(())
    }
}

/// What happened next.
enum Event {
    Read(Who),
    /// It sends no more.
    Ended(Who),
    /// It takes no more either.
    Lost(Who),
    /// Whether its session was renewed is known: until when, if it was.
    Renewed(Option<Instant>),
    Else,
}

#[derive(Clone, Copy)]
enum Who {
    Client,
    Vendor,
}

/// The end, once it has begun.
struct Ending {
    end: End,
    until: Instant,
    /// Whether the client is expected to answer our close.
    waits: bool,
}

/// How a WebSocket went.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) end: End,
    pub(super) sent: u64,
    pub(super) hits: u32,
}

/// A WebSocket at work. `A` says whether a message of the client may pass now, or how long it has to wait.
pub(super) struct Pump<'g, C, V, A> {
    client: Side<C>,
    vendor: Side<V>,
    down: Down,
    up: Up,
    /// What the client wrote and may not pass yet.
    kept: Bytes,
    paused: Option<Instant>,
    terms: Terms,
    admit: A,
    grant: Option<&'g CallGrant>,
    watch: Option<Watch>,
    /// Why it ends, if not by time.
    over: Option<Over>,
    renewal: Renewal,
    trifles: Trifles,
    received: Arc<AtomicU64>,
    last_message: Instant,
    held_since: Option<Instant>,
    one_has_closed: Option<Instant>,
    ending: Option<Ending>,
}

impl<'g, C, V, A> Pump<'g, C, V, A>
where
    C: AsyncRead + AsyncWrite,
    V: AsyncRead + AsyncWrite,
    A: FnMut() -> Result<(), Duration>,
{
    /// Between `client` and `vendor`; `received` counts what the client sends.
    pub(super) fn new(
        (client, vendor): (C, V),
        (down, up): (Down, Up),
        terms: Terms,
        received: Arc<AtomicU64>,
        admit: A,
        grant: Option<&'g CallGrant>,
    ) -> Self {
        Self {
            client: Side::new(client),
            vendor: Side::new(vendor),
            down,
            up,
            kept: Bytes::new(),
            paused: None,
            terms,
            admit,
            grant,
            watch: grant.map(CallGrant::watch),
            over: None,
            renewal: Renewal::default(),
            trifles: Trifles { since: Instant::now(), count: 0 },
            received,
            last_message: Instant::now(),
            held_since: None,
            one_has_closed: None,
            ending: None,
        }
    }

    /// Until it has ended.
    pub(super) async fn run(mut self) -> Report {
        let mut timer = pin!(sleep_until(self.next_look(Instant::now())));
        loop {
            let now = Instant::now();
            if let Some(end) = self.look(now) {
                return Report { end, sent: self.client.written, hits: self.down.hits() };
            }
            let next = self.next_look(now);
            // A timer that is set too early costs one needless look; one that is set anew for each part costs more.
            if timer.deadline() > next || timer.is_elapsed() {
                timer.as_mut().reset(next);
            }
            match self.next(timer.as_mut()).await {
                Event::Read(Who::Client) => self.hear_client(),
                Event::Read(Who::Vendor) => self.hear_vendor(),
                Event::Ended(who) => self.ends(who),
                Event::Lost(who) => {
                    self.ends(who);
                    match who {
                        Who::Client => self.client.forget(),
                        Who::Vendor => self.vendor.forget(),
                    }
                }
                Event::Renewed(Some(until)) => (self.terms.ends, self.terms.latest) = (until, until + LEEWAY),
                Event::Renewed(None) | Event::Else => {}
            }
        }
    }

    fn ends(&mut self, who: Who) {
        match who {
            Who::Client => {
                self.client.has_ended = true;
                self.end(if self.up.has_closed() { End::Closed } else { End::ClientLost });
            }
            Who::Vendor => {
                self.vendor.has_ended = true;
                self.end(if self.down.has_closed() { End::Closed } else { End::VendorLost });
            }
        }
    }

    async fn next(&mut self, timer: Pin<&mut Sleep>) -> Event {
        let (may_hear_client, may_hear_vendor) = (self.may_hear_client(), self.may_hear_vendor());
        let (may_tell_client, may_tell_vendor) = (!self.client.is_written(), !self.vendor.is_written());
        let (client, vendor, watch, renewal) = (&mut self.client, &mut self.vendor, &mut self.watch, &mut self.renewal);
        let may_be_woken = self.over.is_none() && watch.is_some();
        let woken = poll_fn(|context| watch.as_mut().map_or(Poll::Pending, |watch| watch.poll_woken(context)));
        tokio::select! {
            told = Side::<C>::write(&mut client.write, &mut client.out, &mut client.is_flushed, &mut client.written),
                if may_tell_client => if told.is_ok() { Event::Else } else { Event::Lost(Who::Client) },
            told = Side::<V>::write(&mut vendor.write, &mut vendor.out, &mut vendor.is_flushed, &mut vendor.written),
                if may_tell_vendor => if told.is_ok() { Event::Else } else { Event::Lost(Who::Vendor) },
            more = Side::<C>::read(&mut client.read, &mut client.inbox),
                if may_hear_client => if more { Event::Read(Who::Client) } else { Event::Ended(Who::Client) },
            more = Side::<V>::read(&mut vendor.read, &mut vendor.inbox),
                if may_hear_vendor => if more { Event::Read(Who::Vendor) } else { Event::Ended(Who::Vendor) },
            () = woken, if may_be_woken => Event::Else,
            until = poll_fn(|context| renewal.poll(context)) => Event::Renewed(until),
            () = timer => Event::Else,
        }
    }

    /// When a message that waits may pass, if there is one: not while nobody knows whether the token's end is that of this.
    fn may_speak(&self) -> Option<Instant> {
        self.paused.filter(|_| !self.renewal.is_asked() && self.over.is_none())
    }

    fn may_hear_client(&self) -> bool {
        let may_speak = self.ending.is_some() || self.over.is_none();
        may_speak
            && !self.client.has_ended
            && self.vendor.is_written()
            && self.paused.is_none()
            && !self.renewal.is_asked()
    }

    fn may_hear_vendor(&self) -> bool {
        !self.vendor.has_ended && self.client.is_written() && self.ending.is_none() && !self.renewal.is_asked()
    }

    fn hear_client(&mut self) {
        let now = Instant::now();
        let bytes = self.client.inbox.split().freeze();
        self.received.fetch_add(u64::try_from(bytes.len()).unwrap_or_default(), Ordering::Relaxed);
        self.client.hears(now);
        self.kept = bytes;
        self.look_at_token(now);
        // Nothing more of a session that was ended is for the vendor, also while its last frame still comes.
        if self.over.is_none() || self.ending.is_some() {
            self.pass_on(now);
        }
    }

    /// Gives the vendor what the client wrote.
    fn pass_on(&mut self, now: Instant) {
        if self.ending.is_some() {
            // Only its answer to our close is of interest.
            let (mut nowhere, mut kept) = (BytesMut::new(), std::mem::take(&mut self.kept));
            if self.up.push(&mut kept, &mut nowhere, |_| Ok(())).is_err() {
                self.client.has_ended = true;
            }
            return;
        }
        match self.up.push(&mut self.kept, &mut self.vendor.out, |wanted| match wanted {
            Wanted::Message => (self.admit)(),
            Wanted::Trifle => self.trifles.admit(now),
        }) {
            Ok(Seen { data, wait }) => {
                if data {
                    self.last_message = now;
                }
                self.paused = wait.map(|wait| now + wait);
            }
            Err(violation) => self.end(End::ClientViolation(violation)),
        }
    }

    fn hear_vendor(&mut self) {
        let now = Instant::now();
        let bytes = self.vendor.inbox.split().freeze();
        self.vendor.hears(now);
        self.look_at_token(now);
        let goes_on = self.goes_on(now);
        match self.down.push(bytes, !goes_on, &mut self.client.out) {
            Ok(seen) => {
                if seen.data {
                    self.last_message = now;
                }
                self.held_since = self.down.is_releasable().then_some(now);
            }
            Err(violation) => self.end(End::VendorViolation(violation)),
        }
    }

    /// Before anything passes: a token that has ended before its time ends the WebSocket as its expiry would.
    fn look_at_token(&mut self, now: Instant) {
        if self.over.is_some() {
            return;
        }
        if let Some(over) = self.watch.as_ref().and_then(Watch::over) {
            // Also in the leeway of a token that has ended by itself.
            let Terms { ends, latest, .. } = self.terms;
            (self.terms.ends, self.terms.latest) = (ends.min(now), latest.min(now + GRACE));
            self.over = Some(over);
            if self.ending.is_none() && self.down.is_at_border() {
                self.end(End::Over(over));
            }
        }
    }

    /// Does what is due; says whether all is done.
    fn look(&mut self, now: Instant) -> Option<End> {
        if self.ending.is_none() {
            self.look_at_clock(now);
        }
        if self.ending.is_none() {
            self.look_at_sides(now);
        }
        let Ending { end, until, waits } = self.ending.as_ref()?;
        let client_is_told = self.client.is_written() && (!waits || self.up.has_closed());
        let is_done = (self.client.has_ended || client_is_told) && (self.vendor.has_ended || self.vendor.is_written());
        (is_done || now >= *until).then_some(*end)
    }

    fn look_at_clock(&mut self, now: Instant) {
        self.look_at_token(now);
        if now >= self.terms.latest || (!self.goes_on(now) && self.down.is_at_border()) {
            return self.end(self.over.map_or(End::Expired, End::Over));
        }
        if now >= self.last_message + self.terms.idle {
            return self.end(End::Idle);
        }
        if self.held_since.is_some_and(|since| now >= since + HOLD) {
            self.held_since = None;
            self.down.release(&mut self.client.out);
        }
        if self.may_speak().is_some_and(|until| now >= until) {
            self.paused = None;
            self.pass_on(now);
        }
    }

    fn look_at_sides(&mut self, now: Instant) {
        let (down_has, up_has) = (self.down.has_closed(), self.up.has_closed());
        if down_has || up_has {
            let since = *self.one_has_closed.get_or_insert(now);
            if (down_has && up_has) || now >= since + GOODBYE {
                self.end(End::Closed);
            }
            return;
        }
        let (hears_client, hears_vendor) = (self.may_hear_client(), self.may_hear_vendor());
        if self.client.ask(Writer::Server, self.terms.ping, hears_client, self.down.is_at_border(), now) {
            self.end(End::ClientLost);
        } else if self.vendor.ask(Writer::Client, self.terms.ping, hears_vendor, self.up.is_at_border(), now) {
            self.end(End::VendorLost);
        }
    }

    /// Whether the token has not ended, or another may have taken its place.
    fn goes_on(&mut self, now: Instant) -> bool {
        now < self.terms.ends || (self.over.is_none() && self.renewal.ask(self.grant, now))
    }

    /// Begins the end: each side that can still be told is told.
    fn end(&mut self, end: End) {
        if self.ending.is_some() {
            return;
        }
        let mut waits = end == End::Closed && !self.up.has_closed();
        if let Some((code, reason)) = end.farewell()
            && !self.down.has_closed()
            && self.down.is_at_border()
        {
            self.client.out.extend_from_slice(&close(Writer::Server, code, reason));
            waits = true;
        }
        if !self.up.has_closed() && self.up.is_at_border() {
            self.vendor.out.extend_from_slice(&close(Writer::Client, GOING_AWAY, ""));
        }
        let now = Instant::now();
        self.paused = None;
        self.ending = Some(Ending { end, until: now + GOODBYE, waits });
        match end {
            // Behind a frame that is wrong nobody knows where the next one begins.
            End::ClientViolation(_) => self.kept = Bytes::new(),
            // What the client wrote and the vendor does not get may be its close, or half of a frame.
            _ => self.pass_on(now),
        }
    }

    /// The next moment at which something can be due.
    fn next_look(&self, now: Instant) -> Instant {
        if let Some(ending) = &self.ending {
            return ending.until;
        }
        let token = if now < self.terms.ends { self.terms.ends } else { self.terms.latest };
        let sides = match self.one_has_closed {
            None => self.client.due(self.terms.ping).min(self.vendor.due(self.terms.ping)),
            // Nobody is pinged any more: what is due for that stays due.
            Some(since) => since + GOODBYE,
        };
        let others = [self.held_since.map(|since| since + HOLD), self.may_speak()];
        let first = token.min(sides).min(self.last_message + self.terms.idle);
        others.into_iter().flatten().fold(first, Instant::min)
    }
}

#[cfg(test)]
mod tests;
