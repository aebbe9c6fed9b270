//! `/livez` and `/readyz`, for balancers and supervisors: free to all who reach the listener.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tokio::time::timeout;

use super::Admin;
use crate::listen::Phase;
use crate::session::Ledger;

const UNREAD: &str = "not ready: the store was never read, so nobody knows which tokens were revoked\n";
const UNREADABLE: &str = "not ready: the store's log has what this version cannot read, so nobody here knows which tokens \
                          were revoked; run the version that wrote it\n";
const LEAVING: &str = "not ready: the process ends; its calls do before\n";
const AWAY: &str = "the store is away: no session can be opened, renewed or ended\n";
const LOCAL: &str = "limits count in this process only\n";
const REFUSED: &str = "the configuration, or its certificate, was refused when it was read last: the one before stays in force; the log says why\n";
/// A probe does not wait longer for what the store says of itself.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// 200 for as long as the process runs.
pub(super) async fn live() -> Response {
    text(StatusCode::OK, "alive\n".to_owned())
}

/// 200 once the store's log was read to its end and for as long as it is understood, also while the store is away (tokens
/// go on) or a vendor does not answer (others do). The text says what is wrong.
pub(super) async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    if admin.drain.phase() > Phase::Open {
        return text(StatusCode::SERVICE_UNAVAILABLE, LEAVING.to_owned());
    }
    let api = admin.api();
    let ledger = &api.ledger;
    if ledger.is_unreadable() {
        return text(StatusCode::SERVICE_UNAVAILABLE, UNREADABLE.to_owned());
    }
    if !ledger.is_read() {
        return text(StatusCode::SERVICE_UNAVAILABLE, UNREAD.to_owned());
    }
    let mut answer = "ready\n".to_owned();
    of_the_store(ledger, &mut answer).await;
    answer.push_str(api.audit.complaint());
    answer.push_str(if admin.reloads.is_refused() { REFUSED } else { "" });
    for (vendor, _) in api.access.directory.vendors().filter(|(vendor, _)| vendor.upstream.breaker().is_open()) {
        answer.push_str(&format!("vendor {} does not answer: its calls are refused for now\n", vendor.name));
    }
    text(StatusCode::OK, answer)
}

async fn of_the_store(ledger: &Ledger, answer: &mut String) {
    if ledger.is_away() {
        answer.push_str(AWAY);
        return answer.push_str(if ledger.shares_rates() { LOCAL } else { "" });
    }
    match timeout(PATIENCE, ledger.weaknesses()).await {
        Ok(Ok(weaknesses)) => {
            weaknesses
                .iter()
                .for_each(|weakness| answer.push_str(&format!("the store could lose sessions: {weakness}\n")));
        }
        Ok(Err(_)) | Err(_) => answer.push_str("the store does not say how it is configured\n"),
    }
}

fn text(status: StatusCode, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body).into_response()
}
