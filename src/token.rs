//! Our own tokens: minted, verified, sealed, remembered; and the keys for it.
//!
//! A token stands for one session and holds all that a call needs, so any replica serves it without a look-up: the
//! session in claims that its holder may read, the [`Binding`] to the vendor's session in the claim `bnd`, sealed. It
//! is a JWT in compact form (RFC 7519), `typ` `at+jwt`, and its `kid` decides the key and with it the algorithm.
//!
//! [`Verified`] says that a token is genuine and good now. It does not say that a call may be made: that is judged by
//! `access` at each call, against revocations and the present configuration, which this module does not know.
//!
//! Read [`verify`] for what is checked and in which order, [`seal`] for the binding, [`directory`] for how keys are kept.

mod cache;
mod claims;
mod directory;
mod follow;
mod inspect;
mod jws;
mod keys;
mod near;
mod recent;
mod refusal;
mod seal;
mod session;
mod settings;
mod signing;
mod verify;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

use self::cache::Cache;
use self::claims::Claims;
use self::follow::Followed;
pub use self::follow::SHORTEST_NOTICE;
pub use self::inspect::{Inspection, OpenedBinding};
pub use self::keys::KeyInfo;
use self::keys::Keys;
pub use self::refusal::{KeysError, MintError, Part, Refusal};
use self::seal::{Context, Sealed};
pub use self::session::{Binding, Contact, ContactSource, Judged, Session, VendorSession, Verified};
pub use self::settings::{Algorithm, ContactClaims, LONGEST_TTL, SHORTEST_TTL, Settings, read_ttl};
use crate::clock::{Clock, Timestamp};
use crate::id::Entropy;
use crate::secret::{Secret, sha256};

/// How far the clocks of two replicas may be apart. Not a grace: a token that must live longer is renewed.
pub const LEEWAY: Duration = Duration::from_secs(5);

/// A longer token is not minted: 8 KiB is what servers commonly take for all headers together.
const LONGEST_MINTED: usize = 4 * 1024;

/// Everything about our own tokens: keys, minting, verification, the cache.
pub struct Authority {
    keys: ArcSwap<Keys>,
    directory: Followed,
    issuer: String,
    contact: ContactClaims,
    renew_grace: Duration,
    clock: Clock,
    entropy: Entropy,
    cache: Cache,
}

impl Authority {
    /// Opens the key directory, or makes it at the first start. `issuer` is the public URL, as `iss` and `aud` have it.
    pub fn open(settings: &Settings, issuer: &str, clock: Clock, entropy: Entropy) -> Result<Self, KeysError> {
        let directory = Followed::new(settings);
        let keys = Keys::open(directory.path(), directory.usage(), clock.now(), &entropy)?;
        Ok(Self {
            keys: ArcSwap::from_pointee(keys),
            directory,
            issuer: issuer.to_owned(),
            contact: settings.contact,
            renew_grace: settings.renew_grace,
            cache: Cache::new(clock.clone()),
            clock,
            entropy,
        })
    }

    /// Publishes the next keys, which sign and seal after `delay`; the present ones verify until their last token has ended.
    ///
    /// # Errors
    ///
    /// The directory cannot be used; or keys are waiting for their time already.
    pub fn rotate(&self, delay: Duration) -> Result<(), KeysError> {
        let now = self.clock.now();
        let from = Timestamp::from_seconds(now.plus(delay).seconds());
        let (path, usage) = (self.directory.path(), self.directory.usage());
        self.keys.store(Arc::new(Keys::rotate(path, usage, from, now, &self.entropy)?));
        Ok(())
    }

    /// A new token for this session, of which every field but a fresh `jti` is the caller's word: also `issued` and
    /// `expires`, so that what is stored and answered is what the token says.
    pub fn mint(&self, mut session: Session, binding: &Binding) -> Result<String, MintError> {
        let (keys, now) = (self.keys.load(), self.clock.now());
        let key = keys.signer(now);
        let jti = self.entropy.token_id();
        let contact = std::mem::take(&mut session.contact);
        let (open, hidden) = match self.contact {
            ContactClaims::Claims => (contact, None),
            ContactClaims::Sealed => (Contact::default(), Some(contact).filter(|contact| !contact.is_empty())),
            ContactClaims::Omit => (Contact::default(), None),
        };
        let sealed = Sealed {
            binding: binding.clone(),
            opened_millis: session.opened.subsecond_millis(),
            source: session.source,
            contact: hidden,
        };
        let context = Context {
            kid: key.kid(),
            issuer: &self.issuer,
            audience: &self.issuer,
            session: &session.id,
            bot: &session.bot,
            jti: &jti,
        };
        let sealing = keys.sealer(now).ok_or(MintError::Seal)?;
        let bnd = sealing.seal(&sealed, &context, &self.entropy)?;
        let claims = Claims::new(&self.issuer, &session, &open, &jti, bnd);
        let token = key.token(&serde_json::to_vec(&claims).ok().ok_or(MintError::Encode)?)?;
        if token.len() > LONGEST_MINTED { Err(MintError::TooLarge { length: token.len() }) } else { Ok(token) }
    }

