//! Listening sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Binds one socket for each of `workers` to `address`. Port 0 is chosen once, for all of them.
///
/// # Errors
///
/// The address is taken, or not this machine's.
pub(crate) fn bind(address: SocketAddr, workers: usize) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    // `SO_REUSEPORT` would let a second gateway share the port in silence, with other keys: half of its calls would fail.
    let first = socket(free_address(address)?)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(socket(address)?);
    }
    Ok((sockets, address))
}

/// `address`, with a free port where it has port 0.
///
/// # Errors
///
/// The address is taken, or not this machine's.
pub(crate) fn free_address(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The socket that whoever started this process has handed it (systemd's `LISTEN_FDS`): its queue outlives the process.
/// Nothing, if there is none.
///
/// # Errors
///
/// What was handed over is no listening socket, or more than one: clients of the others would wait for ever.
pub(crate) fn handed_over() -> io::Result<Option<TcpListener>> {
    let mut handed = listenfd::ListenFd::from_env();
    if handed.len() > 1 {
        let count = handed.len();
        return Err(io::Error::other(format!(
            "{count} sockets were handed over (LISTEN_FDS), and one can be served: a systemd socket has one ListenStream \
             (`[::]:443` with BindIPv6Only=both takes IPv4, too)"
        )));
    }
    handed.take_tcp_listener(0)
}

/// The same socket for each of `workers`: all accept from one queue.
///
/// # Errors
///
/// There are no more descriptors.
pub(crate) fn shared(socket: &TcpListener, workers: usize) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    socket.set_nonblocking(true)?;
    let sockets = (0..workers).map(|_| socket.try_clone()).collect::<io::Result<_>>()?;
    Ok((sockets, socket.local_addr()?))
}
