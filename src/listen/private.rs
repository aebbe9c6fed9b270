//! A Unix socket that its owner alone can connect to.

use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// Its owner reads and writes: connecting takes the right to write.
const OWNERS: u32 = 0o600;
/// How long another gateway that starts may hold the folder.
const PATIENCE: Duration = Duration::from_secs(1);
/// What others must not have of it.
const OTHERS: u32 = 0o177;
/// What nobody else must have of its folder: the right to write there.
const EVERYBODY: u32 = 0o002;

/// A socket of mode 0600 that listens: who comes through it is its owner, or root. To have one is evidence of that mode.
/// Its file goes with it.
#[derive(Debug)]
pub struct PrivateSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: what another process has put in its place is not removed.
    file: (u64, u64),
}

impl PrivateSocket {
    /// Makes the socket at `path`. What a dead process left there is replaced; what a living one listens on, and what is
    /// no socket, is not.
    ///
    /// # Errors
    ///
    /// It cannot be made there, or not with that mode.
    pub fn bind(path: &Path) -> io::Result<Self> {
        // Two that start at once must not each take the other's for one of the dead.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = File::open(folder)?;
        if folder.metadata()?.mode() & EVERYBODY != 0 {
            let why =
                "everybody can write in its folder, and could put a socket of their own there for operators to find";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let _is_locked = lock(&folder)?;
        make_free(path)?;
        // The mode that a socket has before it is bound is the one that its file begins with. What sets it afterwards, by
        // its name, could be made to set that of another file.
        let unbound = File::from(OwnedFd::from(Socket::new(Domain::UNIX, Type::STREAM, None)?));
        unbound.set_permissions(Permissions::from_mode(OWNERS))?;
        let socket = Socket::from(OwnedFd::from(unbound));
        socket.bind(&SockAddr::unix(path)?)?;
        let made = std::fs::symlink_metadata(path)?;
        let bound = Self { listener: OwnedFd::from(socket).into(), path: path.to_owned(), file: place(&made) };
        if made.mode() & OTHERS != 0 {
            return Err(io::Error::other("this system makes the socket's file open to others"));
        }
        // Nobody could connect before this.
        let socket = socket2::SockRef::from(&bound.listener);
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(bound)
    }

    /// The socket, to accept on.
    ///
    /// # Errors
    ///
    /// The process has no more descriptors.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for PrivateSocket {
    fn drop(&mut self) {
        let is_own = std::fs::symlink_metadata(&self.path).is_ok_and(|found| place(&found) == self.file);
        // If it cannot be removed, the next start finds a file of the dead.
        let _removed = is_own.then(|| std::fs::remove_file(&self.path));
    }
}

/// Locks the folder, and says whether it could: everybody who can read it can hold it, for ever, which must not keep a
/// gateway from starting. One of ours holds it for a moment only.
fn lock(folder: &File) -> io::Result<bool> {
    let began = Instant::now();
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if began.elapsed() > PATIENCE => {
                tracing::warn!(
                    "the folder of the admin listener's socket is locked by another process; it is used all the same"
                );
                return Ok(false);
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn place(file: &std::fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Removes what a dead process left at `path`.
fn make_free(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A living process whose queue is full must not be waited for.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn its_owner_alone_can_connect_and_its_file_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let socket = PrivateSocket::bind(&path).unwrap();
        assert_eq!(std::fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_of_the_dead_is_replaced_and_one_of_the_living_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        // A listener that is closed leaves its file, as a killed process does.
        drop(UnixListener::bind(&path).unwrap());
        let socket = PrivateSocket::bind(&path).unwrap();
        assert_eq!(PrivateSocket::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        std::fs::write(&path, "somebody's notes").unwrap();
        assert_eq!(PrivateSocket::bind(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody's notes");
    }

    #[test]
    fn a_folder_in_which_everybody_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        let path = folder.path().join("admin.sock");
        assert_eq!(PrivateSocket::bind(&path).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(!path.exists());
    }

    #[test]
    fn whoever_locks_the_folder_and_does_not_let_go_keeps_no_gateway_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        let stranger = File::open(folder.path()).unwrap();
        stranger.lock().unwrap();
        let path = folder.path().join("admin.sock");
        let _socket = PrivateSocket::bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn the_file_of_another_that_took_its_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let socket = PrivateSocket::bind(&path).unwrap();
        std::fs::rename(&path, folder.path().join("moved.sock")).unwrap();
        let other = PrivateSocket::bind(&path).unwrap();
        drop(socket);
        UnixStream::connect(&path).unwrap();
        drop(other);
    }
}
