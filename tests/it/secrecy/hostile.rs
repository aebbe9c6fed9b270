//! Vendors that tell what they were sent wherever an answer has a place for it, and break off in every way.

use rcgen::SanType;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::search::base64url;
use crate::support::authority::Authority;
use crate::support::gateway::KEY;
use crate::support::secure::SecureVendor;
use crate::support::vendor::TestVendor;
use crate::support::wire;

/// The vendor's own token for a session.
pub(super) const VENDOR_TOKEN: &str = "vt-0123456789abcdefghijklmnopqrstuvwxyz";

/// A vendor that does what `x-do` or the visit of the session call says.
pub(super) fn vendor() -> TestVendor {
    TestVendor::raw(|_, mut stream| async move {
        while let Some(call) = wire::next_message(&mut stream).await {
            let mode = word_behind(&call, "x-do: ").or_else(|| word_behind(&call, "\"visit\":\"")).unwrap_or_default();
            let answer = if call.starts_with("POST /open") { opened(&mode) } else { answered(&mode) };
            match answer {
                Some(answer) => wire::write(&mut stream, &answer).await,
                None => silent(&mut stream).await,
            }
            if mode.starts_with("close") {
                break;
            }
        }
    })
}

/// A vendor whose certificate is for the key instead of for its host.
pub(super) fn secure() -> SecureVendor {
    let authority = Authority::new();
    let config = authority.server(&["http/1.1"], |params| {
        params.subject_alt_names = vec![SanType::DnsName(KEY.try_into().unwrap())];
    });
    SecureVendor::raw(authority, config, |_, _| async {})
}

fn word_behind(call: &str, mark: &str) -> Option<String> {
    let rest = call.split(mark).nth(1)?;
    Some(rest.split(['\r', '"']).next().unwrap_or_default().to_owned())
}

/// Says nothing, until the gateway gives up.
async fn silent(stream: &mut TcpStream) {
    let _left = wire::next_message(stream).await;
    let _closed = stream.shutdown().await;
}

fn whole(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// The answer to a session call.
fn opened(mode: &str) -> Option<String> {
    let json = "content-type: application/json\r\n";
    let session = |id: &str, token: &str, more: &str| format!(r#"{{"id":"{id}","token":"{token}"{more}}}"#);
    let evil = format!("{KEY} {VENDOR_TOKEN} \u{1b}[2J\u{202e}");
    Some(match mode {
        "silent" => return None,
        "business" => {
            let said = format!(r#"{{"code":"{KEY}","message":"{KEY} {} \\u001b[2J"}}"#, base64url(KEY));
            whole("400 Bad Request", json, &said)
        }
        "401" | "403" | "429" | "500" | "302" => {
            let headers = format!("location: http://127.0.0.1/{KEY}\r\nx-key: {KEY}\r\nretry-after: 60\r\n");
            whole(&format!("{mode} {KEY}"), &headers, &evil)
        }
        "text" => whole("200 OK", json, &evil),
        "unquoted" => whole("200 OK", json, &format!("{{\"id\":{KEY},\"{KEY}\":1,\"{KEY}\":2}}")),
        "id" => whole("200 OK", json, &session(KEY, VENDOR_TOKEN, "")),
        "token-id" => whole("200 OK", json, &session(VENDOR_TOKEN, VENDOR_TOKEN, "")),
        "steers" => whole("200 OK", json, &session("a\\u001b\\u202e", VENDOR_TOKEN, "")),
        "short" => whole("200 OK", json, &session("a", "short", "")),
        "past" => whole("200 OK", json, &session("a", VENDOR_TOKEN, ",\"expires\":1000000001")),
        "large" => whole("200 OK", json, &session("a", &VENDOR_TOKEN.repeat(100), "")),
        "close-malformed" => format!("HTTP/1.1 200 OK\r\n{KEY}\r\n\r\n"),
        "close-status" => format!("{KEY} 200 OK\r\n\r\n"),
        "close-body" => format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{KEY}"),
        "close" => String::new(),
        _ => whole(
            "200 OK",
            json,
            &session("conversation-1", VENDOR_TOKEN, &format!(r#","key":"{KEY}","more":["{KEY}"]"#)),
        ),
    })
}

/// The answer to a conversation call.
fn answered(mode: &str) -> Option<String> {
    let told = format!("{KEY} {VENDOR_TOKEN} \u{1b}[2J");
    let headers = format!(
        "content-type: text/plain; x={KEY}\r\netag: \"{KEY}\"\r\nretry-after: {VENDOR_TOKEN}\r\nset-cookie: k={KEY}\r\n"
    );
    Some(match mode {
        "silent" => return None,
        "401" | "403" | "404" | "500" => whole(&format!("{mode} {KEY}"), &headers, &told),
        "302" => whole("302 Found", &format!("location: http://127.0.0.1/?k={KEY}\r\n"), &told),
        "gzip" => whole("200 OK", "content-encoding: gzip\r\n", &told),
        "coding" => format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {KEY}, chunked\r\n\r\n0\r\n\r\n"),
        "stream" => format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 999999\r\n\r\ndata: {told}\n\n"
        ),
        "close-chunk" => format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{KEY}\r\n{KEY}\r\n"),
        "close-malformed" => format!("HTTP/1.1 200 OK\r\n{KEY} : {KEY}\r\nx\u{0}y\r\n\r\n"),
        "close-status" => format!("HTTP/{KEY} 200 OK\r\n\r\n"),
        "close-body" => format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{told}"),
        "close" => String::new(),
        "socket" => format!(
            "HTTP/1.1 101 {KEY}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {KEY}\r\n\
             sec-websocket-protocol: {KEY}\r\n\r\n"
        ),
        _ => whole(&format!("200 {KEY}"), &headers, &told),
    })
}
