//! Calls that are made once, and rates that are shared.

use std::time::{Duration, Instant};

use keystile::document::Rate;
use keystile::store::{Begun, Part, StoreError, Taken};

use super::both;

const KEY: [u8; 32] = [1; 32];
const BODY: [u8; 32] = [2; 32];
const TEN_MINUTES: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_call_is_made_once_and_its_answer_given_again() {
    let answer = vec![0, 255, b'\r', b'\n', b'"'];
    for store in both().await {
        assert_eq!(store.begin(KEY, BODY, TEN_MINUTES).await, Ok(Begun::New), "{}", store.name);
        assert_eq!(store.begin(KEY, BODY, TEN_MINUTES).await, Ok(Begun::InFlight), "{}", store.name);
        assert_eq!(store.begin(KEY, [3; 32], TEN_MINUTES).await, Ok(Begun::Other), "{}", store.name);
        assert_eq!(store.begin([9; 32], BODY, TEN_MINUTES).await, Ok(Begun::New), "{}: another key", store.name);
        store.finish(KEY, BODY, answer.clone()).await.unwrap();

        assert_eq!(store.begin(KEY, BODY, TEN_MINUTES).await, Ok(Begun::Answered(answer.clone())), "{}", store.name);
        assert_eq!(store.begin(KEY, [3; 32], TEN_MINUTES).await, Ok(Begun::Other), "{}", store.name);
        store.abandon(KEY, BODY).await.unwrap();
        assert_eq!(store.begin(KEY, BODY, TEN_MINUTES).await, Ok(Begun::Answered(answer.clone())), "{}", store.name);
    }
}

#[tokio::test]
async fn an_abandoned_call_may_be_made_again() {
    for store in both().await {
        store.begin(KEY, BODY, TEN_MINUTES).await.unwrap();
        store.abandon(KEY, BODY).await.unwrap();
        assert_eq!(store.begin(KEY, [3; 32], TEN_MINUTES).await, Ok(Begun::New), "{}", store.name);
    }
}

#[tokio::test]
async fn a_call_that_was_forgotten_meanwhile_leaves_another_with_its_key_alone() {
    for store in both().await {
        store.begin(KEY, [3; 32], TEN_MINUTES).await.unwrap();
        store.finish(KEY, BODY, vec![1]).await.unwrap();
        store.abandon(KEY, BODY).await.unwrap();
        assert_eq!(store.begin(KEY, [3; 32], TEN_MINUTES).await, Ok(Begun::InFlight), "{}", store.name);
    }
}

#[tokio::test]
async fn a_call_is_forgotten_after_its_time() {
    for store in both().await {
        store.begin(KEY, BODY, Duration::from_millis(1)).await.unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while store.begin(KEY, BODY, Duration::from_millis(1)).await.unwrap() != Begun::New {
            assert!(Instant::now() < end, "{} remembers", store.name);
        }
        store.finish([8; 32], BODY, vec![1]).await.unwrap();
        assert_eq!(store.begin([8; 32], BODY, TEN_MINUTES).await, Ok(Begun::New), "{}: it never began", store.name);
    }
}

#[tokio::test]
async fn a_rate_is_shared_by_a_redis_and_by_no_file() {
    let rate = Rate::new(3, Duration::from_secs(60));
    let [file, redis] = both().await;
    assert_eq!(file.take("mint", rate).await, Err(StoreError::Unsupported));
    for taken in 1..=3 {
        let Ok(Taken::Yes(full_in)) = redis.take("mint", rate).await else { panic!("there are three") };
        assert!(
            full_in <= Duration::from_secs(20 * taken) && full_in > Duration::from_secs(20 * taken - 10),
            "{full_in:?}"
        );
    }
    let Ok(Taken::Wait(wait)) = redis.take("mint", rate).await else { panic!("there were three") };
    assert!(wait <= Duration::from_secs(20) && wait > Duration::from_secs(10), "{wait:?}");
    assert!(matches!(redis.take("other", rate).await, Ok(Taken::Yes(_))));
    let quick = Rate::new(1, Duration::from_millis(1));
    while !matches!(redis.take("quick", quick).await, Ok(Taken::Yes(_))) {}
    let end = Instant::now() + Duration::from_secs(10);
    while !matches!(redis.take("quick", quick).await, Ok(Taken::Yes(_))) {
        assert!(Instant::now() < end, "one is free after a millisecond");
    }
}

#[tokio::test]
async fn what_each_process_took_is_added_up_by_a_redis_and_by_no_file() {
    let rate = Rate::new(10, Duration::from_secs(100));
    let part = |key: &str, taken| Part { key: key.to_owned(), rate, taken };
    let [file, redis] = both().await;
    assert_eq!(file.share(vec![part("one", 1)]).await, Err(StoreError::Unsupported));

    let told = redis.share(vec![part("one", 3), part("two", 8)]).await.unwrap();
    let again = redis.share(vec![part("two", 8), part("one", 1)]).await.unwrap();
    let debt = redis.share(vec![part("two", 1000)]).await.unwrap();
    let tens = |told: &[Duration]| told.iter().map(|full_in| full_in.as_secs().div_ceil(10)).collect::<Vec<_>>();
    assert_eq!((tens(&told), tens(&again)), (vec![3, 8], vec![16, 4]), "more than the rate is a debt");
    assert_eq!(tens(&debt), [160], "which is bounded");
    assert_eq!(redis.share(Vec::new()).await, Ok(Vec::new()));
}
