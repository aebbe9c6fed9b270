//! One record a request, written when its body has ended.
//!
//! A worker formats its record into a buffer of its own; a thread writes the buffers out every [`INTERVAL`]. So a
//! request costs no system call for it, and a slow terminal slows nobody. When nobody reads, a buffer grows to
//! [`LONGEST_BUFFER`]; what comes after is counted and said, not kept. The metrics are counted at the same place.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use parking_lot::Mutex;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::metrics::{Ended, Metrics, Open, Series};
use super::traces::{Served, Span};
use crate::clock::Moment;
use crate::fault::Code;
use crate::id::RequestId;

/// How often buffers are written out.
const INTERVAL: Duration = Duration::from_millis(100);
/// What a worker's buffer holds at most.
const LONGEST_BUFFER: usize = 4 << 20;
/// A process that ends waits so long for whoever reads.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The digits that a number has at most.
const LONGEST_NUMBER: usize = 20;
/// nginx's status for a client that left before its answer.
const CLIENT_LEFT: u16 = 499;

/// Where records go.
#[derive(Clone, Debug)]
pub enum Output {
    /// Standard error.
    Stderr,
    /// Kept, for tests.
    Memory(Arc<Mutex<Vec<u8>>>),
    /// Nowhere.
    Off,
}

/// Where the records of all workers come together.
#[derive(Debug)]
pub struct Records {
    buffers: Vec<Mutex<Buffer>>,
    metrics: Arc<Metrics>,
    is_text: bool,
    output: Output,
    dropped: AtomicU64,
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// What was written out last, empty: its memory is there already.
    spare: Vec<u8>,
    /// The second that was formatted last: a busy worker formats the date once a second.
    second: u64,
    date: String,
}

impl Buffer {
    /// What is in it.
    fn emptied(&mut self) -> Vec<u8> {
        let spare = std::mem::take(&mut self.spare);
        std::mem::replace(&mut self.bytes, spare)
    }
}

impl Records {
    /// Records of `workers` workers.
    pub fn new(workers: usize, output: Output) -> Arc<Self> {
        let is_text = matches!(output, Output::Stderr) && std::io::stderr().is_terminal();
        let buffers = (0..workers.max(1)).map(|_| Mutex::default()).collect();
        let (metrics, dropped, stopping) = (Arc::new(Metrics::new(workers)), AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Self { buffers, metrics, is_text, output, dropped, stopping })
    }