    /// What `token` says, if it is ours and good now. A token that this worker saw before costs a comparison, one that another
    /// saw a digest.
    pub fn verify(&self, token: &str) -> Result<Arc<Verified>, Refusal> {
        // Before the digest: nobody makes us hash a megabyte.
        if token.len() > verify::LONGEST {
            return Err(Refusal::TooLong);
        }
        let now = self.clock.now();
        let verified = self.cache.find_or(token, || {
            let verified = self.check(token)?;
            verified.check_time(now).map(|()| verified)
        })?;
        verified.check_time(now).map(|()| verified)
    }

    /// The same for a renewal of the session, for which a token is good for a while after its end, where the configuration
    /// says so.
    pub fn verify_for_renewal(&self, token: &str) -> Result<Arc<Verified>, Refusal> {
        match self.verify(token) {
            Err(Refusal::Expired) if !self.renew_grace.is_zero() => {
                let verified = self.check(token)?;
                verified.check_end(self.clock.now(), self.renew_grace)?;
                Ok(verified)
            }
            verified => verified,
        }
    }

    /// Everything but the token's times. A token of a key that is not known may be of one that came just now.
    fn check(&self, token: &str) -> Result<Arc<Verified>, Refusal> {
        let now = self.clock.now();
        let checked = match verify::check(token, &self.keys.load(), &self.issuer, now) {
            Err(Refusal::UnknownKey) if self.was_looked_for() => {
                verify::check(token, &self.keys.load(), &self.issuer, now)
            }
            checked => checked,
        };
        checked.map(Arc::new)
    }

    /// The public keys as a JWK Set (RFC 7517 §5). HMAC and sealing keys are never in it.
    pub fn jwks(&self) -> String {
        self.keys.load().jwks(self.clock.now())
    }

    /// The signing and sealing keys and what each does.
    pub fn keys(&self) -> Vec<KeyInfo> {
        self.keys.load().infos(self.clock.now())
    }

    /// What can be read of any text that claims to be a token, with the verdict.
    pub fn inspect(&self, token: &str) -> Inspection {
        inspect::inspect(token, &self.keys.load(), &self.issuer, self.clock.now())
    }

    /// A stable pseudonym for `identity`, another for each owner and source: what is said by a browser never meets what
    /// a provider has verified.
    pub fn subject(&self, owner: &str, source: ContactSource, identity: &str) -> String {
        self.keys.load().pseudonym("subject", &[owner, source.name(), identity])
    }

    /// A keyed fingerprint of a vendor key: it finds the key again in a changed configuration, and tells nothing to
    /// who has not the key directory.
    pub fn fingerprint(&self, secret: &Secret) -> [u8; 32] {
        self.digest("vendor key", &[secret.expose()])
    }

    /// A keyed digest of `parts` for the use that `domain` names: the store finds them again by it, and learns nothing.
    pub fn digest(&self, domain: &str, parts: &[&str]) -> [u8; 32] {
        sha256(self.keys.load().pseudonym(domain, parts).as_bytes())
    }

    /// An answer with a token in it, as the store may keep it under `key`.
    pub fn seal_answer(&self, key: &[u8; 32], answer: &[u8]) -> Option<Vec<u8>> {
        seal::answer::seal(self.keys.load().sealer(self.clock.now())?, key, answer, &self.entropy)
    }

    /// The answer that was sealed for `key`; nothing if it was not, or with a key that is gone.
    pub fn open_answer(&self, key: &[u8; 32], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        seal::answer::open(self.keys.load().openers(self.clock.now()), key, sealed)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("issuer", &self.issuer)
            .field("signer", &self.keys.load().signer(self.clock.now()).kid())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
