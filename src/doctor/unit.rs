//! The daemon comes up with the host.

use super::Check;
use crate::host::Root;

const NAME: &str = "unit";
const UNIT: &str = "bulkhead.service";

/// Where `systemctl enable` and packages put what targets want
/// (systemd.unit(5)).
const DIRECTORIES: [&str; 3] =
    ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

/// How a unit is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Some target wants it.
    Enabled,
    /// It is there.
    Disabled,
    /// It is not.
    Absent,
}

pub(super) fn state(root: &Root, unit: &str) -> State {
    let wants = |dir: &&str| {
        let targets = root.list(dir).unwrap_or_default();
        let mut wanting =
            targets.iter().filter(|name| name.ends_with(".wants") || name.ends_with(".requires"));
        // A link, which may lead to nowhere under another root.
        wanting.any(|t| root.path(&format!("{dir}/{t}/{unit}")).symlink_metadata().is_ok())
    };
    let there = |dir: &&str| root.path(&format!("{dir}/{unit}")).symlink_metadata().is_ok();
    if DIRECTORIES.iter().any(wants) {
        State::Enabled
    } else if DIRECTORIES.iter().any(there) {
        State::Disabled
    } else {
        State::Absent
    }
}

pub(super) fn check(root: &Root) -> Check {
    match state(root, UNIT) {
        State::Enabled => Check::ok(NAME, format!("{UNIT} is enabled")),
        State::Disabled => {
            let found = format!("{UNIT} does not start at boot");
            Check::warn(NAME, found, format!("systemctl enable {UNIT}"))
        }
        State::Absent => {
            let found = format!("there is no {UNIT}: after a reboot nobody takes what is failing");
            Check::warn(NAME, found, "install the unit, or start bulkheadd at boot by other means")
        }
    }
}
