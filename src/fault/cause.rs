//! Causes as the log has them: an error and what lies below it, in words that no peer has chosen.
//!
//! Two libraries quote the peer in their errors, and a hostile vendor can put a key there: h2 the debug data of a GOAWAY,
//! rustls the names in a certificate. Of those only the kind is told. Whatever else a text holds, it is cut, and steers
//! nobody's terminal.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;

use rustls::CertificateError;

use crate::text::shown;

/// An error of which there is no fault, and what lies below it, each behind a colon.
#[derive(Debug)]
pub struct Causes<'e>(pub &'e (dyn Error + Send + Sync + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(formatter, self.0)
    }
}

/// Writes `error` and its sources, each behind a colon.
pub(super) fn write(formatter: &mut fmt::Formatter<'_>, error: &(dyn Error + Send + Sync + 'static)) -> fmt::Result {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        write!(formatter, ": {}", shown(&told(error)))?;
        cause = error.source();
    }
    Ok(())
}

fn told(error: &(dyn Error + 'static)) -> Cow<'static, str> {
    if let Some(http2) = error.downcast_ref::<h2::Error>() {
        return match http2.reason() {
            Some(reason) => format!("HTTP/2: {reason}").into(),
            None => "HTTP/2: the connection broke".into(),
        };
    }
    // In an `io::Error` it is no source: it speaks for it.
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let tls = inner.map_or_else(|| error.downcast_ref(), |inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })) => {
            "invalid peer certificate: it is for other names".into()
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::InvalidPurposeContext { .. })) => {
            "invalid peer certificate: it is for another purpose".into()
        }
        _ => error.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;
    use hyper::client::conn::http2;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use rustls::pki_types::ServerName;
    use tokio::io::AsyncWriteExt;

    use super::super::{Code, Fault};
    use super::*;

    const KEY: &str = "sk-live-0123456789abcdef";

    fn logged(error: impl Into<Box<dyn Error + Send + Sync>>) -> String {
        format!("{:?}", Fault::new(Code::VendorFailed, "it broke off").because(error))
    }

    #[tokio::test]
    async fn debug_data_of_a_goaway_is_not_told() {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let client = http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(ours));
        let (_sender, connection) = client.await.unwrap();
        // SETTINGS; then GOAWAY: the last stream is 0, the reason ENHANCE_YOUR_CALM, and the rest is debug data.
        let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
        frames.extend([0, 0, 8 + u8::try_from(KEY.len()).unwrap(), 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11]);
        frames.extend(KEY.bytes());
        theirs.write_all(&frames).await.unwrap();
        let error = connection.await.unwrap_err();

        let quoted = error.source().is_some_and(|http2| http2.to_string().contains(KEY));
        assert!(quoted, "h2 quotes it no more, and what stands here against it may go: {error:?}");
        let text = logged(error);
        assert!(!text.contains(KEY) && text.contains("HTTP/2: "), "{text}");
    }

    #[test]
    fn names_in_a_certificate_are_not_told() {
        let error = || {
            rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                expected: ServerName::try_from("vendor.test").unwrap(),
                presented: vec![format!("DnsName(\"{KEY}\")")],
            })
        };
        assert!(error().to_string().contains(KEY));
        for text in [logged(error()), logged(io::Error::new(io::ErrorKind::InvalidData, error()))] {
            assert!(!text.contains(KEY) && text.contains("other names"), "{text}");
        }
    }

    #[test]
    fn what_a_stranger_wrote_is_cut_and_escaped() {
        let text = format!("\u{1b}[2J\n\u{202e}{}", "a".repeat(1000));
        let logged = format!("{:?}", Fault::new(Code::BadRequest, text.clone()).because(text));
        assert!(logged.len() < 650 && !logged.contains(['\u{1b}', '\n', '\u{202e}']), "{logged:?}");
    }
}
