//! Headers towards the vendor.

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::document::Problems;
use crate::vendor::Variable;

const KEY: &str = "sk-real-0123456789abcdef";

/// Two routes: one lets all headers pass, one lists them.
const ROUTES: &str = r#"
title = "T"
[[route]]
call = "POST /all"
set.header = { Authorization = "Bearer {key}", X-Account = "a", X-Visit = "{contact.phone}" }
strip = { header = ["x-debug-*", "x-trace"] }
allow = { header = "*", body = "*" }
[[route]]
call = "POST /listed"
set.header = { Authorization = "Bearer {key}", X-Account = "a", X-Visit = "{contact.phone}" }
strip = { header = ["x-debug-*", "x-trace"] }
allow = { header = ["x-note", "x-app-*", "x-trace"], body = "*" }
"#;

/// What no route lets through, whatever it lists.
const NEVER: [&str; 47] = [
    "authorization",
    "x-account",
    "x_account",
    "x-visit",
    "x_visit",
    "x-vendor-key",
    "x_vendor_key",
    "x-debug-1",
    "x_debug_1",
    "x-trace",
    "x_trace",
    "cookie",
    "cookie2",
    "host",
    "origin",
    "referer",
    "forwarded",
    "via",
    "expect",
    "upgrade",
    "te",
    "trailer",
    "transfer-encoding",
    "content-length",
    "connection",
    "keep-alive",
    "proxy-authorization",
    "proxy_connection",
    "x-forwarded-for",
    "x_forwarded_host",
    "x-real-ip",
    "x_real_ip",
    "true-client-ip",
    "x-runas-user-id",
    "x_runas_user_id",
    "gkc-id",
    "gkc_customerid",
    "keystile-token",
    "sec-fetch-site",
    "range",
    "if-range",
    "x-http-method-override",
    "x-original-url",
    "x-request-id",
    "traceparent",
    "tracestate",
    "baggage",
];

struct Given;

impl Values for Given {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, Value>> {
        (*variable == Variable::Key).then(|| Cow::Owned(KEY.into()))
    }
}

fn header() -> impl Strategy<Value = (String, String)> {
    let name = prop_oneof![
        select(NEVER.to_vec()).prop_map(str::to_owned),
        select(vec!["x-note", "x_note", "x-app-1", "x-app-2", "x-other", "accept", "accept-language", "content-type"])
            .prop_map(str::to_owned),
    ];
    (name, "[ -~]{0,8}")
}

/// Names in a `Connection` header: of what could pass, and of what could not.
fn connection() -> impl Strategy<Value = Vec<String>> {
    let name = select(vec!["X-Note", "x-app-1", "Accept", "Authorization", "X-Account", "close", ""]);
    vec((name, select(vec!["", " ", "\t"])).prop_map(|(name, space)| format!("{space}{name}{space}")), 0..3)
}

#[test]
fn a_path_without_placeholders_is_the_same_whichever_way_it_is_made() {
    let profile = r#"
title = "T"
[[route]]
call = "GET /fixed/"
allow.query = ["n"]
[[route]]
call = "POST /set"
allow = { header = [], query = ["n"], body = [] }
set.query = { key = "{key}" }
"#;
    let problems = Problems::default();
    let profile = crate::vendor::read("test", "test.toml", profile, &Default::default(), &problems);
    assert!(problems.is_empty(), "{:?}", problems.into_sorted());
    let profile = profile.unwrap();
    let [fixed, set] = [0, 1].map(|at| &profile.routes[at]);
    assert!(fixed.target.fixed_path().is_some() && set.target.fixed_path().is_some());
    let uri = |route, prefix, query| uri(route, &Given, prefix, query).unwrap().to_string();

    for nothing in [None, Some(""), Some("other=1")] {
        assert_eq!(uri(fixed, "", nothing), "/fixed/", "{nothing:?}");
        assert_eq!(uri(fixed, "/v1", nothing), "/v1/fixed/", "{nothing:?}");
        assert_eq!(uri(set, "", nothing), format!("/set?key={KEY}"), "{nothing:?}");
    }
    assert_eq!(uri(fixed, "", Some("n=1&other=2")), "/fixed/?n=1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_set_is_ours_and_the_rest_passes_only_if_it_may(
        index in 0_usize..2,
        sent in vec(header(), 0..10),
        connection in connection(),
    ) {
        let problems = Problems::default();
        let profile = crate::vendor::read("test", "test.toml", ROUTES, &Default::default(), &problems).unwrap();
        assert!(problems.is_empty(), "{:?}", problems.into_sorted());
        let mut from = HeaderMap::new();
        for (name, value) in &sent {
            from.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        from.append("connection", HeaderValue::try_from(connection.join(",")).unwrap());
        let credential = HeaderName::from_static("x-vendor-key");
        let host = HeaderValue::from_static("vendor");

        let mut out = headers(&profile.routes[index], &Given, &host, Some(&credential), &from).unwrap();

        for (name, ours) in [
            ("authorization", &*format!("Bearer {KEY}")),
            ("x-account", "a"),
            ("host", "vendor"),
            ("accept-encoding", "identity"),
        ] {
            prop_assert_eq!(out.get_all(name).iter().collect::<Vec<_>>(), [ours]);
            out.remove(name);
        }
        let named: Vec<String> = connection.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        let listed = |name: &str| name.starts_with("x-app-") || name == "x-note";
        let basic = ["accept", "accept-language", "content-type"];
        let passes = |name: &str| {
            !NEVER.contains(&name)
                && !named.iter().any(|other| other == name)
                && (index == 0 || basic.contains(&name) || listed(name))
        };
        let mut expected = HeaderMap::new();
        for (name, value) in sent.iter().filter(|(name, _)| passes(name)) {
            expected.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        prop_assert_eq!(out, expected);
    }
}
