//! All keys of the gateway, parsed once each time that their file changes.
//!
//! Of the signing keys of the configured algorithm the newest signs whose time has come; all verify. Likewise for sealing.
//! A key that was rotated away is kept until the last token that it signed has ended, and then forgotten. The subject key
//! is one and stays: with another, every known visitor would become somebody else.

mod life;

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

pub use self::life::KeyInfo;
use self::life::{Dated, Life};
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

pub(super) struct Keys {
    /// In the file's order.
    signing: Vec<Dated<SigningKey>>,
    algorithm: Algorithm,
    sealing: Vec<Dated<SealingKey>>,
    subject: Box<hmac::Key>,
    subject_kid: String,
}

/// How the keys of a directory are used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// What new tokens are signed with.
    pub(super) algorithm: Algorithm,
    /// How long the last token of a key that signs no more may be of use.
    pub(super) outlives: Duration,
}

impl Keys {
    /// Opens the directory. What it has not and needs is made: everything at the first start, later a signing key
    /// where the algorithm is a new one.
    pub(super) fn open(path: &Path, usage: Use, now: Timestamp, entropy: &Entropy) -> Result<Self, KeysError> {
        let directory = Directory::at(path);
        let records = match directory.read()? {
            // A directory that is complete may be mounted read-only.
            Some(records) if has_signer(&records, usage.algorithm) => records,
            Some(_) | None => {
                directory.update(entropy, |present| complete(&directory, present, usage.algorithm, now, entropy))?
            }
        };
        Self::parse(&directory, &records, usage)
    }

    /// Publishes new keys that sign and seal from `from` on, and drops those whose last token has ended.
    ///
    /// # Errors
    ///
    /// [`KeysError::Pending`]: there are keys whose time is still to come.
    pub(super) fn rotate(
        path: &Path,
        usage: Use,
        from: Timestamp,
        now: Timestamp,
        entropy: &Entropy,
    ) -> Result<Self, KeysError> {
        let directory = Directory::at(path);
        let records = directory.update(entropy, |present| {
            let present = complete(&directory, present, usage.algorithm, now, entropy)?;
            let keys = Self::parse(&directory, &present, usage)?;
            if let Some(life) = keys.lives().find(|life| life.from > now) {
                return Err(KeysError::Pending { kid: life.kid.clone(), from: life.from });
            }
            let dead: Vec<&str> = keys.lives().filter(|life| life.is_over(now)).map(|life| life.kid.as_str()).collect();
            let kept = present.into_iter().filter(|record| !dead.contains(&record.kid.as_str()));
            let failed = KeysError::Generate { algorithm: usage.algorithm.name() };
            let next = [
                symmetric(Purpose::Seal, SEAL, now, entropy),
                signing_record(usage.algorithm, now, entropy).ok_or(failed)?,
            ];
            let next = next.into_iter().map(|record| Record { from: Some(from.seconds()), ..record });
            Ok(kept.chain(next).collect())
        })?;
        Self::parse(&directory, &records, usage)
    }

    /// The directory anew: for processes that follow what others do with it. It is only read.
    pub(super) fn read_again(&self, path: &Path, usage: Use) -> Result<Self, KeysError> {
        let directory = Directory::at(path);
        let records = directory.read()?.ok_or_else(|| directory.broken("it is gone"))?;
        let keys = Self::parse(&directory, &records, usage)?;
        if keys.subject_kid != self.subject_kid {
            return Err(
                directory.broken("its `subject` key is another: every known visitor would become somebody else")
            );
        }
        Ok(keys)
    }

    fn parse(directory: &Directory, records: &[Record], usage: Use) -> Result<Self, KeysError> {
        let Gathered { mut signing, mut sealing, subject, subject_kid } = Gathered::of(directory, records)?;
        let algorithm = usage.algorithm;
        if !signing.iter().any(|dated| dated.key.algorithm() == algorithm) {
            return Err(directory.broken(format!("no key signs with {}", algorithm.name())));
        }
        life::settle(&mut signing, usage.outlives);
        life::settle(&mut sealing, usage.outlives);
        Ok(Self { signing, algorithm, sealing, subject, subject_kid })
    }

    /// The key that signs new tokens at `now`.
    pub(super) fn signer(&self, now: Timestamp) -> &SigningKey {
        let ours = self.signing.iter().filter(|dated| dated.key.algorithm() == self.algorithm);
        // `parse` found that there is one.
        life::present(ours, now).map_or_else(|| &self.signing[0].key, |dated| &dated.key)
    }

    /// The key of this id and until when it is needed, unless all that it signed has ended by `now`: a file may bring one back.
    pub(super) fn signing_key(&self, kid: &str, now: Timestamp) -> Option<(&SigningKey, Option<Timestamp>)> {
        self.signing_key_that(now, |key| key.kid() == kid)
    }

