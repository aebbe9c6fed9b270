//! What is left of a limit is told: `RateLimit` and `RateLimit-Policy`; and replicas with one Redis share those of minting.

use std::time::Duration;

use http::Method;
use reqwest::Response;
use serde_json::json;

use crate::support::gateway::{PAGE, Session, TestGateway, refusal};
use crate::support::redis::TestRedis;
use crate::support::until;
use crate::support::vendor::TestVendor;

async fn mint_as_page(gateway: &TestGateway) -> Response {
    gateway.post("/v1/bots/support/sessions").header("origin", PAGE).send().await.unwrap()
}

/// The status, and what the headers say.
fn told(answer: &Response) -> (u16, String, String) {
    let text = |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    (answer.status().as_u16(), text("ratelimit"), text("ratelimit-policy"))
}

fn says(status: u16, left: &str, policy: &str) -> (u16, String, String) {
    (status, left.to_owned(), policy.to_owned())
}

#[tokio::test]
async fn every_answer_of_minting_says_what_is_left() {
    let limits = "limits = { mint_per_ip = \"2/1m\", per_bot = \"100/1m\" }";
    let gateway = TestGateway::in_front_of(&TestVendor::echo()).bot(limits).start();
    let policy = "\"mint\";q=2;w=60";

    let first = mint_as_page(&gateway).await;
    assert_eq!(told(&first), says(201, "\"mint\";r=1;t=30", policy));
    let exposed = first.headers()["access-control-expose-headers"].to_str().unwrap().to_owned();
    assert!(exposed.contains("RateLimit, RateLimit-Policy"), "{exposed}");
    gateway.clock.advance(Duration::from_secs(12));
    let call = gateway.post("/v1/bots/support/sessions").header("origin", PAGE);
    let wrong = call.json(&json!({"durationInSeconds": 1})).send().await.unwrap();
    assert_eq!(told(&wrong), says(400, "\"mint\";r=0;t=18", policy));
    let refused = mint_as_page(&gateway).await;
    assert_eq!(told(&refused), says(429, "\"mint\";r=0;t=18", policy));
    assert_eq!(refused.headers()["retry-after"], "18");
    let owner = gateway.ask("support", json!({})).await;
    assert_eq!(told(&owner), says(201, "\"mint\";r=99;t=1", "\"mint\";q=100;w=60"));
}

#[tokio::test]
async fn a_vendors_session_call_says_it_too() {
    let gateway = TestGateway::chatbotkit().start();
    let call = gateway.post("/api/v1/bot/bot_1/session/create").header("origin", PAGE);
    let answer = call.send().await.unwrap();
    assert_eq!(told(&answer), says(200, "\"mint\";r=29;t=2", "\"mint\";q=30;w=60"));
}

#[tokio::test]
async fn a_call_that_is_refused_says_by_which_rate() {
    let limits = "limits = { per_session = \"1/1m\", per_bot = \"5/1m\", mint_per_ip = \"30/1m\" }";
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).bot(limits).server("failed_credentials = \"1/1h\"").start();
    let sessions = [gateway.mint("support").await, gateway.mint("support").await, gateway.mint("support").await];
    let read = async |token: &str| told(&gateway.call(Method::GET, "/read").bearer_auth(token).send().await.unwrap());

    assert_eq!(read(&sessions[0].token).await, says(200, "", ""));
    assert_eq!(read(&sessions[0].token).await, says(429, "\"session\";r=0;t=60", "\"session\";q=1;w=60"));
    assert_eq!(read(&sessions[1].token).await, says(200, "", ""));
    assert_eq!(read(&sessions[2].token).await, says(429, "\"bot\";r=0;t=12", "\"bot\";q=5;w=60"));
    assert_eq!(read("forged").await, says(401, "", ""));
    assert_eq!(read("forged").await, says(429, "\"failures\";r=0;t=3600", "\"failures\";q=1;w=3600"));
}

#[tokio::test]
async fn replicas_with_one_redis_share_the_limits_of_minting() {
    let (vendor, mut redis) = (TestVendor::echo(), TestRedis::start());
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    let limits = "limits = { mint_per_ip = \"4/1h\", per_bot = \"3/1h\" }";
    let one = TestGateway::in_front_of(&vendor).sections(&store).bot(limits).start();
    let two = TestGateway::in_front_of(&vendor).sections(&store).bot(limits).in_place_of(&one).start();

    for (gateway, left) in [(&one, "r=2"), (&two, "r=1"), (&one, "r=0")] {
        let answer = gateway.ask("support", json!({})).await;
        assert!(answer.status() == 201 && told(&answer).1.contains(left), "{left}: {:?}", told(&answer));
    }
    for gateway in [&one, &two, &one, &two] {
        let refused = gateway.ask("support", json!({})).await;
        let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1190..=1200).contains(&wait), "{wait}");
        assert_eq!(refusal(refused).await, (429, "rate_limited".to_owned()));
    }
    let other = mint_as_page(&two).await;
    assert!(
        other.status() == 201 && told(&other).1.contains("r=3"),
        "an address is counted for itself: {:?}",
        told(&other)
    );

    redis.stop();
    let refused = one.ask("hidden", json!({})).await;
    assert!(told(&refused).1.contains("\"mint\";r=2"), "of its own limit: {:?}", told(&refused));
    assert_eq!(refusal(refused).await, (503, "store_unavailable".to_owned()));
}

