//! Where a request comes from, as the proxies in front of the gateway say: who is believed, and who is not.

use http::Method;
use reqwest::{Client, Response};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::gateway::{PAGE, TestGateway, refusal};
use crate::support::vendor::TestVendor;
use crate::support::wire;

const PATH: &str = "/v1/bots/support/sessions";
const LIMITS: &str = "limits = { mint_per_ip = \"1/1h\", per_bot = \"100/1m\" }";

/// What a page at that address gets, according to these headers.
async fn mint(gateway: &TestGateway, headers: &[(&str, &str)]) -> Response {
    let mut call = gateway.post(PATH).header("origin", PAGE).json(&json!({}));
    for (name, value) in headers {
        call = call.header(*name, *value);
    }
    call.send().await.unwrap()
}

/// The addresses in the access record, in their order.
async fn clients(gateway: &TestGateway, count: usize) -> Vec<String> {
    let records = gateway.records_of(count).await;
    records.iter().map(|record| record["client"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_spoofed_header_changes_neither_the_limit_nor_the_log() {
    let vendor = TestVendor::echo();
    let nobody = TestGateway::in_front_of(&vendor).bot(LIMITS).start();
    let others = TestGateway::in_front_of(&vendor).bot(LIMITS).server("trusted_proxies = [\"192.0.2.0/24\"]").start();
    for gateway in [nobody, others] {
        assert_eq!(mint(&gateway, &[]).await.status(), 201);
        for (name, value) in [
            ("x-forwarded-for", "198.51.100.1"),
            ("forwarded", "for=198.51.100.1"),
            ("x-real-ip", "198.51.100.1"),
            ("true-client-ip", "198.51.100.1"),
        ] {
            let refused = mint(&gateway, &[(name, value), ("x-request-id", "mine")]).await;
            assert_ne!(refused.headers()["x-request-id"], "mine");
            assert_eq!(refusal(refused).await, (429, "rate_limited".to_owned()), "{name}");
        }
        assert_eq!(clients(&gateway, 5).await, ["127.0.0.1"; 5]);
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_counts_from_the_right() {
    let server = "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]";
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).bot(LIMITS).server(server).start();
    let calls = [
        (("x-forwarded-for", "203.0.113.9, 198.51.100.1, 10.0.0.2"), 201),
        // What the client wrote is to the left, and changes nothing.
        (("x-forwarded-for", "203.0.113.77, 198.51.100.1"), 429),
        (("forwarded", "for=203.0.113.9, for=198.51.100.1"), 429),
        (("x-forwarded-for", "198.51.100.2"), 201),
        (("x-forwarded-for", "2001:db8::1"), 201),
        // The same /64.
        (("forwarded", "for=\"[2001:db8::2]:4711\""), 429),
    ];
    for (header, status) in calls {
        let answer = mint(&gateway, &[header, ("x-request-id", "lb-1.2_3")]).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-request-id"]),
            (status, &"lb-1.2_3".parse().unwrap())
        );
    }
    let expected = ["198.51.100.1", "198.51.100.1", "198.51.100.1", "198.51.100.2", "2001:db8::1", "2001:db8::2"];
    assert_eq!(clients(&gateway, 6).await, expected);
    assert!(gateway.records().iter().all(|record| record["id"] == json!("lb-1.2_3")), "{:?}", gateway.records());

    let both = [("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=203.0.113.9")];
    assert_eq!(refusal(mint(&gateway, &both).await).await, (400, "bad_request".to_owned()));
    let bent = mint(&gateway, &[("x-request-id", "<b>")]).await;
    assert_ne!(bent.headers()["x-request-id"], "<b>");
}

fn behind_a_balancer(trusted: &str) -> TestGateway {
    let server = format!("proxy_protocol = true\ntrusted_proxies = [\"{trusted}\"]");
    TestGateway::in_front_of(&TestVendor::echo()).bot(LIMITS).server(&server).start()
}

/// What comes of a mint behind this head of a connection.
async fn after(gateway: &TestGateway, head: &[u8], more: &str) -> String {
    let call = format!(
        "POST {PATH} HTTP/1.1\r\nhost: gateway\r\norigin: {PAGE}\r\nconnection: close\r\ncontent-length: 0\r\n{more}\r\n"
    );
    let mut stream = wire::connect(gateway).await;
    let _may_be_closed = stream.write_all(&[head, call.as_bytes()].concat()).await;
    let mut answer = Vec::new();
    let _may_be_reset = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn version_2(source: [u8; 4]) -> Vec<u8> {
    let addresses = [source.as_slice(), &[192, 0, 2, 1], &4711_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x21, 0x11, 0, 12], &addresses].concat()
}

#[tokio::test]
async fn the_proxy_protocol_says_whose_connection_it_is() {
    let gateway = behind_a_balancer("127.0.0.1");
    let first = b"PROXY TCP4 198.51.100.1 192.0.2.1 4711 443\r\n".to_vec();
    for (head, status) in [(first, 201), (version_2([198, 51, 100, 1]), 429), (version_2([198, 51, 100, 2]), 201)] {
        // The client is no proxy of ours, whatever it says.
        let answer = after(&gateway, &head, "x-forwarded-for: 203.0.113.9\r\n").await;
        assert_eq!(wire::status(&answer), status, "{answer}");
    }
    let unknown = after(&gateway, b"PROXY UNKNOWN\r\n", "x-forwarded-for: 203.0.113.9\r\n").await;
    assert_eq!(wire::status(&unknown), 201, "{unknown}");
    assert_eq!(clients(&gateway, 4).await, ["198.51.100.1", "198.51.100.1", "198.51.100.2", "127.0.0.1"]);
}

#[tokio::test]
async fn a_connection_that_does_not_say_whose_it_is_is_closed_and_never_read_as_plain() {
    let gateway = behind_a_balancer("127.0.0.1");
    assert_eq!(after(&gateway, b"", "").await, "");
    assert_eq!(after(&gateway, b"PROXY TCP4 nobody 192.0.2.1 4711 443\r\n", "").await, "");
    let stranger = behind_a_balancer("192.0.2.0/24");
    for head in [version_2([198, 51, 100, 1]), Vec::new()] {
        assert_eq!(after(&stranger, &head, "").await, "");
    }
    let known = after(&gateway, &version_2([198, 51, 100, 1]), "").await;
    assert_eq!(wire::status(&known), 201, "{known}");
    assert_eq!(clients(&gateway, 1).await, ["198.51.100.1"], "nothing else was read");
    assert!(stranger.records().is_empty());
}

#[tokio::test]
async fn a_balancers_health_check_over_http_needs_its_word_too() {
    let gateway = behind_a_balancer("127.0.0.1");
    let plain = Client::new().request(Method::GET, format!("{}/.well-known/jwks.json", gateway.url)).send().await;
    assert!(plain.is_err());
    let mut stream = wire::connect(&gateway).await;
    let local = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x20, 0, 0, 0]].concat();
    let call = b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n";
    stream.write_all(&[local, call.to_vec()].concat()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(wire::status(&answer), 200);
    assert_eq!(clients(&gateway, 1).await, ["127.0.0.1"]);
}
