//! One signing key: made, read back, named, and used in both directions.
//!
//! Its algorithm is part of it and comes from the key file; no token has a say. Signing is by aws-lc-rs with the pair
//! parsed once; jsonwebtoken checks, with a key that is bound to the family of its algorithm, so that the bytes of a
//! public key are never taken for an HMAC secret.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use zeroize::Zeroizing;

use super::jws::{Parts, TYPE};
use super::refusal::{MintError, Refusal};
use super::settings::Algorithm;
use crate::id::Entropy;
use crate::secret::sha256;

/// 2048 bits, the least that RFC 7518 §3.3 lets an RSA key have.
const RSA_BYTES: usize = 256;

/// The length of our HMAC keys: RFC 7518 §3.2 asks for at least the digest's.
const HMAC_BYTES: usize = 32;

/// A key that tokens are signed with, or were.
pub(super) struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    /// The header of its tokens, encoded.
    header: String,
    pair: Pair,
    verifier: Verifier,
    /// The public key as a JWK; an HMAC key has none.
    jwk: Option<String>,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
    Hmac(Box<hmac::Key>),
}

/// The private bytes of a new key, as the key file keeps them: PKCS#8, or the bare bytes of an HMAC key.
pub(super) fn generate(algorithm: Algorithm, entropy: &Entropy) -> Option<Zeroizing<Vec<u8>>> {
    // The asymmetric keys take their randomness inside aws-lc, from the same generator as `Entropy`.
    let private = match algorithm {
        Algorithm::EdDsa => Ed25519KeyPair::generate().ok()?.to_pkcs8().ok()?.as_ref().to_vec(),
        Algorithm::Es256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
            pair.to_pkcs8v1().ok()?.as_ref().to_vec()
        }
        Algorithm::Rs256 => {
            let der: Pkcs8V1Der<'_> = RsaKeyPair::generate(KeySize::Rsa2048).ok()?.as_der().ok()?;
            der.as_ref().to_vec()
        }
        Algorithm::Hs256 => entropy.bytes::<HMAC_BYTES>().to_vec(),
    };
    Some(Zeroizing::new(private))
}

