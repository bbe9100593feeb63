//! There is a watchdog that outlives the kernel it watches.

use super::{Chain, Check};

const NAME: &str = "watchdog";

/// Those of most servers: ACPI's table, Intel's and AMD's chipsets, the BMC's,
/// HPE's. Debian loads none of them by itself
/// (/usr/lib/modprobe.d/blacklist_*.conf).
const DRIVERS: &str = "modprobe the driver of this host's (wdat_wdt, iTCO_wdt, sp5100_tco, \
                       ipmi_watchdog or hpwdt; i6300esb in a virtual machine)\n\
                       then have it loaded at each boot: echo DRIVER > \
                       /etc/modules-load.d/watchdog.conf";

pub(super) fn check(chain: &Chain) -> Check {
    let mut names: Vec<String> = chain
        .watchdogs
        .iter()
        .filter(|watchdog| !watchdog.device.is_softdog())
        .map(|watchdog| {
            format!("{} ({})", watchdog.device.path().display(), watchdog.device.identity)
        })
        .collect();
    if chain.ipmi.is_some() {
        names.push("the BMC's (ipmi_watchdog)".to_owned());
    }
    if !names.is_empty() {
        return Check::ok(NAME, format!("there is a watchdog: {}", names.join(", ")));
    }
    let found = if chain.watchdogs.is_empty() {
        "there is no watchdog: a host that hangs stays so until somebody comes"
    } else {
        "there is only the kernel's own timer (softdog), which ends with the kernel: a panic \
         without a dump, or a CPU that takes no interrupts, stays as it is"
    };
    Check::warn(NAME, found, DRIVERS)
}
