//! The connection that all operations share, replaced when it is lost.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, Script, ServerErrorKind, Value};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::connection::{Connection, Connector};
use super::rows::Reply;
use super::scripts::{Arguments, PREFIX, Scripts};
use crate::store::{RedisPlace, StoreError};

/// After a connection that could not be made, none is tried for so long: those who wait learn it at once.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection this young to a server that may not be written to is not replaced at once: its place knows no better one yet.
const YOUNG: Duration = Duration::from_secs(1);

/// A connection is made within this, with all that is asked before it.
const CONNECT: Duration = Duration::from_millis(1500);

/// So long an attempt has for itself. What a network loses of a first packet is sent again after a second, and within a
/// second of the return of a Redis what was ended elsewhere has to be known here: so other attempts go out beside one that
/// lasts. Not in its place: over TLS and a wide area one may take longer.
const HEAD_START: Duration = Duration::from_millis(400);

/// The way to a Redis.
pub(super) struct Link {
    connector: Arc<Connector>,
    /// The hosts and ports that the configuration names, for messages.
    place: String,
    scripts: Scripts,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// How many connections there were: who finds one broken must not throw away the next.
    generation: u64,
    made: Option<Instant>,
    failed: Option<(Instant, StoreError)>,
}

impl Link {
    pub(super) fn new(place: &RedisPlace) -> Result<Self, StoreError> {
        let connector = Connector::new(place)
            .map_err(|error| StoreError::unusable(format_args!("no way to this Redis: {}", said(&error))))?;
        let (connector, place) = (Arc::new(connector), place.to_string());
        Ok(Self { connector, place, scripts: Scripts::new(), state: Mutex::default() })
    }

    pub(super) fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Runs a script; once more on a new connection if the one that there was is lost, and `again` says that it may.
    pub(super) async fn invoke(
        &self,
        script: &Script,
        arguments: &Arguments,
        again: bool,
    ) -> Result<Reply, StoreError> {
        let mut invocation = script.key(PREFIX);
        for argument in arguments.iter() {
            invocation.arg(argument);
        }
        let mut may_again = again;
        loop {
            let (mut connection, generation) = self.connection().await?;
            let error = match invocation.invoke_async(&mut connection).await {
                Ok(parts) => return Ok(Reply::new(parts)),
                Err(error) => error,
            };
            let is_lost = self.forget_if_lost(&error, generation).await;
            if !(is_lost && may_again) || error.is_timeout() {
                return Err(self.away(&error));
            }
            may_again = false;
        }
    }

    /// Runs a command that changes nothing where the store's keys are; once more on a new connection if the one that there
    /// was is lost. Nothing where the server refuses it.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<Option<T>, StoreError> {
        let mut may_again = true;
        loop {
            let (mut connection, generation) = self.connection().await?;
            let error = match connection.ask(command).await.and_then(Value::extract_error) {
                Ok(answer) => return Ok(T::from_redis_value(answer).ok()),
                Err(error) => error,
            };
            let is_lost = self.forget_if_lost(&error, generation).await;
            if !(is_lost && may_again) || error.is_timeout() {
                return if error.is_io_error() { Err(self.away(&error)) } else { Ok(None) };
            }
            may_again = false;
        }
    }

    async fn connection(&self) -> Result<(Connection, u64), StoreError> {
        // Held while connecting: one connects, the others wait for what comes of it.
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok((connection.clone(), state.generation));
        }
        if let Some((when, error)) = &state.failed
            && when.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        // The crate bounds the connection, but not what is asked of sentinels and of a cluster before it.
        let connected = tokio::time::timeout(CONNECT, self.connect()).await;
        let late = |_elapsed| Err(StoreError::away(format_args!("Redis at {}: no connection in time", self.place)));
        match connected.map_or_else(late, |connected| connected.map_err(|error| self.away(&error))) {
            Ok(connection) => {
                state.failed = None;
                state.generation += 1;
                state.made = Some(Instant::now());
                state.connection = Some(connection.clone());
                Ok((connection, state.generation))
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// The first connection that comes about, of attempts that begin one after the other.
    async fn connect(&self) -> RedisResult<Connection> {
        let mut attempts = JoinSet::new();
        let mut next = interval(HEAD_START);
        loop {
            let ended = tokio::select! {
                _time = next.tick() => {
                    let connector = Arc::clone(&self.connector);
                    attempts.spawn(async move { connector.connect().await });
                    continue;
                }
                Some(ended) = attempts.join_next() => ended,
            };
            match ended.unwrap_or_else(|_panicked| Err((ErrorKind::Io, "the attempt ended").into())) {
                // Another one may still come to more.
                Err(_) if !attempts.is_empty() => {}
                connected => return connected,
            }
        }
    }

    async fn forget_if_lost(&self, error: &RedisError, generation: u64) -> bool {
        // A server that became a replica, or lost its own, refuses to write: the sentinels know another.
        let is_replaced =
            error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly) || error.code() == Some("NOREPLICAS");
        let is_lost = error.is_unrecoverable_error() || error.is_io_error() || is_replaced;
        if is_lost {
            let mut state = self.state.lock().await;
            if state.generation == generation {
                state.connection = None;
                let is_young = state.made.is_some_and(|made| made.elapsed() < YOUNG);
                if is_replaced && is_young {
                    state.failed = Some((Instant::now(), self.away(error)));
                }
            }
        }
        is_lost
    }

    fn away(&self, error: &RedisError) -> StoreError {
        StoreError::away(format_args!("Redis at {}: {}", self.place, said(error)))
    }
}