impl SigningKey {
    /// Reads the private bytes; nothing if they are not a key for this algorithm.
    pub(super) fn parse(algorithm: Algorithm, private: &[u8]) -> Option<Self> {
        let (pair, verifier, members) = match algorithm {
            Algorithm::EdDsa => ed25519(private)?,
            Algorithm::Es256 => p256(private)?,
            Algorithm::Rs256 => rsa(private)?,
            Algorithm::Hs256 => hmac_key(private)?,
        };
        let (kid, alg) = (thumbprint(&members), algorithm.name());
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","typ":"{TYPE}","kid":"{kid}"}}"#));
        let public = !matches!(pair, Pair::Hmac(_));
        let jwk = public.then(|| format!(r#"{{{},"alg":"{alg}","kid":"{kid}","use":"sig"}}"#, *members));
        Some(Self { kid, algorithm, header, pair, verifier, jwk })
    }

    /// The RFC 7638 thumbprint.
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// The header of its tokens, as it stands in them.
    pub(super) fn header(&self) -> &str {
        &self.header
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key as a JWK (RFC 7517 §4), if it has one.
    pub(super) fn jwk(&self) -> Option<&str> {
        self.jwk.as_deref()
    }

    /// The whole token around `payload`.
    pub(super) fn token(&self, payload: &[u8]) -> Result<String, MintError> {
        // Room for the longest signature, RSA's, so that the text is built in place.
        let mut token = String::with_capacity(self.header.len() + payload.len() * 4 / 3 + 400);
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.sign(token.as_bytes()).ok_or(MintError::Sign)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        // The generator is asked for by the signature of `sign` and not used by aws-lc; its own is.
        let random = SystemRandom::new();
        Some(match &self.pair {
            Pair::Ed25519(pair) => pair.try_sign(message).ok()?.as_ref().to_vec(),
            Pair::P256(pair) => pair.sign(&random, message).ok()?.as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
                signature
            }
            Pair::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
        })
    }

    /// Whether the signature is this key's.
    pub(super) fn verify(&self, parts: &Parts<'_>) -> Result<(), Refusal> {
        self.verifier.verify(parts)
    }
}

/// The half of a key that signatures are checked with: public, but for HMAC. It is for one algorithm.
pub(super) struct Verifier {
    algorithm: jsonwebtoken::Algorithm,
    key: DecodingKey,
}

impl Verifier {
    /// An Ed25519 key by its point, in base64url.
    pub(super) fn ed25519(x: &str) -> Option<Self> {
        Some(Self { algorithm: jsonwebtoken::Algorithm::EdDSA, key: DecodingKey::from_ed_components(x).ok()? })
    }

    /// A P-256 key by the coordinates of its point, in base64url.
    pub(super) fn p256(x: &str, y: &str) -> Option<Self> {
        Some(Self { algorithm: jsonwebtoken::Algorithm::ES256, key: DecodingKey::from_ec_components(x, y).ok()? })
    }

    /// An RSA key by its modulus and exponent, in base64url.
    pub(super) fn rsa(n: &str, e: &str) -> Option<Self> {
        Some(Self { algorithm: jsonwebtoken::Algorithm::RS256, key: DecodingKey::from_rsa_components(n, e).ok()? })
    }

    /// An HMAC key of [`HMAC_BYTES`].
    pub(super) fn hmac(secret: &[u8]) -> Option<Self> {
        let key = (secret.len() == HMAC_BYTES).then(|| DecodingKey::from_secret(secret))?;
        Some(Self { algorithm: jsonwebtoken::Algorithm::HS256, key })
    }

    pub(super) fn verify(&self, parts: &Parts<'_>) -> Result<(), Refusal> {
        let Self { algorithm, key } = self;
        match jsonwebtoken::crypto::verify(parts.signature, parts.signed.as_bytes(), key, *algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Refusal::Signature),
        }
    }
}

/// A pair, what verifies it, and the required members of its JWK in the order of their names.
type Parsed = (Pair, Verifier, Zeroizing<String>);

fn ed25519(private: &[u8]) -> Option<Parsed> {
    let pair = Ed25519KeyPair::from_pkcs8(private).ok()?;
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    let verifier = Verifier::ed25519(&x)?;
    Some((Pair::Ed25519(pair), verifier, okp_members(&x)))
}

fn okp_members(x: &str) -> Zeroizing<String> {
    Zeroizing::new(format!(r#""crv":"Ed25519","kty":"OKP","x":"{x}""#))
}

fn p256(private: &[u8]) -> Option<Parsed> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private).ok()?;
    // An uncompressed point (SEC 1 §2.3.3): 4, x, y.
    let [4, coordinates @ ..] = pair.public_key().as_ref() else { return None };
    let (x, y) = coordinates.split_at_checked(32)?;
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let verifier = Verifier::p256(&x, &y)?;
    let members = Zeroizing::new(format!(r#""crv":"P-256","kty":"EC","x":"{x}","y":"{y}""#));
    Some((Pair::P256(pair), verifier, members))
}

fn rsa(private: &[u8]) -> Option<Parsed> {
    let pair = RsaKeyPair::from_pkcs8(private).ok().filter(|pair| pair.public_modulus_len() >= RSA_BYTES)?;
    let public = pair.public_key();
    let n = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
    let e = URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero());
    let verifier = Verifier::rsa(&n, &e)?;
    Some((Pair::Rsa(Box::new(pair)), verifier, rsa_members(&n, &e)))
}

fn rsa_members(n: &str, e: &str) -> Zeroizing<String> {
    Zeroizing::new(format!(r#""e":"{e}","kty":"RSA","n":"{n}""#))
}

fn hmac_key(private: &[u8]) -> Option<Parsed> {
    let verifier = Verifier::hmac(private)?;
    let pair = Pair::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, private)));
    Some((pair, verifier, oct_members(private)))
}

/// The members of a symmetric key. Its thumbprint is the digest of a secret, which RFC 7638 §7 allows where nobody
/// can guess the secret: these are 256 random bits.
pub(super) fn oct_members(private: &[u8]) -> Zeroizing<String> {
    let k = Zeroizing::new(URL_SAFE_NO_PAD.encode(private));
    Zeroizing::new(format!(r#""k":"{}","kty":"oct""#, *k))
}

/// RFC 7638 §3: the digest of the required members, in the order of their names, without white space.
pub(super) fn thumbprint(members: &str) -> String {
    let json = Zeroizing::new(format!("{{{members}}}"));
    URL_SAFE_NO_PAD.encode(sha256(json.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(algorithm: Algorithm) -> SigningKey {
        let private = generate(algorithm, &Entropy::system()).expect("a key");
        SigningKey::parse(algorithm, &private).expect("a key of its algorithm")
    }

    #[test]
    fn kid_is_the_rfc_7638_thumbprint() {
        // RFC 8037 appendix A.3.
        let okp = okp_members("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(thumbprint(&okp), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        // RFC 7638 §3.1.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        assert_eq!(thumbprint(&rsa_members(n, "AQAB")), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let key = made(Algorithm::EdDsa);
        let jwk: serde_json::Value = serde_json::from_str(key.jwk().expect("public")).expect("JSON");
        assert_eq!(thumbprint(&okp_members(jwk["x"].as_str().expect("x"))), key.kid());
    }

    #[test]
    fn a_key_is_read_only_as_what_it_is() {
        for algorithm in Algorithm::ALL {
            let private = generate(algorithm, &Entropy::system()).expect("a key");
            for other in Algorithm::ALL {
                let parsed = SigningKey::parse(other, &private);
                assert_eq!(parsed.is_some(), other == algorithm, "{algorithm:?} as {other:?}");
            }
        }
    }

    #[test]
    fn a_signature_is_good_for_its_key_and_text_only() {
        for algorithm in Algorithm::ALL {
            let key = made(algorithm);
            let token = key.token(b"{}").expect("signs");
            assert_eq!(key.verify(&Parts::of(&token).expect("parts")), Ok(()));
            assert_eq!(made(algorithm).verify(&Parts::of(&token).expect("parts")), Err(Refusal::Signature));
            let other = token.replace(".e30.", ".e31.");
            assert_eq!(key.verify(&Parts::of(&other).expect("parts")), Err(Refusal::Signature));
            let cut = &token[..token.len() - 4];
            assert_eq!(key.verify(&Parts::of(cut).expect("parts")), Err(Refusal::Signature));
        }
    }
}
