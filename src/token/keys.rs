//! All keys of the gateway, parsed once at start.
//!
//! The newest signing key of the configured algorithm signs; all of them verify. The newest sealing key seals; all of
//! them open. The subject key is one and stays: with another, every known visitor would become somebody else.

use std::path::Path;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::directory::{Directory, Purpose, Record};
use super::refusal::KeysError;
use super::seal::{SealingKey, frame};
use super::settings::Algorithm;
use super::signing::{self, SigningKey, oct_members, thumbprint};
use crate::clock::Timestamp;
use crate::id::Entropy;
use crate::secret::Secret;

/// `alg` of a sealing key in the file.
const SEAL: &str = "A256GCMSIV";

/// `alg` of the subject key in the file.
const SUBJECT: &str = "HS256";

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
    /// `signing` or `verifying`; `sealing` or `opening`.
    pub state: &'static str,
}

pub(super) struct Keys {
    /// In the file's order, the oldest first.
    signing: Vec<SigningKey>,
    signer: usize,
    /// The newest first, which is the likeliest to open.
    sealing: Vec<SealingKey>,
    sealing_infos: Vec<KeyInfo>,
    subject: Box<hmac::Key>,
}

impl Keys {
    /// Opens the directory. What it has not and needs is made: everything at the first start, later a signing key
    /// where the algorithm is a new one.
    pub(super) fn open(
        path: &Path,
        algorithm: Algorithm,
        now: Timestamp,
        entropy: &Entropy,
    ) -> Result<Self, KeysError> {
        let directory = Directory::at(path);
        let records = match directory.read()? {
            // A directory that is complete may be mounted read-only.
            Some(records) if has_signer(&records, algorithm) => records,
            Some(_) | None => {
                directory.update(entropy, |present| complete(&directory, present, algorithm, now, entropy))?
            }
        };
        Self::parse(&directory, &records, algorithm)
    }

    fn parse(directory: &Directory, records: &[Record], algorithm: Algorithm) -> Result<Self, KeysError> {
        let Gathered { signing, sealing, subject } = Gathered::of(directory, records)?;
        let signer = signing.iter().rposition(|key| key.algorithm() == algorithm);
        let signer = signer.ok_or_else(|| directory.broken(format!("no key signs with {}", algorithm.name())))?;
        let (sealing, sealing_infos) = sealing.into_iter().rev().unzip();
        Ok(Self { signing, signer, sealing, sealing_infos, subject })
    }

    /// The key that signs new tokens.
    pub(super) fn signer(&self) -> &SigningKey {
        // `parse` found the index in this very list, which nothing changes.
        &self.signing[self.signer]
    }

    /// The key of this id.
    pub(super) fn signing_key(&self, kid: &str) -> Option<&SigningKey> {
        self.signing.iter().find(|key| key.kid() == kid)
    }

    /// The sealing keys, the one that seals first.
    pub(super) fn sealing(&self) -> &[SealingKey] {
        &self.sealing
    }

    /// A pseudonym of `parts` for the use that `domain` names: base64url of an HMAC-SHA256, 256 bits.
    pub(super) fn pseudonym(&self, domain: &str, parts: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.subject);
        frame(&[domain], |bytes| context.update(bytes));
        frame(parts, |bytes| context.update(bytes));
        URL_SAFE_NO_PAD.encode(context.sign())
    }

    /// The public keys as a JWK Set (RFC 7517 §5).
    pub(super) fn jwks(&self) -> String {
        let keys: Vec<&str> = self.signing.iter().filter_map(SigningKey::jwk).collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    pub(super) fn infos(&self) -> Vec<KeyInfo> {
        let signing = self.signing.iter().enumerate().map(|(index, key)| {
            let state = if index == self.signer { "signing" } else { "verifying" };
            info(key.kid(), key.algorithm().name(), "sig", key.created().seconds(), state)
        });
        signing.chain(self.sealing_infos.iter().cloned()).collect()
    }
}

fn info(kid: &str, algorithm: &'static str, purpose: &'static str, created: u64, state: &'static str) -> KeyInfo {
    KeyInfo { kid: kid.to_owned(), algorithm, purpose, created: Timestamp::from_seconds(created), state }
}

