//! Headers of a client's call that never pass, whatever a profile lists: to list one is a mistake.
//!
//! They are kept back where calls are rewritten, from every route, also without a list; here they are only told.

const NAMES: &[&str] = &[
    "accept-encoding",
    "authorization",
    "baggage",
    "cf-connecting-ip",
    "client-ip",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "fastly-client-ip",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "if-range",
    "keep-alive",
    "origin",
    "proxy",
    "range",
    "referer",
    "remote-user",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-real-ip",
    "x-remote-user",
    "x-request-id",
    "x-rewrite-url",
];

const BEGINNINGS: &[&str] = &["gkc-", "keystile-", "proxy-", "sec-", "x-forwarded", "x-runas-"];

/// Whether no header of this name, in lower case, ever passes; of a beginning, none that begins so.
pub(super) fn is_reserved(name: &str, is_beginning: bool) -> bool {
    let name = name.replace('_', "-");
    let is_name = !is_beginning && NAMES.contains(&name.as_str());
    is_name || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// One of each kind, for whoever checks that they do not pass.
#[cfg(test)]
pub(crate) fn samples() -> impl Iterator<Item = String> {
    let below = BEGINNINGS.iter().map(|beginning| format!("{beginning}a"));
    NAMES.iter().map(|name| (*name).to_owned()).chain(below)
}
