//! From when to when a key is used.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::token::directory::Record;

/// A key and its life.
pub(super) struct Dated<K> {
    pub(super) key: K,
    pub(super) life: Life,
}

/// What may be known of a key.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) kid: String,
    algorithm: &'static str,
    purpose: &'static str,
    created: Timestamp,
    /// From then on it signs or seals.
    pub(super) from: Timestamp,
    /// When its last token has ended, where another has taken or will take its place.
    pub(super) until: Option<Timestamp>,
}

/// What may be known of a key: for `keystile keys list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id: the RFC 7638 thumbprint.
    pub kid: String,
    /// Its algorithm.
    pub algorithm: &'static str,
    /// `sig` or `seal`.
    pub purpose: &'static str,
    /// When it was made.
    pub created: Timestamp,
    /// From when it signs or seals.
    pub from: Timestamp,
    /// Until when it is needed, where it was rotated away.
    pub until: Option<Timestamp>,
    /// `next`, then `signing`, `verifying`, or `sealing`, `opening`; at last `dead`.
    pub state: &'static str,
}

impl Life {
    pub(super) fn of(record: &Record, algorithm: &'static str, purpose: &'static str) -> Self {
        let created = Timestamp::from_seconds(record.created);
        let from = record.from.map_or(created, Timestamp::from_seconds);
        Self { kid: record.kid.clone(), algorithm, purpose, created, from, until: None }
    }

    /// Whether nothing that the key made is good at `now`.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until < now)
    }

    pub(super) fn info(&self, at_work: &str, [works, worked]: [&'static str; 2], now: Timestamp) -> KeyInfo {
        let state = if self.kid == at_work {
            works
        } else if self.from > now {
            "next"
        } else if self.is_over(now) {
            "dead"
        } else {
            worked
        };
        KeyInfo {
            kid: self.kid.clone(),
            algorithm: self.algorithm,
            purpose: self.purpose,
            created: self.created,
            from: self.from,
            until: self.until,
            state,
        }
    }
}

/// Of keys in the file's order, the one at work at `now`: the last whose time has come; before all, the first.
pub(super) fn present<'k, K: 'k>(
    keys: impl Iterator<Item = &'k Dated<K>> + Clone,
    now: Timestamp,
) -> Option<&'k Dated<K>> {
    let come = keys.clone().filter(|dated| dated.life.from <= now);
    come.max_by_key(|dated| dated.life.from).or_else(|| keys.min_by_key(|dated| dated.life.from))
}

/// Says of each key until when it is needed: what it made `outlives` its place at work, which the next key of its
/// algorithm takes.
pub(super) fn settle<K>(keys: &mut [Dated<K>], outlives: Duration) {
    for at in 0..keys.len() {
        let Life { algorithm, from, .. } = keys[at].life;
        let later = keys.iter().enumerate().filter(|(other, dated)| {
            let is_later = (dated.life.from, *other) > (from, at);
            is_later && dated.life.algorithm == algorithm
        });
        let next = later.map(|(_, dated)| dated.life.from).min();
        keys[at].life.until = next.map(|next| next.plus(outlives));
    }
}
