//! Watchdog devices, as sysfs describes them: nothing is opened, which would
//! start one. The watchdog's own look at them, and what only doctor and the verdict
//! ask.

use super::processes::{self, Process};
use super::Root;
use bulkhead_core::analyze::verdict::{Armed, Bootstatus};
pub use bulkhead_watchdog::choose::Device;
use bulkhead_watchdog::choose::UNNAMED;
use bulkhead_watchdog::look;

const CLASS: &str = "sys/class/watchdog";

/// One of the watchdog core's (Documentation/ABI/testing/sysfs-class-watchdog); a
/// driver that does not use the core, such as ipmi_watchdog, is not in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watchdog {
    /// What the watchdog process knows of it.
    pub device: Device,
    /// So many seconds before it resets it raises the alarm, zero for never;
    /// `None` where the kernel cannot.
    pub pretimeout: Option<u32>,
    /// Who acts on the alarm: `panic`, `noop`.
    pub governor: Option<String>,
}

/// All that are there, by their numbers.
pub fn watchdogs(root: &Root) -> Vec<Watchdog> {
    look::devices(&root.path("")).into_iter().map(|device| one(root, device)).collect()
}

fn one(root: &Root, device: Device) -> Watchdog {
    Watchdog {
        pretimeout: value(root, &device, "pretimeout").and_then(|text| text.parse().ok()),
        governor: value(root, &device, "pretimeout_governor"),
        device,
    }
}

/// What each device says of the reset before this boot. A driver that was not
/// there yet, or a kernel without CONFIG_WATCHDOG_SYSFS, says nothing.
pub fn bootstatus(root: &Root) -> Vec<Bootstatus> {
    let status = |device: Device| {
        let bits = device.bootstatus?;
        Some(Bootstatus { identity: identity(&device), device: name(&device), bits })
    };
    look::devices(&root.path("")).into_iter().filter_map(status).collect()
}

/// The first device that is armed, whoever feeds it.
pub fn armed(root: &Root) -> Option<Armed> {
    let device = look::devices(&root.path("")).into_iter().find(|device| device.active)?;
    let timeout_s = device.timeout_s.unwrap_or(0);
    Some(Armed { identity: identity(&device), device: name(&device), timeout_s })
}

/// In sysfs, and below /dev.
fn name(device: &Device) -> String {
    format!("watchdog{}", device.number)
}

fn identity(device: &Device) -> String {
    match device.identity.as_str() {
        "" => UNNAMED.to_owned(),
        identity => identity.to_owned(),
    }
}

fn value(root: &Root, device: &Device, file: &str) -> Option<String> {
    let text = root.read(&format!("{CLASS}/{}/{file}", name(device))).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The parameters of ipmi_watchdog, which says nothing elsewhere
/// (drivers/char/ipmi/ipmi_watchdog.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpmiWatchdog {
    /// What comes before the end: `pre_none`, `pre_smi`, `pre_nmi`, `pre_int`.
    pub preaction: String,
    /// What the driver does then: `preop_none`, `preop_panic`, `preop_give_data`.
    pub preop: String,
}

/// That of the BMC, where its driver is loaded.
pub fn ipmi_watchdog(root: &Root) -> Option<IpmiWatchdog> {
    let parameter = |name: &str| {
        let text = root.read(&format!("sys/module/ipmi_watchdog/parameters/{name}")).ok()?;
        Some(text.trim().to_owned())
    };
    Some(IpmiWatchdog { preaction: parameter("preaction")?, preop: parameter("preop")? })
}