/// What kind of error it is, without the crate's text: that may quote what was sent.
fn said(error: &RedisError) -> String {
    if error.is_timeout() {
        return "it does not answer in time".to_owned();
    }
    if let Some(wrong) = certificate(error).or_else(|| connection(error)) {
        return wrong.to_owned();
    }
    match error.code() {
        Some(code) => format!("it answers {code}"),
        None => error.category().to_owned(),
    }
}

/// Why there is no connection, or none with a Redis.
fn connection(error: &RedisError) -> Option<&'static str> {
    if error.kind() == ErrorKind::Parse {
        return Some("what answers there is no Redis, or one that speaks TLS (rediss://)");
    }
    let io = io_error(error)?;
    let text = io.to_string();
    Some(match io.kind() {
        io::ErrorKind::ConnectionRefused => "the connection was refused: nothing listens there",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "there is no way to it",
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => "the connection was closed",
        io::ErrorKind::InvalidData if text.contains("corrupt message") => "it does not speak TLS",
        io::ErrorKind::InvalidData => "the TLS handshake failed",
        _ if text.contains("lookup") => "nobody knows this name: the look-up of its address failed",
        _ => return None,
    })
}

/// The system's error, if it is one: the crate keeps it behind a pointer.
fn io_error(error: &RedisError) -> Option<&io::Error> {
    error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?.downcast_ref()
}

/// What is wrong with the certificate that was shown. The crate has rustls's error as its text alone.
fn certificate(error: &RedisError) -> Option<&'static str> {
    let text = error.to_string();
    let (_, wrong) = text.split_once("invalid peer certificate: ")?;
    // A bad signature: it names a trusted authority as its issuer, and is of another.
    Some(if wrong.starts_with("UnknownIssuer") || wrong.starts_with("BadSignature") {
        "its certificate is of an authority that is not trusted here; name its own as store.ca"
    } else if wrong.starts_with("certificate not valid for name") || wrong.starts_with("NotValidForName") {
        "its certificate is for another name than that of the url"
    } else if wrong.contains("expired") || wrong.starts_with("Expired") {
        "its certificate has expired"
    } else {
        "its certificate is not accepted"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_there_is_no_connection_is_told() {
        let of = |kind: io::ErrorKind, text: &str| said(&RedisError::from(io::Error::new(kind, text.to_owned())));
        assert!(of(io::ErrorKind::ConnectionRefused, "").contains("was refused"));
        assert!(of(io::ErrorKind::UnexpectedEof, "").contains("was closed"));
        assert!(of(io::ErrorKind::HostUnreachable, "").contains("no way"));
        assert!(of(io::ErrorKind::TimedOut, "").contains("in time"));
        let lookup = "failed to lookup address information: Name or service not known";
        assert!(of(io::ErrorKind::Other, lookup).contains("look-up of its address failed"));
        let corrupt = "received corrupt message of type InvalidContentType";
        assert_eq!(of(io::ErrorKind::InvalidData, corrupt), "it does not speak TLS");
        let parse = RedisError::from((ErrorKind::Parse, "what was sent"));
        assert!(said(&parse).contains("is no Redis") && !said(&parse).contains("what was sent"));
    }
}
