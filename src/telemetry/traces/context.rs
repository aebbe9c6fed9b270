//! Which trace, and which span of it: W3C Trace Context (`traceparent`, `tracestate`).

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::id::{unhex, unique};

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");

/// The flag of traces that are recorded.
const SAMPLED: u8 = 1;
/// Version, trace, span and flags with the dashes between them.
const LENGTH: usize = 55;
/// What everybody has to pass on of `tracestate` (Trace Context §3.3.1.5); more is left away as a whole.
const LONGEST_STATE: usize = 512;

/// A place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    trace: u128,
    span: u64,
    flags: u8,
    /// What others keep in it: passed on as it came, from a proxy of ours.
    state: Option<HeaderValue>,
}

impl Context {
    /// The beginning of a new trace.
    pub(super) fn new() -> Self {
        let trace = u128::from(random()) << 64 | u128::from(random());
        Self { trace, span: random(), flags: 0, state: None }
    }

    /// What these headers say; nothing where they say none, or not clearly.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(PARENT).iter();
        let (only, None) = (values.next()?, values.next()) else { return None };
        let (trace, span, flags) = parsed(only.to_str().ok()?)?;
        Some(Self { trace, span, flags: flags & SAMPLED, state: state(headers) })
    }

    /// The same with another span.
    pub(super) fn child(self) -> Self {
        Self { span: random(), ..self }
    }

    pub(super) fn sampled(self, is_sampled: bool) -> Self {
        Self { flags: if is_sampled { SAMPLED } else { 0 }, ..self }
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub(super) fn trace(&self) -> u128 {
        self.trace
    }

    pub(super) fn span(&self) -> u64 {
        self.span
    }

    pub(super) fn state(&self) -> &str {
        self.state.as_ref().and_then(|state| state.to_str().ok()).unwrap_or_default()
    }

    /// By hand: every call to a vendor has one, and a formatter takes longer than all the rest of a span that is not recorded.
    fn text(&self) -> [u8; LENGTH] {
        let mut text = [b'-'; LENGTH];
        for (at, bytes) in
            [(0, &[0][..]), (3, &self.trace.to_be_bytes()), (36, &self.span.to_be_bytes()), (53, &[self.flags])]
        {
            write_hex(&mut text, at, bytes);
        }
        text
    }

    /// Writes it into the headers of a call; what they say of it already is replaced.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_bytes(&self.text()) {
            headers.insert(PARENT, value);
        }
        match &self.state {
            Some(state) => headers.insert(STATE, state.clone()),
            None => headers.remove(STATE),
        };
    }
}

/// Writes `bytes` in hexadecimal, from the place `at`.
fn write_hex(text: &mut [u8; LENGTH], at: usize, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text[at..].chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Trace, span and flags (Trace Context §3.2). A later version may say more behind that.
fn parsed(text: &str) -> Option<(u128, u64, u8)> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let mut parts = known.split('-');
    let mut next = |length: usize| {
        let is_hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        parts.next().filter(|part| part.len() == length).filter(is_hex)
    };
    let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
    let is_known = if version == "00" { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
    let (trace, span) = (u128::from_be_bytes(unhex(trace)?), u64::from_be_bytes(unhex(span)?));
    let [flags] = unhex(flags)?;
    (is_known && version != "ff" && trace != 0 && span != 0).then_some((trace, span, flags))
}

/// All lines of `tracestate` as one.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(STATE).iter().map(|line| line.to_str().ok());
    let first = lines.next()??.to_owned();
    let all = lines.try_fold(first, |all, line| Some(format!("{all},{}", line?)))?;
    let is_fit = !all.is_empty() && all.len() <= LONGEST_STATE;
    HeaderValue::try_from(all).ok().filter(|_| is_fit)
}

/// A number for an id. It is as unlikely to be 0, which is no id, as to be another's.
fn random() -> u64 {
    unique().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(lines: &[(HeaderName, &str)]) -> Option<Context> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Context::of(&headers)
    }

    #[test]
    fn a_context_is_read_and_written_as_it_came() {
        let context = of(&[(PARENT, GOOD), (STATE, "a=1"), (STATE, "b=2")]).unwrap();
        assert!(context.is_sampled());
        let mut headers = HeaderMap::new();
        context.write(&mut headers);
        assert_eq!((&headers[PARENT], &headers[STATE]), (&GOOD.parse().unwrap(), &"a=1,b=2".parse().unwrap()));
        let other = context.clone().child();
        assert_eq!(other.trace(), context.trace());
        assert_ne!(other.span(), context.span());
    }

    #[test]
    fn what_is_no_traceparent_says_nothing() {
        let later = GOOD.replacen("00", "cc", 1);
        assert!(of(&[(PARENT, &later)]).is_some() && of(&[(PARENT, &format!("{later}-more"))]).is_some());
        for text in [
            "",
            "00",
            &GOOD.to_uppercase(),
            &GOOD[1..],
            &format!("{GOOD}-more"),
            &format!("{later}more"),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace('-', "_"),
            &GOOD.replace('a', "g"),
        ] {
            assert_eq!(of(&[(PARENT, text)]), None, "{text}");
        }
        assert_eq!(of(&[(PARENT, GOOD), (PARENT, GOOD)]), None);
        let long = format!("a={}", "1".repeat(LONGEST_STATE));
        assert_eq!(of(&[(PARENT, GOOD), (STATE, &long)]).unwrap().state(), "");
    }

    #[test]
    fn ids_differ() {
        let ids: std::collections::HashSet<u128> = (0..10_000).map(|_| Context::new().trace()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
