//! The hardware: opening it arms it, and what is said to it then
//! (Documentation/watchdog/watchdog-api.rst).

use bulkhead_watchdog::choose::{Device, PANIC};
use std::ffi::{c_int, CStr};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

mod ioctl {
    //! include/uapi/linux/watchdog.h.
    use std::ffi::c_int;

    /// `struct watchdog_info`.
    #[repr(C)]
    #[derive(Default)]
    pub struct Info {
        pub options: u32,
        pub firmware_version: u32,
        pub identity: [u8; 32],
    }

    nix::ioctl_read!(get_support, b'W', 0, Info);
    nix::ioctl_readwrite!(set_timeout, b'W', 6, c_int);
    nix::ioctl_read!(get_timeout, b'W', 7, c_int);
    nix::ioctl_readwrite!(set_pretimeout, b'W', 8, c_int);
}

/// One that is armed. Dropping it disarms nothing.
#[derive(Debug)]
pub struct Armed {
    node: File,
    /// What it calls itself.
    pub identity: String,
    /// Unfed for so many seconds, it resets the host.
    pub timeout_s: u32,
    /// So many seconds before that it raises the alarm; 0 for never.
    pub pretimeout_s: u32,
    /// The most that can be set, in seconds; 0 without a limit.
    pub max_timeout_s: u32,
    /// It cannot be disarmed.
    pub nowayout: bool,
    /// What did not go as configured, for the admin.
    pub remarks: Vec<String>,
}

impl Armed {
    /// Opens `path`, and tells it when to raise the alarm and when to reset. From
    /// then on it counts down: feed it, or disarm it.
    ///
    /// # Errors
    /// When it cannot be opened: EBUSY means that somebody else has it.
    pub fn open(
        path: &Path,
        device: Option<&Device>,
        timeout_s: u32,
        pretimeout_s: u32,
    ) -> io::Result<Armed> {
        let mut remarks = Vec::new();
        if let Some(device) = device.filter(|_| pretimeout_s > 0) {
            // Before it is armed, so that its first alarm is the right one.
            remarks.extend(make_it_panic(device).err());
        }
        let node = OpenOptions::new().write(true).open(path)?;
        let fd = node.as_raw_fd();
        let timeout_s = set_timeout(fd, device, timeout_s, &mut remarks);
        let pretimeout_s = pretimeout_s.min(timeout_s.saturating_sub(1));
        Ok(Armed {
            node,
            identity: identity(fd).unwrap_or_else(|| "unknown".to_owned()),
            timeout_s,
            pretimeout_s: set_pretimeout(fd, pretimeout_s, &mut remarks),
            max_timeout_s: device.map_or(0, |device| device.max_timeout_s),
            nowayout: device.map_or_else(ipmi_nowayout, |device| device.nowayout),
            remarks,
        })
    }

    /// For [`feed`].
    pub fn fd(&self) -> RawFd {
        self.node.as_raw_fd()
    }

    /// Goes, and leaves it armed: it resets the host in `timeout_s` seconds.
    pub fn leave(self, timeout_s: u32) {
        // One that does not take it keeps the timeout that it has.
        // SAFETY: the call writes the one int.
        let _ = unsafe { ioctl::set_timeout(self.fd(), &mut int(timeout_s)) };
        let _ = feed(self.fd());
    }

    /// The magic close.
    ///
    /// # Errors
    /// When it does not take the word for it; it is armed then.
    pub fn disarm(mut self) -> io::Result<()> {
        self.node.write_all(b"V")
    }
}

/// Has a pretimeout of `device` panic the kernel; why it does not.
fn make_it_panic(device: &Device) -> Result<(), String> {
    if !device.can_panic() {
        return Err(format!("its pretimeout cannot panic: no governor {PANIC:?}"));
    }
    let file = format!("/sys/class/watchdog/watchdog{}/pretimeout_governor", device.number);
    let opened = OpenOptions::new().write(true).open(&file);
    opened
        .and_then(|mut opened| opened.write_all(PANIC.as_bytes()))
        .map_err(|error| format!("{file} does not take {PANIC:?}: {error}"))
}

