//! May one more come: the same words at each door.

use super::{Key, Kind, Limiter};
use crate::clock::Timestamp;
use crate::document::Rate;
use crate::fault::{Fault, Quota};

/// What callers know the rate of a session as.
const SESSION: &str = "session";
/// What they know the rate of a bot as.
const BOT: &str = "bot";
const TOO_MANY_OF_BOT: &str = "the bot has too many calls";

impl Limiter {
    /// Takes a call of `session`, where it has a `rate`. Answers what is left.
    ///
    /// # Errors
    ///
    /// It makes too many.
    #[inline]
    pub fn admit_session(&self, session: u128, rate: Option<Rate>, now: Timestamp) -> Result<Option<Quota>, Fault> {
        let Some(rate) = rate else { return Ok(None) };
        match self.take(Key::new(Kind::Session, 0, session), rate, now) {
            Ok(full_in) => Ok(Some(Quota::left(SESSION, rate, full_in))),
            Err(wait) => Err(Fault::limited("the session makes too many calls").spent(SESSION, rate, wait)),
        }
    }

    /// Takes a call of the bot of this number, where it has a `rate`.
    ///
    /// # Errors
    ///
    /// It has too many.
    #[inline]
    pub fn admit_bot(&self, number: u32, rate: Option<Rate>, now: Timestamp) -> Result<(), Fault> {
        let Some(rate) = rate else { return Ok(()) };
        let taken = self.take_of_bot(number, rate, now);
        taken.map_err(|wait| Fault::limited(TOO_MANY_OF_BOT).spent(BOT, rate, wait))
    }

    /// Whether that bot has a call left; none is taken.
    ///
    /// # Errors
    ///
    /// It has not.
    pub fn may_admit_bot(&self, number: u32, rate: Option<Rate>, now: Timestamp) -> Result<(), Fault> {
        let Some(rate) = rate else { return Ok(()) };
        match self.bot(number).and_then(|bucket| bucket.wait(rate, now)) {
            Some(wait) => Err(Fault::limited(TOO_MANY_OF_BOT).spent(BOT, rate, wait)),
            None => Ok(()),
        }
    }
}
