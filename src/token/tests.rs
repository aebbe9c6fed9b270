//! The rules of the token, one test each.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::follow::LOOK_EVERY;
use super::*;
use crate::clock::Timestamp;
use crate::fault::{Code, Fault};

mod vectors;

const ISSUER: &str = "https://chat.example.com";
const NOW: u64 = 1_800_000_000;

struct Bench {
    authority: Arc<Authority>,
    clock: Clock,
    directory: TempDir,
}

fn bench() -> Bench {
    bench_of(Algorithm::EdDsa, ContactClaims::Claims)
}

fn bench_of(algorithm: Algorithm, contact: ContactClaims) -> Bench {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Clock::manual(Timestamp::from_seconds(NOW));
    let authority = open(&directory.path().join("signing"), algorithm, contact, &clock).expect("opens");
    Bench { authority: Arc::new(authority), clock, directory }
}

fn open(keys: &Path, algorithm: Algorithm, contact: ContactClaims, clock: &Clock) -> Result<Authority, KeysError> {
    let settings = Settings {
        keys: keys.to_owned(),
        algorithm,
        default_ttl: Duration::from_secs(3600),
        renew_grace: Duration::ZERO,
        contact,
    };
    Authority::open(&settings, ISSUER, clock.clone(), Entropy::system())
}

fn session() -> Session {
    Session {
        id: "0b1f7a52-6f0c-4b44-9a43-6d1a0c6f2f10".into(),
        bot: "support".into(),
        conversation: "conv-77".into(),
        client: "website".into(),
        subject: "pseudonym".into(),
        origin: Some("https://www.example.com".into()),
        contact: Contact {
            name: Some("Ada \"Countess\" Lovelace".into()),
            email: Some("ada@example.com".into()),
            phone: Some("+442071838750".into()),
            email_verified: true,
        },
        source: Some(ContactSource::Verified),
        opened: Timestamp::from_seconds(NOW - 600),
        issued: Timestamp::from_seconds(NOW),
        expires: Timestamp::from_seconds(NOW + 3600),
    }
}

fn binding() -> Binding {
    Binding {
        vendor: "acme".into(),
        profile: "superseek".into(),
        base: *b"base-digest-16-b",
        bot: "1234".into(),
        key: *b"key-fingerprint-of-32-bytes-long",
        session: Some(VendorSession::Text("vendor-session".into())),
        token: Some(Secret::new("vendor-token-0123456789")),
        opened_as: None,
        ends: None,
    }
}

impl Bench {
    fn mint(&self) -> String {
        self.authority.mint(session(), &binding()).expect("mints")
    }

    fn refusal(&self, token: &str) -> Option<Refusal> {
        self.authority.verify(token).err()
    }

    fn keys(&self) -> std::path::PathBuf {
        self.directory.path().join("signing")
    }

    /// A token with these texts as header and claims, signed by the very key: a forger could not do better.
    fn signed(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature =
            self.authority.keys.load().signer(self.authority.clock.now()).sign(signed.as_bytes()).expect("signs");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A good token whose claims went through `change` before they were signed.
    fn with_claims(&self, change: impl FnOnce(&mut Value)) -> String {
        let token = self.mint();
        let mut claims = part(&token, 1);
        change(&mut claims);
        self.signed(&part(&token, 0).to_string(), &claims.to_string())
    }

    fn with_header(&self, change: impl FnOnce(&mut Value)) -> String {
        let token = self.mint();
        let mut header = part(&token, 0);
        change(&mut header);
        self.signed(&header.to_string(), &part(&token, 1).to_string())
    }
}

fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).expect("a part");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON")
}

#[test]
fn every_algorithm_mints_and_verifies() {
    for algorithm in Algorithm::ALL {
        let bench = bench_of(algorithm, ContactClaims::Claims);
        let token = bench.mint();
        let verified = bench.authority.verify(&token).expect("verifies");
        assert_eq!(verified.session, session(), "{algorithm:?}");
        assert_eq!(verified.binding.token.as_ref().map(Secret::expose), Some("vendor-token-0123456789"));
        assert_eq!(verified.binding.session, Some(VendorSession::Text("vendor-session".into())));
        let kid = &bench.authority.keys()[0].kid;
        assert_eq!(part(&token, 0), json!({ "alg": algorithm.name(), "typ": "at+jwt", "kid": kid }));
    }
}

