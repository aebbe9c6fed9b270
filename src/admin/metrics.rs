//! `/metrics`, for Prometheus: free to all who reach the listener, as probes are.
//!
//! What requests did was counted where they ended; here it is added up, and store, vendors and limits are asked how they
//! are. No call waits for it: what is locked is copied at once.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tokio::time::timeout;

use super::Admin;
use super::probes::PATIENCE;
use crate::api::Refused;
use crate::bot::Directory;
use crate::clock::Timestamp;
use crate::fault::{Code, Fault};
use crate::session::Ledger;
use crate::telemetry::metrics::{self, Page, of_the_process};

/// All metrics, in the text that Prometheus reads.
pub(super) async fn read(State(admin): State<Arc<Admin>>) -> Result<Response, Refused> {
    let mut page = Page::default();
    page.each(&metrics::BUILD, std::iter::once(([env!("CARGO_PKG_VERSION")], true)));
    let api = admin.api();
    api.metrics.write(&mut page);
    admin.write_state(&mut page);
    of_the_store(&api.ledger, &mut page).await;
    of_vendors(&api.access.directory, api.clock.now(), &mut page);
    of_the_process(&mut page);
    let text =
        page.text().map_err(|error| Fault::new(Code::Internal, "the metrics cannot be written").because(error))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(Page::MEDIA_TYPE)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((StatusCode::OK, headers, text).into_response())
}

impl Admin {
    fn write_state(&self, page: &mut Page) {
        let (open, refused) = self.clients.connections();
        page.one(&metrics::OPEN_CONNECTIONS, open);
        page.one(&metrics::REFUSED_CONNECTIONS, refused);
        page.one(&metrics::RELOAD_TAKEN, !self.reloads.is_refused());
        if let Some(tls) = &self.tls {
            page.one(&metrics::TLS_ENDS, tls.not_after().seconds());
        }
        // That it cannot tell the others is known only once it has something to tell.
        let api = self.api();
        let (ledger, limiter) = (&api.ledger, &api.limiter);
        page.one(&metrics::LIMITS_ALONE, ledger.shares_rates() && (ledger.is_away() || limiter.is_alone()));
        page.one(&metrics::LIMITS_UNTOLD, limiter.lost());
        page.one(&metrics::AUDIT_FAILING, !api.audit.complaint().is_empty());
    }
}

async fn of_the_store(ledger: &Ledger, page: &mut Page) {
    page.one(&metrics::STORE_AWAY, ledger.is_away());
    page.one(&metrics::STORE_READ, ledger.is_read());
    page.one(&metrics::STORE_UNREADABLE, ledger.is_unreadable());
    if let Some(staleness) = ledger.staleness() {
        page.one(&metrics::STORE_STALENESS, staleness.as_secs_f64());
    }
    // A store that is away says nothing of itself, and nobody waits for it.
    if !ledger.is_away()
        && let Ok(Ok(weaknesses)) = timeout(PATIENCE, ledger.weaknesses()).await
    {
        page.one(&metrics::STORE_WEAKNESSES, weaknesses.len());
    }
}

fn of_vendors(directory: &Directory, now: Timestamp, page: &mut Page) {
    let vendors = || directory.vendors().map(|(vendor, _)| (vendor.name.as_str(), vendor));
    page.each(&metrics::VENDOR_STOPPED, vendors().map(|(name, vendor)| ([name], vendor.upstream.breaker().is_open())));
    page.each(&metrics::VENDOR_KEYS, vendors().map(|(name, vendor)| ([name], vendor.keys.count())));
    page.each(&metrics::VENDOR_KEYS_ASIDE, vendors().map(|(name, vendor)| ([name], vendor.keys.set_aside(now))));
    page.each(&metrics::MASKED, vendors().map(|(name, vendor)| ([name], vendor.masked_so_far())));
}