/// Who has a watchdog open, and which: the path below /dev. `None` where we may
/// not look.
pub fn holder(root: &Root) -> Option<Option<(Process, String)>> {
    processes::holding(root, |path| {
        path.strip_prefix("/dev/watchdog").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::host::testing::Tree;
    use std::os::unix::fs::symlink;

    fn device(tree: &Tree, name: &str, files: &[(&str, &str)]) {
        for (file, text) in files {
            tree.write(&format!("{CLASS}/{name}/{file}"), &format!("{text}\n"));
        }
    }

    #[test]
    fn each_device_says_what_it_did() {
        let tree = Tree::new();
        let i6300 = [("bootstatus", "32"), ("identity", "i6300ESB timer"), ("state", "inactive")];
        device(&tree, "watchdog0", &i6300);
        device(&tree, "watchdog1", &[("bootstatus", "0x1")]);
        device(&tree, "watchdog2", &[("identity", "mute")]);
        let found: Vec<_> =
            bootstatus(&tree.root).into_iter().map(|w| (w.device, w.identity, w.bits)).collect();
        let text = |text: &str| text.to_owned();
        assert_eq!(
            found,
            [
                (text("watchdog0"), text("i6300ESB timer"), 32),
                (text("watchdog1"), text("a watchdog without a name"), 1),
            ]
        );
        assert_eq!(armed(&tree.root), None);
    }

    #[test]
    fn one_that_somebody_feeds_is_known_by_its_state() {
        let tree = Tree::new();
        device(&tree, "watchdog0", &[("state", "inactive")]);
        device(&tree, "watchdog1", &[("state", "active"), ("timeout", "60"), ("identity", "x")]);
        let armed = armed(&tree.root);
        assert!(armed.is_some_and(|it| it.device == "watchdog1" && it.timeout_s == 60));
    }

    #[test]
    fn a_host_without_one_has_nothing_to_tell() {
        let tree = Tree::new();
        assert!(bootstatus(&tree.root).is_empty() && armed(&tree.root).is_none());
    }

    #[test]
    fn a_watchdog_is_described_without_being_opened() {
        let tree = Tree::new();
        let dir = "sys/class/watchdog/watchdog0";
        for (file, text) in [
            ("identity", "i6300ESB timer\n"),
            ("state", "active\n"),
            ("pretimeout", "10\n"),
            ("pretimeout_governor", "panic\n"),
        ] {
            tree.write(&format!("{dir}/{file}"), text);
        }
        tree.write("sys/class/watchdog/watchdog1/identity", "Software Watchdog\n");
        let found = watchdogs(&tree.root);
        assert!(found[0].device.active && found[1].device.is_softdog());
        assert_eq!(found[0].pretimeout, Some(10));
        assert_eq!(found[0].governor.as_deref(), Some("panic"));
        assert_eq!((found[1].pretimeout, &found[1].governor), (None, &None));
        assert_eq!(watchdogs(&Tree::new().root), []);
    }

    #[test]
    fn the_bmcs_tells_by_its_parameters_what_it_does() {
        let tree = Tree::new();
        assert_eq!(ipmi_watchdog(&tree.root), None);
        tree.write("sys/module/ipmi_watchdog/parameters/preaction", "pre_nmi\n");
        tree.write("sys/module/ipmi_watchdog/parameters/preop", "preop_none\n");
        let found = ipmi_watchdog(&tree.root).unwrap();
        assert_eq!((found.preaction.as_str(), found.preop.as_str()), ("pre_nmi", "preop_none"));
    }

    #[test]
    fn who_has_one_open_is_found() {
        let tree = Tree::new();
        tree.write("proc/1/comm", "systemd\n");
        tree.write("proc/1/fd/x", "");
        assert_eq!(holder(&tree.root), Some(None));
        symlink("/dev/watchdogs", tree.root.path("proc/1/fd/3")).unwrap();
        assert_eq!(holder(&tree.root), Some(None));
        symlink("/dev/watchdog0", tree.root.path("proc/1/fd/4")).unwrap();
        let (process, device) = holder(&tree.root).unwrap().unwrap();
        assert_eq!((process.pid, process.name.as_str()), (1, "systemd"));
        assert_eq!(device, "/dev/watchdog0");
    }
}
