//! A panic does not end in a host that hangs.

use super::{set_sysctls, sysctl, Chain, Check};
use crate::doctor::AS_ROOT;
use crate::host::Root;

const NAME: &str = "panic";

pub(super) fn check(root: &Root, chain: &Chain) -> Check {
    let Some(seconds) = sysctl(root, "kernel.panic") else {
        return Check::unknown(NAME, "/proc/sys/kernel/panic cannot be read", AS_ROOT);
    };
    match seconds {
        1.. => Check::ok(NAME, format!("after a panic the host reboots within {seconds} s")),
        // Documentation/admin-guide/sysctl/kernel.rst: at once.
        ..0 => Check::ok(NAME, "after a panic the host reboots at once"),
        0 => {
            let mend = format!("sysctl kernel.panic=10\nfor each boot: {}", set_sysctls());
            if chain.is_crash_loaded() {
                let found = "kernel.panic is 0: should the crash kernel not come up, the host \
                             hangs";
                return Check::warn(NAME, found, mend);
            }
            let found = "kernel.panic is 0 and no crash kernel is loaded: after a panic the host \
                         hangs, unless a watchdog in hardware is armed";
            let only_software = chain.main().is_some_and(|watchdog| watchdog.device.is_softdog());
            if chain.is_in_use() && only_software {
                return Check::fail(NAME, found, mend);
            }
            Check::warn(NAME, found, mend)
        }
    }
}
