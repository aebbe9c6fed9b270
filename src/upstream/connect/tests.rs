//! Connections for what is HTTP only in the beginning.

use hyper::upgrade;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::document::{Document, Environment, Problems};
use crate::net::BaseUrl;
use crate::upstream::Settings;

/// The vendor at `url` with these lines.
fn upstream(url: &str, lines: &str) -> Upstream {
    let problems = Problems::default();
    let document = Document::parse("test", lines, &problems).unwrap();
    let root = document.root(&problems);
    let settings = Settings::read(&root, &Environment::given("", [])).unwrap();
    let upstream = Upstream::read(root.value(), &BaseUrl::parse(url).unwrap(), settings).unwrap();
    drop(root);
    assert!(problems.is_empty(), "{:?}", problems.into_sorted());
    upstream
}

/// Sends a call that asks for another protocol, and gives what comes of its connection.
async fn upgraded(upstream: &Upstream) -> upgrade::Upgraded {
    let mut sender = upgradable(upstream).await.unwrap();
    let request =
        http::Request::get("/").header("host", "vendor").header("upgrade", "echo").header("connection", "upgrade");
    let answer = sender.send_request(request.body(RequestBody::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 101);
    upgrade::on(answer).await.unwrap()
}

#[tokio::test]
async fn an_upgraded_connection_counts_until_it_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let length = stream.read(&mut [0; 1024]).await.unwrap();
                assert!(length > 0);
                stream
                    .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
                    .await
                    .unwrap();
                let (mut from, mut to) = stream.split();
                // Until the other side is gone.
                let _ended = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let upstream = upstream(&url, "max_connections = 1\ntimeouts = { connect = \"100ms\" }");

    let mut socket = TokioIo::new(upgraded(&upstream).await);
    socket.write_all(b"ping").await.unwrap();
    let mut echoed = [0; 4];
    socket.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"ping");
    assert!(matches!(upgradable(&upstream).await, Err(SendError::Busy)));

    drop(socket);
    let _next = upgraded(&upstream).await;
}

#[tokio::test]
async fn an_upgradable_connection_speaks_http1_and_takes_the_place_of_an_http2_connection_that_nobody_uses() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let vendor = tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        // Held: it is the gateway that closes.
        let mut streams = Vec::new();
        for _ in 0..2 {
            streams.push(acceptor.accept(listener.accept().await.unwrap().0).await.unwrap());
        }
        streams.iter().map(|stream| stream.get_ref().1.alpn_protocol().unwrap().to_vec()).collect::<Vec<_>>()
    });
    let upstream = upstream(&url, &format!("ca = \"{}\"\nmax_connections = 1", ca.display()));

    let shared = obtain(&upstream, None).await.unwrap();
    assert!(matches!(shared, Way::Http2(_)));
    drop(shared);
    let _socket = upgradable(&upstream).await.unwrap();

    assert_eq!(vendor.await.unwrap(), [b"h2".to_vec(), b"http/1.1".to_vec()]);
}

#[tokio::test]
async fn a_connection_has_its_whole_time_however_late_its_place_came() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let length = stream.read(&mut [0; 1024]).await.unwrap();
                assert!(length > 0);
                tokio::time::sleep(Duration::from_millis(500)).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                // Until the other side is gone.
                let _ended = stream.read(&mut [0; 1024]).await;
            });
        }
    });
    let lines = format!("max_connections = 1\ntimeouts = {{ connect = \"1s\" }}\nproxy = \"http://{proxy}\"");
    let upstream = upstream("http://127.0.0.1:9", &lines);
    let free = || async {
        let permit = Arc::clone(upstream.home.permits().unwrap()).try_acquire_owned().unwrap();
        tokio::time::sleep(Duration::from_millis(750)).await;
        drop(permit);
    };

    let ((), way) = tokio::join!(free(), obtain(&upstream, None));
    assert!(matches!(way, Ok(Way::Http1 { is_kept: false, .. })));
    drop(way);
    let ((), socket) = tokio::join!(free(), upgradable(&upstream));
    assert!(socket.is_ok(), "{:?}", socket.err());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_not_take_a_seat_keeps_it_from_no_other() {
    let upstream = upstream("http://127.0.0.1:9", "max_connections = 1");
    let permit = Arc::clone(upstream.home.permits().unwrap()).try_acquire_owned().unwrap();
    let (ours, _theirs) = duplex(1 << 16);
    let seat = http2::share(ours, &upstream.home, Some(permit), None).await.unwrap();
    let wait = Duration::from_secs(1);

    // It was refused on that connection, and comes first.
    let refused = timeout(wait, obtain(&upstream, Some(Instant::now())));
    let other = timeout(wait, obtain(&upstream, None));
    let leave = async {
        tokio::task::yield_now().await;
        drop(seat);
    };
    let (refused, other, ()) = tokio::join!(refused, other, leave);

    assert!(refused.is_err());
    assert!(matches!(other, Ok(Ok(Way::Http2(_)))));
}
