//! The heartbeat's socket: what goes to the daemon, and whether it answers.

use bulkhead_watchdog::heartbeat::{Heartbeat, MOST};
use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The socket, and what is known of the daemon.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    ours: Address,
    daemon: Address,
    bound: bool,
    buffer: [u8; MOST],
    /// Since when it is silent, in counted ns; none while it is not there.
    heard: Option<u64>,
}

#[derive(Debug, Clone)]
struct Address {
    address: libc::sockaddr_un,
    path: CString,
}

impl Address {
    fn of(path: &Path) -> io::Result<Address> {
        let bytes = path.as_os_str().as_bytes();
        // SAFETY: a socket address of zeroes is one.
        let mut address = unsafe { zeroed::<libc::sockaddr_un>() };
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        if bytes.len() >= address.sun_path.len() {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        for (to, from) in address.sun_path.iter_mut().zip(bytes) {
            *to = *from as libc::c_char;
        }
        Ok(Address { address, path: CString::new(bytes)? })
    }

    fn raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        let length = size_of::<libc::sockaddr_un>();
        ((&raw const self.address).cast(), libc::socklen_t::try_from(length).unwrap_or(0))
    }
}

impl Link {
    /// A socket, bound or not: the directory may come later.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn new(ours: &Path, daemon: &Path) -> io::Result<Link> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: no memory is passed; the new descriptor is nobody else's.
        let socket = unsafe {
            let fd = libc::socket(libc::AF_UNIX, kind, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        let on: libc::c_int = 1;
        // SAFETY: the kernel reads one int.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PASSCRED,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        let (ours, daemon) = (Address::of(ours)?, Address::of(daemon)?);
        let mut link = Link { socket, ours, daemon, bound: false, buffer: [0; MOST], heard: None };
        link.bind();
        Ok(link)
    }

    /// To be waited on.
    pub fn fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }

    /// The process's umask makes it 0600.
    fn bind(&mut self) {
        let (address, length) = self.ours.raw();
        // SAFETY: the address and the path live in `self`. What lies there is
        // of a watchdog that was killed.
        self.bound = unsafe {
            libc::unlink(self.ours.path.as_ptr());
            libc::bind(self.socket.as_raw_fd(), address, length) == 0
        };
    }

    /// Takes the socket away.
    pub fn unbind(&self) {
        // SAFETY: the path lives in `self`.
        unsafe { libc::unlink(self.ours.path.as_ptr()) };
    }

    /// Sends one. `counted` is the time that counts, in ns.
    pub fn send(&mut self, heartbeat: &Heartbeat, counted: u64) {
        if !self.bound {
            self.bind();
        }
        let mut room = self.buffer.as_mut_slice();
        if serde_json::to_writer(&mut room, heartbeat).is_err() {
            return;
        }
        let length = MOST - room.len();
        let (address, size) = self.daemon.raw();
        // SAFETY: the kernel reads the buffer and the address, both in `self`.
        let sent = unsafe {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            let bytes = self.buffer.as_ptr().cast();
            libc::sendto(self.socket.as_raw_fd(), bytes, length, flags, address, size)
        };
        if sent < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOENT) {
            // It was stopped in order, or never started.
            self.heard = None;
        } else if self.heard.is_none() {
            self.heard = Some(counted);
        }
    }

    /// Takes in what has come. `counted` is the time that counts, in ns.
    pub fn receive(&mut self, counted: u64) {
        // More than that it does not owe us; the rest is for the next time.
        for _ in 0..16 {
            match self.receive_one() {
                Some(true) => self.heard = Some(counted),
                Some(false) => {}
                None => return,
            }
        }
    }

    /// Whether it was the daemon's; none when there is nothing more.
    fn receive_one(&mut self) -> Option<bool> {
        #[repr(align(8))]
        struct Control([u8; 64]);
        let mut control = Control([0; 64]);
        let mut byte = [0u8; 1];
        let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
        // SAFETY: every pointer in the message is to a variable that outlives
        // the call, with its length; the control message is read within the
        // bounds that the library's walk checks.
        unsafe {
            let mut message = zeroed::<libc::msghdr>();
            message.msg_iov = &mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = control.0.len() as _;
            let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
            if libc::recvmsg(self.socket.as_raw_fd(), &mut message, flags) < 0 {
                return None;
            }
            let mut header = libc::CMSG_FIRSTHDR(&message);
            while !header.is_null() {
                let level = ((*header).cmsg_level, (*header).cmsg_type);
                if level == (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) {
                    let data = libc::CMSG_DATA(header).cast::<libc::ucred>();
                    let uid = std::ptr::read_unaligned(data).uid;
                    return Some(uid == 0 || uid == libc::geteuid());
                }
                header = libc::CMSG_NXTHDR(&message, header);
            }
        }
        Some(false)
    }

    /// For how long the daemon has not answered, in counted ns; none while it
    /// is not there.
    pub fn silent(&self, counted: u64) -> Option<u64> {
        Some(counted.saturating_sub(self.heard?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bulkhead_watchdog::heartbeat;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_daemon_that_answers_is_not_silent_and_one_that_does_not_is() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (dir.path().join("watchdog"), dir.path().join("heartbeat"));
        let mut link = Link::new(&ours, &theirs).unwrap();
        link.send(&Heartbeat::default(), 10);
        assert_eq!(link.silent(20), None, "it is not there");

        let daemon = UnixDatagram::bind(&theirs).unwrap();
        let sent = Heartbeat { pid: 7, cpus: 4, ..Heartbeat::default() };
        link.send(&sent, 30);
        link.send(&sent, 40);
        assert_eq!(link.silent(50), Some(20));
        let mut buffer = [0; MOST];
        let (length, from) = daemon.recv_from(&mut buffer).unwrap();
        assert_eq!(heartbeat::parse(&buffer[..length]), Some(sent.clone()));
        daemon.send_to(b"ok", from.as_pathname().unwrap()).unwrap();
        link.receive(60);
        assert_eq!(link.silent(65), Some(5));

        // It died: its socket is still there, and nobody reads it.
        drop(daemon);
        link.send(&sent, 70);
        assert_eq!(link.silent(80), Some(20));
        std::fs::remove_file(&theirs).unwrap();
        link.send(&sent, 90);
        assert_eq!(link.silent(100), None);
    }

    #[test]
    fn a_directory_that_comes_late_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let late = dir.path().join("late");
        let mut link = Link::new(&late.join("watchdog"), &late.join("heartbeat")).unwrap();
        assert!(!link.bound);
        std::fs::create_dir(&late).unwrap();
        link.send(&Heartbeat::default(), 0);
        assert!(link.bound);
    }
}
