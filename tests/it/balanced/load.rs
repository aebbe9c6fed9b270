//! A steady load through the balancer, of which every call is accounted for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

use super::replicas::{say, server, token_in, whole_of};
use crate::support::balancer::{Connection, TestBalancer};

/// Clients that keep their connection with HTTP/1.1, and with HTTP/2, and those that take a new one for each call.
const KEEPING: usize = 16;
const MODERN: usize = 8;
const CONNECTING: usize = 2;
/// All of them.
pub(super) const CLIENTS: usize = KEEPING + MODERN + CONNECTING;
/// How often each of them asks, and how often a session is opened.
const PACE: Duration = Duration::from_millis(20);
const MINT_PACE: Duration = Duration::from_millis(100);
/// Tokens in use at once: the first, and the latest ones.
const TOKENS: usize = 8;

/// A call that failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) began: Instant,
    /// The replica that the balancer chose, if it says so.
    pub(super) server: String,
    pub(super) why: String,
}

/// What the load has come to so far.
#[derive(Debug, Default)]
pub(super) struct Count {
    /// Calls that went well, by replica and client.
    served: BTreeMap<(String, IpAddr), usize>,
    pub(super) minted: usize,
    pub(super) failures: Vec<Failure>,
}

impl Count {
    pub(super) fn calls(&self) -> usize {
        self.served.values().sum::<usize>() + self.failures.len()
    }

    /// Calls that went well, by replica.
    pub(super) fn served(&self) -> BTreeMap<&str, usize> {
        self.served.iter().fold(BTreeMap::new(), |mut counts, ((server, _), count)| {
            *counts.entry(server.as_str()).or_default() += count;
            counts
        })
    }

    /// Calls that this replica served, by client.
    pub(super) fn of_clients(&self, server: &str) -> BTreeMap<String, usize> {
        let its = self.served.iter().filter(|((name, _), _)| name == server);
        its.map(|((_, client), count)| (client.to_string(), *count)).collect()
    }
}

/// The clients, at work until they are stopped.
#[derive(Debug)]
pub(super) struct Load {
    stop: AtomicBool,
    tokens: Mutex<Vec<String>>,
    count: Mutex<Count>,
}

impl Load {
    /// With this token to begin with.
    pub(super) fn new(token: String) -> Self {
        Self { stop: AtomicBool::new(false), tokens: Mutex::new(vec![token]), count: Mutex::default() }
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn look<T>(&self, at: impl FnOnce(&Count) -> T) -> T {
        at(&self.count.lock())
    }

    /// What it came to, once all have stopped.
    pub(super) fn finished(self) -> Count {
        self.count.into_inner()
    }

    /// Calls that this replica served.
    pub(super) fn served_by(&self, server: &str) -> usize {
        self.look(|count| count.served().get(server).copied().unwrap_or_default())
    }

    /// The token that was minted last.
    pub(super) fn latest(&self) -> String {
        self.tokens.lock().last().unwrap().clone()
    }

    fn token(&self, turn: usize) -> String {
        let tokens = self.tokens.lock();
        tokens[turn % tokens.len()].clone()
    }

    /// The client of this number asks at its pace until the load is stopped.
    pub(super) async fn ask(self: Arc<Self>, balancer: Arc<TestBalancer>, from: IpAddr, number: usize) {
        let is_new = number >= KEEPING + MODERN;
        let mut line = Line { balancer, from, is_http2: !is_new && number >= KEEPING, connection: None };
        let mut pace = paced(PACE);
        for turn in 0.. {
            pace.tick().await;
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if is_new {
                line.connection = None;
            }
            self.make(&mut line, say(&self.token(turn), "hi", false), 200).await;
        }
    }

    /// Opens sessions at its pace, whose tokens are used from then on beside the first one.
    pub(super) async fn mint(
        self: Arc<Self>,
        balancer: Arc<TestBalancer>,
        from: IpAddr,
        mint: impl Fn() -> Request<Full<Bytes>>,
    ) {
        let mut line = Line { balancer, from, is_http2: false, connection: None };
        let mut pace = paced(MINT_PACE);
        while !self.stop.load(Ordering::Relaxed) {
            pace.tick().await;
            let Some(body) = self.make(&mut line, mint(), 201).await else { continue };
            self.count.lock().minted += 1;
            let mut tokens = self.tokens.lock();
            if tokens.len() == TOKENS {
                tokens.remove(1);
            }
            tokens.push(token_in(&body));
        }
    }

    /// Makes a call and counts it; its body, if it went well.
    async fn make(&self, line: &mut Line, request: Request<Full<Bytes>>, wanted: u16) -> Option<String> {
        let began = Instant::now();
        let (server, outcome) = line.make(request).await;
        let outcome = match outcome {
            Ok((status, body)) if status == wanted => Ok(body),
            Ok((status, body)) => Err(format!("{status}: {body}")),
            Err(why) => Err(why),
        };
        let mut count = self.count.lock();
        match outcome {
            Ok(body) => {
                *count.served.entry((server, line.from)).or_default() += 1;
                Some(body)
            }
            Err(why) => {
                count.failures.push(Failure { began, server, why });
                None
            }
        }
    }
}

/// The connection of one client.
struct Line {
    balancer: Arc<TestBalancer>,
    from: IpAddr,
    is_http2: bool,
    connection: Option<Connection>,
}

impl Line {
    /// The replica, as far as it is known, and the answer's status and body.
    async fn make(&mut self, request: Request<Full<Bytes>>) -> (String, Result<(u16, String), String>) {
        let mut connection = match self.open().await {
            Ok(connection) => connection,
            Err(error) => return (String::new(), Err(format!("no connection: {error}"))),
        };
        let answer = match connection.send(request).await {
            Ok(answer) => answer,
            Err(error) => return (String::new(), Err(format!("no answer: {error:?}"))),
        };
        let server = server(&answer);
        match whole_of(answer).await {
            Ok((status, server, body)) => {
                self.connection = Some(connection);
                (server, Ok((status, body)))
            }
            Err(error) => (server, Err(format!("cut: {error:?}"))),
        }
    }

    /// The connection that is there, unless the balancer has closed it, or a new one.
    async fn open(&mut self) -> std::io::Result<Connection> {
        if let Some(mut connection) = self.connection.take()
            && connection.is_open().await
        {
            return Ok(connection);
        }
        self.balancer.connect(self.from, self.is_http2).await
    }
}

fn paced(pace: Duration) -> tokio::time::Interval {
    let mut pace = tokio::time::interval(pace);
    pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
    pace
}
