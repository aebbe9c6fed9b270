//! A Redis over TLS: its certificate is always checked, for its authority and for its name.

use std::path::Path;

use keystile::store::{Scope, StoreError};

use super::{open, reached, session, soon};
use crate::support::authority::Authority;
use crate::support::redis::TestRedis;
use crate::support::{eventually, until};

/// A Redis with a certificate of `authority` for `name`, and its URL.
fn redis(authority: &Authority, name: &str) -> (TestRedis, String) {
    let (certificate, key) = authority.server_files(name);
    let (redis, port) = TestRedis::secure(&certificate, &key);
    (redis, format!("url = \"rediss://localhost:{port}\"\n"))
}

/// Why it is refused; not that it was too slow once.
async fn refused(section: &str) -> String {
    let store = open(Path::new("/"), section).unwrap();
    until("it is refused", async || match store.session("a").await {
        Err(StoreError::Away(why)) => Some(why).filter(|why| !why.contains("in time")),
        other => panic!("{other:?}"),
    })
    .await
}

#[tokio::test]
async fn a_redis_of_the_named_authority_is_used_over_tls() {
    let authority = Authority::new();
    let (redis, url) = redis(&authority, "localhost");
    let store = open(Path::new("/"), &format!("{url}{}\n", authority.ca())).unwrap();
    reached(&*store).await;
    store.open(session("a"), Vec::new()).await.unwrap();
    assert_eq!(redis.ask(&["EXISTS", "{keystile}:session:a"]), ":1\r\n");
    // What is pushed comes over TLS, too.
    let pushed = store.subscribe();
    let number = store.revoke(Scope::Session("a".to_owned()), soon(60_000)).await.unwrap().number;
    eventually("the push", || *pushed.borrow() == number).await;
}

#[tokio::test]
async fn a_redis_with_a_certificate_of_another_authority_is_refused() {
    let authority = Authority::new();
    let (_redis, url) = redis(&authority, "localhost");
    for ca in [Authority::new().ca(), String::new()] {
        let why = refused(&format!("{url}{ca}\n")).await;
        assert!(why.contains("its certificate is of an authority that is not trusted here"), "{ca}: {why}");
    }
}

#[tokio::test]
async fn a_redis_with_a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let (_redis, url) = redis(&authority, "redis.example.com");
    let why = refused(&format!("{url}{}\n", authority.ca())).await;
    assert!(why.contains("its certificate is for another name"), "{why}");
}
