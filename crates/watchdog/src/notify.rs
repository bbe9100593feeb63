//! What systemd is told (sd_notify(3)), without an allocation.

use std::env;
use std::os::fd::{AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A socket to process 1.
#[derive(Debug)]
pub struct Notify(UnixDatagram);

impl Notify {
    /// None when nobody wants to hear, or the socket cannot be had.
    pub fn from_environment() -> Option<Notify> {
        let path = env::var("NOTIFY_SOCKET").ok()?;
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok()?,
            None => SocketAddr::from_pathname(&path).ok()?,
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        socket.connect_addr(&address).ok()?;
        Some(Notify(socket))
    }

    /// So often it must hear from us from now on, whatever the unit's
    /// `WatchdogSec=`; never with zero.
    pub fn expect(&self, every: Duration) {
        say(self.fd(), format!("WATCHDOG_USEC={}", every.as_micros()).as_bytes());
    }

    /// For [`say`].
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Sends `words` whole, or not at all.
pub fn say(fd: RawFd, words: &[u8]) {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads the bytes. Whoever does not hear it misses it
    // next time as well, and that is what counts.
    unsafe { libc::send(fd, words.as_ptr().cast(), words.len(), flags) };
}
