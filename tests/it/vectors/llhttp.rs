//! llhttp, the parser of Node.js: its own fixtures, with what it makes of each.

use std::collections::BTreeMap;

use super::bench::{Bench, Forms, Set, Tried};
use super::case::{Llhttp, read};
use super::exchange::End;
use super::{Excepted, assert_excepted};

/// Where they are.
pub(super) const FILE: &str = "llhttp_request.jsonl";
/// The fixtures are UTF-8. They are about one line each, and most name no host.
const SET: Set = Set { encode: |text| text.as_bytes().to_vec(), needs_host: true };
/// Where the gateway is laxer.
const EXCEPTED: Excepted = &[
    (
        "hyper skips a chunk's extension and white space after its size without looking at them. Nothing of either passes: chunks towards the vendor are written anew",
        &[
            "transfer-encoding.md#No extension after semicolon",
            "transfer-encoding.md#Space after chunk header",
            "transfer-encoding.md#Space after chunk header (lenient)",
            "transfer-encoding.md#Unbalanced chunk extensions quoting",
        ],
    ),
    (
        "the body of a GET is thrown away unread: no route passes one. The connection closes behind it",
        &[
            "transfer-encoding.md#Chunk data not terminated by CRLF",
            "transfer-encoding.md#Chunk data not terminated by CRLF (lenient)",
            "transfer-encoding.md#Chunk header not terminated by CRLF",
            "transfer-encoding.md#Chunk header not terminated by CRLF (lenient)",
        ],
    ),
    (
        "a single LF may end a line (RFC 9112 §2.2); the request is not whole yet, and the gateway waits for the rest",
        &[
            "invalid.md#Empty headers separated by LF",
            "invalid.md#Headers separated by LF",
            "lenient-header-value-relaxed.md#LF in header value should be rejected even with relaxed flag",
        ],
    ),
    (
        "the head has not ended, and is judged when it has",
        &[
            "content-length.md#Error on `Content-Length` overflow",
            "content-length.md#Error on duplicate `Content-Length`",
        ],
    ),
];
/// Where llhttp has an opinion of its own, which is no rule of the RFC, or the gateway is stricter.
const OPINIONS: Excepted = &[
    (
        "llhttp names the second request of a connection that has ended as an error; the gateway closes and never reads it",
        &[
            "connection.md#No restart when keep-alive is off (1.0)",
            "connection.md#Resetting flags when keep-alive is off (1.0, lenient)",
        ],
    ),
    (
        "llhttp has a list of methods; for the gateway another one is 405",
        &["invalid.md#HTTP protocol and ANNOUNCE method", "invalid.md#Invalid method"],
    ),
    (
        "llhttp also reads RTSP, ICE and HTTP/0.9",
        &[
            "method.md#ANNOUNCE request with RTSP",
            "method.md#OPTIONS request with RTSP",
            "method.md#SOURCE request with ICE",
            "sample.md#No HTTP version",
        ],
    ),
    (
        "llhttp leaves it to its user what a target means; the gateway has no tunnels, and no answer to `*`",
        &[
            "method.md#CONNECT request",
            "method.md#CONNECT request with CAPS",
            "method.md#CONNECT with body",
            "method.md#M-SEARCH request",
            "method.md#PRI request HTTP2",
            "uri.md#Underscore in hostname",
        ],
    ),
    (
        "llhttp leaves it to its user whether the hosts of target and Host agree, and what a host is made of",
        &[
            "sample.md#Firefox GET",
            "sample.md#curl GET",
            "uri.md#Host terminated by a query string",
            "uri.md#`host:port` and basic auth",
            "uri.md#`host:port` terminated by a query string",
            "uri.md#`host:port` terminated by a space",
        ],
    ),
    ("llhttp takes characters that RFC 3986 has not", &["uri.md#Quotes in URI"]),
    (
        "RFC 9110 §8.6 allows leading zeros; the gateway does not, because parsers differ on them",
        &[
            "content-length.md#`Content-Length` with follow-up headers",
            "content-length.md#`Content-Length` with zeroes",
        ],
    ),
    (
        "another coding under `chunked` is valid, but nothing here could look into it",
        &[
            "transfer-encoding.md#POST with `chunked` as last transfer-encoding",
            "transfer-encoding.md#POST with `chunked` as last transfer-encoding (multiple headers)",
        ],
    ),
    (
        "the fixture leaves out the body that it announces, which llhttp is told; here the second request is that body",
        &["content-length.md#Content-Length reset when no body is received"],
    ),
];

/// All cases, ready to be sent; their numbers begin with `first`.
pub(super) fn forms(bench: &Bench, cases: &[Llhttp], first: usize) -> Vec<Forms> {
    let forms = (first..).zip(cases);
    forms.map(|(number, case)| bench.forms(&SET, number, std::slice::from_ref(&case.raw), "")).collect()
}

#[tokio::test]
async fn each_case_of_llhttp_is_read_alike_or_excepted_and_none_reaches_the_vendor_in_two_readings() {
    let bench = Bench::of_the_library().await;
    let cases: Vec<Llhttp> = read(FILE);
    let tried = bench.run(forms(&bench, &cases, 0)).await;
    assert_eq!((cases.len(), tried.len()), (162, 162));
    let mut failed = BTreeMap::new();
    for (case, tried) in cases.iter().zip(&tried) {
        tried.assert_safe(&case.id);
        if case.refuses != refuses(tried) {
            let statuses: Vec<u16> = tried.moved.answers.iter().map(|answer| answer.status).collect();
            failed.insert(case.id.clone(), format!("{} {statuses:?} {:?}", case.refuses, tried.moved.end));
        }
    }
    assert_excepted(&failed, &[EXCEPTED, OPINIONS]);
}

/// Whether the gateway did not take all of what was sent as requests: llhttp stops at the first byte that it refuses.
fn refuses(tried: &Tried) -> bool {
    let is_refusal = |status| matches!(status, 400 | 414 | 431 | 501 | 505);
    let last = tried.moved.answers.last().map(|answer| answer.status);
    last.map_or(tried.moved.end == End::Closed, is_refusal)
}
