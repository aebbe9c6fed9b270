//! The public vectors of `tests/vectors/jws_flat.jsonl` (`tests/vectors/jws.md` says what they are), in two layers: as
//! tokens to this gateway, and as signatures under the key that each brings along.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::jws::{Parts, decode, decode_json, object};
use super::super::signing::Verifier;
use super::*;

const VECTORS: &str = include_str!("../../../tests/vectors/jws_flat.jsonl");

/// What must be refused and has a good signature all the same: by what its key says about itself. A key of ours says
/// none of that: it stands in the key file with one use and one algorithm, is found by the digest of itself, and is
/// made here and never imported.
const KEY_IS_NOT_FOR_IT: [&str; 14] = [
    // `alg` is PS512, `RSA1_5`, ES521, ES224, A256GCM, A256KW: a record of the file with another algorithm than our four
    // is damaged.
    "signature 332 ps512 UsingRS256",
    "key 6 rs256 rejectsWrongUse",
    "key 19 wrong_algorithm mismatchedAlgAndCurve",
    "key 20 invalid_algorithm mismatchedAlgAndCurve",
    "key 25 invalid_aes_gcm_key rejectsAesKey",
    "key 26 invalid_aes_kw_key rejectsAesKey",
    // `use` is `enc`: the file's uses are `sig`, `seal` and `subject`.
    "signature 353 rsa_encryption rejectWrongUse",
    "signature 354 ec_key_for_encryption rejectWrongUse",
    "key 21 invalid_use rejectsModifiedKey",
    // `key_ops` is `encrypt`: a member that a record has not.
    "signature 355 rsa_encryption rejectWrongKeyOps",
    "signature 356 ec_key_for_encryption rejectWrongKeyOps",
    // A set of symmetric and public keys, which is dangerous where a token chooses the algorithm.
    "key 1 jws_mixedSymmetryKeyset rejectsValid",
    // Two keys of one `kid`: ours are digests.
    "key 4 jws_duplicate_kid rejectsDuplicateKid",
    // A key out of a weak generator (ROCA): ours are aws-lc's.
    "key 7 jws_rsa_roca_key rejectsKeyWithRocaVulnerability",
];

/// Said to be padded, but they are not: see [`two_vectors_about_padding_are_copies_of_a_valid_one`].
const WITHOUT_FAULT: [&str; 2] =
    ["signature 367 base64 invalidBase64Padding", "signature 370 base64 invalidBase64PaddingInPayload"];

#[derive(Clone, Deserialize)]
struct Case {
    src: String,
    id: u32,
    comment: String,
    group: String,
    /// A JWK, or a set of them.
    key: Value,
    jws: String,
    expect: String,
}

fn cases() -> Vec<Case> {
    let cases: Vec<Case> = VECTORS.lines().map(|line| serde_json::from_str(line).expect("a case")).collect();
    assert_eq!((cases.len(), cases.iter().filter(|case| case.must_be_refused()).count()), (432, 377));
    cases
}

impl Case {
    fn must_be_refused(&self) -> bool {
        match self.expect.as_str() {
            "invalid" => true,
            "valid" => false,
            other => panic!("{other}"),
        }
    }

    fn source(&self) -> &'static str {
        match self.src.as_str() {
            "wycheproof/json_web_signature_test" => "signature",
            "wycheproof/json_web_key_test" => "key",
            _ => "cookbook",
        }
    }

    fn group(&self) -> String {
        let group = if self.source() == "cookbook" { self.comment.trim() } else { &self.group };
        format!("{} {group}", self.source())
    }

    fn name(&self) -> String {
        format!("{} {} {} {}", self.source(), self.id, self.group, self.comment)
    }

    /// The steps of [`verify::check`] that are about form and signature, with the vector's keys in the place of ours:
    /// any of them, whatever it says about itself, so that more is let through than with our own key set.
    fn verdict(&self) -> Result<(), Refusal> {
        let parts = Parts::of(&self.jws)?;
        let header: Value = object(&decode_json(parts.header, Part::Header)?, Part::Header)?;
        let keys = self.key["keys"].as_array().map_or_else(|| vec![&self.key], |keys| keys.iter().collect());
        let keys: Vec<(Algorithm, Verifier)> = keys.into_iter().filter_map(verifier).collect();
        if keys.is_empty() {
            return Err(Refusal::UnknownKey);
        }
        let keys: Vec<_> = keys.iter().filter(|(algorithm, _)| header["alg"] == algorithm.name()).collect();
        if keys.is_empty() {
            return Err(Refusal::Algorithm);
        }
        if !keys.iter().any(|(_, key)| key.verify(&parts).is_ok()) {
            return Err(Refusal::Signature);
        }
        decode(parts.payload, Part::Claims).map(drop)
    }
}

