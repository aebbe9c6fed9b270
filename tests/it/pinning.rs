//! Whatever a client says, the vendor gets the token's own bot and session and the real key, and nothing that is
//! reserved; or it gets nothing.
//!
//! Every call of every profile that comes with the gateway is attacked, as its file says that it is: with names in odd
//! writings wherever a name may stand, several credentials, ids of somebody else. What arrives is judged by a reading of
//! the profile and of JSON that shares nothing with the gateway's.

mod attack;
mod judge;
mod reading;
mod scene;

use proptest::test_runner::{Config, TestRunner};

use self::judge::Call;
use self::scene::Scene;

/// Requests for each call of a profile.
const CASES: u32 = 200;

/// Attacks all calls of `profile`.
fn pins(profile: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scene = runtime.block_on(Scene::start(profile));
    for call in scene.calls() {
        runtime.block_on(harmless(&scene, &call));
        let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
        let reached = std::cell::Cell::new(0);
        let attacked = runner.run(&attack::on(&call), |attack| {
            let request = attack.request(&call, &scene);
            reached.set(reached.get() + u32::from(runtime.block_on(scene.judged(&call, &request))));
            Ok(())
        });
        attacked.unwrap_or_else(|failure| panic!("{}: {failure}", call.line));
        assert!(
            reached.get() > CASES / 20,
            "{}: only {} attacks of {CASES} got to the vendor",
            call.line,
            reached.get()
        );
    }
}

/// A call as an honest client makes it arrives, or the attacks would show nothing.
async fn harmless(scene: &Scene, call: &Call) {
    let request = attack::honest(call).request(call, scene);
    assert!(scene.judged(call, &request).await, "{}: an honest call did not get to the vendor", call.line);
}

#[test]
fn whatever_a_client_says_ai_chatbot_hub_gets_the_tokens_own() {
    pins("aichatbothub");
}

#[test]
fn whatever_a_client_says_chatbotkit_gets_the_tokens_own() {
    pins("chatbotkit");
}

#[test]
fn whatever_a_client_says_direct_line_gets_the_tokens_own() {
    pins("directline");
}

#[test]
fn whatever_a_client_says_genesys_gets_the_tokens_own() {
    pins("genesys");
}

#[test]
fn whatever_a_client_says_hottask_gets_the_tokens_own() {
    pins("hottask");
}

#[test]
fn whatever_a_client_says_openai_gets_the_tokens_own() {
    pins("openai");
}

#[test]
fn whatever_a_client_says_superseek_gets_the_tokens_own() {
    pins("superseek");
}

#[test]
fn whatever_a_client_says_a_vendor_of_a_profile_that_lets_all_else_pass_gets_the_tokens_own() {
    pins("wide");
}

#[test]
fn every_profile_that_comes_with_the_gateway_is_attacked() {
    let attacked = ["aichatbothub", "chatbotkit", "directline", "genesys", "hottask", "openai", "superseek"];
    assert_eq!(keystile::vendor::built_in_names().collect::<Vec<_>>(), attacked);
}
