//! How an entry of the journal is printed: by a failing test, into a log that others read.

use std::fmt;

use super::journal::Seen;

/// A key may stand in a query or in a body under any name. So values are left out there, whatever they are called.
impl fmt::Debug for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Seen")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("query", &self.query.as_deref().map(names))
            .field("headers", &self.headers)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("received", &self.received)
            .field("honoured", &self.honoured)
            .field("finished", &self.finished)
            .field("aborted", &self.aborted)
            .finish()
    }
}

/// The parameters of a query, without their values. What has no `=` may be a value as well as a name.
fn names(query: &str) -> Vec<&str> {
    query.split('&').map(|pair| pair.split_once('=').map_or("…", |(name, _)| name)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::demo::vendor::journal::Journal;

    #[test]
    fn a_key_is_never_printed() {
        let request = http::Request::get("/session-id?bot_id=42&api_key=plain-as-day&plain-as-day")
            .header("authorization", "plain-as-day");
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let journal = Arc::<Journal>::default();
        journal.open(&head).receive(br#"{"api_key":"plain-as-day"}"#);
        let printed = format!("{:?}", journal.seen());
        assert!(!printed.contains("plain"), "{printed}");
        assert!(printed.contains(r#"["bot_id", "api_key", "…"]"#), "{printed}");
    }
}
