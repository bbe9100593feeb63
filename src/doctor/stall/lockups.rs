//! What the kernel itself finds to be stuck ends in a panic.

use super::{set_sysctls, sysctl, Check};
use crate::host::Root;

const NAME: &str = "lockups";

/// Documentation/admin-guide/lockup-watchdogs.rst. `hung_task_panic` is left
/// out: a task that waits long for a disk or a server is no stall of the host.
const DETECTORS: [&str; 2] = ["kernel.softlockup_panic", "kernel.hardlockup_panic"];

pub(super) fn check(root: &Root) -> Check {
    let values = DETECTORS.map(|name| (name, sysctl(root, name)));
    let off: Vec<&str> =
        values.iter().filter(|(_, value)| *value == Some(0)).map(|(name, _)| *name).collect();
    let blind = match sysctl(root, "kernel.nmi_watchdog") {
        Some(1..) => "",
        // So it is in most virtual machines: it takes a performance counter.
        _ => "; a CPU with its interrupts off is not noticed (kernel.nmi_watchdog is not 1)",
    };
    if values.iter().all(|(_, value)| value.is_none()) {
        let found = "this kernel has no lockup detectors";
        return Check::warn(NAME, found, "boot a kernel with CONFIG_SOFTLOCKUP_DETECTOR");
    }
    if off.is_empty() {
        return Check::ok(NAME, format!("lockups that the kernel finds are panics{blind}"));
    }
    let found =
        format!("lockups that the kernel finds are only logged ({} = 0){blind}", off.join(", "));
    let now = off.iter().map(|name| format!("{name}=1")).collect::<Vec<_>>().join(" ");
    Check::warn(NAME, found, format!("sysctl {now}\nfor each boot: {}", set_sysctls()))
}
