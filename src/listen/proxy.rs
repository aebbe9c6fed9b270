//! The PROXY protocol, versions 1 and 2: a load balancer says before anything else whose connection it passes on.
//!
//! Nobody may guess whether a connection has such a head: where it is asked for, one without it is closed, and so is one
//! whose other end is not trusted to write it.

use std::io;
use std::net::IpAddr;

use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{LONGEST_PAUSE, PEEK_PAUSE};

/// The longest head. Version 2 has room for more, and nobody fills it: a chain of certificates is no part of it.
const LONGEST: usize = 4096;

/// Reads the head of a connection, and nothing behind it. Answers whose connection it is; nothing where the load
/// balancer speaks for itself, as for its health checks.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut start = vec![0; LONGEST];
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "no head of the PROXY protocol");
    let mut pause = PEEK_PAUSE;
    loop {
        let is_all = stream.ready(Interest::READABLE).await?.is_read_closed();
        let length = stream.peek(&mut start).await?;
        match ProxyHeader::parse(&start[..length], ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true })
        {
            Ok((head, end)) => {
                let source = head.proxied_address().map(|address| address.source.ip().to_canonical());
                // It is there already.
                let _same = stream.read_exact(&mut start[..end]).await?;
                return Ok(source);
            }
            Err(Error::BufferTooShort) if length < LONGEST && !is_all => {}
            Err(_) => return Err(wrong()),
        }
        // What is there to be peeked at stays there, so nothing tells when more comes.
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use proxy_header::ProxiedAddress;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// What is read of a connection on which these parts come one by one, and what is left on it.
    async fn read_from(parts: &[&[u8]]) -> (io::Result<Option<IpAddr>>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let writing = async {
            for part in parts {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(client);
        };
        let (source, ()) = tokio::join!(read(&mut server), writing);
        let mut rest = Vec::new();
        let _reset = server.read_to_end(&mut rest).await;
        (source, rest)
    }

    fn second(head: &ProxyHeader<'_>) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        let length = head.encode_to_slice_v2(&mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }

    #[tokio::test]
    async fn both_versions_say_whose_connection_it_is_and_nothing_behind_them_is_lost() {
        let addresses = ProxiedAddress::stream("198.51.100.1:4711".parse().unwrap(), "192.0.2.1:443".parse().unwrap());
        let v2 = second(&ProxyHeader::with_address(addresses));
        for head in [b"PROXY TCP4 198.51.100.1 192.0.2.1 4711 443\r\n".to_vec(), v2] {
            let whole = [head.as_slice(), b"GET / HTTP/1.1"].concat();
            let parts: Vec<&[u8]> = whole.chunks(7).collect();
            for parts in [vec![whole.as_slice()], parts] {
                let (source, rest) = read_from(&parts).await;
                assert_eq!(source.unwrap(), Some("198.51.100.1".parse().unwrap()));
                assert_eq!(rest, b"GET / HTTP/1.1");
            }
        }
        let (source, _) = read_from(&[b"PROXY TCP6 ::ffff:198.51.100.1 ::1 4711 443\r\n"]).await;
        assert_eq!(source.unwrap(), Some("198.51.100.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_balancer_may_speak_for_itself() {
        for head in [b"PROXY UNKNOWN\r\n".to_vec(), second(&ProxyHeader::with_local())] {
            let (source, rest) = read_from(&[&head, b"rest"]).await;
            assert_eq!((source.unwrap(), rest.as_slice()), (None, b"rest".as_slice()));
        }
    }

    #[tokio::test]
    async fn what_is_no_head_is_refused() {
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 2 * LONGEST]].concat();
        let too_long = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".as_slice(), &[0; 2 * LONGEST]].concat();
        let wrong: [&[u8]; 7] = [
            b"GET / HTTP/1.1\r\n\r\n",
            b"PROXY TCP4 198.51.100.1 192.0.2.1 4711\r\n",
            b"PROXY TCP4 198.51.100.256 192.0.2.1 4711 443\r\n",
            b"PROXY",
            b"",
            &endless,
            &too_long,
        ];
        for bytes in wrong {
            let (source, _) = read_from(&[bytes]).await;
            assert!(source.is_err(), "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
        }
    }
}