/// The key of a JWK, for the one algorithm that we have for its type.
fn verifier(jwk: &Value) -> Option<(Algorithm, Verifier)> {
    let text = |name: &str| jwk[name].as_str();
    match (text("kty")?, text("crv")) {
        ("OKP", Some("Ed25519")) => Some((Algorithm::EdDsa, Verifier::ed25519(text("x")?)?)),
        ("EC", Some("P-256")) => Some((Algorithm::Es256, Verifier::p256(text("x")?, text("y")?)?)),
        ("RSA", _) => Some((Algorithm::Rs256, Verifier::rsa(text("n")?, text("e")?)?)),
        ("oct", _) => Some((Algorithm::Hs256, Verifier::hmac(&URL_SAFE_NO_PAD.decode(text("k")?).ok()?)?)),
        _ => None,
    }
}

#[test]
fn no_public_vector_is_a_token_of_this_gateway() {
    for algorithm in Algorithm::ALL {
        let bench = bench_of(algorithm, ContactClaims::Claims);
        for case in cases() {
            assert!(bench.refusal(&case.jws).is_some(), "{} passes with {algorithm:?}", case.name());
            assert!(bench.authority.inspect(&case.jws).verdict.is_err(), "{}", case.name());
        }
    }
}

/// Neither does one with our own header in front: what is left of it is another key's signature of another text.
#[test]
fn no_public_vector_becomes_a_token_under_our_header() {
    for algorithm in Algorithm::ALL {
        let bench = bench_of(algorithm, ContactClaims::Claims);
        let ours = bench.mint();
        let header = ours.split('.').next().expect("a header");
        for case in cases() {
            let behind = case.jws.split_once('.').map_or("", |(_, behind)| behind);
            assert!(bench.refusal(&format!("{header}.{behind}")).is_some(), "{}", case.name());
        }
    }
}

#[test]
fn no_vector_that_must_be_refused_has_a_good_signature_but_by_what_its_key_says() {
    let mut passing: Vec<String> =
        cases().iter().filter(|case| case.must_be_refused() && case.verdict().is_ok()).map(Case::name).collect();
    let mut known = [&KEY_IS_NOT_FOR_IT[..], &WITHOUT_FAULT[..]].concat();
    passing.sort();
    known.sort_unstable();
    assert_eq!(passing, known);
}

/// Cases 367 and 370 are said to have padding in the signature and in the payload. Each is byte for byte the valid case
/// 357, key and all, also in the project's own file: a verifier that refuses them refuses 357.
#[test]
fn two_vectors_about_padding_are_copies_of_a_valid_one() {
    let cases = cases();
    let valid = cases.iter().find(|case| case.name() == "signature 357 base64 ValidMac").expect("is there");
    assert!(!valid.must_be_refused() && !valid.jws.contains('='));
    for name in WITHOUT_FAULT {
        let copy = cases.iter().find(|case| case.name() == name).expect("is there");
        assert_eq!((&copy.jws, &copy.key), (&valid.jws, &valid.key));
        // What they were meant to be is refused.
        for padded in [format!("{}=", copy.jws), copy.jws.replacen("VGVzdA.", "VGVzdA==.", 1)] {
            assert_eq!(Case { jws: padded, ..copy.clone() }.verdict(), Err(Refusal::Signature));
        }
    }
}