    /// The same by the header that its tokens have, as it stands in them.
    pub(super) fn signing_key_of(&self, header: &str, now: Timestamp) -> Option<(&SigningKey, Option<Timestamp>)> {
        self.signing_key_that(now, |key| key.header() == header)
    }

    fn signing_key_that(
        &self,
        now: Timestamp,
        is_it: impl Fn(&SigningKey) -> bool,
    ) -> Option<(&SigningKey, Option<Timestamp>)> {
        let dated = self.signing.iter().find(|dated| is_it(&dated.key) && !dated.life.is_over(now));
        dated.map(|dated| (&dated.key, dated.life.until))
    }

    /// The key that seals at `now`.
    pub(super) fn sealer(&self, now: Timestamp) -> Option<&SealingKey> {
        life::present(self.sealing.iter(), now).map(|dated| &dated.key)
    }

    /// The sealing keys whose last seal is good at `now`, the newest first, which is the likeliest to open.
    pub(super) fn openers(&self, now: Timestamp) -> impl Iterator<Item = &SealingKey> {
        self.sealing.iter().rev().filter(move |dated| !dated.life.is_over(now)).map(|dated| &dated.key)
    }

    /// A pseudonym of `parts` for the use that `domain` names: base64url of an HMAC-SHA256, 256 bits.
    pub(super) fn pseudonym(&self, domain: &str, parts: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.subject);
        frame(&[domain], |bytes| context.update(bytes));
        frame(parts, |bytes| context.update(bytes));
        URL_SAFE_NO_PAD.encode(context.sign())
    }

    /// The public keys as a JWK Set (RFC 7517 §5): those whose tokens may be out, and those that are to sign next.
    pub(super) fn jwks(&self, now: Timestamp) -> String {
        let keys = self.signing.iter().filter(|dated| !dated.life.is_over(now));
        let keys: Vec<&str> = keys.filter_map(|dated| dated.key.jwk()).collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    /// Whether these are the keys of `other`, and each is good for as long.
    pub(super) fn are_those_of(&self, other: &Self) -> bool {
        let all = |keys: &Self| -> Vec<_> { keys.lives().map(|life| (life.kid.clone(), life.until)).collect() };
        all(self) == all(other)
    }

    pub(super) fn infos(&self, now: Timestamp) -> Vec<KeyInfo> {
        let (signer, sealer) = (self.signer(now).kid(), life::present(self.sealing.iter(), now));
        let sealer = sealer.map_or("", |dated| dated.life.kid.as_str());
        let signing = self.signing.iter().map(|dated| dated.life.info(signer, ["signing", "verifying"], now));
        signing
            .chain(self.sealing.iter().rev().map(|dated| dated.life.info(sealer, ["sealing", "opening"], now)))
            .collect()
    }

    fn lives(&self) -> impl Iterator<Item = &Life> {
        self.signing.iter().map(|dated| &dated.life).chain(self.sealing.iter().map(|dated| &dated.life))
    }
}

/// The keys of a file that was found whole; which of them signs is not said yet.
struct Gathered {
    signing: Vec<Dated<SigningKey>>,
    sealing: Vec<Dated<SealingKey>>,
    subject: Box<hmac::Key>,
    subject_kid: String,
}

impl Gathered {
    fn of(directory: &Directory, records: &[Record]) -> Result<Self, KeysError> {
        let (mut signing, mut sealing, mut subjects) = (Vec::new(), Vec::new(), Vec::new());
        for (record, number) in records.iter().zip(1..) {
            match Parsed::of(record).ok_or_else(|| directory.broken(format!("key {number} in it is damaged")))? {
                Parsed::Signing(key) => {
                    let life = Life::of(record, key.algorithm().name(), "sig");
                    signing.push(Dated { key: *key, life });
                }
                Parsed::Sealing(key) => sealing.push(Dated { key, life: Life::of(record, SEAL, "seal") }),
                Parsed::Subject(key) => subjects.push((key, record.kid.clone())),
            }
        }
        if sealing.is_empty() {
            return Err(directory.broken("no key has the use `seal`"));
        }
        let subject = subjects.pop().filter(|_| subjects.is_empty());
        let (subject, subject_kid) =
            subject.ok_or_else(|| directory.broken("not exactly one key has the use `subject`"))?;
        Ok(Self { signing, sealing, subject, subject_kid })
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
            let key = SigningKey::parse(algorithm, &private)?;
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
    let kid = SigningKey::parse(algorithm, &private)?.kid().to_owned();
    Some(record(kid, Purpose::Sig, algorithm.name(), now, &private))
}

fn record(kid: String, purpose: Purpose, alg: &str, now: Timestamp, private: &[u8]) -> Record {
    let private = Secret::new(URL_SAFE_NO_PAD.encode(private));
    Record { kid, purpose, alg: alg.to_owned(), created: now.seconds(), from: None, private }
}

#[cfg(test)]
mod tests;
