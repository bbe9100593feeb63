//! A datagram socket that only root, or who runs the daemon, is heard on.

use bulkhead_watchdog::heartbeat::{self, Heartbeat};
use nix::cmsg_space;
use nix::sys::socket::{
    bind, recvmsg, sendto, setsockopt, socket, sockopt, AddressFamily, ControlMessageOwned,
    MsgFlags, SockFlag, SockType, SockaddrLike, UnixAddr, UnixCredentials,
};
use nix::sys::stat::{fchmod, Mode};
use nix::unistd::geteuid;
use std::fs;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Messages that are read at a time; the rest stays readable.
const AT_A_TIME: usize = 64;

/// What is answered: that it was answered says it all.
const ANSWER: &[u8] = b"{}";

/// The socket. Its name is taken away when it is dropped, so that the watchdog
/// knows a daemon that stopped from one that is silent.
pub(super) struct Socket {
    fd: OwnedFd,
    path: PathBuf,
}

impl Socket {
    /// Binds to `path`, mode 0600, in the place of a socket that nobody has.
    ///
    /// # Errors
    /// When somebody listens there, or the kernel refuses.
    pub fn bind(path: &Path) -> io::Result<Socket> {
        remove_stale(path)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&fd, sockopt::PassCred, &true)?;
        // Of the socket before it has a name: the name is made with it
        // (net/unix/af_unix.c, unix_bind_bsd()).
        fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
        bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Socket { fd, path: path.to_owned() })
    }

    /// Readable when there is something to take.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What was said, oldest first, each answered.
    pub fn take(&mut self) -> Vec<Heartbeat> {
        let mut beats = Vec::new();
        for _ in 0..AT_A_TIME {
            match self.next() {
                Ok(beat) => beats.extend(beat),
                Err(nix::Error::EINTR) => {}
                Err(_) => break,
            }
        }
        beats
    }

    fn next(&self) -> nix::Result<Option<Heartbeat>> {
        // One byte more than a message may have tells that it has too many.
        let mut bytes = [0; heartbeat::MOST + 1];
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        let mut control = cmsg_space!(UnixCredentials);
        let raw = self.fd.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<UnixAddr>(raw, &mut buffers, Some(&mut control), flags)?;
        let sender = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmCredentials(sender) => Some(sender.uid()),
            _ => None,
        });
        let (length, address) = (message.bytes, message.address);
        if !sender.is_some_and(|uid| uid == 0 || uid == geteuid().as_raw()) {
            return Ok(None);
        }
        // Of a sender without a name nothing but the family may be there.
        let has_name = |address: &UnixAddr| address.len() as usize > size_of::<libc::sa_family_t>();
        if let Some(address) = address.filter(has_name) {
            // A watchdog that does not read is not waited for.
            let _ = sendto(raw, ANSWER, &address, MsgFlags::MSG_DONTWAIT);
        }
        Ok(bytes.get(..length).and_then(heartbeat::parse))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::other("it is there and is not a socket"));
        }
        Ok(_) => {}
    }
    match UnixDatagram::unbound()?.connect(path) {
        Ok(()) => Err(io::ErrorKind::AddrInUse.into()),
        Err(_) => fs::remove_file(path),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    const BEAT: &str = r#"{"pid":77,"state":"armed","device":"watchdog0","identity":"i6300ESB timer","timeout_s":60,"pretimeout_s":10,"cpu_limit_s":20,"fed_ms":3,"cpus":4,"suspects":[],"more_suspects":0,"failing":null,"last":false}"#;

    fn watchdog(dir: &Path) -> UnixDatagram {
        let socket = UnixDatagram::bind(dir.join("watchdog")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    #[test]
    fn each_message_is_answered_whatever_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heartbeat");
        let mut socket = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let watchdog = watchdog(dir.path());
        for said in [BEAT, "nonsense", ""] {
            watchdog.send_to(said.as_bytes(), &path).unwrap();
        }
        let heard = socket.take();
        assert!(heard.len() == 1 && heard[0].pid == 77, "{heard:?}");
        for _ in 0..3 {
            assert_eq!(watchdog.recv(&mut [0; 16]).unwrap(), ANSWER.len());
        }
    }

    #[test]
    fn a_sender_without_a_name_and_one_too_long_do_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heartbeat");
        let mut socket = Socket::bind(&path).unwrap();
        let nobody = UnixDatagram::unbound().unwrap();
        nobody.send_to(BEAT.as_bytes(), &path).unwrap();
        let long = format!("{BEAT}{}", " ".repeat(heartbeat::MOST));
        nobody.send_to(long.as_bytes(), &path).unwrap();
        assert_eq!(socket.take().len(), 1);
    }

    #[test]
    fn a_watchdog_that_does_not_read_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heartbeat");
        let mut socket = Socket::bind(&path).unwrap();
        let watchdog = watchdog(dir.path());
        for _ in 0..2000 {
            watchdog.send_to(BEAT.as_bytes(), &path).unwrap();
            assert_eq!(socket.take().len(), 1);
        }
    }

    #[test]
    fn the_name_goes_with_the_daemon_and_a_second_one_takes_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heartbeat");
        let socket = Socket::bind(&path).unwrap();
        assert!(Socket::bind(&path).is_err());
        drop(socket);
        assert!(!path.exists());
        // Killed: the name stays, and nobody has it.
        drop(UnixDatagram::bind(&path).unwrap());
        assert!(Socket::bind(&path).is_ok());
        fs::write(&path, "a file").unwrap();
        assert!(Socket::bind(&path).is_err());
    }
}