#[test]
fn the_claims_are_those_that_are_documented() {
    let token = bench().mint();
    let mut claims = part(&token, 1);
    let members = claims.as_object_mut().expect("an object");
    assert!(members.remove("bnd").is_some_and(|bnd| bnd.is_string()));
    let jti = members.remove("jti").expect("jti");
    assert_eq!(URL_SAFE_NO_PAD.decode(jti.as_str().expect("text")).expect("base64url").len(), 16);
    let expected = json!({
        "iss": ISSUER, "aud": ISSUER, "sub": "pseudonym", "sid": session().id, "client_id": "website",
        "iat": NOW, "nbf": NOW, "exp": NOW + 3600, "auth_time": NOW - 600,
        "bot": "support", "cid": "conv-77", "scope": "conversation", "origin": "https://www.example.com",
        "name": "Ada \"Countess\" Lovelace", "email": "ada@example.com", "email_verified": true,
        "phone_number": "+442071838750",
    });
    assert_eq!(claims, expected);
}

#[test]
fn what_is_not_known_is_no_claim() {
    let bench = bench();
    let bare = Session { origin: None, contact: Contact { email_verified: true, ..Contact::default() }, ..session() };
    let token = bench.authority.mint(bare, &binding()).expect("mints");
    for name in ["origin", "name", "email", "email_verified", "phone_number"] {
        assert_eq!(part(&token, 1).get(name), None);
    }
    assert_eq!(bench.authority.verify(&token).expect("verifies").session.contact, Contact::default());
}

#[test]
fn a_sealed_contact_is_not_in_the_claims_and_an_omitted_one_nowhere() {
    for (mode, expected) in [(ContactClaims::Sealed, session().contact), (ContactClaims::Omit, Contact::default())] {
        let bench = bench_of(Algorithm::EdDsa, mode);
        let token = bench.mint();
        assert!(!part(&token, 1).to_string().contains("ada@example.com"));
        assert_eq!(part(&token, 1).get("email_verified"), None);
        let verified = bench.authority.verify(&token).expect("verifies");
        assert_eq!(verified.session.contact, expected);
        assert_eq!(verified.session.source, Some(ContactSource::Verified));
    }
}

#[test]
fn algorithm_is_fixed_by_the_key_and_never_by_the_token() {
    let bench = bench();
    for alg in ["HS256", "ES256", "RS256", "EdDSa", "eddsa", "Ed25519", ""] {
        let token = bench.with_header(|header| header["alg"] = json!(alg));
        assert_eq!(bench.refusal(&token), Some(Refusal::Algorithm), "{alg}");
    }
    for none in ["none", "None", "NONE"] {
        let token = bench.with_header(|header| header["alg"] = json!(none));
        let unsigned = token.rsplit_once('.').expect("a signature").0;
        assert_eq!(bench.refusal(&token), Some(Refusal::Algorithm));
        assert!(bench.refusal(&format!("{unsigned}.")).is_some());
        assert!(bench.refusal(unsigned).is_some());
    }
}

#[test]
fn an_rs256_public_key_is_not_an_hmac_secret() {
    use aws_lc_rs::hmac;
    let bench = bench_of(Algorithm::Rs256, ContactClaims::Claims);
    let token = bench.mint();
    let jwk: Value = serde_json::from_str(&bench.authority.jwks()).expect("JSON");
    let modulus = jwk["keys"][0]["n"].as_str().expect("n");
    for alg in ["HS256", "RS256"] {
        let mut header = part(&token, 0);
        header["alg"] = json!(alg);
        let (header, claims) = (header.to_string(), part(&token, 1).to_string());
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        for secret in [modulus.as_bytes(), &URL_SAFE_NO_PAD.decode(modulus).expect("base64url")] {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
            let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
            assert!(matches!(bench.refusal(&forged), Some(Refusal::Algorithm | Refusal::Signature)));
        }
    }
}

#[test]
fn another_keys_token_is_refused() {
    let (bench, other) = (bench(), bench());
    let foreign = other.mint();
    assert_eq!(bench.refusal(&foreign), Some(Refusal::UnknownKey));
    let kid = bench.authority.keys()[0].kid.clone();
    let claiming = other.with_header(|header| header["kid"] = json!(kid));
    assert_eq!(bench.refusal(&claiming), Some(Refusal::Signature));
}

