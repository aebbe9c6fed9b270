//! From a name to a TCP connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{SendError, egress};
use crate::net::is_loopback;

/// How long an address has for itself before the next one is tried beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to `host`, at one of the addresses that may be dialled (see [`egress`]).
pub(super) async fn dial(host: &str, port: u16) -> Result<TcpStream, SendError> {
    let failed = |error: io::Error| SendError::Connect(error.into());
    let is_local = is_loopback(host);
    let mut allowed = Vec::new();
    let mut refused = None;
    for address in lookup_host((host, port)).await.map_err(failed)? {
        match egress::check(address.ip(), is_local) {
            Ok(()) => allowed.push(address),
            Err(why) => refused = Some(format!("{} of {host} {why}; no connection goes there", address.ip())),
        }
    }
    let stream = match (allowed.as_slice(), refused) {
        ([], Some(refused)) => return Err(SendError::Connect(refused.into())),
        ([only], _) => TcpStream::connect(*only).await,
        (several, _) => first_of(&by_turns(several)).await,
    };
    let stream = stream.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

/// Both families by turns, beginning with the one that the system prefers: where one of them leads nowhere, the second
/// try is of the other (RFC 8305 §4).
fn by_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_v6_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == is_v6_first);
    let turns = first.len().max(second.len());
    (0..turns).flat_map(|turn| [first.get(turn), second.get(turn)]).flatten().copied().collect()
}

/// The first connection that comes about. An address that fails gives way to the next one at once, a slow one goes on
/// beside it. Dropping the future ends all attempts.
async fn first_of(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut rest = addresses.iter().copied();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = rest.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        tokio::select! {
            Some(ended) = attempts.join_next() => match ended {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error,
                Err(error) => failure = error.into(),
            },
            () = sleep(HEAD_START), if rest.len() > 0 => {}
            else => return Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "192.0.2.1:1"];
        let [a, b, c, d] = addresses.map(|text| text.parse().unwrap());
        assert_eq!(by_turns(&[a, b, c, d]), [a, d, b, c]);
        assert_eq!(by_turns(&[d, a]), [d, a]);
        assert_eq!(by_turns(&[]), []);
    }

    #[tokio::test]
    async fn an_address_that_fails_gives_way_to_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

        assert_eq!(first_of(&[closed, open]).await.unwrap().peer_addr().unwrap(), open);
        assert_eq!(first_of(&[closed, closed]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(first_of(&[]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_a_link_local_address_is_refused() {
        // What the system's resolver takes for addresses, too: dotted, and as one number.
        for host in ["169.254.169.254", "2852039166", "0", "::ffff:169.254.169.254"] {
            let error = dial(host, 80).await.unwrap_err();
            assert!(format!("{error:?}").contains("no connection goes there"), "{host}: {error:?}");
        }
        // This machine by a number that is none of its names.
        let error = dial("2130706433", 80).await.unwrap_err();
        assert!(format!("{error:?}").contains("DNS rebinding"), "{error:?}");
    }
}