/// The table that `tests/vectors/jws.md` explains.
#[test]
fn the_vectors_by_group() {
    let mut groups: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for case in cases() {
        let verdict = case.verdict();
        let column = 2 * usize::from(!case.must_be_refused()) + usize::from(verdict.is_err());
        groups.entry(case.group()).or_default()[column] += 1;
        if let (false, Err(refusal)) = (case.must_be_refused(), verdict) {
            refused.entry(format!("{}: {refusal}", case.group())).or_default().push(case.id.to_string());
        }
    }
    let mut table = format!("{:<46} refused passes | valid: taken refused\n", "must be refused:");
    for (group, [passes, bad, taken, strict]) in &groups {
        table += &format!("{group:<46} {bad:>7} {passes:>6} | {taken:>12} {strict:>7}\n");
    }
    let [passes, bad, taken, strict] =
        groups.values().fold([0; 4], |sum, row| std::array::from_fn(|column| sum[column] + row[column]));
    table += &format!("{:<46} {bad:>7} {passes:>6} | {taken:>12} {strict:>7}\n\nvalid and refused:\n", "all");
    for (reason, ids) in refused {
        table += &format!("{reason} ({})\n", ids.join(", "));
    }
    insta::assert_snapshot!(table, @r"
    must be refused:                               refused passes | valid: taken refused
    cookbook ECDSA Signature                             0      0 |            0       1
    cookbook HMAC-SHA2 Integrity Protection              0      0 |            1       0
    cookbook RSA v1.5 Signature                          0      0 |            1       0
    cookbook RSA-PSS Signature                           0      0 |            0       1
    cookbook Signature with Detached Content             1      0 |            0       0
    key HS256                                            2      0 |            0       1
    key HS384                                            2      0 |            0       1
    key HS512                                            2      0 |            0       1
    key exponentOne                                      1      0 |            0       0
    key invalid_aes_gcm_key                              0      1 |            0       0
    key invalid_aes_kw_key                               0      1 |            0       0
    key invalid_algorithm                                0      1 |            0       0
    key invalid_point                                    1      0 |            0       0
    key invalid_use                                      0      1 |            0       0
    key jws_duplicate_kid                                0      1 |            0       0
    key jws_keyset                                       1      0 |            1       0
    key jws_mixedSymmetryKeyset                          0      1 |            0       0
    key jws_rsa_roca_key                                 0      1 |            0       0
    key keysize_too_small                                1      0 |            0       0
    key rs256                                            0      1 |            1       0
    key wrong_algorithm                                  0      1 |            0       0
    key wrong_curve                                      1      0 |            0       0
    key wrong_kty                                        1      0 |            0       0
    signature SpecialCaseEs256                          23      0 |            1       0
    signature base64                                    12      2 |            5       2
    signature ec_key_for_encryption                      0      2 |            0       0
    signature es256                                     14      0 |            1       0
    signature hs256                                     16      0 |            1       0
    signature ps256                                     42      0 |            0       6
    signature ps384                                      1      0 |            0       4
    signature ps512                                     15      1 |            0       4
    signature rfc7520                                    0      0 |            3       2
    signature rfc7520WithKeyOps                          0      0 |            1       2
    signature rs256                                    225      0 |            5       1
    signature rs384                                      0      0 |            0       4
    signature rs512                                      0      0 |            0       4
    signature rsa_encryption                             0      2 |            0       0
    all                                                361     16 |           21      34

    valid and refused:
    cookbook ECDSA Signature: kid names no key of this gateway (0)
    cookbook RSA-PSS Signature: alg is not the algorithm of the key (0)
    key HS256: kid names no key of this gateway (13)
    key HS384: kid names no key of this gateway (14)
    key HS512: kid names no key of this gateway (15)
    signature base64: the header of the token is malformed (372)
    signature base64: the signature is wrong (373)
    signature ps256: alg is not the algorithm of the key (273, 274, 275, 287, 288)
    signature ps256: the form of the token is malformed (272)
    signature ps384: alg is not the algorithm of the key (321, 322, 323)
    signature ps384: the form of the token is malformed (320)
    signature ps512: alg is not the algorithm of the key (326, 327, 328)
    signature ps512: the form of the token is malformed (325)
    signature rfc7520: alg is not the algorithm of the key (346)
    signature rfc7520: kid names no key of this gateway (347)
    signature rfc7520WithKeyOps: alg is not the algorithm of the key (350)
    signature rfc7520WithKeyOps: kid names no key of this gateway (351)
    signature rs256: the form of the token is malformed (259)
    signature rs384: alg is not the algorithm of the key (265, 266, 267)
    signature rs384: the form of the token is malformed (264)
    signature rs512: alg is not the algorithm of the key (269, 270, 271)
    signature rs512: the form of the token is malformed (268)
    ");
}