#[test]
fn any_changed_letter_is_refused() {
    let bench = bench();
    let token = bench.mint();
    bench.authority.verify(&token).expect("verifies");
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(bench.refusal(&String::from_utf8(changed).expect("ASCII")).is_some(), "{at}");
    }
    for wrong in [format!("{token}="), format!(" {token}"), format!("{token}\n"), format!("{token}.{token}")] {
        assert!(bench.refusal(&wrong).is_some());
    }
}

#[test]
fn expired_token_is_refused() {
    let bench = bench();
    let token = bench.mint();
    bench.clock.advance(Duration::from_secs(3600 + 6));
    assert_eq!(bench.refusal(&token), Some(Refusal::Expired));
    assert_eq!(Fault::from(Refusal::Expired).code(), Code::TokenExpired);
}

#[test]
fn leeway_is_five_seconds_and_no_more() {
    let bench = bench();
    let token = bench.mint();
    bench.clock.advance(Duration::from_secs(3600 + 5));
    assert_eq!(bench.refusal(&token), None);
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.refusal(&token), Some(Refusal::Expired));
    let fresh = self::bench();
    let ahead = |seconds| fresh.with_claims(|claims| claims["nbf"] = json!(NOW + seconds));
    assert_eq!(fresh.refusal(&ahead(5)), None);
    assert_eq!(fresh.refusal(&ahead(6)), Some(Refusal::NotYet));
}

#[test]
fn a_cached_token_still_expires() {
    let bench = bench();
    let token = bench.mint();
    let first = bench.authority.verify(&token).expect("verifies");
    let again = bench.authority.verify(&token).expect("verifies");
    assert!(Arc::ptr_eq(&first, &again));
    bench.clock.advance(Duration::from_millis(3_605_001));
    assert_eq!(bench.refusal(&token), Some(Refusal::Expired));
}

#[test]
fn of_more_tokens_than_a_worker_compares_each_is_found_as_itself() {
    let bench = bench_of(Algorithm::Hs256, ContactClaims::Omit);
    let mint = |number: u32| {
        let session = Session { conversation: format!("conv-{number}"), ..session() };
        bench.authority.mint(session, &binding()).expect("mints")
    };
    let tokens: Vec<_> = (0..6_000).map(mint).collect();
    for _ in 0..3 {
        for (number, token) in tokens.iter().enumerate() {
            let verified = bench.authority.verify(token).expect("verifies");
            assert_eq!(verified.session.conversation, format!("conv-{number}"));
        }
    }
    for token in &tokens[..100] {
        let end = if token.ends_with('A') { "Q" } else { "A" };
        assert_eq!(bench.refusal(&format!("{}{end}", &token[..token.len() - 1])), Some(Refusal::Signature));
    }
    bench.clock.advance(Duration::from_secs(3600 + 6));
    assert!(tokens.iter().all(|token| bench.refusal(token) == Some(Refusal::Expired)));
}

#[tokio::test(start_paused = true)]
async fn nothing_that_a_worker_knows_outlives_the_key_that_signed_it() {
    let bench = bench_of(Algorithm::Hs256, ContactClaims::Omit);
    let next = bench_of(Algorithm::Hs256, ContactClaims::Omit);
    // More than a worker compares: the others it knows by their digest.
    let tokens: Vec<_> = (0..6_000).map(|_| bench.mint()).collect();
    assert!(tokens.iter().chain(&tokens).all(|token| bench.refusal(token).is_none()));

    let of = |bench: &Bench, is_subject: bool| -> Vec<Value> {
        let text = std::fs::read(bench.keys().join("keys.json")).expect("reads");
        let mut contents: Value = serde_json::from_slice(&text).expect("JSON");
        let keys = contents["keys"].as_array_mut().expect("keys").drain(..);
        keys.filter(|key| (key["use"] == "subject") == is_subject).collect()
    };
    let keys = [of(&next, false), of(&bench, true)].concat();
    std::fs::write(bench.keys().join("keys.json"), json!({ "keys": keys }).to_string()).expect("writes");

    let authority = Arc::clone(&bench.authority);
    tokio::spawn(async move { authority.follow(&CancellationToken::new()).await });
    let (token, asked) = (next.mint(), Instant::now());
    while bench.refusal(&token).is_some() {
        // Nobody can look while this thread waits for it.
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(asked.elapsed() < LOOK_EVERY, "as late as if nobody had asked");
    }
    assert!(tokens.iter().all(|token| bench.refusal(token) == Some(Refusal::UnknownKey)));
}

