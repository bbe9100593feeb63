//! CPUs coming and going, as the kernel tells it: kobject uevents over netlink
//! (lib/kobject_uevent.c).

use super::HostError;
use bulkhead_core::model::CpuId;
use nix::errno::Errno;
use nix::sys::socket::{
    bind, recvfrom, socket, AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// The multicast group of the kernel's own messages; 2 is udev's.
const KERNEL_GROUP: u32 = 1;

/// A message has at most UEVENT_BUFFER_SIZE (2048, include/linux/kobject.h)
/// bytes of variables after its "action@path".
const MOST: usize = 8192;

/// So many messages are taken at a time, lest a flood hold the caller; the
/// rest stays readable.
const AT_A_TIME: usize = 256;

/// What became different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A CPU went on or off line.
    Cpu {
        /// Which.
        cpu: CpuId,
        /// On line now.
        online: bool,
    },
    /// Messages were lost, or a CPU was plugged or pulled: anything may be
    /// different, read the machine again.
    Anything,
}

/// A socket that hears of them.
#[derive(Debug)]
pub struct Uevents {
    socket: OwnedFd,
}

impl Uevents {
    /// Starts to listen; what happened before is not heard.
    ///
    /// # Errors
    /// When the kernel gives no such socket, as in some sandboxes.
    pub fn open() -> Result<Uevents, HostError> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkKObjectUEvent;
        let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, protocol)
            .map_err(|errno| error("open", errno))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))
            .map_err(|errno| error("bind", errno))?;
        Ok(Uevents { socket })
    }

    /// What changed since the last call; never blocks.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn changes(&mut self) -> Result<Vec<Change>, HostError> {
        let mut changes = Vec::new();
        let mut buffer = [0; MOST];
        for _ in 0..AT_A_TIME {
            match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, from)) => {
                    let from = from.map(|address| address.pid());
                    changes.extend(buffer.get(..length).and_then(|m| parse(from, m)));
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                // The receive buffer ran over.
                Err(Errno::ENOBUFS) => changes.push(Change::Anything),
                Err(errno) => return Err(error("read", errno)),
            }
        }
        Ok(changes)
    }
}

impl AsFd for Uevents {
    /// Readable when there may be changes.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn error(operation: &'static str, errno: Errno) -> HostError {
    HostError { operation, path: PathBuf::from("netlink:kobject-uevent"), cause: errno.into() }
}

/// Reads "action@path\0KEY=value\0…". `from` is the sender's port; the kernel's
/// is 0, and any process may send.
pub(super) fn parse(from: Option<u32>, message: &[u8]) -> Option<Change> {
    if from != Some(0) {
        return None;
    }
    let message = std::str::from_utf8(message).ok()?;
    let (action, path) = message.split_once('\0')?.0.split_once('@')?;
    let digits = path.strip_prefix("/devices/system/cpu/cpu")?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let cpu = CpuId(digits.parse().ok()?);
    match action {
        "online" => Some(Change::Cpu { cpu, online: true }),
        "offline" => Some(Change::Cpu { cpu, online: false }),
        "add" | "remove" => Some(Change::Anything),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OFFLINE: &[u8] = b"offline@/devices/system/cpu/cpu3\0ACTION=offline\0\
        DEVPATH=/devices/system/cpu/cpu3\0SUBSYSTEM=cpu\0SEQNUM=1234\0";

    #[test]
    fn a_cpu_going_off_line_and_back_is_heard() {
        assert_eq!(parse(Some(0), OFFLINE), Some(Change::Cpu { cpu: CpuId(3), online: false }));
        let back = b"online@/devices/system/cpu/cpu3\0ACTION=online\0";
        assert_eq!(parse(Some(0), back), Some(Change::Cpu { cpu: CpuId(3), online: true }));
    }

    #[test]
    fn only_the_kernel_is_believed() {
        assert_eq!(parse(Some(4711), OFFLINE), None);
        assert_eq!(parse(None, OFFLINE), None);
    }

    #[test]
    fn a_cpu_plugged_or_pulled_means_to_read_everything_again() {
        let added = b"add@/devices/system/cpu/cpu8\0ACTION=add\0";
        assert_eq!(parse(Some(0), added), Some(Change::Anything));
    }

    #[test]
    fn other_devices_are_of_no_interest() {
        for other in [
            "offline@/devices/system/memory/memory3\0",
            "change@/devices/system/cpu/cpu3\0",
            "offline@/devices/system/cpu/cpu3/power\0",
            "offline@/devices/system/cpu/cpu\0",
            "offline@/devices/system/cpu/cpu+3\0",
            "offline@/devices/system/cpu/cpu99999999999\0",
            "libudev",
            "",
        ] {
            assert_eq!(parse(Some(0), other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_message_is_too_strange(message in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(parse(Some(0), &message), None);
        }

        #[test]
        fn a_message_cut_short_names_no_cpu_it_did_not_mean(length in 0..OFFLINE.len()) {
            let message = String::from_utf8_lossy(OFFLINE).replace("cpu3", "cpu37");
            let heard = parse(Some(0), &message.as_bytes()[..length]);
            let whole = Some(Change::Cpu { cpu: CpuId(37), online: false });
            prop_assert!(heard.is_none() || heard == whole);
        }
    }
}
