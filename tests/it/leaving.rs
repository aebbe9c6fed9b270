//! A process goes, and its calls do not: what is open ends in its own time, and the next process takes the connections.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::home::{Home, KEY};
use crate::support::vendor::{TestVendor, streaming};
use crate::support::{eventually, until};

#[tokio::test]
async fn asked_to_stop_it_is_not_ready_goes_on_accepting_and_then_lets_calls_end() {
    let (vendor, senders) = streaming("text/plain");
    let home = Home::new(&vendor, "drain_notice = \"5s\"\ndrain = \"60s\"");
    let mut at = home.start().await;
    let token = home.mint(&at).await;
    let (open, sender) = home.begun(&at, &token, &senders).await;
    let mut idle = TcpStream::connect(at.url.trim_start_matches("http://")).await.unwrap();
    let jwks = b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: gateway\r\n\r\n";
    idle.write_all(jwks).await.unwrap();
    assert!(idle.read(&mut [0; 4096]).await.unwrap() > 0);

    at.ask_to_stop();
    until("it is not ready", async || (home.ready(&at).await != StatusCode::OK).then_some(())).await;
    // Balancers have not all heard of it yet.
    let late = Client::new().get(format!("{}/.well-known/jwks.json", at.url)).send().await.unwrap();
    assert_eq!(late.status(), 200);
    assert_eq!(late.headers()["connection"], "close", "the next call goes elsewhere");

    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "an idle connection is closed when the time for that has come");
    eventually("the socket is closed", || std::net::TcpStream::connect(at.url.trim_start_matches("http://")).is_err())
        .await;
    sender.send("last".into()).await.unwrap();
    drop(sender);
    assert_eq!(open.text().await.unwrap(), "last", "its call comes to its end");
    assert_eq!(at.running.wait().code(), Some(0));
}

#[tokio::test]
async fn streams_that_do_not_end_are_told_why_they_do() {
    let (vendor, senders) = streaming("text/event-stream");
    let home = Home::new(&vendor, "drain_notice = \"0s\"\ndrain = \"200ms\"");
    let mut at = home.start().await;
    let token = home.mint(&at).await;
    let (open, sender) = home.begun(&at, &token, &senders).await;

    at.ask_to_stop();
    let rest = open.text().await.unwrap();
    assert!(rest.contains("event: error") && rest.contains("shutting_down"), "{rest}");
    assert_eq!(at.running.wait().code(), Some(0));
    eventually("the end of the vendor's call", || sender.is_closed()).await;
    let log = std::fs::read_to_string(&at.log).unwrap();
    assert!(log.contains("\"code\":\"shutting_down\"") && !log.contains(KEY), "{log}");
}

#[tokio::test]
async fn asked_twice_it_stops_at_once() {
    let (vendor, senders) = streaming("text/event-stream");
    let home = Home::new(&vendor, "drain_notice = \"1h\"\ndrain = \"1h\"");
    let mut at = home.start().await;
    let token = home.mint(&at).await;
    let open = home.begun(&at, &token, &senders).await;
    at.ask_to_stop();
    until("it is not ready", async || (home.ready(&at).await != StatusCode::OK).then_some(())).await;
    at.ask_to_stop();
    assert_eq!(at.running.wait().code(), Some(0));
    drop(open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_hands_its_socket_over_to_the_next_and_no_call_fails() {
    let vendor = TestVendor::echo();
    let home = Arc::new(Home::new(&vendor, "drain_notice = \"0s\"\ndrain = \"20s\""));
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut at = home.start_with(&socket, "log0").await;
    let token = home.mint(&at).await;
    let url = at.url.clone();
    let (stop, done, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let load = |is_new: bool| {
        let (home, url, token) = (Arc::clone(&home), url.clone(), token.clone());
        let (stop, done, failed) = (&stop, &done, &failed);
        async move {
            let idle = if is_new { 0 } else { 1 };
            let http = Client::builder().pool_max_idle_per_host(idle).build().unwrap();
            while !stop.load(Ordering::Relaxed) {
                match home.say(&http, &url, &token).send().await {
                    Ok(answer) if answer.status() == 200 => {
                        done.fetch_add(1, Ordering::Relaxed);
                        // Others have to be heard, too.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    other => {
                        eprintln!("{other:?}");
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    };
    let hand_over = async {
        for round in 1..=4 {
            let next = home.start_with(&socket, &format!("log{round}")).await;
            let before = done.load(Ordering::Relaxed);
            at.ask_to_stop();
            let mut leaving = std::mem::replace(&mut at, next).running;
            // The clients go on meanwhile.
            let status = tokio::task::spawn_blocking(move || leaving.wait()).await.unwrap();
            assert_eq!(status.code(), Some(0), "round {round}");
            eventually("calls of the next process", || done.load(Ordering::Relaxed) > before + 50).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    // Clients that connect anew for each call.
    let ((), _) = tokio::join!(hand_over, join_all((0..8).map(|_| load(true))));
    let (done, failed) = (done.into_inner(), failed.into_inner());
    println!("handed over four times: {done} calls, {failed} failed");
    assert_eq!(failed, 0);
    assert_eq!(at.running.terminate().code(), Some(0));
}

#[tokio::test]
async fn a_socket_that_others_can_reach_is_not_served_in_plain_http_unless_that_is_meant() {
    let home = Home::new(&TestVendor::echo(), "");
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let refused = home.prepare(Home::command_with(&[&socket])).output().unwrap();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("plain HTTP") && told.contains("insecure = true"), "{told}");

    // Whoever connected to the other would wait for ever.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = home.prepare(Home::command_with(&[&other, &socket])).output().unwrap();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("2 sockets were handed over"), "{told}");

    let home = Home::new(&TestVendor::echo(), "insecure = true");
    let mut at = home.start_with(&socket, "log").await;
    at.ask_to_stop();
    at.ask_to_stop();
    assert_eq!(at.running.wait().code(), Some(0));
}
