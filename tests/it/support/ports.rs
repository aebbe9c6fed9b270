//! Addresses of this machine that nobody uses, and that stay so.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below those that the system gives to whoever asks for any: what is away keeps its port, and what nobody listens to stays
/// so.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Nobody gets the same twice from one process, and seldom from two.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let size = u32::from(PORTS.end - PORTS.start);
    let begin = std::process::id().wrapping_mul(97);
    let mut ports = std::iter::repeat_with(|| begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % size);
    let mut addresses = ports
        .by_ref()
        .take(size as usize)
        .map(|offset| SocketAddr::from((Ipv4Addr::LOCALHOST, PORTS.start + u16::try_from(offset).unwrap())));
    addresses.find(|address| TcpListener::bind(address).is_ok()).expect("a free port")
}
