//! Through an HTTP proxy, with `CONNECT` (RFC 9110 §9.3.6).
//!
//! The proxy sees the vendor's name and port, and bytes: TLS is spoken with the vendor through it, and the vendor's
//! certificate is checked as ever. It is the proxy that resolves the vendor's name then, so which addresses may be
//! reached is its policy; the address of the proxy itself is judged as any other is.

use http::{Method, Request, Uri, header};
use hyper::client::conn::http1;
use hyper::upgrade::{self, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::SendError;
use super::body::RequestBody;
use super::dial::dial;
use super::settings::Proxy;

/// A connection to `host`, through `proxy`.
pub(super) async fn dial_through(proxy: &Proxy, host: &str, port: u16) -> Result<TcpStream, SendError> {
    let stream = dial(&proxy.host, proxy.port).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(async move {
        // How it ends is told to the call below.
        let _ended = connection.with_upgrades().await;
    });
    let answer = sender.send_request(request(proxy, host, port)?).await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(SendError::Connect(format!("the proxy answered {} to CONNECT", answer.status()).into()));
    }
    bare(upgrade::on(answer).await.map_err(failed)?)
}

fn request(proxy: &Proxy, host: &str, port: u16) -> Result<Request<RequestBody>, SendError> {
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let wrong = |error: http::Error| SendError::Connect(error.into());
    let target = Uri::builder().authority(authority.as_str()).build().map_err(wrong)?;
    let mut request = Request::builder().method(Method::CONNECT).uri(target).header(header::HOST, authority);
    if let Some(authorization) = &proxy.authorization {
        request = request.header(header::PROXY_AUTHORIZATION, authorization);
    }
    request.body(RequestBody::empty()).map_err(wrong)
}

/// The bytes behind the proxy's answer: there are none yet, since the vendor waits for us to speak first.
fn bare(upgraded: Upgraded) -> Result<TcpStream, SendError> {
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) if parts.read_buf.is_empty() => Ok(parts.io.into_inner()),
        Ok(_) => Err(SendError::Connect("the proxy sent bytes of its own into the tunnel".into())),
        Err(_other) => Err(SendError::Connect("the tunnel is not the connection to the proxy".into())),
    }
}

fn failed(error: hyper::Error) -> SendError {
    SendError::Connect(error.into())
}
