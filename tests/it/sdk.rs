//! ChatBotKit's own SDK against the gateway, in Node, with only its host and secret changed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gateway::{KEY, TestGateway};
use crate::support::node::NodeClient;

/// How far the clock goes on after the first token was minted: past its end.
const LATER: Duration = Duration::from_secs(7200);

#[tokio::test]
async fn chatbotkits_own_sdk_talks_through_the_gateway() {
    // Before the gateway starts: its clock stands still, and the SDK compares it with Node's.
    let client = NodeClient::install("chatbotkit");

    let gateway = TestGateway::chatbotkit().start();
    let old = gateway.mint_with("support", json!({"durationInSeconds": 1800})).await;
    gateway.clock.advance(LATER);
    let other = gateway.mint("support").await;
    // The client's day goes on with the gateway's.
    let clock = format!("data:text/javascript,const now=Date.now;Date.now=()=>now()+{}", LATER.as_millis());
    let text = client.run(
        &["--import", &clock, "session.mjs"],
        &[
            ("KEYSTILE_URL", &gateway.url),
            ("KEYSTILE_BOT", "bot_1"),
            ("KEYSTILE_SECRET", gateway.owner.expose()),
            ("KEYSTILE_EXPIRED_TOKEN", &old.token),
            ("KEYSTILE_EXPIRED_CONVERSATION", &old.conversation),
            ("KEYSTILE_OTHER_CONVERSATION", &other.conversation),
        ],
    );

    let seen: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    for (refusal, code) in
        [("forged", "NOT_AUTHENTICATED"), ("foreign", "NOT_AUTHORIZED"), ("expired", "NOT_AUTHENTICATED")]
    {
        assert_eq!(seen["refused"][refusal]["code"], code, "{seen}");
    }
    assert!(seen["streamed"]["text"].as_str().unwrap().contains("こんにちは、世界！👩‍💻"), "{seen}");
    assert!(!text.contains(KEY), "the client saw the vendor's key");
}
