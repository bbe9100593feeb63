//! A reboot or poweroff that hangs ends.

use super::{Chain, Check, ENABLE};
use crate::doctor::unit::State;
use crate::host::{systemd_conf, Root};

const NAME: &str = "shutdown";

pub(super) fn check(root: &Root, chain: &Chain) -> Check {
    if chain.runs && chain.unit == State::Enabled {
        let found = "bulkhead-watchdog watches a shutdown (watchdog.shutdown_limit)";
        return Check::ok(NAME, found);
    }
    // 10 minutes unless it is set (systemd-system.conf(5)).
    let reboot = systemd_conf::manager(root, "RebootWatchdogSec");
    if reboot.is_some_and(|value| systemd_conf::is_off(&value)) {
        let found = "RebootWatchdogSec is off: a reboot that hangs hangs for ever";
        let mend = format!("{ENABLE}, or set RebootWatchdogSec=10min in /etc/systemd/system.conf");
        return Check::warn(NAME, found, mend);
    }
    if chain.main().is_none() && chain.ipmi.is_none() {
        let found = "without a watchdog a reboot or poweroff that hangs hangs for ever";
        return Check::warn(NAME, found, format!("load a watchdog's driver, then {ENABLE}"));
    }
    let found = "systemd watches the end of a reboot alone: a service that does not stop, and a \
                 poweroff, may hang";
    Check::warn(NAME, found, ENABLE)
}
