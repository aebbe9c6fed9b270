//! Http11Probe: the verdict of RFC 9110 and RFC 9112 on each case, by its authors.

use std::collections::BTreeMap;

use super::bench::{Bench, Forms, Set, Tried};
use super::case::{Probe, Verdict, read};
use super::exchange::End;
use super::{Excepted, assert_excepted};
use crate::support::gateway::PAGE;

/// Where they are.
pub(super) const FILE: &str = "http11probe.jsonl";
/// Each letter is a byte. Whether there is a host may be what a case is about.
const SET: Set =
    Set { encode: |text| text.chars().filter_map(|letter| u8::try_from(letter).ok()).collect(), needs_host: false };
/// What the gateway does otherwise.
const EXCEPTED: Excepted = &[
    (
        "hyper skips a chunk's extension and white space after its size without looking at them. Nothing of either \
         passes: chunks towards the vendor are written anew",
        &["SMUG-CHUNK-BARE-SEMICOLON", "SMUG-CHUNK-EXT-INVALID-TOKEN", "SMUG-CHUNK-SIZE-TRAILING-OWS"],
    ),
    ("`*` is refused for every method: there is nothing to say about the server itself", &["COMP-OPTIONS-STAR"]),
    ("OPTIONS is for preflights alone: any other is 405, with Allow", &["COMP-OPTIONS-ALLOW"]),
    (
        "a trailer section that ends with a single LF has not ended for hyper: it waits for the rest",
        &["SMUG-CHUNK-LF-TRAILER"],
    ),
    ("a head that is longer than `server.limits.head` is 431, whatever part of it is long", &["MAL-LONG-METHOD"]),
];
/// Where it waits for more: the rest of a trailer section, and that of an HTTP/2 connection.
const WAITS: [&str; 2] = ["SMUG-CHUNK-LF-TRAILER", "MAL-H2-PREFACE"];

/// All cases, ready to be sent; their numbers begin with `first`.
pub(super) fn forms(bench: &Bench, cases: &[Probe], first: usize) -> Vec<Forms> {
    let forms = (first..).zip(cases).map(|(number, case)| {
        let waits = WAITS.contains(&case.id.as_str());
        Forms { waits, ..bench.forms(&SET, number, &case.payloads, lines(&case.id)) }
    });
    forms.collect()
}

#[tokio::test]
async fn each_case_of_http11probe_holds_or_is_excepted_and_none_reaches_the_vendor_in_two_readings() {
    let bench = Bench::of_the_library().await;
    let cases: Vec<Probe> = read(FILE);
    let tried = bench.run(forms(&bench, &cases, 0)).await;
    assert_eq!((cases.len(), tried.len()), (180, 180));
    let mut failed = BTreeMap::new();
    for (case, tried) in cases.iter().zip(&tried) {
        tried.assert_safe(&case.id);
        if let Err(what) = judged(case, tried) {
            failed.insert(case.id.clone(), what);
        }
    }
    assert_excepted(&failed, &[EXCEPTED]);
}

/// More headers, where a case is about an answer that the gateway gives to other calls.
fn lines(id: &str) -> &'static str {
    match id {
        // OPTIONS is answered where it is a preflight.
        "COMP-NO-CL-IN-204" | "SMUG-OPTIONS-CL-BODY" => {
            "\r\nOrigin: https://www.example.com\r\nAccess-Control-Request-Method: POST"
        }
        _ => "",
    }
}

/// Whether the gateway did what it should.
fn judged(case: &Probe, tried: &Tried) -> Result<(), String> {
    let status = tried.moved.status();
    let is_right = if case.pass != Verdict::default() || case.warn != Verdict::default() {
        let listed = match tried.moved.end {
            End::Open => [&case.pass.open, &case.warn.open],
            End::Closed => [&case.pass.closed, &case.warn.closed],
            End::Silent => [&case.pass.silent, &case.warn.silent],
        };
        listed.iter().any(|statuses| statuses.contains(&status))
    } else if case.id.starts_with("SMUG-") {
        in_step(tried)
    } else {
        by_answer(&case.id, tried)
    };
    if is_right { Ok(()) } else { Err(format!("{} {status} {:?}", case.level, tried.moved.end)) }
}

/// Of several requests on one connection, or one within another: either the connection ends with the first answer, or
/// each is answered in its turn.
fn in_step(tried: &Tried) -> bool {
    let answers = &tried.moved.answers;
    match tried.moved.end {
        End::Closed => answers.len() == 1,
        End::Open => answers.len() == tried.sent.len() && answers.iter().all(|answer| answer.status != 400),
        End::Silent => false,
    }
}

/// The cases whose verdict is more than a status.
fn by_answer(id: &str, tried: &Tried) -> bool {
    let answer = tried.moved.answers.first();
    let has = |text: &str| answer.is_some_and(|answer| answer.head.contains(text));
    let is_ok = tried.moved.status() == 200;
    let echoed = |body: &str| is_ok && tried.calls.len() == 1 && tried.calls[0].body == body.as_bytes();
    let is_dropped = |body: &str| {
        tried.moved.status() == 400 && tried.calls.is_empty()
            || echoed(body) && tried.calls[0].headers.iter().filter(|(name, _)| name.ends_with("length")).count() <= 1
    };
    match id {
        "COMP-POST-CL-BODY" | "COMP-CHUNKED-BODY" | "COMP-CHUNKED-EXTENSION" | "COMP-CHUNKED-TRAILER-VALID" => {
            echoed("hello")
        }
        "COMP-CHUNKED-MULTI" => echoed("hello world"),
        "COMP-CHUNKED-HEX-UPPERCASE" => echoed("helloworld"),
        "COMP-HEAD-NO-BODY" => is_ok && tried.moved.end == End::Open,
        "COMP-405-ALLOW" => tried.moved.status() == 405 && has("\r\nallow: get"),
        "COMP-DATE-HEADER" => is_ok && has("\r\ndate: "),
        "COMP-DATE-FORMAT" => answer.is_some_and(|answer| is_imf_fixdate(&answer.head)),
        "COMP-NO-CL-IN-204" => tried.moved.status() == 204 && has(PAGE) && !has("\r\ncontent-length"),
        "COMP-OPTIONS-ALLOW" => is_ok && has("\r\nallow: "),
        "COMP-CONTENT-TYPE" => is_ok && has("\r\ncontent-type: "),
        "COMP-TRACE-SENSITIVE" => tried.moved.status() == 405,
        "COMP-RANGE-INVALID" => is_ok && tried.calls[0].values("range").is_empty(),
        _ if id.starts_with("NORM-") => is_dropped("hello world"),
        _ => panic!("{id} has no verdict"),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn is_imf_fixdate(head: &str) -> bool {
    let date = head.split("\r\ndate: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap_or_default();
    let shape: String = date.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    let parts: Vec<&str> = shape.split(' ').collect();
    matches!(parts[..], [day, "00", month, "0000", "00:00:00", "gmt"] if day.len() == 4 && month.len() == 3)
}
