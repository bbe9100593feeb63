//! Watchdog devices, as sysfs describes them: nothing is opened, which would
//! start one. The watchdog's own look at them, and what only doctor asks.

use super::processes::{self, Process};
use super::Root;
pub use bulkhead_watchdog::choose::Device;
use bulkhead_watchdog::look;

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
    let dir = format!("sys/class/watchdog/watchdog{}", device.number);
    let text = |file: &str| {
        let text = root.read(&format!("{dir}/{file}")).ok()?;
        Some(text.trim().to_owned())
    };
    Watchdog {
        pretimeout: text("pretimeout").and_then(|text| text.parse().ok()),
        governor: text("pretimeout_governor"),
        device,
    }
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
