//! `/livez` and `/readyz`, for balancers and supervisors: free to all who reach the listener.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tokio::time::timeout;

use super::Admin;

const UNREAD: &str = "not ready: the store was never read, so nobody knows which tokens were revoked\n";
const UNREADABLE: &str = "not ready: the store's log has what this version cannot read, so nobody here knows which tokens \
                          were revoked; run the version that wrote it\n";
const AWAY: &str = "ready\nthe store is away: no session can be opened, renewed or ended\n";
const LOCAL: &str = "limits count in this process only\n";
/// A probe does not wait longer for what the store says of itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// 200 for as long as the process runs.
pub(super) async fn live() -> Response {
    text(StatusCode::OK, "alive\n".to_owned())
}

/// 200 once the store's log was read to its end and for as long as it is understood, also while the store is away: tokens go on. The text says what is wrong.
pub(super) async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let ledger = &admin.api.ledger;
    if ledger.is_unreadable() {
        return text(StatusCode::SERVICE_UNAVAILABLE, UNREADABLE.to_owned());
    }
    if !ledger.was_read() {
        return text(StatusCode::SERVICE_UNAVAILABLE, UNREAD.to_owned());
    }
    if ledger.is_away() {
        let limits = if ledger.shares_rates() { LOCAL } else { "" };
        return text(StatusCode::OK, format!("{AWAY}{limits}"));
    }
    let weaknesses = timeout(PATIENCE, ledger.weaknesses()).await;
    let mut answer = "ready\n".to_owned();
    answer.push_str(admin.api.audit.complaint());
    match weaknesses {
        Ok(Ok(weaknesses)) => {
            weaknesses
                .iter()
                .for_each(|weakness| answer.push_str(&format!("the store could lose sessions: {weakness}\n")));
        }
        Ok(Err(_)) | Err(_) => answer.push_str("the store does not say how it is configured\n"),
    }
    text(StatusCode::OK, answer)
}

fn text(status: StatusCode, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body).into_response()
}