    /// What is counted of them.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Starts the thread that writes them out. [`Records::stop`] ends it.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(self: &Arc<Self>) -> std::io::Result<JoinHandle<()>> {
        let records = Arc::clone(self);
        std::thread::Builder::new().name("records".to_owned()).spawn(move || {
            while !records.stopping.load(Ordering::Acquire) {
                std::thread::park_timeout(INTERVAL);
                records.flush();
            }
            records.flush();
        })
    }

    /// Ends the writing thread after it has written what there is, if somebody reads it soon.
    pub fn stop(&self, writer: &JoinHandle<()>) {
        self.stopping.store(true, Ordering::Release);
        writer.thread().unpark();
        let begun = Instant::now();
        while !writer.is_finished() && begun.elapsed() < LAST_WORDS {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Writes out what there is.
    pub fn flush(&self) {
        for buffer in &self.buffers {
            let mut bytes = buffer.lock().emptied();
            if !bytes.is_empty() {
                self.write(&bytes);
                // After a burst it is given back, when the next is small.
                if bytes.len() >= bytes.capacity() / 4 {
                    bytes.clear();
                    buffer.lock().spare = bytes;
                }
            }
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(dropped, "access records were dropped: nobody reads them fast enough");
        }
    }

    fn write(&self, bytes: &[u8]) {
        match &self.output {
            // A log that cannot be written cannot be told of.
            Output::Stderr => drop(std::io::stderr().lock().write_all(bytes)),
            Output::Memory(memory) => memory.lock().extend_from_slice(bytes),
            Output::Off => {}
        }
    }

    fn add(&self, worker: usize, record: &Record) {
        let duration = record.came.instant.elapsed();
        self.metrics.count(worker, &record.ended(duration));
        if matches!(self.output, Output::Off) {
            return;
        }
        let Some(buffer) = self.buffers.get(worker % self.buffers.len()) else { return };
        let mut buffer = buffer.lock();
        if buffer.bytes.len() > LONGEST_BUFFER {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let Buffer { bytes, second, date, .. } = &mut *buffer;
        if *second != record.came.wall.seconds() {
            *second = record.came.wall.seconds();
            *date = format_date(*second);
        }
        let line = Line { bytes, date, record, duration };
        if self.is_text { line.text() } else { line.json() }
    }
}

fn format_date(second: u64) -> String {
    let date = i64::try_from(second).ok().and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok());
    date.and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_default()
}

/// What is known of one request. It is written when it is dropped: that is when its body has ended, however it ended.
#[derive(Debug)]
pub struct Record {
    /// The request's id.
    pub id: RequestId,
    /// The bot, once it is known.
    pub bot: Option<String>,
    /// The session's id, once it is known.
    pub session: Option<String>,
    /// The template of the call; never the path that was sent.
    pub route: Option<Arc<str>>,
    /// The status of the answer; none if the caller left before it.
    pub status: Option<StatusCode>,
    /// Why the call was not served, or its answer cut.
    pub code: Option<Code>,
    /// Whose counts it is in.
    pub series: Series,
    /// Bytes of the request's body.
    pub received: Received,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// Whether all of the answer was handed to its connection.
    pub is_complete: bool,
    /// Its span, which ends with it.
    pub span: Span,
    records: Arc<Records>,
    worker: usize,
    client: IpAddr,
    method: &'static str,
    came: Moment,
    first_byte: Option<Duration>,
    /// What it is besides a call, while it is open.
    is_also: Option<Open>,
}

/// A body that declares less counts as received: it comes with its head, or soon after.
const SHORT_BODY: u64 = 64 << 10;

/// How much of a request's body has come.
#[derive(Clone, Debug)]
pub enum Received {
    /// Its length was declared.
    Known(u64),
    /// It is counted as it comes.
    Counted(Arc<AtomicU64>),
}

impl Received {
    /// What is known of a body before it has come: its length, or that it must be counted. Of a long one nothing may ever
    /// come, whatever was declared.
    pub fn of(declared: Option<u64>) -> Self {
        declared.filter(|length| *length < SHORT_BODY).map_or_else(|| Self::Counted(Arc::default()), Self::Known)
    }

    /// What counts, if it must be counted.
    pub fn counter(&self) -> Option<Arc<AtomicU64>> {
        match self {
            Self::Known(_) => None,
            Self::Counted(count) => Some(Arc::clone(count)),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Known(bytes) => *bytes,
            Self::Counted(count) => count.load(Ordering::Relaxed),
        }
    }
}

impl Record {
    /// The record of a request that has just come.
    pub fn begin(
        records: &Arc<Records>,
        worker: usize,
        id: RequestId,
        client: IpAddr,
        method: &Method,
        came: Moment,
    ) -> Self {
        records.metrics.opens(worker, Open::Call, 1);
        Self {
            id,
            bot: None,
            session: None,
            route: None,
            status: None,
            code: None,
            series: Series::default(),
            received: Received::Known(0),
            bytes_out: 0,
            is_complete: false,
            span: Span::default(),
            records: Arc::clone(records),
            worker,
            client,
            method: known_method(method),
            came,
            first_byte: None,
            is_also: None,
        }
    }

    /// When the request came.
    pub fn came(&self) -> Moment {
        self.came
    }

    /// Its answer goes on as this, until the record ends.
    pub fn goes_on_as(&mut self, what: Open) {
        if self.is_also.is_none() {
            self.records.metrics.opens(self.worker, what, 1);
            self.is_also = Some(what);
        }
    }

    /// A part of the answer's body leaves.
    pub fn sent(&mut self, bytes: usize) {
        self.first_byte.get_or_insert_with(|| self.came.instant.elapsed());
        self.bytes_out = self.bytes_out.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    fn ended(&self, duration: Duration) -> Ended {
        Ended {
            series: self.series,
            status: self.status.map(|status| status.as_u16()),
            code: self.code,
            is_complete: self.is_complete,
            received: self.received.bytes(),
            sent: self.bytes_out,
            first_byte: self.first_byte,
            duration,
        }
    }

    fn status_number(&self) -> u16 {
        self.status.map_or(CLIENT_LEFT, |status| status.as_u16())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.records.add(self.worker, self);
        for what in [Some(Open::Call), self.is_also].into_iter().flatten() {
            self.records.metrics.opens(self.worker, what, -1);
        }
        self.span.served(&Served {
            method: self.method,
            route: self.route.as_deref(),
            status: self.status,
            code: self.code,
            bot: self.bot.as_deref(),
            session: self.session.as_deref(),
            client: self.client,
            id: self.id.as_str(),
        });
    }
}

/// Methods are of a closed list: what a client invents is not repeated.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

/// One record on its way into a buffer. All its texts are of our own making (ids, templates, names that the
/// configuration checked), so that none needs escaping.
struct Line<'l> {
    bytes: &'l mut Vec<u8>,
    date: &'l str,
    record: &'l Record,
    duration: Duration,
}

impl Line<'_> {
    fn json(mut self) {
        let record = self.record;
        self.add(r#"{"timestamp":""#, self.date);
        self.add(r#"","level":"INFO","message":"access","id":""#, record.id.as_str());
        self.bytes.extend_from_slice(br#"","client":""#);
        self.client();
        self.add(r#"","method":""#, record.method);
        self.add(r#"","route":""#, record.route.as_deref().unwrap_or("-"));
        if let Some(bot) = &record.bot {
            self.add(r#"","bot":""#, bot);
        }
        if let Some(session) = &record.session {
            self.add(r#"","session":""#, session);
        }
        self.number(r#"","status":"#, u64::from(record.status_number()));
        if let Some(code) = record.code {
            self.add(r#","code":""#, code.name());
            self.add(r#"","fault":""#, code.blame().name());
            self.bytes.push(b'"');
        }
        self.number(r#","bytes_in":"#, record.received.bytes());
        self.number(r#","bytes_out":"#, record.bytes_out);
        if let Some(first_byte) = record.first_byte {
            self.number(r#","first_byte_us":"#, micros(first_byte));
        }
        self.number(r#","duration_us":"#, micros(self.duration));
        self.bytes.extend_from_slice(if record.is_complete {
            b",\"complete\":true}\n"
        } else {
            b",\"complete\":false}\n"
        });
    }

    fn text(self) {
        let record = self.record;
        let mut text = format!(
            "{} {} {} {} {}",
            self.date,
            record.status_number(),
            record.method,
            record.route.as_deref().unwrap_or("-"),
            record.client
        );
        // Writing into a String cannot fail.
        if let Some(bot) = &record.bot {
            let _written = write!(text, " bot={bot}");
        }
        if let Some(session) = &record.session {
            let _written = write!(text, " session={session}");
        }
        if let Some(code) = record.code {
            let _written = write!(text, " {} ({})", code.name(), code.blame().name());
        }
        let (bytes_in, bytes_out) = (record.received.bytes(), record.bytes_out);
        let _written = write!(text, " in={bytes_in} out={bytes_out} {:?} id={}", self.duration, record.id);
        text.push_str(if record.is_complete { "\n" } else { " cut\n" });
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn client(&mut self) {
        match self.record.client {
            // Nearly all are of this kind, and the formatter takes longer than all the rest of the line.
            IpAddr::V4(client) => {
                let [first, rest @ ..] = client.octets().map(u64::from);
                self.number("", first);
                rest.into_iter().for_each(|octet| self.number(".", octet));
            }
            // Writing into a Vec cannot fail.
            IpAddr::V6(client) => drop(write!(self.bytes, "{client}")),
        }
    }

    /// A piece of the line that is always the same, and a text.
    fn add(&mut self, piece: &str, text: &str) {
        self.bytes.extend_from_slice(piece.as_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// The same with a number. Its digits are written where they stay: a copy of what was written just now waits for it.
    fn number(&mut self, piece: &str, mut number: u64) {
        self.bytes.extend_from_slice(piece.as_bytes());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[b'0'; LONGEST_NUMBER]);
        let length = number.checked_ilog10().map_or(1, |power| power as usize + 1);
        self.bytes.truncate(start + length);
        for digit in self.bytes.iter_mut().skip(start).rev() {
            *digit += (number % 10) as u8;
            number /= 10;
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Timestamp};

    fn came(seconds: u64) -> Moment {
        Clock::manual(Timestamp::from_seconds(seconds)).moment()
    }

    #[test]
    fn a_record_is_one_json_line_written_when_it_ends() {
        let memory = Arc::new(Mutex::new(Vec::new()));
        let records = Records::new(2, Output::Memory(Arc::clone(&memory)));
        let client = "192.0.2.1".parse().unwrap();
        let method = Method::from_bytes(b"EVIL").unwrap();
        let mut record = Record::begin(&records, 1, RequestId::next(), client, &method, came(1_800_000_000));
        record.route = Some("POST /chat".into());
        record.status = Some(StatusCode::OK);
        record.code = Some(Code::VendorFailed);
        record.sent(12);
        record.is_complete = true;
        records.flush();
        assert!(memory.lock().is_empty());
        drop(record);
        records.flush();
        let line: serde_json::Value = serde_json::from_slice(&memory.lock()).unwrap();
        assert_eq!(line["timestamp"], "2027-01-15T08:00:00Z");
        assert_eq!(
            (&line["method"], &line["status"], &line["fault"]),
            (&"OTHER".into(), &200.into(), &"vendor".into())
        );
        assert_eq!((&line["bytes_out"], &line["complete"]), (&12.into(), &true.into()));
    }

    #[test]
    fn whatever_is_known_of_a_request_its_line_is_json_and_no_line_is_lost_or_written_twice() {
        let memory = Arc::new(Mutex::new(Vec::new()));
        let records = Records::new(1, Output::Memory(Arc::clone(&memory)));
        let clients = ["192.0.2.1", "2001:db8::1"].map(|client| client.parse::<IpAddr>().unwrap());
        let mut ids = Vec::new();
        for known in 0..64_u8 {
            let has = |bit: u8| known >> bit & 1 == 1;
            let client = clients[usize::from(has(0))];
            let mut record = Record::begin(&records, 0, RequestId::next(), client, &Method::POST, came(1_800_000_000));
            record.bot = has(1).then(|| "support".to_owned());
            record.session = has(2).then(|| "s-1".to_owned());
            record.code = has(3).then_some(Code::VendorFailed);
            record.is_complete = has(4);
            if has(5) {
                record.sent(12);
            }
            ids.push(record.id.to_string());
            drop(record);
            if known % 5 == 0 {
                records.flush();
            }
        }
        records.flush();
        let text = String::from_utf8(memory.lock().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let written: Vec<_> = lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(written, ids);
        for (known, line) in (0..64_u8).zip(&lines) {
            let has = |bit: u8| known >> bit & 1 == 1;
            assert_eq!(line["client"], clients[usize::from(has(0))].to_string());
            let there = ["bot", "session", "code"].map(|name| line.get(name).is_some());
            assert_eq!(there, [has(1), has(2), has(3)], "{line}");
            assert_eq!((&line["complete"], line.get("first_byte_us").is_some()), (&has(4).into(), has(5)));
        }
    }

    #[test]
    fn numbers_are_on_record_as_they_are() {
        let memory = Arc::new(Mutex::new(Vec::new()));
        let records = Records::new(1, Output::Memory(Arc::clone(&memory)));
        let numbers =
            [0, 9, 10, 99, 100, 8_080, 65_535, 99_999_999, 100_000_000, 9_876_543_210, u64::MAX - 1, u64::MAX];
        for number in numbers {
            let client = "10.0.255.100".parse().unwrap();
            let mut record = Record::begin(&records, 0, RequestId::next(), client, &Method::GET, came(0));
            (record.received, record.bytes_out) = (Received::Known(number), number);
        }
        records.flush();
        let text = String::from_utf8(memory.lock().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let written = |name: &str| lines.iter().map(|line| line[name].as_u64().unwrap()).collect::<Vec<_>>();
        assert_eq!((written("bytes_in"), written("bytes_out")), (numbers.to_vec(), numbers.to_vec()));
        assert!(lines.iter().all(|line| line["client"] == "10.0.255.100"), "{text}");
    }

    #[test]
    fn a_client_that_left_before_its_answer_is_on_record() {
        let memory = Arc::new(Mutex::new(Vec::new()));
        let records = Records::new(1, Output::Memory(Arc::clone(&memory)));
        let client = "::1".parse().unwrap();
        drop(Record::begin(&records, 0, RequestId::next(), client, &Method::GET, came(0)));
        records.flush();
        let line: serde_json::Value = serde_json::from_slice(&memory.lock()).unwrap();
        assert_eq!((&line["status"], &line["complete"], &line["route"]), (&499.into(), &false.into(), &"-".into()));
    }
}
