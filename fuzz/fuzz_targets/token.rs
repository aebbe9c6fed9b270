//! Tokens: no text but what was minted verifies.
//!
//! The first byte of an input says what follows: any text; changes to a good token; or header and claims (a line each)
//! that are signed with the gateway's own key, which no forger has, so that what is behind the signature is reached.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keystile::clock::{Clock, Timestamp};
use keystile::id::Entropy;
use keystile::secret::Secret;
use keystile::token::{
    Algorithm, Authority, Binding, Contact, ContactClaims, ContactSource, Session, Settings, VendorSession,
};
use keystile_fuzz::members;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const ISSUER: &str = "https://chat.example.com";
const NOW: u64 = 1_800_000_000;

/// A gateway's authority, a token of its minting, and the key it signs with.
struct Bench {
    authority: Authority,
    token: String,
    header: String,
    claims: String,
    key: hmac::Key,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings {
        keys: directory.path().join("signing"),
        // The fastest, and the only one whose key can be taken from the file as it stands.
        algorithm: Algorithm::Hs256,
        renew_grace: std::time::Duration::ZERO,
        default_ttl: Duration::from_secs(3600),
        contact: ContactClaims::Claims,
    };
    let clock = Clock::manual(Timestamp::from_seconds(NOW));
    let authority = Authority::open(&settings, ISSUER, clock, Entropy::system()).expect("opens");
    let token = authority.mint(session(), &binding()).expect("mints");
    assert!(authority.verify(&token).is_ok());
    let part = |index: usize| {
        let text = token.split('.').nth(index).expect("three parts");
        String::from_utf8(URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("UTF-8")
    };
    let (header, claims) = (part(0), part(1));
    let file = std::fs::read(settings.keys.join("keys.json")).expect("reads");
    let file: Value = serde_json::from_slice(&file).expect("JSON");
    let keys = file["keys"].as_array().expect("keys");
    let private =
        keys.iter().find(|key| key["use"] == "sig").and_then(|key| key["private"].as_str()).expect("a signer");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode(private).expect("base64url"));
    Bench { authority, token, header, claims, key }
});

fuzz_target!(|input: &[u8]| {
    let Some((kind, input)) = input.split_first() else { return };
    let bench = &*BENCH;
    match kind % 3 {
        0 => {
            let Ok(text) = std::str::from_utf8(input) else { return };
            bench.refuses(text);
        }
        1 => {
            let Some(text) = changed(&bench.token, input) else { return };
            if text == bench.token {
                assert!(bench.authority.verify(&text).is_ok());
            } else {
                bench.refuses(&text);
            }
        }
        _ => {
            let Ok(text) = std::str::from_utf8(input) else { return };
            let (header, claims) = text.split_once('\n').unwrap_or(("", text));
            bench.judges(header, claims);
        }
    }
});

impl Bench {
    fn refuses(&self, text: &str) {
        assert!(self.authority.verify(text).is_err(), "taken: {text}");
        assert!(self.authority.inspect(text).verdict.is_err());
    }

