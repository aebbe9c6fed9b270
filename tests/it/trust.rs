//! Whom the gateway takes for the vendor, and how it comes there: certificates, proxies, addresses.

use std::sync::Arc;

use http::Version;
use parking_lot::Mutex;
use rcgen::CertificateParams;
use reqwest::Method;
use tokio::net::TcpStream;

use crate::support::authority::Authority;
use crate::support::gateway::{KEY, TestGateway, refusal};
use crate::support::secure::{SecureVendor, echo};
use crate::support::vendor::TestVendor;
use crate::support::wire;

const BOTH: &[&str] = &["h2", "http/1.1"];

/// What a call through this gateway is answered.
async fn status_and_code(gateway: &TestGateway) -> (u16, String) {
    let session = gateway.mint("support").await;
    let answer = gateway.post("/echo").bearer_auth(&session.token).body("{}").send().await.unwrap();
    refusal(answer).await
}

fn unreachable() -> (u16, String) {
    (502, "vendor_unreachable".to_owned())
}

/// A vendor whose certificate is spoiled by `change`, and the gateway in front of it.
fn spoiled(change: impl FnOnce(&mut CertificateParams)) -> (SecureVendor, TestGateway) {
    let authority = Authority::new();
    let config = authority.server(BOTH, change);
    let vendor = SecureVendor::serving(authority, config, echo);
    let gateway = vendor.gateway().start();
    (vendor, gateway)
}

#[tokio::test]
async fn a_vendor_certificate_of_the_configured_authority_is_taken() {
    let (vendor, gateway) = spoiled(|_| {});
    assert_eq!(status_and_code(&gateway).await.0, 200);
    assert_eq!(vendor.connections(), 1);
}

#[tokio::test]
async fn a_vendor_certificate_of_another_authority_is_refused() {
    let vendor = SecureVendor::echo(BOTH);
    let other = Authority::new();
    // This machine's own authorities are no help, nor are they where `ca` names others.
    for lines in [String::new(), other.ca()] {
        let gateway = TestGateway::in_front_of(&vendor.vendor).vendor(&lines).start();
        assert_eq!(status_and_code(&gateway).await, unreachable(), "{lines}");
    }
    assert_eq!(vendor.versions(), []);
}

#[tokio::test]
async fn a_vendor_certificate_for_another_name_is_refused() {
    let (vendor, gateway) = spoiled(|params| {
        params.subject_alt_names = CertificateParams::new(vec!["other.test".to_owned()]).unwrap().subject_alt_names
    });
    assert_eq!(status_and_code(&gateway).await, unreachable());
    assert_eq!(vendor.versions(), []);
}

#[tokio::test]
async fn a_vendor_certificate_that_expired_or_is_not_valid_yet_is_refused() {
    for (from, to) in [(2019, 2020), (2090, 2091)] {
        let (vendor, gateway) = spoiled(|params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        });
        assert_eq!(status_and_code(&gateway).await, unreachable(), "{from}");
        assert_eq!(vendor.versions(), []);
    }
}

#[tokio::test]
async fn a_vendor_that_wants_a_certificate_gets_the_configured_one_and_no_call_without_it() {
    let authority = Authority::new();
    let config = authority.strict_server(BOTH);
    let vendor = SecureVendor::serving(authority, config, echo);
    let (line, _) = vendor.authority.client_cert();

    let (with, without) = (vendor.gateway().vendor(&line).start(), vendor.gateway().start());
    assert_eq!(status_and_code(&with).await.0, 200);
    assert_ne!(status_and_code(&without).await.0, 200);

    assert_eq!(vendor.versions().len(), 1);
}

/// A proxy that answers `CONNECT` with `status`, and the heads that it was sent.
fn proxy(status: &'static str) -> (TestVendor, Arc<Mutex<Vec<String>>>) {
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&heads);
    let proxy = TestVendor::raw(move |_, mut stream| {
        let log = Arc::clone(&log);
        async move {
            let Some(head) = wire::next_message(&mut stream).await else { return };
            let target = head.split(' ').nth(1).unwrap().to_owned();
            log.lock().push(head);
            wire::write(&mut stream, &format!("HTTP/1.1 {status}\r\n\r\n")).await;
            if status.starts_with("200") {
                let mut vendor = TcpStream::connect(target.replace("localhost", "127.0.0.1")).await.unwrap();
                let _ended = tokio::io::copy_bidirectional(&mut stream, &mut vendor).await;
            }
        }
    });
    (proxy, heads)
}

#[tokio::test]
async fn a_vendor_is_reached_through_its_proxy_which_sees_no_call() {
    let vendor = SecureVendor::echo(BOTH);
    let (proxy, heads) = proxy("200 Connection established");
    let lines = format!("proxy = \"{}\"\nproxy_credentials = {{ env = \"PROXY\" }}", proxy.url);
    let gateway = vendor.gateway().vendor(&lines).start();

    assert_eq!(status_and_code(&gateway).await.0, 200);

    let authority = vendor.vendor.url.trim_start_matches("https://");
    let heads = heads.lock();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with(&format!("CONNECT {authority} HTTP/1.1\r\n")), "{heads:?}");
    let lower = heads[0].to_ascii_lowercase();
    assert!(lower.contains(&format!("host: {authority}\r\n")) && lower.contains("proxy-authorization: basic "));
    assert!(!heads[0].contains(KEY));
    assert_eq!(vendor.versions().len(), 1);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_a_vendor_that_cannot_be_reached() {
    let vendor = SecureVendor::echo(BOTH);
    let (proxy, _) = proxy("407 Proxy Authentication Required");
    let gateway = vendor.gateway().vendor(&format!("proxy = \"{}\"", proxy.url)).start();

    assert_eq!(status_and_code(&gateway).await, unreachable());
    assert_eq!(vendor.connections(), 0);
}

#[tokio::test]
async fn a_name_that_resolves_to_this_machine_is_refused_unless_it_is_this_machines_own() {
    let vendor = TestVendor::echo();
    // What the resolver makes 127.0.0.1 of, as a name in somebody else's DNS would be.
    let url = vendor.url.replace("127.0.0.1", "2130706433");
    let rebound = TestVendor { url, seen: Arc::clone(&vendor.seen) };
    let gateway = TestGateway::in_front_of(&rebound).vendor("insecure = true").start();
    assert_eq!(status_and_code(&gateway).await, unreachable());
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn a_redirect_of_the_vendor_is_not_followed() {
    let elsewhere = TestVendor::echo();
    let location = format!("{}/read", elsewhere.url);
    let vendor = TestVendor::answering(move |_| {
        let mut answer = crate::support::vendor::whole(302, "text/plain", "");
        answer.headers_mut().insert("location", location.parse().unwrap());
        answer
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let answer = gateway.call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap();

    assert_eq!(refusal(answer).await, (502, "vendor_failed".to_owned()));
    assert_eq!((vendor.seen().len(), elsewhere.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_vendor_that_offers_http1_alone_gets_http1() {
    for alpn in [&["http/1.1"][..], &[]] {
        let vendor = SecureVendor::echo(alpn);
        let gateway = vendor.gateway().start();
        assert_eq!(status_and_code(&gateway).await.0, 200);
        assert_eq!(vendor.versions(), [Version::HTTP_11]);
    }
}