#[test]
fn a_refused_token_is_not_remembered_as_refused() {
    let bench = bench();
    let token = bench.with_claims(|claims| claims["nbf"] = json!(NOW + 10));
    assert_eq!(bench.refusal(&token), Some(Refusal::NotYet));
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(bench.refusal(&token), None);
}

#[test]
fn issuer_audience_type_and_scope_are_exact() {
    let bench = bench();
    for other in ["https://chat.example.com/", "https://CHAT.example.com", "https://evil.example", ""] {
        assert_eq!(bench.refusal(&bench.with_claims(|claims| claims["iss"] = json!(other))), Some(Refusal::Issuer));
        assert_eq!(bench.refusal(&bench.with_claims(|claims| claims["aud"] = json!(other))), Some(Refusal::Audience));
    }
    for other in ["JWT", "AT+JWT", "application/at+jwt", ""] {
        assert_eq!(bench.refusal(&bench.with_header(|header| header["typ"] = json!(other))), Some(Refusal::Type));
    }
    for other in ["conversation admin", "admin", ""] {
        assert_eq!(bench.refusal(&bench.with_claims(|claims| claims["scope"] = json!(other))), Some(Refusal::Scope));
    }
}

#[test]
fn audience_as_array_is_refused() {
    let bench = bench();
    let token = bench.with_claims(|claims| claims["aud"] = json!([ISSUER]));
    assert_eq!(bench.refusal(&token), Some(Refusal::Malformed(Part::Claims)));
}

#[test]
fn fractional_expiry_is_refused() {
    let bench = bench();
    for name in ["exp", "nbf", "iat", "auth_time"] {
        for wrong in [json!(NOW as f64), json!(1.5), json!(NOW.to_string()), json!(-1), json!(null), json!([NOW])] {
            let token = bench.with_claims(|claims| claims[name] = wrong.clone());
            assert_eq!(bench.refusal(&token), Some(Refusal::Malformed(Part::Claims)), "{name} {wrong}");
        }
    }
    let text = part(&bench.mint(), 1).to_string().replace(&format!("\"exp\":{}", NOW + 3600), "\"exp\":18e8");
    let token = bench.signed(&part(&bench.mint(), 0).to_string(), &text);
    assert_eq!(bench.refusal(&token), Some(Refusal::Malformed(Part::Claims)));
}

#[test]
fn a_token_that_lives_longer_than_a_day_is_none_of_ours() {
    let bench = bench();
    let living = |seconds: u64| bench.refusal(&bench.with_claims(|claims| claims["exp"] = json!(seconds)));
    assert_eq!(living(NOW + 86_400), None);
    for forged in [NOW + 86_406, u64::MAX] {
        assert_eq!(living(forged), Some(Refusal::Malformed(Part::Claims)));
    }
}

#[test]
fn a_cached_token_ends_with_the_last_day_of_its_key() {
    let bench = bench();
    // Whoever had the keys once mints with them for as long as they are good, and not a moment longer.
    let copy = tempfile::tempdir().expect("a directory");
    std::fs::copy(bench.directory.path().join("signing/keys.json"), copy.path().join("keys.json")).expect("copies");
    let thief = open(copy.path(), Algorithm::EdDsa, ContactClaims::Claims, &bench.clock).expect("opens");
    bench.authority.rotate(Duration::from_secs(10)).expect("rotates");
    bench.clock.advance(LONGEST_TTL);
    let now = bench.clock.now();
    let late = Session { issued: now, expires: now.plus(LONGEST_TTL), ..session() };
    let token = thief.mint(late, &binding()).expect("mints");
    assert_eq!(bench.refusal(&token), None);
    bench.clock.advance(Duration::from_secs(16));
    assert_eq!(bench.refusal(&token), Some(Refusal::UnknownKey));
}

#[test]
fn a_missing_claim_is_refused() {
    let bench = bench();
    let required = [
        "iss",
        "aud",
        "sub",
        "sid",
        "jti",
        "iat",
        "nbf",
        "exp",
        "auth_time",
        "client_id",
        "bot",
        "cid",
        "scope",
        "bnd",
    ];
    for name in required {
        let token = bench.with_claims(|claims| {
            claims.as_object_mut().expect("an object").remove(name);
        });
        assert_eq!(bench.refusal(&token), Some(Refusal::Malformed(Part::Claims)), "{name}");
    }
}

