//! One new connection to a vendor.

use std::io;
use std::sync::Arc;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::body::RequestBody;
use super::dial::dial;
use super::tls::Tls;
use super::tunnel::dial_through;
use super::{SendError, Upstream};

/// Connects, and leaves the connection's own work to a task of this worker.
pub(super) async fn connect(upstream: &Upstream) -> Result<SendRequest<RequestBody>, SendError> {
    in_time(upstream, async {
        let stream = reach(upstream).await?;
        match &upstream.tls {
            None => http1(stream).await,
            Some(tls) => http1(secured(stream, tls, &tls.any).await?).await,
        }
    })
    .await
}

/// A connection of its own for a call that may become something else than HTTP: it speaks HTTP/1.1, whatever else the
/// vendor offers, and is neither taken from a pool nor ever put into one. Its work is left to a task of this worker;
/// after the vendor's 101, `hyper::upgrade::on` gives the bytes.
///
/// # Errors
///
/// [`SendError::Connect`]: nothing was sent.
pub async fn upgradable(upstream: &Upstream) -> Result<SendRequest<RequestBody>, SendError> {
    in_time(upstream, async {
        let stream = reach(upstream).await?;
        match &upstream.tls {
            None => upgradable_http1(stream).await,
            Some(tls) => upgradable_http1(secured(stream, tls, &tls.http1).await?).await,
        }
    })
    .await
}

async fn reach(upstream: &Upstream) -> Result<TcpStream, SendError> {
    match &upstream.proxy {
        None => dial(&upstream.host, upstream.port).await,
        Some(proxy) => dial_through(proxy, &upstream.host, upstream.port).await,
    }
}

async fn in_time<T>(upstream: &Upstream, opening: impl Future<Output = Result<T, SendError>>) -> Result<T, SendError> {
    match tokio::time::timeout(upstream.timeouts.connect, opening).await {
        Ok(result) => result,
        Err(_elapsed) => Err(SendError::Connect("no connection in time".into())),
    }
}

async fn secured(stream: TcpStream, tls: &Tls, config: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, SendError> {
    let connector = TlsConnector::from(Arc::clone(config));
    let failed = |error: io::Error| SendError::Connect(error.into());
    connector.connect(tls.name.clone(), stream).await.map_err(failed)
}

async fn http1<S>(stream: S) -> Result<SendRequest<RequestBody>, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(async move {
        // How a connection ends is told to the call that uses it; an idle one ends unheard.
        let _ended = connection.await;
    });
    Ok(sender)
}

async fn upgradable_http1<S>(stream: S) -> Result<SendRequest<RequestBody>, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(async move {
        // As above.
        let _ended = connection.with_upgrades().await;
    });
    Ok(sender)
}

fn failed(error: hyper::Error) -> SendError {
    SendError::Connect(error.into())
}
