//! The span of a request, and of a part of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as Outcome;
use opentelemetry_proto::tonic::trace::v1::{Span as Message, Status};

use super::{Context, Queue};
use crate::clock::Timestamp;
use crate::fault::{Blame, Code};

/// Flags of a span (OTLP): whether it is known where its parent is, and that it is elsewhere.
const HAS_IS_REMOTE: u32 = 1 << 8;
const IS_REMOTE: u32 = 1 << 9;

/// A span that others can hang on: of a request, or of a part of it. Nothing, where nobody wants to know.
#[derive(Clone, Debug, Default)]
pub struct Span(Option<Arc<Inner>>);

#[derive(Debug)]
pub(super) struct Inner {
    /// Nothing: its ids are passed on, and it is not recorded.
    pub(super) queue: Option<Queue>,
    pub(super) context: Context,
    pub(super) parent: Option<u64>,
    /// Whether the parent is somebody else's.
    pub(super) is_remote: bool,
    pub(super) clock: Clocked,
    pub(super) start: Instant,
}

/// When the request came, by the clock and by that which only measures: so all its spans have one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocked {
    pub(super) at: Timestamp,
    pub(super) since: Instant,
}

impl Clocked {
    fn nanos(self, moment: Instant) -> u64 {
        let since = u64::try_from(moment.saturating_duration_since(self.since).as_nanos()).unwrap_or(u64::MAX);
        self.at.millis().saturating_mul(1_000_000).saturating_add(since)
    }
}

/// What is told of a request that was served.
#[derive(Debug)]
pub struct Served<'s> {
    /// Its method, of the closed list.
    pub method: &'static str,
    /// Method and path of its call, as a template.
    pub route: Option<&'s str>,
    /// The status of its answer.
    pub status: Option<StatusCode>,
    /// Why it was not served.
    pub code: Option<Code>,
    /// The bot.
    pub bot: Option<&'s str>,
    /// The session.
    pub session: Option<&'s str>,
    /// Where it came from.
    pub client: IpAddr,
    /// The id in its answer.
    pub id: &'s str,
}

impl Span {
    /// None.
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn of(inner: Inner) -> Self {
        Self(Some(Arc::new(inner)))
    }

    /// One that passes on what it was told, and is not recorded.
    pub(super) fn passing(context: Context) -> Self {
        let clock = Clocked { at: Timestamp::default(), since: Instant::now() };
        let start = clock.since;
        Self::of(Inner { queue: None, context, parent: None, is_remote: true, clock, start })
    }

    fn recorded(&self) -> Option<&Arc<Inner>> {
        self.0.as_ref().filter(|inner| inner.queue.is_some())
    }

    /// Begins a part of it.
    pub fn part(&self, name: &'static str) -> Part {
        self.begin(name, SpanKind::Internal)
    }

    /// Begins a call to somebody else, who is told of it in `headers`.
    pub fn call(&self, name: &'static str, headers: &mut HeaderMap) -> Part {
        let part = self.begin(name, SpanKind::Client);
        if let Some(inner) = &part.span.0 {
            inner.context.write(headers);
        }
        part
    }

    fn begin(&self, name: &'static str, kind: SpanKind) -> Part {
        let Some(own) = self.recorded() else { return Part { span: self.clone(), told: None } };
        let inner = Inner {
            queue: own.queue.clone(),
            context: own.context.clone().child(),
            parent: Some(own.context.span()),
            is_remote: false,
            clock: own.clock,
            start: Instant::now(),
        };
        Part { span: Self::of(inner), told: Some(Box::new(Told::new(name, kind))) }
    }

