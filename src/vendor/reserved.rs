//! Headers of a client's call that never pass, whatever a profile lists.

use memchr::memchr;

/// Whether a header of this name, in lower case, is reserved: those of the connection, of HTTP itself, of credentials, of where
/// the caller is, of traces (ours are written), and what would make the answer unreadable for the scrubber, or a 304, which does
/// not pass.
///
/// `_` counts as `-`: CGI and what came after it (WSGI, PHP) read both alike, so that `x_runas_user_id` would be trusted
/// as `X-RunAs-User-Id` there.
#[inline]
pub fn is_reserved(name: &str) -> bool {
    if memchr(b'_', name.as_bytes()).is_some() {
        return is_reserved(&name.replace('_', "-"));
    }
    match name.as_bytes()[0] {
        b'a' => matches!(name, "authorization" | "accept-encoding"),
        b'b' => matches!(name, "baggage"),
        b'c' => {
            matches!(name, "connection" | "content-length" | "cookie" | "cookie2" | "client-ip" | "cf-connecting-ip")
        }
        b'e' => matches!(name, "expect"),
        b'f' => matches!(name, "forwarded" | "from" | "fastly-client-ip"),
        b'g' => name.starts_with("gkc-"),
        b'h' => matches!(name, "host" | "http2-settings"),
        b'i' => matches!(name, "if-range" | "if-none-match" | "if-modified-since"),
        b'k' => name == "keep-alive" || name.starts_with("keystile-"),
        b'o' => matches!(name, "origin"),
        b'p' => name == "proxy" || name.starts_with("proxy-"),
        b'r' => matches!(name, "range" | "referer" | "remote-user"),
        b's' => name.starts_with("sec-"),
        b't' => {
            matches!(name, "te" | "traceparent" | "tracestate" | "trailer" | "transfer-encoding" | "true-client-ip")
        }
        b'u' => matches!(name, "upgrade"),
        b'v' => matches!(name, "via"),
        b'x' => {
            name.starts_with("x-forwarded")
                || name.starts_with("x-runas-")
                || matches!(
                    name,
                    "x-real-ip"
                        | "x-client-ip"
                        | "x-cluster-client-ip"
                        | "x-request-id"
                        | "x-remote-user"
                        | "x-host"
                        | "x-original-host"
                        | "x-original-url"
                        | "x-rewrite-url"
                        | "x-http-method"
                        | "x-http-method-override"
                        | "x-method-override"
                )
        }
        _ => false,
    }
}
