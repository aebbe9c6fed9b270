//! A greedy one beside a modest one: whatever the greedy one tries, the modest one is served. One gateway with a file, and
//! two with a Redis, which share their limits.

use reqwest::{Method, Response};
use serde_json::json;

use crate::support::gateway::{Session, TestGateway, refusal};
use crate::support::redis::TestRedis;
use crate::support::vendor::TestVendor;

/// Where the gateways keep what they share.
#[derive(Clone, Copy, Debug)]
enum Store {
    File,
    Redis,
}

/// One gateway, or two; and what they need to be there.
struct Scene {
    gateways: Vec<TestGateway>,
    _redis: Option<TestRedis>,
}

impl Scene {
    fn new(store: Store, vendor: &TestVendor, limits: &str) -> Self {
        let limits = format!("limits = {{ streams = \"off\", {limits} }}");
        let Store::Redis = store else {
            return Self { gateways: vec![TestGateway::in_front_of(vendor).bot(&limits).start()], _redis: None };
        };
        let redis = TestRedis::start();
        let store = format!("[store]\nurl = \"{}\"", redis.url());
        let one = TestGateway::in_front_of(vendor).sections(&store).bot(&limits).start();
        let two = TestGateway::in_front_of(vendor).sections(&store).bot(&limits).in_place_of(&one).start();
        Self { gateways: vec![one, two], _redis: Some(redis) }
    }

    /// The gateway for the call of this number: a balancer takes them in turn.
    fn at(&self, number: usize) -> &TestGateway {
        &self.gateways[number % self.gateways.len()]
    }

    async fn read(&self, number: usize, session: &Session) -> Response {
        self.at(number).call(Method::GET, "/read").bearer_auth(&session.token).send().await.unwrap()
    }

    async fn mint_at(&self, number: usize, address: &str) -> Response {
        self.at(number).ask("support", json!({"visitorAddress": address})).await
    }
}

/// How many of `answers` were good; all others are refusals by this policy, and say so.
async fn served(answers: Vec<Response>, policy: &str, code: &str) -> usize {
    let (good, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status().is_success());
    for answer in refused {
        if !policy.is_empty() {
            let text = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(text("ratelimit-policy"), policy);
            let name = policy.split(';').next().unwrap();
            assert!(text("ratelimit").starts_with(&format!("{name};r=0;t=")), "{}", text("ratelimit"));
            assert!(text("retry-after").parse::<u64>().unwrap() > 0);
        }
        assert_eq!(refusal(answer).await, (429, code.to_owned()));
    }
    good.len()
}

#[tokio::test]
async fn a_greedy_session_leaves_a_modest_one_its_calls() {
    for store in [Store::File, Store::Redis] {
        let vendor = TestVendor::echo();
        let scene = Scene::new(store, &vendor, r#"per_session = "10/1h", per_bot = "60/1h", mint_per_ip = "30/1m""#);
        let (greedy, modest) = (scene.at(0).mint("support").await, scene.at(0).mint("support").await);
        let mut answers = Vec::new();
        for number in 0..100 {
            answers.push(scene.read(number, &greedy).await);
        }
        let count = served(answers, "\"session\";q=10;w=3600", "rate_limited").await;
        assert!((10..=10 * scene.gateways.len()).contains(&count), "{store:?}: {count}");
        for number in 0..10 {
            assert_eq!(scene.read(number, &modest).await.status(), 200, "{store:?}: {number}");
        }
    }
}

#[tokio::test]
async fn a_greedy_address_leaves_a_modest_one_its_sessions() {
    for store in [Store::File, Store::Redis] {
        for [greedy, modest] in [["192.0.2.1", "192.0.2.2"], ["2001:db8:0:1::", "2001:db8:0:2::"]] {
            let vendor = TestVendor::echo();
            // What an address wastes must not be taken from its bot, nor from the client that asks for it.
            let limits = r#"mint_per_ip = "5/1h", per_bot = "12/1h", sessions_per_ip = "off""#;
            let scene = Scene::new(store, &vendor, limits);
            let mut answers = Vec::new();
            for number in 0..40 {
                // Of an IPv6 network that is one visitor's, each time another address.
                let address = if greedy.contains(':') { format!("{greedy}{number:x}") } else { greedy.to_owned() };
                answers.push(scene.mint_at(number, &address).await);
            }
            assert_eq!(served(answers, "\"mint\";q=5;w=3600", "rate_limited").await, 5, "{store:?}: {greedy}");
            for number in 0..5 {
                let address = if modest.contains(':') { format!("{modest}{number:x}") } else { modest.to_owned() };
                assert_eq!(scene.mint_at(number, &address).await.status(), 201, "{store:?}: {address}");
            }
        }
    }
}

#[tokio::test]
async fn open_sessions_of_a_greedy_address_leave_a_modest_one_its_own() {
    for store in [Store::File, Store::Redis] {
        let vendor = TestVendor::echo();
        let scene = Scene::new(store, &vendor, r#"mint_per_ip = "100/1m", per_bot = "100/1m", sessions_per_ip = 3"#);
        for network in ["2001:db8:0:1", "2001:db8:0:2"] {
            let mut answers = Vec::new();
            for number in 0..10 {
                answers.push(scene.mint_at(number, &format!("{network}::{number:x}")).await);
            }
            assert_eq!(served(answers, "", "too_many_sessions").await, 3, "{store:?}: {network}");
        }
    }
}

#[tokio::test]
async fn a_greedy_bot_leaves_a_modest_one_its_calls() {
    for store in [Store::File, Store::Redis] {
        let vendor = TestVendor::echo();
        let scene = Scene::new(store, &vendor, r#"per_session = "9/1h", per_bot = "20/1h", mint_per_ip = "30/1m""#);
        let mut greedy = Vec::new();
        for _ in 0..5 {
            greedy.push(scene.at(0).mint("support").await);
        }
        let modest = scene.at(0).mint("hidden").await;
        let (mut count, mut refused) = (0, 0);
        for session in &greedy {
            for number in 0..9 {
                let answer = scene.read(number, session).await;
                let policy = answer.headers().get("ratelimit-policy").map(|policy| policy.to_str().unwrap().to_owned());
                match policy.as_deref() {
                    None => count += usize::from(answer.status() == 200),
                    Some("\"bot\";q=20;w=3600") => refused += usize::from(answer.status() == 429),
                    Some(other) => panic!("{other}"),
                }
            }
        }
        // Its five sessions count as well.
        assert!(count + refused == 45 && (15..=15 + 20).contains(&count), "{store:?}: {count}, {refused}");
        for number in 0..9 {
            assert_eq!(scene.read(number, &modest).await.status(), 200, "{store:?}: {number}");
        }
    }
}
