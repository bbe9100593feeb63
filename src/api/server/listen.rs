//! The listening socket: made here, or handed over by the service manager.

use nix::sys::socket::{bind as bind_socket, listen, socket, Backlog, SockaddrLike, UnixAddr};
use nix::sys::socket::{getsockopt, sockopt, AddressFamily, SockFlag, SockType};
use nix::unistd::{chown, Gid, Group};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Members of this group may read.
const GROUP: &str = "bulkhead";

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon answers there.
    #[error("{0}: another daemon is listening there; stop it first, or choose another --socket")]
    InUse(PathBuf),
    /// Something that is not a socket is there, and stays there.
    #[error("{0} is there and is not a socket; move it away, or choose another --socket")]
    NotASocket(PathBuf),
    /// The kernel said no.
    #[error("{path}: cannot {operation}: {cause}")]
    Io {
        /// The socket or its directory.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// What came back.
        cause: io::Error,
    },
    /// LISTEN_FDS is set, and what it brings is of no use.
    #[error("the service manager's socket (LISTEN_FDS): {0}")]
    Activation(String),
}

/// Listens at `path`: root:bulkhead 0660 where that group exists, else for the
/// own user only. The directory is made if need be. A socket that nobody
/// listens at is replaced.
pub(super) fn bind(path: &Path) -> Result<UnixListener, ListenError> {
    let io = |operation| {
        move |cause: io::Error| ListenError::Io { path: path.to_owned(), operation, cause }
    };
    let errno = |operation| move |e: nix::Error| io(operation)(e.into());

    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(io("make its directory"))?;
    }
    remove_stale(path)?;

    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .map_err(errno("make a socket"))?;
    let address = UnixAddr::new(path).map_err(errno("use it as a socket's address"))?;
    bind_socket(fd.as_raw_fd(), &address).map_err(errno("bind"))?;
    // Nobody can connect before listen(), so nobody slips in before the mode is
    // set.
    let mode = if give_to_group(path).map_err(io("give it to the group bulkhead"))? {
        0o660
    } else {
        0o600
    };
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(io("set its mode"))?;
    listen(&fd, Backlog::MAXCONN).map_err(errno("listen"))?;
    Ok(fd.into())
}

/// Whether the group exists and the socket is now its own. A daemon that may
/// not give files away keeps it to itself.
fn give_to_group(path: &Path) -> io::Result<bool> {
    let Some(group) = Group::from_name(GROUP)? else { return Ok(false) };
    match chown::<Path>(path, None, Some(Gid::from_raw(group.gid.as_raw()))) {
        Ok(()) => Ok(true),
        Err(nix::Error::EPERM) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let io = |operation, cause| ListenError::Io { path: path.to_owned(), operation, cause };
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io("look at it", e)),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(ListenError::NotASocket(path.to_owned()))
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|e| io("remove the stale socket", e))
        }
        // A full backlog (EAGAIN) means a listener too.
        Ok(_) => Err(ListenError::InUse(path.to_owned())),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(ListenError::InUse(path.to_owned())),
        Err(e) => Err(io("find out whether somebody listens there", e)),
    }
}

/// The socket that the service manager listens at for us, if it started us so
/// (sd_listen_fds(3)).
///
/// Call it once, before other files are opened: it takes over descriptors by
/// their number.
pub fn from_environment() -> Result<Option<UnixListener>, ListenError> {
    let broken = |e: io::Error| ListenError::Activation(e.to_string());
    let mut fds = sd_notify::listen_fds().map_err(broken)?;
    if fds.len() > 1 {
        return Err(ListenError::Activation(format!("{} sockets instead of one", fds.len())));
    }
    let Some(raw) = fds.next() else { return Ok(None) };
    if raw_flags(raw).is_err() {
        return Err(ListenError::Activation(format!("descriptor {raw} is not open")));
    }
    // SAFETY: the descriptor is open (just seen), and by the protocol it is
    // ours: LISTEN_PID, which sd_notify compared, names this process.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    from_fd(fd).map(Some)
}

fn raw_flags(raw: i32) -> io::Result<()> {
    // SAFETY: F_GETFD takes no pointer, and any number is a valid question.
    match unsafe { libc::fcntl(raw, libc::F_GETFD) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A listening Unix stream socket out of `fd`.
pub(super) fn from_fd(fd: OwnedFd) -> Result<UnixListener, ListenError> {
    let broken = |e: nix::Error| ListenError::Activation(e.to_string());
    let unix = nix::sys::socket::getsockname::<nix::sys::socket::SockaddrStorage>(fd.as_raw_fd())
        .map_err(broken)?
        .family()
        == Some(AddressFamily::Unix);
    let stream = getsockopt(&fd, sockopt::SockType).map_err(broken)? == SockType::Stream;
    let listening = getsockopt(&fd, sockopt::AcceptConn).map_err(broken)?;
    if !(unix && stream && listening) {
        return Err(ListenError::Activation("not a listening Unix stream socket".to_owned()));
    }
    let listener = UnixListener::from(fd);
    listener.set_nonblocking(true).map_err(|e| ListenError::Activation(e.to_string()))?;
    Ok(listener)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn the_directory_is_made_and_the_socket_is_not_for_everybody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/bulkhead/sock");
        let _listener = bind(&path).unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(path.parent().unwrap()) & 0o022, 0);
        assert_eq!(mode(&path) & 0o007, 0, "{:o}", mode(&path));
    }

    #[test]
    fn a_socket_that_nobody_listens_at_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        drop(bind(&path).unwrap());
        let listener = bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        listener.accept().unwrap();
    }

    #[test]
    fn a_socket_that_somebody_listens_at_is_left_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let first = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(ListenError::InUse(p)) if p == path));
        UnixStream::connect(&path).unwrap();
        first.accept().unwrap();
    }

    #[test]
    fn a_file_that_is_not_a_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path), Err(ListenError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn only_a_listening_stream_socket_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let good = UnixListener::bind(dir.path().join("sock")).unwrap();
        assert!(from_fd(good.into()).is_ok());
        let (connected, _peer) = UnixStream::pair().unwrap();
        assert!(from_fd(connected.into()).is_err());
        let datagrams = UnixDatagram::bind(dir.path().join("dgram")).unwrap();
        assert!(from_fd(datagrams.into()).is_err());
        assert!(from_fd(fs::File::open("/dev/null").unwrap().into()).is_err());
    }
}
