//! A granted call on its way to the vendor and back.

use serde_json::json;

use crate::support::gateway::{KEY, TestGateway};
use crate::support::vendor::TestVendor;

#[tokio::test]
async fn vendor_never_sees_the_callers_token() {
    let vendor = TestVendor::echo();
    let gateway = TestGateway::in_front_of(&vendor).start();
    let session = gateway.mint("support").await;

    let answer =
        gateway.post("/echo").bearer_auth(&session.token).json(&json!({"question": "hi"})).send().await.unwrap();

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap(), json!({"question": "hi"}));
    assert!(!vendor.last().contains(&session.token));
    assert_eq!(vendor.last().headers["authorization"], format!("Bearer {KEY}"));
}
