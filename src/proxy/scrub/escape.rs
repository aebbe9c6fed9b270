//! Escapes: other ways to write one character, in percent-encoding (RFC 3986 §2.1) and in JSON (RFC 8259 §7).
//!
//! Both are read at once, byte by byte: `%2F`, `\u002f` and `\/` are all `/`.

/// The longest escape: `\u002f`.
pub(super) const LONGEST: usize = 6;

/// What a text begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// An escape of so many bytes.
    Escape { byte: u8, length: usize },
    /// Less than a whole escape, and the text ends.
    Partial,
    /// No escape.
    Plain,
}

/// Reads `text` at a place where it may begin with an escape.
///
/// `\\` is none. Whether it is one depends on how many more `\` stand before it, so that a vendor could hide the escape
/// behind it by writing one `\` more; and nothing is lost, as no form but [`super::forms::Kind::Doubled`] holds a `\`.
pub(super) fn parse(text: &[u8]) -> Parsed {
    match text {
        [b'%', digits @ ..] => hex(digits, 1),
        [b'\\', b'u', b'0', b'0', digits @ ..] => hex(digits, 4),
        [b'\\'] | [b'\\', b'u'] | [b'\\', b'u', b'0'] => Parsed::Partial,
        [b'\\', letter, ..] => match letter {
            b'/' | b'"' => Parsed::Escape { byte: *letter, length: 2 },
            b'b' => Parsed::Escape { byte: 0x08, length: 2 },
            b'f' => Parsed::Escape { byte: 0x0c, length: 2 },
            b'n' => Parsed::Escape { byte: b'\n', length: 2 },
            b'r' => Parsed::Escape { byte: b'\r', length: 2 },
            b't' => Parsed::Escape { byte: b'\t', length: 2 },
            _ => Parsed::Plain,
        },
        _ => Parsed::Plain,
    }
}

/// Two digits behind the first `before` bytes of an escape.
fn hex(text: &[u8], before: usize) -> Parsed {
    match text {
        [] => Parsed::Partial,
        [high] if digit(*high).is_some() => Parsed::Partial,
        [high, low, ..] => match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => Parsed::Escape { byte: high << 4 | low, length: before + 2 },
            _ => Parsed::Plain,
        },
        _ => Parsed::Plain,
    }
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Whether `partial`, for which [`parse`] said so, may become an escape of `byte`.
pub(super) fn may_become(partial: &[u8], byte: u8) -> bool {
    match partial {
        [b'%', high] | [b'\\', b'u', b'0', b'0', high] => digit(*high) == Some(byte >> 4),
        _ => true,
    }
}
