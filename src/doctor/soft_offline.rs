//! The kernel is not forbidden to soft-offline pages.

use super::Check;
use crate::host::Root;

const NAME: &str = "soft-offline";

/// Documentation/admin-guide/sysctl/vm.rst; since 6.11, and 1 by default.
const FILE: &str = "proc/sys/vm/enable_soft_offline";

pub(super) fn check(root: &Root) -> Check {
    match root.read(FILE) {
        Ok(text) if text.trim() == "0" => Check::fail(
            NAME,
            "vm.enable_soft_offline is 0: the kernel refuses to take pages with corrected errors",
            "sysctl vm.enable_soft_offline=1, and mend what sets it in /etc/sysctl.d",
        ),
        Ok(_) => Check::ok(NAME, "vm.enable_soft_offline is on"),
        Err(error) if error.errno() == Some(libc::ENOENT) => {
            Check::ok(NAME, "this kernel has no switch for it (vm.enable_soft_offline)")
        }
        Err(error) => Check::unknown(NAME, error.to_string(), super::AS_ROOT),
    }
}
