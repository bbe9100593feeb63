//! The hardware: opening it arms it, and what is said to it then
//! (Documentation/watchdog/watchdog-api.rst).

use bulkhead_watchdog::choose::Device;
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
    nix::ioctl_read!(keep_alive, b'W', 5, c_int);
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

/// What the pretimeout is to do, where there is a choice: the module
/// pretimeout_panic.
const GOVERNOR: &str = "panic";

impl Armed {
    /// Opens `path`, and tells it when to raise the alarm and when to reset.
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
        let can = |device: &Device| device.governors.iter().any(|known| known == GOVERNOR);
        if device.is_some_and(|device| pretimeout_s > 0 && !can(device)) {
            remarks.push(format!("its pretimeout cannot panic: no governor {GOVERNOR:?}"));
        }
        if let Some(device) = device.filter(|device| pretimeout_s > 0 && can(device)) {
            // Before it is armed, so that its first alarm is the right one.
            let file = format!("/sys/class/watchdog/watchdog{}/pretimeout_governor", device.number);
            if let Err(error) = OpenOptions::new()
                .write(true)
                .open(&file)
                .and_then(|mut file| file.write_all(GOVERNOR.as_bytes()))
            {
                remarks.push(format!("{file} does not take {GOVERNOR:?}: {error}"));
            }
        }
        let node = OpenOptions::new().write(true).open(path)?;
        let fd = node.as_raw_fd();
        let wanted = device.map_or(timeout_s, |device| {
            let most = if device.max_timeout_s == 0 { u32::MAX } else { device.max_timeout_s };
            timeout_s.min(most).max(device.min_timeout_s)
        });
        // SAFETY: here and below each call reads or writes the one variable of
        // the type that the header gives for it.
        if let Err(errno) = unsafe { ioctl::set_timeout(fd, &mut int(wanted)) } {
            remarks.push(format!("its timeout cannot be set: {errno}"));
        }
        let mut timeout = int(wanted);
        if unsafe { ioctl::get_timeout(fd, &mut timeout) }.is_err() {
            // A driver that does not tell takes what it is given, or nothing.
            timeout = int(device.and_then(|device| device.timeout_s).unwrap_or(wanted));
        }
        let timeout = u32::try_from(timeout).unwrap_or(wanted).max(1);
        if timeout != timeout_s {
            remarks.push(format!("its timeout is {timeout} s, not the configured {timeout_s} s"));
        }
        let mut pretimeout = pretimeout_s.min(timeout.saturating_sub(1));
        if let Err(errno) = unsafe { ioctl::set_pretimeout(fd, &mut int(pretimeout)) } {
            if pretimeout > 0 {
                remarks.push(format!("it has no pretimeout: {errno}"));
            }
            pretimeout = 0;
        }
        let mut info = ioctl::Info::default();
        let known = unsafe { ioctl::get_support(fd, &mut info) }.is_ok();
        let identity = CStr::from_bytes_until_nul(&info.identity).ok().filter(|_| known);
        let identity = identity.map(|name| name.to_string_lossy().into_owned());
        let armed = Armed {
            node,
            identity: identity.unwrap_or_else(|| "unknown".to_owned()),
            timeout_s: timeout,
            pretimeout_s: pretimeout,
            max_timeout_s: device.map_or(0, |device| device.max_timeout_s),
            nowayout: device.map_or_else(ipmi_nowayout, |device| device.nowayout),
            remarks,
        };
        feed(fd).map_err(io::Error::from_raw_os_error)?;
        Ok(armed)
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

/// Tells it that all is well. The errno if that fails. Allocates nothing.
pub fn feed(fd: RawFd) -> Result<(), i32> {
    let mut nothing: c_int = 0;
    // SAFETY: the call writes one int at most.
    match unsafe { ioctl::keep_alive(fd, &mut nothing) } {
        Ok(_) => Ok(()),
        Err(errno) => Err(errno as i32),
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