/// The keys of a file that was found whole; which of them signs is not said yet.
struct Gathered {
    signing: Vec<SigningKey>,
    sealing: Vec<(SealingKey, KeyInfo)>,
    subject: Box<hmac::Key>,
}

impl Gathered {
    fn of(directory: &Directory, records: &[Record]) -> Result<Self, KeysError> {
        let (mut signing, mut sealing, mut subjects) = (Vec::new(), Vec::new(), Vec::new());
        for (record, number) in records.iter().zip(1..) {
            match Parsed::of(record).ok_or_else(|| directory.broken(format!("key {number} in it is damaged")))? {
                Parsed::Signing(key) => signing.push(*key),
                Parsed::Sealing(key) => sealing.push((key, info(&record.kid, SEAL, "seal", record.created, "opening"))),
                Parsed::Subject(key) => subjects.push(key),
            }
        }
        let Some((_, newest)) = sealing.last_mut() else { return Err(directory.broken("no key has the use `seal`")) };
        newest.state = "sealing";
        let subject = subjects.pop().filter(|_| subjects.is_empty());
        let subject = subject.ok_or_else(|| directory.broken("not exactly one key has the use `subject`"))?;
        Ok(Self { signing, sealing, subject })
    }
}

enum Parsed {
    Signing(Box<SigningKey>),
    Sealing(SealingKey),
    Subject(Box<hmac::Key>),
}

impl Parsed {
    /// The key of a record, if it is whole: its id is the digest of the key, so damage shows.
    fn of(record: &Record) -> Option<Self> {
        let private = Zeroizing::new(URL_SAFE_NO_PAD.decode(record.private.expose()).ok()?);
        let alg = record.alg.as_str();
        if record.purpose == Purpose::Sig {
            let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == alg)?;
            let key = SigningKey::parse(algorithm, &private, Timestamp::from_seconds(record.created))?;
            return (key.kid() == record.kid).then(|| Self::Signing(Box::new(key)));
        }
        if private.len() != 32 || thumbprint(&oct_members(&private)) != record.kid {
            return None;
        }
        match (record.purpose, alg) {
            (Purpose::Seal, SEAL) => Some(Self::Sealing(SealingKey::new(&private)?)),
            (Purpose::Subject, SUBJECT) => Some(Self::Subject(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &private)))),
            _ => None,
        }
    }
}

fn has_signer(records: &[Record], algorithm: Algorithm) -> bool {
    records.iter().any(|record| record.purpose == Purpose::Sig && record.alg == algorithm.name())
}

/// What the file shall hold: what it holds, and a signing key if it has none of the algorithm.
fn complete(
    directory: &Directory,
    present: Option<Vec<Record>>,
    algorithm: Algorithm,
    now: Timestamp,
    entropy: &Entropy,
) -> Result<Vec<Record>, KeysError> {
    let mut records = match present {
        Some(records) => {
            // A file that is damaged is not written to, not even to add a key.
            Gathered::of(directory, &records)?;
            records
        }
        None => vec![symmetric(Purpose::Subject, SUBJECT, now, entropy), symmetric(Purpose::Seal, SEAL, now, entropy)],
    };
    // Asked again: whoever had the lock before may have made it.
    if !has_signer(&records, algorithm) {
        let failed = KeysError::Generate { algorithm: algorithm.name() };
        records.push(signing_record(algorithm, now, entropy).ok_or(failed)?);
    }
    Ok(records)
}

fn symmetric(purpose: Purpose, alg: &str, now: Timestamp, entropy: &Entropy) -> Record {
    let private = Zeroizing::new(entropy.bytes::<32>());
    let kid = thumbprint(&oct_members(&*private));
    record(kid, purpose, alg, now, &*private)
}

fn signing_record(algorithm: Algorithm, now: Timestamp, entropy: &Entropy) -> Option<Record> {
    let private = signing::generate(algorithm, entropy)?;
    let kid = SigningKey::parse(algorithm, &private, now)?.kid().to_owned();
    Some(record(kid, Purpose::Sig, algorithm.name(), now, &private))
}

fn record(kid: String, purpose: Purpose, alg: &str, now: Timestamp, private: &[u8]) -> Record {
    let private = Secret::new(URL_SAFE_NO_PAD.encode(private));
    Record { kid, purpose, alg: alg.to_owned(), created: now.seconds(), private }
}

#[cfg(test)]
mod tests;
