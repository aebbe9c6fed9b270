//! Three replicas, one Redis and a real HAProxy with the repository's own configuration act as one gateway, and go on doing
//! so while replicas die, are restarted and get new keys.

mod load;
mod replicas;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use serde_json::{Value, json};

use self::load::{CLIENTS, Count, Failure, Load};
use self::replicas::{Fleet, PAGE, name, post, say, server, token_in, whole_of};
use crate::support::balancer::Connection;
use crate::support::{eventually, gateway};

/// Streams that are open meanwhile.
const STREAMS: usize = 12;
/// Calls between one change and the next.
const BETWEEN: usize = 500;

async fn ask(client: &mut Connection, request: Request<Full<Bytes>>) -> (u16, String, String) {
    whole_of(client.send(request).await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_token_of_one_replica_is_served_by_all() {
    let fleet = Fleet::start().await;
    let mut client = fleet.connect("127.0.0.2").await;
    let (status, minter, minted) = ask(&mut client, fleet.minting()()).await;
    assert_eq!(status, 201, "{minted}");
    let token = token_in(&minted);
    let mut served = BTreeMap::<String, usize>::new();
    for _ in 0..60 {
        let (status, server, body) = ask(&mut client, say(&token, "hi", false)).await;
        assert_eq!(status, 200, "{server}: {body}");
        *served.entry(server).or_default() += 1;
        client = fleet.connect("127.0.0.2").await;
    }
    println!("minted by {minter}, served by {served:?}");
    assert_eq!(served.len(), 3, "{served:?}");
}

#[tokio::test]
async fn behind_the_balancer_a_caller_is_its_own_address_whatever_its_headers_say() {
    let fleet = Fleet::start().await;
    let page = |number: u8| {
        let mut request = post("/v1/bots/page/sessions", "", &json!({}));
        let headers = request.headers_mut();
        headers.insert("origin", PAGE.parse().unwrap());
        headers.insert("x-forwarded-for", format!("203.0.113.{number}").parse().unwrap());
        headers.insert("forwarded", format!("for=203.0.113.{number}").parse().unwrap());
        headers.insert("x-real-ip", format!("203.0.113.{number}").parse().unwrap());
        request
    };
    let mut statuses = Vec::new();
    for number in 0..6 {
        // From one address, over connections of its own, and each time said to be another.
        let mut client = fleet.connect("127.0.0.2").await;
        statuses.push(ask(&mut client, page(number)).await.0);
    }
    assert_eq!(statuses, [201, 201, 201, 201, 429, 429], "all replicas count one address");
    let mut other = fleet.connect("127.0.0.3").await;
    assert_eq!(ask(&mut other, page(0)).await.0, 201, "another one has its own count");

    let clients = || -> Vec<String> {
        let records = (0..3).flat_map(|replica| fleet.processes.records(replica));
        let mut clients: Vec<String> = records.map(|record| record["client"].as_str().unwrap().to_owned()).collect();
        clients.sort();
        clients
    };
    eventually("seven records", || clients().len() == 7).await;
    assert_eq!(clients(), [vec!["127.0.0.2"; 6], vec!["127.0.0.3"]].concat());
}

/// A stream that a client reads.
struct Stream {
    said: String,
    server: String,
    body: Incoming,
    _client: Connection,
}

impl Stream {
    async fn open(fleet: &Fleet, token: &str, number: usize) -> Self {
        let (said, mut client) = (format!("stream {number}"), fleet.connect("127.0.0.3").await);
        let mut answer = client.send(say(token, &said, true)).await.unwrap();
        assert_eq!(answer.status(), 200);
        let first = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "data: one\n\n");
        Self { said, server: server(&answer), body: answer.into_body(), _client: client }
    }

    /// The vendor says its last words; whether they arrive, and the end after them.
    async fn ends_well(self, fleet: &Fleet) -> bool {
        let sender = fleet.streams.lock().remove(&self.said).unwrap();
        if sender.send("data: last\n\n".into()).await.is_err() {
            return false;
        }
        drop(sender);
        let rest = self.body.collect().await.map(http_body_util::Collected::to_bytes);
        rest.is_ok_and(|rest| rest == "data: last\n\n")
    }
}

/// Takes those that this replica serves.
fn take(streams: &mut Vec<Stream>, replica: usize) -> Vec<Stream> {
    let (its, others) = std::mem::take(streams).into_iter().partition(|stream| stream.server == name(replica));
    *streams = others;
    its
}

/// How many of them end as they should.
async fn well(streams: Vec<Stream>, fleet: &Fleet) -> usize {
    let mut count = 0;
    for stream in streams {
        count += usize::from(stream.ends_well(fleet).await);
    }
    count
}

fn started(fleet: &Fleet, token: String) -> (Arc<Load>, Vec<tokio::task::JoinHandle<()>>) {
    let load = Arc::new(Load::new(token));
    let mut tasks = Vec::new();
    for number in 0..CLIENTS {
        let from: IpAddr = format!("127.0.0.{}", 10 + number).parse().unwrap();
        let client = Arc::clone(&load).ask(Arc::clone(&fleet.balancer), from, number);
        tasks.push(tokio::spawn(client));
    }
    let from: IpAddr = "127.0.0.9".parse().unwrap();
    let minting = Arc::clone(&load).mint(Arc::clone(&fleet.balancer), from, fleet.minting());
    tasks.push(tokio::spawn(minting));
    (load, tasks)
}

async fn more_calls(load: &Load) {
    let before = load.look(Count::calls);
    eventually("more calls", || load.look(Count::calls) >= before + BETWEEN).await;
}

async fn calls_of(load: &Load, replica: usize) {
    let before = load.served_by(&name(replica));
    eventually("calls of a replica that was started", || load.served_by(&name(replica)) > before + 50).await;
}

fn signer(token: &str) -> Value {
    gateway::header(token)["kid"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_dies_another_is_restarted_the_third_reloaded_keys_rotated_and_a_certificate_replaced_and_no_other_call_fails()
 {
    let mut fleet = Fleet::start().await;
    let (_, _, minted) = ask(&mut fleet.connect("127.0.0.2").await, fleet.minting()()).await;
    let token = token_in(&minted);
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        streams.push(Stream::open(&fleet, &token, number).await);
    }
    let began = Instant::now();
    let (load, tasks) = started(&fleet, token.clone());
    let next = fleet.processes.rotate();
    more_calls(&load).await;

    // One dies.
    let its = take(&mut streams, 0);
    assert!(!its.is_empty());
    fleet.processes.kill(0);
    let killed = Instant::now();
    let cut = its.len();
    assert_eq!(well(its, &fleet).await, 0);
    more_calls(&load).await;
    fleet.processes.run(0).await;
    calls_of(&load, 0).await;

    // Another is restarted.
    let its = take(&mut streams, 1);
    assert!(!its.is_empty());
    fleet.processes.ask_to_stop(1);
    eventually("the balancer knows", || fleet.balancer.log().contains("replicas/replica_2 is DOWN")).await;
    let drained = its.len();
    assert_eq!(well(its, &fleet).await, drained, "streams of a replica that goes come to their end");
    assert!(fleet.processes.has_ended_well(1));
    fleet.processes.run(1).await;
    calls_of(&load, 1).await;

    // The third reads its configuration again, and goes on.
    fleet.processes.reload(2).await;
    calls_of(&load, 2).await;

    // The certificate is replaced.
    fleet.processes.renew_certificate().await;
    more_calls(&load).await;

    // The new keys sign.
    eventually("tokens of the next key", || signer(&load.latest()) == Value::String(next.clone())).await;
    assert_ne!(signer(&token), signer(&load.latest()));
    more_calls(&load).await;
    load.stop();
    for task in tasks {
        task.await.unwrap();
    }
    let rest = streams.len();
    assert_eq!(well(streams, &fleet).await, rest, "streams of the replica that stayed went on");

    let took = began.elapsed();
    let count = Arc::into_inner(load).unwrap().finished();
    println!(
        "{} calls in {took:.1?}, {:.0} a second, {} of them mints: {:?}; {STREAMS} streams: {cut} cut with the replica that \
         died, {drained} ended in the drain of another, {rest} went on",
        count.calls(),
        count.calls() as f64 / took.as_secs_f64(),
        count.minted,
        count.served(),
    );
    let its = count.of_clients(&name(2));
    let (lost, others) = told_apart(count.failures, killed);
    let lines = fleet.balancer.calls();
    let retried = lines.iter().filter(|line| line.retries > 0).count();
    println!(
        "in flight on the replica that died: {} calls lost; others that failed: {}; sent to another replica because one \
         could not be reached: {retried}",
        lost.len(),
        others.len()
    );
    let after = |failure: &Failure| failure.began.saturating_duration_since(killed);
    let others: Vec<String> = others
        .iter()
        .map(|failure| format!("{:?} after: {} {}", after(failure), failure.server, failure.why))
        .collect();
    assert!(others.is_empty(), "{others:#?}");
    // The balancer has seen the same. What it writes to a file it may leave out when much is to be written.
    let failed: Vec<_> = lines.iter().filter(|line| !(200..300).contains(&line.status)).collect();
    assert!(failed.len() <= lost.len() && failed.iter().all(|line| line.server == name(0)), "{failed:?}");
    // Also where connections to replicas are kept, each call is that of the client who made it.
    assert_eq!(its.len(), CLIENTS + 1);
    eventually("records of the same calls of the same clients", || {
        let mut recorded = BTreeMap::<String, usize>::new();
        for record in fleet.processes.records(2) {
            *recorded.entry(record["client"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        // Who has the streams, and who opened the first session.
        recorded.retain(|client, _| !["127.0.0.2", "127.0.0.3"].contains(&client.as_str()));
        recorded == its
    })
    .await;
}

/// The calls that were lost with the replica that died: they had begun before, and were not with another one. And others.
fn told_apart(failures: Vec<Failure>, killed: Instant) -> (Vec<Failure>, Vec<Failure>) {
    failures
        .into_iter()
        .partition(|failure| failure.began < killed && (failure.server.is_empty() || failure.server == name(0)))
}