#[tokio::test]
async fn to_look_at_a_session_counts_as_a_call_of_it_and_an_owners_looks_for_the_owner() {
    let limits = "limits = { per_session = \"3/1h\", per_bot = \"100/1m\", mint_per_ip = \"30/1m\" }";
    let vendor = TestVendor::echo();
    let owners = "[clients.website.limits]\nper_client = \"4/1h\"";
    let gateway = TestGateway::in_front_of(&vendor).bot(limits).sections(owners).start();
    let session = gateway.mint("support").await;
    let one = format!("/v1/sessions/{}", session.id);
    let send = async |method: Method, path: &str, credential: &str| {
        told(&gateway.call(method, path).bearer_auth(credential).send().await.unwrap())
    };
    let policy = "\"session\";q=3;w=3600";
    assert_eq!(send(Method::GET, &one, &session.token).await, says(200, "\"session\";r=2;t=1200", policy));
    assert_eq!(send(Method::GET, "/read", &session.token).await, says(200, "", ""));
    assert_eq!(send(Method::GET, &one, &session.token).await, says(200, "\"session\";r=0;t=1200", policy));
    assert_eq!(send(Method::GET, &one, &session.token).await, says(429, "\"session\";r=0;t=1200", policy));
    assert_eq!(send(Method::GET, "/read", &session.token).await, says(429, "\"session\";r=0;t=1200", policy));

    let (owner, policy) = (gateway.owner.expose(), "\"client\";q=4;w=3600");
    assert_eq!(send(Method::GET, &one, owner).await, says(200, "\"client\";r=3;t=900", policy));
    assert_eq!(send(Method::GET, "/v1/sessions", owner).await, says(200, "\"client\";r=2;t=900", policy));
    assert_eq!(send(Method::DELETE, "/v1/sessions?bot=hidden", owner).await.0, 200);
    assert_eq!(send(Method::GET, "/v1/sessions?cursor=wrong", owner).await, says(400, "\"client\";r=0;t=900", policy));
    assert_eq!(send(Method::GET, "/v1/sessions", owner).await, says(429, "\"client\";r=0;t=900", policy));
    assert_eq!(send(Method::DELETE, &one, owner).await.0, 429);
    let ended = send(Method::DELETE, &one, &session.token).await;
    assert_eq!(ended, says(204, "", ""), "who has a token can always end its session: no rate counts it");
}

/// Calls one after the other until one is refused; how many were served.
async fn until_refused(gateway: &TestGateway, session: &Session) -> usize {
    for served in 0..5_000 {
        let call = gateway.call(Method::GET, "/read").bearer_auth(&session.token);
        match call.send().await.unwrap().status().as_u16() {
            200 => {}
            429 => return served,
            other => panic!("{other}"),
        }
    }
    panic!("nothing is refused");
}

#[tokio::test]
async fn what_calls_took_on_one_replica_is_soon_gone_on_the_other_and_a_replica_alone_has_its_own() {
    let (vendor, mut redis) = (TestVendor::echo(), TestRedis::start());
    let store = format!("[store]\nurl = \"{}\"", redis.url());
    let limits = "limits = { per_session = \"1000/1h\", per_bot = \"1500/1h\", mint_per_ip = \"30/1m\" }";
    let builder = || TestGateway::in_front_of(&vendor).sections(&store).bot(limits).admin("listen = \"127.0.0.1:0\"");
    let one = builder().start();
    let two = builder().in_place_of(&one).start();
    let sessions = [one.mint("support").await, one.mint("support").await, one.mint("support").await];

    // Spent on one; the other hears of it once it has something to say itself.
    assert_eq!(until_refused(&one, &sessions[0]).await, 1000);
    let more = until_refused(&two, &sessions[0]).await;
    assert!(more < 1000, "{more} of 1000 passed once more");
    // The bot's: what both have served of it is counted together.
    let rest = until_refused(&one, &sessions[1]).await + until_refused(&two, &sessions[2]).await;
    println!(
        "too many: {more} of 1000 of a session, then {} of 1500 of the bot",
        (1000 + more + rest + 3).saturating_sub(1500)
    );
    assert!(1000 + more + rest < 1500 + 1000, "{more}, {rest}");

    redis.stop();
    let hidden = one.call(Method::GET, "/read").bearer_auth(&sessions[0].token);
    assert_eq!(hidden.send().await.unwrap().status(), 429, "what was known stays");
    let ready = async || {
        let url = format!("{}/readyz", two.admin.as_deref().unwrap());
        two.client.get(url).send().await.unwrap().text().await.unwrap()
    };
    // Something to tell, and nobody to tell it to.
    two.clock.advance(Duration::from_secs(3600));
    let alone = async || ready().await.contains("limits count in this process only");
    until("limits count alone", async || {
        let call = two.call(Method::GET, "/read").bearer_auth(&sessions[2].token);
        assert!([200, 429].contains(&call.send().await.unwrap().status().as_u16()));
        alone().await.then_some(())
    })
    .await;
    redis.start_again();
    until("limits are shared again", async || (!alone().await).then_some(())).await;
}
