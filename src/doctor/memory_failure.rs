//! The kernel can take pages out of service, and lets us see that it has.

use super::{Check, AS_ROOT};
use crate::host::{pageflags, PageFlags, Root};

const NAME: &str = "memory-failure";

pub(super) fn check(root: &Root) -> Check {
    let files = ["soft_offline_page", "hard_offline_page"];
    let missing = files.iter().find(|file| {
        let file = format!("sys/devices/system/memory/{file}");
        !root.path(&file).exists()
    });
    if let Some(file) = missing {
        let found = format!("/sys/devices/system/memory/{file} is not there: no page can be taken");
        return Check::fail(NAME, found, "boot a kernel with CONFIG_MEMORY_FAILURE");
    }
    match PageFlags::open(root) {
        Ok(_) => Check::ok(NAME, "pages can be taken, and read back"),
        Err(error) if error.errno() == Some(libc::ENOENT) => {
            let found =
                format!("/{} is not there: what cannot be read back is not taken", pageflags::PATH);
            Check::fail(NAME, found, "boot a kernel with CONFIG_PROC_PAGE_MONITOR")
        }
        Err(error) => Check::unknown(NAME, error.to_string(), AS_ROOT),
    }
}
