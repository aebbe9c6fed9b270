//! What a browser is told: on every answer, and before any call.

use http::{HeaderMap, Method};
use reqwest::Response;
use serde_json::json;

use crate::support::gateway::{PAGE, TestGateway};
use crate::support::vendor::TestVendor;

const EVIL: &str = "https://evil.test";
const SHOP: &str = "https://shop.example.com";

/// A gateway with a third bot, `shop`, for the pages of a shop.
fn with_shop(vendor: &TestVendor) -> TestGateway {
    let shop = "[bots.shop]\nvendor = \"acme\"\nvendor_id = \"bot_3\"\nvisibility = \"public\"\nowners = [\"website\"]";
    TestGateway::in_front_of(vendor).sections(&format!("{shop}\norigins = [\"{SHOP}\"]")).start()
}

async fn preflight(gateway: &TestGateway, path: &str, method: &str, origin: &str) -> Response {
    let call =
        gateway.call(Method::OPTIONS, path).header("origin", origin).header("access-control-request-method", method);
    call.header("access-control-request-headers", "authorization,content-type,x-timezone").send().await.unwrap()
}

fn names(headers: &HeaderMap, name: &str) -> Vec<String> {
    let all = headers.get_all(name).iter().map(|value| value.to_str().unwrap());
    all.flat_map(|list| list.split(',')).map(|item| item.trim().to_ascii_lowercase()).collect()
}

fn lets(headers: &HeaderMap) -> Option<&str> {
    headers.get("access-control-allow-origin").map(|origin| origin.to_str().unwrap())
}

#[tokio::test]
async fn preflight_is_answered_before_any_other_check_and_reaches_no_vendor() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).server("failed_credentials = \"1/1h\"").start();

    for path in
        ["/echo", "/sessions/whose/say", "/v1/bots/support/sessions", "/v1/bots/unknown/sessions", "/nothing", "/a%2fb"]
    {
        for _ in 0..3 {
            let answer = preflight(&gateway, path, "POST", PAGE).await;
            assert_eq!((answer.status().as_u16(), lets(answer.headers())), (204, Some(PAGE)), "{path}");
            assert_eq!(answer.headers()["access-control-allow-methods"], "POST", "{path}");
            let vary = names(answer.headers(), "vary");
            for name in ["origin", "access-control-request-method", "access-control-request-headers"] {
                assert!(vary.contains(&name.to_owned()), "{path}: {vary:?}");
            }
        }
    }
    assert!(vendor.seen().is_empty());
}

#[tokio::test]
async fn preflight_allows_what_every_call_and_what_the_route_takes() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();

    let route = preflight(&gateway, "/sessions/s1/say", "POST", PAGE).await;
    let own = preflight(&gateway, "/v1/bots/support/sessions", "POST", PAGE).await;

    for (answer, has_note) in [(&route, true), (&own, false)] {
        let allowed = names(answer.headers(), "access-control-allow-headers");
        for name in ["authorization", "content-type", "x-timezone"] {
            assert_eq!(allowed.iter().filter(|allowed| *allowed == name).count(), 1, "{name} in {allowed:?}");
        }
        assert_eq!(allowed.contains(&"x-note".to_owned()), has_note, "{allowed:?}");
        assert!(!allowed.contains(&"*".to_owned()), "a wildcard does not cover authorization");
        assert!(answer.headers().contains_key("access-control-max-age"));
    }
}

#[tokio::test]
async fn preflight_of_a_page_that_no_bot_allows_gets_no_leave() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();

    for origin in [EVIL, "https://www.example.com.evil.test", "http://www.example.com", "https://preview.example.com"] {
        let answer = preflight(&gateway, "/echo", "POST", origin).await;
        assert_eq!(answer.status(), 204);
        for (name, _) in answer.headers() {
            assert!(!name.as_str().starts_with("access-control-allow"), "{origin}: {name}");
        }
    }
    assert_eq!(lets(preflight(&gateway, "/echo", "POST", "null").await.headers()), None);
}

#[tokio::test]
async fn page_of_a_subdomain_is_allowed_by_a_wildcard_and_nothing_near_it() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let mint = async |origin: &str| {
        let answer = gateway.post("/v1/bots/support/sessions").header("origin", origin).send().await.unwrap();
        (answer.status().as_u16(), lets(answer.headers()).map(str::to_owned))
    };

    for origin in ["https://a.preview.example.com", "https://a.b.preview.example.com"] {
        assert_eq!(mint(origin).await, (201, Some(origin.to_owned())));
    }
    for origin in [
        "https://preview.example.com",
        "http://a.preview.example.com",
        "https://a.preview.example.com:8443",
        "https://a.preview.example.com.evil.test",
        "https://evilpreview.example.com",
        "https://.preview.example.com",
        "https://evil.test/.preview.example.com",
    ] {
        assert_eq!(mint(origin).await, (403, None), "{origin}");
    }
}

