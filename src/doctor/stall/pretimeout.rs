//! Some time before the hardware resets the host, the kernel panics: only so
//! there is a dump.

use super::{set_ipmi_watchdog, Chain, Check, EXAMPLES};
use crate::host::watchdogs::{IpmiWatchdog, PANIC};

const NAME: &str = "pretimeout";

pub(super) fn check(chain: &Chain) -> Option<Check> {
    let Some(watchdog) = chain.main() else {
        return chain.ipmi.as_ref().map(of_the_bmc);
    };
    let name = watchdog.device.path().display().to_string();
    let Some(seconds) = watchdog.pretimeout else {
        let found = format!(
            "{name} has no pretimeout: the host is reset without a panic, and so without a \
             dump"
        );
        let mend = "boot a kernel with CONFIG_WATCHDOG_HRTIMER_PRETIMEOUT, or use another watchdog";
        return Some(Check::warn(NAME, found, mend));
    };
    if !watchdog.device.can_panic() {
        let found = format!("{name}: no pretimeout governor panics");
        let mend = format!(
            "modprobe pretimeout_panic, and for each boot: cp \
             {EXAMPLES}/modules-load.d/bulkhead-pretimeout.conf /etc/modules-load.d/"
        );
        return Some(Check::warn(NAME, found, mend));
    }
    if !watchdog.device.active {
        let found = format!("{name} can panic before it resets, once it is in use");
        return Some(Check::ok(NAME, found));
    }
    let governor = watchdog.governor.as_deref().unwrap_or_default();
    Some(if seconds > 0 && governor == PANIC {
        Check::ok(NAME, format!("{name} panics {seconds} s before it resets"))
    } else {
        let found = format!(
            "{name} resets the host without a panic, and so without a dump (pretimeout \
             {seconds} s, governor {governor:?})"
        );
        let mend = format!(
            "set watchdog.pretimeout in /etc/bulkhead/bulkhead.toml, or, where systemd feeds it, \
             cp {EXAMPLES}/system.conf.d/bulkhead-watchdog.conf /etc/systemd/system.conf.d/ and \
             what it says at its head"
        );
        Check::warn(NAME, found, mend)
    })
}

fn of_the_bmc(ipmi: &IpmiWatchdog) -> Check {
    if ipmi.preop == "preop_panic" && ipmi.preaction != "pre_none" {
        return Check::ok(NAME, "the BMC's watchdog raises the alarm, and the kernel panics");
    }
    let found = format!(
        "the BMC's watchdog resets the host without a dump (preaction={}, preop={})",
        ipmi.preaction, ipmi.preop
    );
    Check::warn(NAME, found, set_ipmi_watchdog())
}