    /// Ends that of a request.
    pub fn served(&self, served: &Served<'_>) {
        let Some(inner) = self.recorded() else { return };
        let Served { method, route, status, code, bot, session, client, id } = served;
        // The convention's words for a method that is not known.
        let (word, method) = if *method == "OTHER" { ("HTTP", "_OTHER") } else { (*method, *method) };
        let mut told = Told::new(route.map_or_else(|| word.to_owned(), str::to_owned), SpanKind::Server);
        told.text("http.request.method", method);
        if let Some(path) = route.and_then(|route| route.split_once(' ')).map(|(_method, path)| path) {
            told.text("http.route", path);
        }
        if let Some(status) = status {
            told.number("http.response.status_code", i64::from(status.as_u16()));
            told.is_error |= status.is_server_error();
        }
        if let Some(code) = code {
            told.text("error.type", code.name());
            // What the caller did wrong is no error of this span's (the convention for servers).
            told.is_error |= code.blame() != Blame::Client;
        }
        for (name, value) in [("keystile.bot", bot), ("keystile.session", session)] {
            if let Some(value) = value {
                told.text(name, value);
            }
        }
        told.text("client.address", &client.to_string());
        told.text("keystile.request", id);
        inner.end(told);
    }
}

impl Inner {
    fn end(&self, told: Told) {
        let Some(queue) = &self.queue else { return };
        let place = if self.is_remote && self.parent.is_some() { HAS_IS_REMOTE | IS_REMOTE } else { HAS_IS_REMOTE };
        let code = if told.is_error { Outcome::Error } else { Outcome::Unset };
        queue.put(Message {
            trace_id: self.context.trace().to_be_bytes().to_vec(),
            span_id: self.context.span().to_be_bytes().to_vec(),
            trace_state: self.context.state().to_owned(),
            parent_span_id: self.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
            flags: u32::from(self.context.is_sampled()) | place,
            name: told.name,
            kind: told.kind.into(),
            start_time_unix_nano: self.clock.nanos(self.start),
            end_time_unix_nano: self.clock.nanos(Instant::now()),
            attributes: told.attributes,
            status: told.is_error.then(|| Status { message: String::new(), code: code.into() }),
            ..Message::default()
        });
    }
}

/// A part of a request. Its span ends when it is dropped, however that comes.
#[derive(Debug)]
pub struct Part {
    span: Span,
    /// Nothing: nobody wants to know.
    told: Option<Box<Told>>,
}

#[derive(Debug)]
struct Told {
    name: String,
    kind: SpanKind,
    attributes: Vec<KeyValue>,
    is_error: bool,
}

impl Told {
    fn new(name: impl Into<String>, kind: SpanKind) -> Self {
        Self { name: name.into(), kind, attributes: Vec::with_capacity(8), is_error: false }
    }

    fn text(&mut self, name: &'static str, text: &str) {
        self.add(name, any_value::Value::StringValue(text.to_owned()));
    }

    fn number(&mut self, name: &'static str, number: i64) {
        self.add(name, any_value::Value::IntValue(number));
    }

    fn add(&mut self, name: &'static str, value: any_value::Value) {
        let value = Some(AnyValue { value: Some(value) });
        self.attributes.push(KeyValue { key: name.to_owned(), value, ..KeyValue::default() });
    }
}

impl Part {
    /// What hangs on it.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Tells a text of it: one of a closed list.
    pub fn text(&mut self, name: &'static str, text: &str) {
        if let Some(told) = &mut self.told {
            told.text(name, text);
        }
    }

    /// Tells a number of it.
    pub fn number(&mut self, name: &'static str, number: impl Into<i64>) {
        if let Some(told) = &mut self.told {
            told.number(name, number.into());
        }
    }

    /// Tells what a call was answered; to whoever makes it, a refusal is an error.
    pub fn answered(&mut self, status: StatusCode) {
        self.number("http.response.status_code", status.as_u16());
        if let Some(told) = self.told.as_mut().filter(|_| status.is_client_error() || status.is_server_error()) {
            told.is_error = true;
            told.text("error.type", status.as_str());
        }
    }

    /// Tells why it failed.
    pub fn failed(&mut self, code: Code) {
        if let Some(told) = &mut self.told {
            told.is_error = true;
            told.text("error.type", code.name());
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let (Some(inner), Some(told)) = (&self.span.0, self.told.take()) {
            inner.end(*told);
        }
    }
}