#[tokio::test]
async fn every_answer_carries_cors_vary_and_a_request_id() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).bot("limits = { mint_per_ip = \"2/1h\", body = \"1KiB\" }").start();
    let session = gateway.mint("support").await;
    let say = format!("/sessions/{}/say", session.id);
    let long = json!({"text": "a".repeat(2000)}).to_string();
    let json = ("content-type", "application/json");
    let (mint, token) = ("/v1/bots/support/sessions", session.token.as_str());

    let cases = [
        (200, Method::GET, "/read", token, ""),
        (200, Method::GET, "/.well-known/jwks.json", "", ""),
        (201, Method::POST, mint, "", "{}"),
        (400, Method::POST, mint, "", "{"),
        (429, Method::POST, mint, "", "{}"),
        (400, Method::GET, "/a//b", "", ""),
        (401, Method::GET, "/read", "", ""),
        (401, Method::GET, "/read", "forged", ""),
        (403, Method::POST, "/sessions/other/say", token, "{}"),
        (404, Method::POST, "/v1/bots/unknown/sessions", "", "{}"),
        (404, Method::GET, "/nothing", "", ""),
        (405, Method::DELETE, "/read", "", ""),
        (413, Method::POST, &say, token, &long),
    ];
    for (status, method, path, token, body) in cases {
        let mut call = gateway.call(method, path).header("origin", PAGE).header(json.0, json.1).body(body.to_owned());
        if !token.is_empty() {
            call = call.bearer_auth(token);
        }
        let answer = call.send().await.unwrap();
        let headers = answer.headers();
        assert_eq!((answer.status().as_u16(), lets(headers)), (status, Some(PAGE)), "{path}");
        assert!(names(headers, "vary").contains(&"origin".to_owned()), "{path}");
        assert_eq!(headers["x-request-id"].len(), 24, "{path}");
        let exposed = names(headers, "access-control-expose-headers");
        for name in [
            "keystile-token",
            "keystile-session",
            "keystile-expires-at",
            "keystile-expires-in",
            "x-request-id",
            "retry-after",
            "www-authenticate",
        ] {
            assert!(exposed.contains(&name.to_owned()), "{path}: {name} in {exposed:?}");
        }
        assert!(!headers.contains_key("access-control-allow-credentials"), "{path}");
    }
}

#[tokio::test]
async fn answer_varies_with_the_origin_also_where_none_came() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();
    let preflight = preflight(&gateway, "/echo", "POST", EVIL).await;
    let plain = gateway.call(Method::GET, "/.well-known/jwks.json").send().await.unwrap();

    for answer in [preflight, plain] {
        assert!(names(answer.headers(), "vary").contains(&"origin".to_owned()));
        assert_eq!(lets(answer.headers()), None);
        assert!(answer.headers().contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn before_the_bot_is_known_all_pages_count_and_then_its_own_alone() {
    let gateway = with_shop(&TestVendor::echo());
    let session = gateway.mint("support").await;
    let mint = |bot: &str| gateway.post(&format!("/v1/bots/{bot}/sessions")).header("origin", SHOP);
    let read = |token: &str| gateway.call(Method::GET, "/read").header("origin", SHOP).bearer_auth(token);

    for (call, status, allowed) in [
        (read("forged"), 401, Some(SHOP)),
        (mint("unknown"), 404, Some(SHOP)),
        (mint("shop"), 201, Some(SHOP)),
        (mint("support"), 403, None),
        (read(&session.token), 403, None),
    ] {
        let answer = call.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), lets(answer.headers())), (status, allowed));
    }
    assert_eq!(lets(preflight(&gateway, "/read", "GET", SHOP).await.headers()), Some(SHOP));
}

#[tokio::test]
async fn vendors_own_cors_headers_do_not_pass() {
    let vendor = TestVendor::answering(|_| {
        let mut answer = crate::support::vendor::whole(200, "text/plain", "x");
        for (name, value) in
            [("access-control-allow-origin", "*"), ("access-control-allow-credentials", "true"), ("vary", "x")]
        {
            answer.headers_mut().insert(name, value.parse().unwrap());
        }
        answer
    });
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let server = gateway.call(Method::GET, "/read").bearer_auth(&session.token);
    assert_eq!(lets(server.send().await.unwrap().headers()), None);
    let page =
        gateway.call(Method::GET, "/read").bearer_auth(&session.token).header("origin", PAGE).send().await.unwrap();
    assert_eq!(names(page.headers(), "access-control-allow-origin"), [PAGE]);
    assert!(!page.headers().contains_key("access-control-allow-credentials"));
}

#[tokio::test]
async fn request_with_two_origins_is_refused() {
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).start();

    for origins in [[PAGE, EVIL], [EVIL, PAGE]] {
        let call = gateway.post("/v1/bots/support/sessions").header("origin", origins[0]).header("origin", origins[1]);
        assert_eq!(call.send().await.unwrap().status(), 400);
    }
}

#[tokio::test]
async fn page_of_one_vendors_bot_gets_no_leave_on_anothers_paths() {
    let (vendor, other) = (TestVendor::echo(), TestVendor::echo());
    let sections = format!(
        "[vendors.other]\nprofile = \"./plain.toml\"\nbase_url = \"{}\"\nmount = \"/other\"\nkeys = [{{ env = \"OTHER_KEY\" }}]\n\
         [bots.shop]\nvendor = \"other\"\nvendor_id = \"bot_3\"\nvisibility = \"public\"\norigins = [\"{SHOP}\"]",
        other.url
    );
    let gateway = TestGateway::in_front_of(&vendor).sections(&sections).start();

    for (path, origin, allowed) in
        [("/read", SHOP, None), ("/other/read", SHOP, Some(SHOP)), ("/other/read", PAGE, None)]
    {
        assert_eq!(lets(preflight(&gateway, path, "GET", origin).await.headers()), allowed, "{path} from {origin}");
        let answer = gateway.call(Method::GET, path).header("origin", origin).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), lets(answer.headers())), (401, allowed), "{path} from {origin}");
    }
}