#[test]
fn duplicate_claim_is_refused() {
    let bench = bench();
    let (header, claims) = (part(&bench.mint(), 0).to_string(), part(&bench.mint(), 1).to_string());
    let with = |more: &str| bench.signed(&header, &format!("{},{more}}}", claims.trim_end_matches('}')));
    for more in ["\"exp\":9999999999", "\"\\u0065xp\":9999999999", "\"bot\":\"sales\"", "\"x\":1,\"x\":2"] {
        assert_eq!(bench.refusal(&with(more)), Some(Refusal::Malformed(Part::Claims)), "{more}");
    }
    // The same way of making the text, with nothing twice in it.
    assert_eq!(bench.refusal(&with("\"later\":1")), None);
}

#[test]
fn an_unknown_claim_of_a_newer_replica_is_let_pass() {
    let bench = bench();
    let token = bench.with_claims(|claims| claims["later"] = json!({ "any": ["thing"] }));
    assert_eq!(bench.refusal(&token), None);
}

#[test]
fn claims_are_an_object() {
    let bench = bench();
    let token = bench.mint();
    let values: Vec<Value> = part(&token, 1).as_object().expect("an object").values().cloned().collect();
    for wrong in [json!(values).to_string(), "null".into(), "\"text\"".into(), "{".into(), "[".repeat(3000)] {
        let token = bench.signed(&part(&token, 0).to_string(), &wrong);
        assert_eq!(bench.refusal(&token), Some(Refusal::Malformed(Part::Claims)));
    }
}

