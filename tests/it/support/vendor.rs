//! A vendor whose answers a test writes, and which remembers what it was sent.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

use super::wire;

/// A call as the vendor got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    /// Whether any part of the call holds `text`.
    pub(crate) fn contains(&self, text: &str) -> bool {
        let in_headers = self.headers.iter().any(|(name, value)| {
            name.as_str().contains(text) || String::from_utf8_lossy(value.as_bytes()).contains(text)
        });
        in_headers || self.target.contains(text) || String::from_utf8_lossy(&self.body).contains(text)
    }
}

/// What a vendor answers.
pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;
type Handler = dyn Fn(&Seen) -> Answer + Send + Sync;

/// A vendor whose answers a test writes.
pub(crate) struct TestVendor {
    pub(crate) url: String,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

impl TestVendor {
    /// Whatever is at this address.
    pub(crate) fn at(url: String) -> Self {
        Self { url, seen: Arc::default() }
    }

    /// A vendor that answers each call with what `handler` makes of it.
    pub(crate) fn answering(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (handler, log): (Arc<Handler>, _) = (Arc::new(handler), Arc::clone(&seen));
        on_a_thread(socket, move |listener| serve(listener, handler, log));
        Self { url, seen }
    }

    /// A vendor that speaks for itself: it gets each connection and its number, from 0.
    pub(crate) fn raw<F: Future<Output = ()> + Send + 'static>(
        speak: impl Fn(usize, TcpStream) -> F + Send + 'static,
    ) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        on_a_thread(socket, move |listener| async move {
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(speak(number, stream));
            }
        });
        Self { url, seen: Arc::default() }
    }

    /// A vendor that tells of each call as it comes, and answers it with `answer` when it is allowed to.
    pub(crate) fn held(answer: &'static str) -> (Self, mpsc::UnboundedReceiver<String>, Arc<Notify>) {
        let (heard, calls) = mpsc::unbounded_channel();
        let release = Arc::new(Notify::new());
        let may_answer = Arc::clone(&release);
        let vendor = Self::raw(move |_, mut stream| {
            let (heard, may_answer) = (heard.clone(), Arc::clone(&may_answer));
            async move {
                while let Some(call) = wire::next_message(&mut stream).await {
                    let _listening = heard.send(call);
                    may_answer.notified().await;
                    wire::write(&mut stream, answer).await;
                }
            }
        });
        (vendor, calls, release)
    }

    /// A vendor that answers each call with its own body, as JSON.
    pub(crate) fn echo() -> Self {
        Self::answering(|seen| whole(200, "application/json", seen.body.clone()))
    }

    /// All calls so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// All calls so far, which are forgotten.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock())
    }

    /// The last call.
    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("the vendor has seen a call")
    }
}

/// An answer with a body that is known as a whole.
pub(crate) fn whole(status: u16, media: &str, body: impl Into<Bytes>) -> Answer {
    let body = http_body_util::Full::new(body.into()).boxed();
    Response::builder().status(status).header("content-type", media).body(body).unwrap()
}

/// An answer whose body comes in parts, when the test sends them; it ends when the sender is dropped.
pub(crate) fn streamed(media: &str) -> (Answer, mpsc::Sender<Bytes>) {
    let (sender, receiver) = mpsc::channel(1);
    let body = Parts(receiver).boxed();
    (Response::builder().header("content-type", media).body(body).unwrap(), sender)
}

/// What sends the parts of each open answer, the last one last.
pub(crate) type Senders = Arc<Mutex<Vec<mpsc::Sender<Bytes>>>>;

/// A vendor with one streamed answer for each call, and the senders of their bodies in the order of the calls.
pub(crate) fn streaming(media: &'static str) -> (TestVendor, Senders) {
    let senders = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&senders);
    let vendor = TestVendor::answering(move |_| {
        let (answer, sender) = streamed(media);
        kept.lock().push(sender);
        answer
    });
    (vendor, senders)
}

struct Parts(mpsc::Receiver<Bytes>);

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|part| part.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Runs a server on a thread and a runtime of its own.
pub(crate) fn on_a_thread<F: Future<Output = ()> + Send + 'static>(
    socket: std::net::TcpListener,
    serve: impl FnOnce(TcpListener) -> F + Send + 'static,
) {
    socket.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { serve(TcpListener::from_std(socket).unwrap()).await });
    });
}

async fn serve(listener: TcpListener, handler: Arc<Handler>, seen: Arc<Mutex<Vec<Seen>>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (handler, seen) = (Arc::clone(&handler), Arc::clone(&seen));
        let service = service_fn(move |request: Request<Incoming>| {
            let (handler, seen) = (Arc::clone(&handler), Arc::clone(&seen));
            async move {
                let (head, body) = request.into_parts();
                // A body that breaks off is no call.
                let body = body.collect().await?.to_bytes();
                let call =
                    Seen { method: head.method.to_string(), target: head.uri.to_string(), headers: head.headers, body };
                seen.lock().push(call.clone());
                Ok::<_, hyper::Error>(handler(&call))
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
