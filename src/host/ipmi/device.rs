//! The kernel's door to the BMC (include/uapi/linux/ipmi.h, Documentation/driver-api/ipmi.rst).

use super::{Bmc, STORAGE};
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

/// The first BMC.
pub const PATH: &str = "/dev/ipmi0";

/// A command may take so long; the driver itself tries again for 5 s a few times.
const EACH: Duration = Duration::from_secs(5);

/// IPMI_SYSTEM_INTERFACE_ADDR_TYPE and IPMI_BMC_CHANNEL: the host's own BMC.
const SYSTEM_INTERFACE: libc::c_int = 0x0c;
const BMC_CHANNEL: libc::c_short = 0xf;

/// Bytes of an answer: IPMI_MAX_MSG_LENGTH.
const LONGEST: usize = 272;

/// `struct ipmi_system_interface_addr`
#[repr(C)]
struct Address {
    addr_type: libc::c_int,
    channel: libc::c_short,
    lun: libc::c_uchar,
}

/// `struct ipmi_msg`
#[repr(C)]
struct Message {
    netfn: libc::c_uchar,
    cmd: libc::c_uchar,
    data_len: libc::c_ushort,
    data: *mut libc::c_uchar,
}

/// `struct ipmi_req`
#[repr(C)]
struct Request {
    addr: *mut Address,
    addr_len: libc::c_uint,
    msgid: libc::c_long,
    msg: Message,
}

/// `struct ipmi_recv`
#[repr(C)]
struct Received {
    recv_type: libc::c_int,
    addr: *mut libc::c_uchar,
    addr_len: libc::c_uint,
    msgid: libc::c_long,
    msg: Message,
}

/// Bytes of the largest address: `struct ipmi_addr`, IPMI_MAX_ADDR_SIZE and front.
const ADDRESS: usize = 40;

// IPMICTL_SEND_COMMAND and IPMICTL_RECEIVE_MSG_TRUNC, of IPMI_IOC_MAGIC.
nix::ioctl_read!(send_command, b'i', 13, Request);
nix::ioctl_readwrite!(receive, b'i', 11, Received);

/// An open BMC.
pub(super) struct Device {
    file: File,
    /// The number of the last command; its answer has the same.
    last: libc::c_long,
}

impl Device {
    /// Opens the first one. Its commands need no right to write.
    pub fn open() -> io::Result<Device> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(PATH)?;
        Ok(Device { file, last: 0 })
    }

    fn send(&mut self, command: u8, data: &[u8]) -> io::Result<()> {
        let mut address = Address { addr_type: SYSTEM_INTERFACE, channel: BMC_CHANNEL, lun: 0 };
        let mut data = data.to_vec();
        self.last = self.last.wrapping_add(1);
        let mut request = Request {
            addr: &mut address,
            addr_len: size_of::<Address>() as libc::c_uint,
            msgid: self.last,
            msg: Message {
                netfn: STORAGE,
                cmd: command,
                data_len: libc::c_ushort::try_from(data.len()).map_err(io::Error::other)?,
                data: data.as_mut_ptr(),
            },
        };
        // SAFETY: the request and what it points at are live and of the sizes
        // that it says; the kernel copies them before it returns.
        unsafe { send_command(self.file.as_raw_fd(), &mut request) }?;
        Ok(())
    }

    /// The answer to the last command, its completion code first; what answers an
    /// earlier one, which took too long, is passed over.
    fn receive(&mut self, until: Instant) -> io::Result<Vec<u8>> {
        loop {
            let left = until.saturating_duration_since(Instant::now()).min(EACH);
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, left) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            let (mut address, mut data) = ([0u8; ADDRESS], [0u8; LONGEST]);
            let mut received = Received {
                recv_type: 0,
                addr: address.as_mut_ptr(),
                addr_len: ADDRESS as libc::c_uint,
                msgid: 0,
                msg: Message {
                    netfn: 0,
                    cmd: 0,
                    data_len: LONGEST as libc::c_ushort,
                    data: data.as_mut_ptr(),
                },
            };
            // SAFETY: as above; the kernel writes no more than the sizes say, and
            // truncates what does not fit.
            match unsafe { receive(self.file.as_raw_fd(), &mut received) } {
                // What is truncated (EMSGSIZE) is no answer to what we ask.
                Ok(_) if received.msgid == self.last => {
                    let length = usize::from(received.msg.data_len);
                    return Ok(data.get(..length).unwrap_or_default().to_vec());
                }
                Ok(_) | Err(Errno::EAGAIN | Errno::EMSGSIZE | Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

impl Bmc for Device {
    fn ask(&mut self, command: u8, data: &[u8], until: Instant) -> io::Result<Option<Vec<u8>>> {
        self.send(command, data)?;
        let answer = self.receive(until)?;
        Ok(match answer.split_first() {
            Some((0, data)) => Some(data.to_vec()),
            _ => None,
        })
    }
}