#[test]
fn a_header_is_the_same_in_whatever_order_and_white_space() {
    let bench = bench();
    let (header, claims) = (part(&bench.mint(), 0), part(&bench.mint(), 1).to_string());
    let kid = &header["kid"];
    for good in [
        format!(r#"{{"kid":{kid},"typ":"at+jwt","alg":"EdDSA"}}"#),
        format!(r#" {{ "alg" : "EdDSA", "typ" : "at+jwt", "k\u0069d" : {kid} }} "#),
    ] {
        assert_eq!(bench.refusal(&bench.signed(&good, &claims)), None, "{good}");
    }
}

#[test]
fn a_header_that_names_its_own_key_is_refused_even_if_signed() {
    let bench = bench();
    for name in ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip"] {
        let token = bench.with_header(|header| header[name] = json!("https://evil.example/jwks.json"));
        assert_eq!(bench.refusal(&token), Some(Refusal::ForbiddenHeader), "{name}");
    }
}

#[test]
fn longer_than_8_kib_is_refused_before_decoding() {
    let bench = bench();
    assert_eq!(bench.refusal(&"!".repeat(8 * 1024 + 1)), Some(Refusal::TooLong));
    assert_eq!(bench.refusal(&"!".repeat(8 * 1024)), Some(Refusal::Malformed(Part::Form)));
    let long = bench.with_claims(|claims| claims["later"] = json!("x".repeat(8 * 1024)));
    assert_eq!(bench.refusal(&long), Some(Refusal::TooLong));
}

#[test]
fn a_token_over_4_kib_is_not_minted() {
    let bench = bench();
    let huge = Binding { token: Some(Secret::new("x".repeat(2500))), ..binding() };
    let error = bench.authority.mint(session(), &huge).expect_err("too large");
    assert!(matches!(error, MintError::TooLarge { length } if length > 4096));
    assert_eq!(Fault::from(error).code(), Code::BindingTooLarge);
    let fits = Binding { token: Some(Secret::new("x".repeat(1500))), ..binding() };
    assert!(bench.authority.mint(session(), &fits).expect("fits").len() <= 4096);
}

#[test]
fn binding_of_another_session_does_not_open() {
    let bench = bench();
    let other = Session { id: "another".into(), ..session() };
    let foreign = part(&bench.authority.mint(other, &binding()).expect("mints"), 1)["bnd"].clone();
    let same = part(&bench.mint(), 1)["bnd"].clone();
    for moved in [foreign, same, json!(""), json!("AAAA"), json!("not base64!")] {
        let token = bench.with_claims(|claims| claims["bnd"] = moved);
        assert_eq!(bench.refusal(&token), Some(Refusal::Binding));
    }
    for name in ["sid", "bot", "jti"] {
        let token = bench.with_claims(|claims| claims[name] = json!("another"));
        assert_eq!(bench.refusal(&token), Some(Refusal::Binding), "{name}");
    }
}

#[test]
fn hs256_and_sealing_keys_are_not_in_the_jwks() {
    let bench = bench_of(Algorithm::Hs256, ContactClaims::Claims);
    assert_eq!(bench.authority.jwks(), r#"{"keys":[]}"#);
    let both = open(&bench.keys(), Algorithm::Es256, ContactClaims::Claims, &bench.clock).expect("opens");
    let set: Value = serde_json::from_str(&both.jwks()).expect("JSON");
    let keys = set["keys"].as_array().expect("an array");
    let mut members: Vec<&str> = keys[0].as_object().expect("an object").keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!((keys.len(), members), (1, vec!["alg", "crv", "kid", "kty", "use", "x", "y"]));
    let private = std::fs::read_to_string(bench.keys().join("keys.json")).expect("the key file");
    let private: Value = serde_json::from_str(&private).expect("JSON");
    for record in private["keys"].as_array().expect("an array") {
        assert!(!both.jwks().contains(record["private"].as_str().expect("text")));
    }
}

#[test]
fn no_secret_in_debug() {
    let bench = bench();
    let verified = bench.authority.verify(&bench.mint()).expect("verifies");
    let text = format!(
        "{verified:?} {:?} {:?} {:?}",
        bench.authority,
        binding(),
        bench.authority.inspect(&bench.mint()).binding
    );
    let fingerprint = format!("{:?}", binding().key);
    for secret in ["vendor-token", &fingerprint, "ada@", "Countess", "+44207"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn subjects_are_stable_and_differ_by_owner_and_source() {
    let bench = bench();
    let again = open(&bench.keys(), Algorithm::Es256, ContactClaims::Omit, &bench.clock).expect("opens");
    let subject = |owner, source, identity| bench.authority.subject(owner, source, identity);
    let ada = subject("website", ContactSource::Asserted, "ada@example.com");
    assert_eq!(ada, again.subject("website", ContactSource::Asserted, "ada@example.com"));
    assert_ne!(ada, subject("website", ContactSource::Verified, "ada@example.com"));
    assert_ne!(ada, subject("shop", ContactSource::Asserted, "ada@example.com"));
    assert_ne!(subject("ab", ContactSource::Claimed, "c"), subject("a", ContactSource::Claimed, "bc"));
    assert_ne!(ada, self::bench().authority.subject("website", ContactSource::Asserted, "ada@example.com"));
}

#[test]
fn a_fingerprint_is_keyed_and_no_subject() {
    let (bench, other) = (bench(), bench());
    let key = Secret::new("sk-live-0123456789abcdef");
    let fingerprint = bench.authority.fingerprint(&key);
    assert_eq!(fingerprint, bench.authority.fingerprint(&key));
    assert_ne!(fingerprint, other.authority.fingerprint(&key));
}

#[test]
fn inspection_explains_whatever_it_is_given() {
    let bench = bench();
    let token = bench.mint();
    let good = bench.authority.inspect(&token);
    assert_eq!(good.verdict, Ok(()));
    let opened = good.binding.expect("opens");
    assert_eq!((opened.vendor.as_str(), opened.has_token), ("acme", true));
    assert_eq!(opened.source, Some(ContactSource::Verified));
    let foreign = self::bench().authority.inspect(&token);
    assert_eq!((foreign.verdict, foreign.binding), (Err(Refusal::UnknownKey), None));
    assert_eq!(foreign.claims.expect("claims")["bot"], "support");
    bench.clock.advance(Duration::from_secs(90_000));
    let expired = bench.authority.inspect(&token);
    assert!(expired.verdict == Err(Refusal::Expired) && expired.binding.is_some());
    for odd in
        ["", ".", "..", "a.b.c", "é.ü.ß", "e30.e30.e30", &"a.".repeat(9000), &format!("{}.e30.e30", "W1tb".repeat(900))]
    {
        assert!(bench.authority.inspect(odd).verdict.is_err());
    }
}