    /// Signs and verifies. What is taken says what a token must say, each thing once.
    fn judges(&self, header: &str, claims: &str) {
        let header = if header.is_empty() { self.header.clone() } else { self.filled(header) };
        let claims = self.filled(claims);
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&claims));
        let signature = hmac::sign(&self.key, signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
        let inspection = self.authority.inspect(&token);
        let Ok(verified) = self.authority.verify(&token) else {
            assert!(inspection.verdict.is_err(), "the two do not agree: {claims}");
            return;
        };
        assert_eq!(inspection.verdict, Ok(()));
        let head: Value = serde_json::from_str(&header).expect("what is taken is JSON");
        assert_eq!(head.as_object().map(|members| members.len()), Some(3), "{header}");
        assert_eq!((&head["typ"], &head["alg"]), (&Value::from("at+jwt"), &Value::from("HS256")));
        // What is not ours may be a number that no machine holds: the gateway does not look at it.
        let members = members(claims.as_bytes()).expect("what is taken is an object");
        let count = members.len();
        let said: BTreeMap<String, String> = members.into_iter().collect();
        assert_eq!(said.len(), count, "a claim twice: {claims}");
        let said = |name: &str| serde_json::from_str::<Value>(&said[name]).expect("JSON");
        assert_eq!((said("iss"), said("aud")), (ISSUER.into(), ISSUER.into()), "{claims}");
        assert_eq!(said("scope"), "conversation");
        let moment = |name: &str| said(name).as_u64().expect("moments are integers");
        assert!(moment("nbf") <= NOW + 5 && NOW <= moment("exp") + 5, "{claims}");
        // The seal is of these: with another of them it does not open.
        let ours: Value = serde_json::from_str(&self.claims).expect("JSON");
        for name in ["iss", "aud", "sid", "bot", "jti", "bnd"] {
            assert_eq!(said(name), ours[name], "{claims}");
        }
        assert_eq!(verified.session.id, session().id);
    }

    /// `$name` stands for the JSON of a claim of the good token, `$*` for all of them, `$kid` for the key's id.
    fn filled(&self, text: &str) -> String {
        let ours: Value = serde_json::from_str(&self.claims).expect("JSON");
        let header: Value = serde_json::from_str(&self.header).expect("JSON");
        let mut text = text.replace("$kid", &header["kid"].to_string());
        if text.contains("$*") {
            let inner = self.claims.trim_start_matches('{').trim_end_matches('}');
            text = text.replacen("$*", inner, 2);
        }
        for name in ["iss", "aud", "sub", "sid", "jti", "bot", "cid", "bnd"] {
            text = text.replacen(&format!("${name}"), &ours[name].to_string(), 2);
        }
        text
    }
}

/// The token after changes of three bytes each: what is done, where, and with which byte.
fn changed(token: &str, changes: &[u8]) -> Option<String> {
    let mut text = token.as_bytes().to_vec();
    for change in changes.chunks_exact(3).take(8) {
        let at = usize::from(u16::from_be_bytes([change[0] & 0x0f, change[1]])) % text.len().max(1);
        match change[0] >> 4 {
            0..=5 => *text.get_mut(at)? = change[2],
            6..=8 => text.insert(at, change[2]),
            9 if !text.is_empty() => drop(text.remove(at)),
            10 => text.truncate(at),
            11 => text.push(change[2]),
            12 => text.extend_from_within(at..),
            // The last bits of a part: base64url that means the same to a lenient reader.
            13 => *text.last_mut()? = change[2],
            9 | 14 => *text.get_mut(at)? ^= 1 << (change[2] & 7),
            _ => text.rotate_left(at),
        }
    }
    String::from_utf8(text).ok()
}

fn session() -> Session {
    Session {
        id: "0b1f7a52-6f0c-4b44-9a43-6d1a0c6f2f10".to_owned(),
        bot: "support".to_owned(),
        conversation: "conv-77".to_owned(),
        client: "website".to_owned(),
        subject: "pseudonym".to_owned(),
        origin: Some("https://www.example.com".to_owned()),
        contact: Contact { name: Some("Ada".to_owned()), ..Contact::default() },
        source: Some(ContactSource::Asserted),
        opened: Timestamp::from_seconds(NOW - 600),
        issued: Timestamp::from_seconds(NOW),
        expires: Timestamp::from_seconds(NOW + 3600),
    }
}

fn binding() -> Binding {
    Binding {
        vendor: "acme".to_owned(),
        profile: "superseek".to_owned(),
        base: [1; 16],
        bot: "1234".to_owned(),
        key: [2; 32],
        session: Some(VendorSession::Text("vendor-session".to_owned())),
        token: Some(Secret::new("vendor-token-0123456789")),
        opened_as: None,
        ends: None,
    }
}
