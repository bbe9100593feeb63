//! Our watchdog process comes up with the host, and runs.

use super::{Chain, Check, ENABLE, UNIT};
use crate::doctor::unit::State;

const NAME: &str = "watchdog-unit";

pub(super) fn check(chain: &Chain) -> Check {
    match (&chain.unit, chain.runs) {
        (State::Enabled, true) => Check::ok(NAME, format!("{UNIT} is enabled, and runs")),
        (State::Enabled, false) => {
            let found = format!("{UNIT} is enabled, and does not run");
            let mend = format!("systemctl restart {UNIT}; journalctl -u {UNIT} tells why it ended");
            Check::fail(NAME, found, mend)
        }
        (_, true) => {
            Check::warn(NAME, "bulkhead-watchdog runs, and will not after a reboot", ENABLE)
        }
        (State::Disabled, false) => {
            let found = format!("{UNIT} is not enabled: it ships so");
            Check::warn(NAME, found, format!("read docs/watchdog.md, then {ENABLE}"))
        }
        (State::Absent, false) => {
            Check::warn(NAME, format!("there is no {UNIT}"), format!("install it, then {ENABLE}"))
        }
    }
}
