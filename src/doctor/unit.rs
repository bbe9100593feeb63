//! The daemon comes up with the host.

use super::Check;
use crate::host::Root;

const NAME: &str = "unit";
const UNIT: &str = "bulkhead.service";

/// Where `systemctl enable` and packages put what targets want
/// (systemd.unit(5)).
const DIRECTORIES: [&str; 3] =
    ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

pub(super) fn check(root: &Root) -> Check {
    let wants = |dir: &&str| {
        let targets = root.list(dir).unwrap_or_default();
        let mut wanting =
            targets.iter().filter(|name| name.ends_with(".wants") || name.ends_with(".requires"));
        // A link, which may lead to nowhere under another root.
        wanting.any(|t| root.path(&format!("{dir}/{t}/{UNIT}")).symlink_metadata().is_ok())
    };
    if DIRECTORIES.iter().any(wants) {
        return Check::ok(NAME, format!("{UNIT} is enabled"));
    }
    let there = |dir: &&str| root.path(&format!("{dir}/{UNIT}")).symlink_metadata().is_ok();
    if DIRECTORIES.iter().any(there) {
        let found = format!("{UNIT} does not start at boot");
        return Check::warn(NAME, found, format!("systemctl enable {UNIT}"));
    }
    let found = format!("there is no {UNIT}: after a reboot nobody takes what is failing");
    Check::warn(NAME, found, "install the unit, or start bulkheadd at boot by other means")
}
