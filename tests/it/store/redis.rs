//! What is a Redis's own: it may go away, restart, and tell others.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keystile::store::{Backend, Scope, StoreError};
use tokio::net::{TcpSocket, TcpStream};

use super::{DAY, PASSWORD, ada, open, reached, session, soon};
use crate::support::eventually;
use crate::support::redis::TestRedis;
use crate::support::vendor::TestVendor;

fn begun(redis: &TestRedis) -> Arc<dyn Backend> {
    open(Path::new("/"), &format!("url = \"{}\"\n", redis.url())).unwrap()
}

async fn connected(redis: &TestRedis) -> Arc<dyn Backend> {
    let store = begun(redis);
    reached(&*store).await;
    store
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash_and_restart_of_redis() {
    let mut redis = TestRedis::durable();
    let store = connected(&redis).await;
    store.open(session("a"), Vec::new()).await.unwrap();
    let recognised = store.recognise("a", ada(), false, soon(60_000)).await.unwrap();
    let revoked = store.revoke(Scope::Bot("sales".to_owned()), soon(60_000)).await.unwrap();
    let log = store.changes(0).await.unwrap();
    redis.start_again();
    reached(&*store).await;

    assert_eq!(store.session("a").await, Ok(Some(recognised)));
    assert_eq!(store.changes(0).await, Ok(log));
    let next = store.revoke(Scope::Bot("support".to_owned()), soon(60_000)).await.unwrap();
    assert!(next.number > revoked.number);
    assert_eq!(store.renew("a", soon(0)).await, Err(StoreError::Ended));
}

#[tokio::test]
async fn a_redis_that_lost_its_data_gives_no_number_twice() {
    let mut redis = TestRedis::start();
    let store = connected(&redis).await;
    let before = store.revoke(Scope::Bot("support".to_owned()), soon(60_000)).await.unwrap();
    redis.start_again();
    reached(&*store).await;

    assert!(store.changes(before.number).await.unwrap().last < before.number, "it can be seen that it was emptied");
    let after = store.revoke(Scope::Bot("support".to_owned()), soon(60_000)).await.unwrap();
    assert!(after.number > before.number);
    assert_eq!(store.changes(before.number).await.unwrap().entries.len(), 1, "who read further misses nothing new");
}

#[tokio::test]
async fn the_changes_of_one_process_are_pushed_to_another_without_a_gap() {
    let redis = TestRedis::start();
    let (one, other) = (connected(&redis).await, connected(&redis).await);
    let mut told = other.subscribe();
    let (mut after, mut seen, mut expected) = (0, Vec::new(), Vec::new());
    for round in 0..50 {
        let writer = if round % 3 == 0 { &other } else { &one };
        let number = writer.revoke(Scope::Session(round.to_string()), soon(60_000)).await.unwrap().number;
        expected.push(number);
        told.wait_for(|last| *last >= number).await.unwrap();
        let log = other.changes(after).await.unwrap();
        after = log.last;
        seen.extend(log.entries.iter().map(|entry| entry.number));
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_push_comes_again_after_a_restart() {
    let mut redis = TestRedis::durable();
    let (one, other) = (connected(&redis).await, connected(&redis).await);
    let mut told = other.subscribe();
    let first = one.revoke(Scope::Session("a".to_owned()), soon(60_000)).await.unwrap();
    told.wait_for(|last| *last >= first.number).await.unwrap();
    redis.start_again();
    reached(&*one).await;
    let second = one.revoke(Scope::Session("b".to_owned()), soon(60_000)).await.unwrap();
    told.wait_for(|last| *last >= second.number).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_is_gone_is_away_at_once_and_comes_back_by_itself() {
    let mut redis = TestRedis::durable();
    let store = connected(&redis).await;
    store.open(session("a"), Vec::new()).await.unwrap();
    redis.stop();
    let begin = Instant::now();
    for _ in 0..20 {
        let refused = store.open(session("b"), Vec::new()).await;
        assert!(matches!(refused, Err(StoreError::Away(_))), "{refused:?}");
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    redis.start_again();
    reached(&*store).await;
    store.open(session("b"), Vec::new()).await.unwrap();
    assert!(store.session("a").await.unwrap().is_some());
}

#[tokio::test]
async fn a_lost_connection_costs_no_operation() {
    let redis = TestRedis::start();
    let store = connected(&redis).await;
    for round in 0..10 {
        redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
        store.open(session(&round.to_string()), Vec::new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_redis_that_hangs_is_away_in_bounded_time() {
    let redis = TestRedis::start();
    let store = connected(&redis).await;
    store.open(session("a"), Vec::new()).await.unwrap();
    redis.signal("STOP");
    let begin = Instant::now();
    let refused = store.session("a").await;
    let took = begin.elapsed();
    redis.signal("CONT");
    assert!(matches!(refused, Err(StoreError::Away(_))), "{refused:?}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    reached(&*store).await;
    assert!(store.session("a").await.unwrap().is_some());
}

/// How long after its return the store at `{form}` is found, where `{}` is the address of the server at `port`: it was
/// tried just before.
async fn found_after(port: u16, form: &str) -> Duration {
    // What comes to a full queue is dropped, as by a network that is away: TCP sends it again after a second.
    let queue = TcpSocket::new_v4().unwrap();
    queue.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let queue = queue.listen(0).unwrap();
    let address = queue.local_addr().unwrap();
    let _full = TcpStream::connect(address).await.unwrap();
    let store = open(Path::new("/"), &format!("url = \"{}\"\n", form.replace("{}", &address.to_string()))).unwrap();
    let mut asked = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.changes(0).await.is_ok() }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;

    let back = Instant::now();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = queue.accept().await {
            tokio::spawn(async move {
                let mut redis = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                // Until either is gone.
                let _ended = tokio::io::copy_bidirectional(&mut stream, &mut redis).await;
            });
        }
    });
    // As the log is asked for while it cannot be read: again after a pause.
    while !asked.await.unwrap() {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let store = Arc::clone(&store);
        asked = tokio::spawn(async move { store.changes(0).await.is_ok() });
    }
    back.elapsed()
}

#[tokio::test]
async fn a_redis_that_comes_back_just_after_it_was_tried_is_found_within_a_second() {
    let redis = TestRedis::start();
    let sentinel = TestRedis::sentinel_of(&redis);
    let cluster = TestRedis::with(&["--cluster-enabled", "yes", "--save", ""]);
    cluster.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    eventually("the cluster stands", || cluster.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok")).await;
    let took = [
        found_after(redis.port(), "redis://{}").await,
        found_after(sentinel.port(), "redis+sentinel://{}/main").await,
        found_after(cluster.port(), "redis+cluster://{}").await,
    ];
    assert!(took.iter().all(|took| *took < Duration::from_millis(800)), "{took:?}");
}

#[tokio::test]
async fn a_redis_that_was_never_there_is_away_and_then_found() {
    let mut redis = TestRedis::start();
    redis.stop();
    let store = begun(&redis);
    let why = format!("Redis at 127.0.0.1:{}: the connection was refused: nothing listens there", redis.port());
    assert_eq!(store.session("a").await.unwrap_err(), StoreError::Away(why.clone()));
    assert_eq!(store.weaknesses().await.unwrap_err(), StoreError::Away(why));
    redis.start_again();
    reached(&*store).await;
}

#[tokio::test]
async fn the_weaknesses_of_a_default_redis_are_named_and_a_strict_one_has_none() {
    let plain = TestRedis::with(&[]);
    let named = connected(&plain).await.weaknesses().await.unwrap();
    assert!(named.len() == 1 && named[0].contains("appendonly is no"), "{named:?}");
    let evicting = TestRedis::with(&["--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"]);
    let named = connected(&evicting).await.weaknesses().await.unwrap();
    assert!(named[0].contains("appendfsync is everysec") && named[1].contains("allkeys-lru"), "{named:?}");
    assert_eq!(connected(&TestRedis::durable()).await.weaknesses().await, Ok(Vec::new()));
    let silent = TestRedis::with(&["--rename-command", "CONFIG", ""]);
    let named = connected(&silent).await.weaknesses().await.unwrap();
    assert!(named[0].contains("CONFIG GET is refused"), "{named:?}");
}

#[tokio::test]
async fn a_revocation_has_no_ttl_and_a_session_has_one() {
    let redis = TestRedis::start();
    let store = connected(&redis).await;
    store.open(session("a"), Vec::new()).await.unwrap();
    store.revoke(Scope::Contact("ada".to_owned()), soon(0).plus(DAY)).await.unwrap();
    for lasting in ["log", "log-until", "revocations", "number", "sessions", "gone"] {
        assert_eq!(redis.ask(&["TTL", &format!("{{keystile}}:{lasting}")]), ":-1\r\n", "{lasting}");
    }
    let passing = ["session:a", "bot:support", "contact:sub-a", "live:address:support:192.0.2.1"];
    for passing in passing {
        let ttl = redis.ask(&["TTL", &format!("{{keystile}}:{passing}")]);
        assert!(ttl[1..].trim().parse::<i64>().unwrap() > 3000, "{passing}: {ttl}");
    }
}

#[tokio::test]
async fn a_password_opens_a_redis_and_is_in_no_error() {
    let redis = TestRedis::with(&["--requirepass", PASSWORD]);
    let section = format!("url = \"{}\"\npassword = {{ env = \"PASSWORD\" }}\n", redis.url());
    reached(&*open(Path::new("/"), &section).unwrap()).await;

    let without = begun(&redis).session("a").await.unwrap_err();
    let other = TestRedis::with(&["--requirepass", "another-password-of-a-test"]);
    let section = section.replace(&redis.port().to_string(), &other.port().to_string());
    let wrong = open(Path::new("/"), &section).unwrap().session("a").await.unwrap_err();
    for error in [without, wrong] {
        let told = format!("{error} {error:?}");
        assert!(matches!(error, StoreError::Away(_)) && !told.contains("password-of-a-test"), "{told}");
    }
}

#[tokio::test]
async fn the_scripts_run_in_a_cluster() {
    let redis = TestRedis::with(&["--cluster-enabled", "yes", "--save", ""]);
    redis.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let store = open(Path::new("/"), &format!("url = \"redis+cluster://127.0.0.1:{}\"\n", redis.port())).unwrap();
    reached(&*store).await;
    let mut told = store.subscribe();
    store.open(session("a"), Vec::new()).await.unwrap();
    let revoked = store.revoke(Scope::Session("a".to_owned()), soon(60_000)).await.unwrap();
    told.wait_for(|last| *last >= revoked.number).await.unwrap();
    assert_eq!(store.renew("a", soon(0)).await, Err(StoreError::Ended));
    store.sweep().await.unwrap();
    let named = store.weaknesses().await.unwrap();
    assert!(named.len() == 1 && named[0].contains("appendonly is no"), "{named:?}");
}

/// A cluster of these, of which the first has the slot of the store's keys; and its URL.
async fn cluster(owner: &TestRedis, other: &TestRedis) -> String {
    owner.ask(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]);
    let slot: u16 = owner.ask(&["CLUSTER", "KEYSLOT", "{keystile}:"])[1..].trim().parse().unwrap();
    let halves = [("0", "8191"), ("8192", "16383")];
    let [owners, others] = if slot < 8192 { halves } else { [halves[1], halves[0]] };
    for (redis, (first, last)) in [(owner, owners), (other, others)] {
        assert_eq!(redis.ask(&["CLUSTER", "ADDSLOTSRANGE", first, last]), "+OK\r\n");
    }
    let is_whole = |redis: &TestRedis| redis.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
    eventually("the cluster stands", || is_whole(owner) && is_whole(other)).await;
    format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", other.port(), owner.port())
}

#[tokio::test]
async fn of_a_cluster_the_primary_that_has_the_keys_is_looked_at() {
    let part = |appendonly| {
        let durable = ["--appendonly", appendonly, "--appendfsync", "always"];
        TestRedis::with(&[&["--cluster-enabled", "yes", "--save", ""][..], &durable].concat())
    };
    for (owners, others) in [("yes", "no"), ("no", "yes")] {
        let (owner, other) = (part(owners), part(others));
        let url = cluster(&owner, &other).await;
        let store = open(Path::new("/"), &format!("url = \"{url}\"\n")).unwrap();
        reached(&*store).await;
        // Whichever is asked, it must not be by chance.
        for _ in 0..10 {
            let named = store.weaknesses().await.unwrap();
            match owners {
                "yes" => assert_eq!(named, [""; 0]),
                _ => assert!(named.len() == 1 && named[0].contains("appendonly is no"), "{named:?}"),
            }
        }
    }
}

#[tokio::test]
async fn sentinels_say_where_the_master_is_and_another_one_after_a_failover() {
    let mut main = TestRedis::start();
    let replica = TestRedis::with(&["--save", "", "--replicaof", "127.0.0.1", &main.port().to_string()]);
    let is_linked = || replica.ask(&["INFO", "replication"]).contains("master_link_status:up");
    eventually("the replica is linked", is_linked).await;
    let sentinel = TestRedis::sentinel_of(&main);
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port());
    let store = open(Path::new("/"), &format!("url = \"{url}\"\n")).unwrap();
    reached(&*store).await;
    store.open(session("a"), Vec::new()).await.unwrap();
    eventually("the sentinel knows the replica", || {
        let known = sentinel.ask(&["SENTINEL", "REPLICAS", "main"]);
        known.contains(&replica.port().to_string()) && known.contains("master-link-status\r\n$2\r\nok")
    })
    .await;
    eventually("the replica has it", || replica.ask(&["EXISTS", "{keystile}:session:a"]) == ":1\r\n").await;
    let named = store.weaknesses().await.unwrap();
    assert!(named.iter().any(|weakness| weakness.contains("1 replica")), "{named:?}");

    let first = store.revoke(Scope::Session("a".to_owned()), soon(60_000)).await.unwrap();
    main.stop();
    eventually("the replica is master", || replica.ask(&["ROLE"]).contains("master")).await;
    reached(&*store).await;
    let second = store.revoke(Scope::Session("b".to_owned()), soon(60_000)).await.unwrap();
    assert!(second.number > first.number);
}

#[tokio::test]
async fn a_server_without_tls_is_away_to_who_asks_for_it() {
    let redis = TestRedis::start();
    let store = open(Path::new("/"), &format!("url = \"rediss://127.0.0.1:{}\"\n", redis.port())).unwrap();
    let refused = store.session("a").await;
    assert!(matches!(&refused, Err(StoreError::Away(why)) if why.contains(&redis.port().to_string())), "{refused:?}");
}

#[tokio::test]
async fn what_is_no_redis_is_told_as_such() {
    let web = TestVendor::echo();
    let address = web.url.trim_start_matches("http://");
    let store = open(Path::new("/"), &format!("url = \"redis://{address}\"\n")).unwrap();
    let Err(StoreError::Away(why)) = store.session("a").await else { panic!("a web server is a store") };
    assert!(why.starts_with(&format!("Redis at {address}: what answers there is no Redis")), "{why}");
}
