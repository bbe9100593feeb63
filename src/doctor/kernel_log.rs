//! The kernel log can be read: only it tells that the kernel took a page.

use super::{Check, AS_ROOT};
use crate::host::Root;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

const NAME: &str = "kernel-log";

pub(super) fn check(root: &Root) -> Check {
    let path = root.path("dev/kmsg");
    match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path) {
        Ok(_) => Check::ok(NAME, "/dev/kmsg can be read"),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Check::warn(
            NAME,
            "/dev/kmsg is not there: pages that the kernel takes by itself are noticed late",
            "mount -t devtmpfs devtmpfs /dev",
        ),
        Err(error) => Check::unknown(NAME, format!("cannot open /dev/kmsg: {error}"), AS_ROOT),
    }
}
