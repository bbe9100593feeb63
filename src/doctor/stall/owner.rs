//! Somebody feeds the watchdog, and only while the host is well.

use super::{Chain, Check, ENABLE, PROCESS, UNIT};
use crate::doctor::AS_ROOT;

const NAME: &str = "watchdog-owner";

pub(super) fn check(chain: &Chain) -> Option<Check> {
    if chain.watchdogs.is_empty() && chain.ipmi.is_none() {
        return None;
    }
    let Some(holder) = &chain.holder else {
        let found = "who feeds the watchdog cannot be told";
        return Some(Check::unknown(NAME, found, AS_ROOT));
    };
    let Some((process, path)) = holder else {
        return Some(unheld(chain));
    };
    let who = format!("{} (process {}) feeds {path}", process.name, process.pid);
    Some(match (process.name.as_str(), process.pid) {
        (PROCESS, _) => Check::ok(NAME, who),
        (_, 1) if chain.runs => {
            Check::ok(NAME, format!("{who}, and bulkhead-watchdog reports to it"))
        }
        (_, 1) => {
            let found = format!(
                "{who}: only its own hang would be noticed, and not one of a CPU or of all else"
            );
            Check::warn(NAME, found, ENABLE)
        }
        (name, _) => {
            let found = format!("{who}: bulkhead-watchdog only looks on while another does");
            let mend = format!(
                "if Bulkhead is to do it: systemctl disable --now the unit of {name}, then \
                 systemctl restart {UNIT}"
            );
            Check::warn(NAME, found, mend)
        }
    })
}

fn unheld(chain: &Chain) -> Check {
    let running = chain.watchdogs.iter().find(|watchdog| watchdog.device.active);
    match running {
        // Somebody closed it without disarming it, or the kernel feeds one that
        // firmware started.
        Some(watchdog) => Check::warn(
            NAME,
            format!("{} counts down, and no program feeds it", watchdog.device.path().display()),
            ENABLE,
        ),
        None => Check::warn(NAME, "nobody uses the watchdog: a host that hangs stays so", ENABLE),
    }
}