/// Sets it as near to `configured` as the device can, in seconds; what it is then.
fn set_timeout(
    fd: RawFd,
    device: Option<&Device>,
    configured: u32,
    remarks: &mut Vec<String>,
) -> u32 {
    let wanted = device.map_or(configured, |device| {
        let most = if device.max_timeout_s == 0 { u32::MAX } else { device.max_timeout_s };
        configured.min(most).max(device.min_timeout_s)
    });
    // SAFETY: the call reads and writes the one int.
    if let Err(errno) = unsafe { ioctl::set_timeout(fd, &mut int(wanted)) } {
        remarks.push(format!("its timeout cannot be set: {errno}"));
    }
    let mut timeout = int(wanted);
    // SAFETY: the call writes the one int.
    if unsafe { ioctl::get_timeout(fd, &mut timeout) }.is_err() {
        // A driver that does not tell takes what it is given, or nothing.
        timeout = int(device.and_then(|device| device.timeout_s).unwrap_or(wanted));
    }
    let timeout = u32::try_from(timeout).unwrap_or(wanted).max(1);
    if timeout != configured {
        remarks.push(format!("its timeout is {timeout} s, not the configured {configured} s"));
    }
    timeout
}

/// Sets it, in seconds; what it is then, 0 for none.
fn set_pretimeout(fd: RawFd, wanted: u32, remarks: &mut Vec<String>) -> u32 {
    // SAFETY: the call reads and writes the one int.
    match unsafe { ioctl::set_pretimeout(fd, &mut int(wanted)) } {
        Ok(_) => wanted,
        Err(errno) => {
            if wanted > 0 {
                remarks.push(format!("it has no pretimeout: {errno}"));
            }
            0
        }
    }
}

fn identity(fd: RawFd) -> Option<String> {
    let mut info = ioctl::Info::default();
    // SAFETY: the call writes the one structure.
    unsafe { ioctl::get_support(fd, &mut info) }.ok()?;
    let name = CStr::from_bytes_until_nul(&info.identity).ok()?;
    Some(name.to_string_lossy().into_owned())
}

/// Tells it that all is well. The errno if that fails. Allocates nothing.
///
/// A byte that is written feeds every driver; WDIOC_KEEPALIVE only those that say
/// WDIOF_KEEPALIVEPING (watchdog_write() and watchdog_ioctl() in
/// drivers/watchdog/watchdog_dev.c).
pub fn feed(fd: RawFd) -> Result<(), i32> {
    // Any but the magic 'V'.
    let byte = [0u8];
    // SAFETY: the kernel reads one byte.
    match unsafe { libc::write(fd, byte.as_ptr().cast(), byte.len()) } {
        1 => Ok(()),
        0 => Err(libc::EIO),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)),
    }
}

fn int(seconds: u32) -> c_int {
    c_int::try_from(seconds).unwrap_or(c_int::MAX)
}

/// The one driver that is none of the class says it in its parameter
/// (drivers/char/ipmi/ipmi_watchdog.c).
fn ipmi_nowayout() -> bool {
    let text = fs::read_to_string("/sys/module/ipmi_watchdog/parameters/nowayout");
    text.is_ok_and(|text| matches!(text.trim(), "1" | "Y"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tempfile::NamedTempFile;

    /// What takes no more than what it is fed: an ordinary file.
    fn plain(device: &Device) -> (NamedTempFile, Armed) {
        let file = NamedTempFile::new().unwrap();
        let armed = Armed::open(file.path(), Some(device), 60, 10).unwrap();
        (file, armed)
    }

    #[test]
    fn one_that_cannot_be_set_keeps_its_timeout_and_says_so() {
        let device = Device { timeout_s: Some(30), nowayout: true, ..Device::default() };
        let (_file, armed) = plain(&device);
        assert_eq!((armed.timeout_s, armed.pretimeout_s, armed.nowayout), (30, 0, true));
        assert_eq!(armed.identity, "unknown");
        let remarks = armed.remarks.join("; ");
        for remark in ["cannot panic", "cannot be set", "30 s, not the configured 60 s"] {
            assert!(remarks.contains(remark), "{remarks}");
        }
    }

    #[test]
    fn it_is_fed_by_any_byte_but_the_one_that_disarms_it() {
        let (file, armed) = plain(&Device::default());
        feed(armed.fd()).unwrap();
        assert_eq!(fs::read(file.path()).unwrap(), [0]);
        armed.disarm().unwrap();
        assert_eq!(fs::read(file.path()).unwrap(), [0, b'V']);
    }

    #[test]
    fn one_that_takes_no_food_says_why() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(feed(full.as_raw_fd()), Err(libc::ENOSPC));
    }
}
