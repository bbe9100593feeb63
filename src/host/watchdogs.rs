//! Watchdog devices, as sysfs describes them: nothing is opened, which would
//! start one.
//!
//! Documentation/ABI/testing/sysfs-class-watchdog; a driver that does not use
//! the watchdog core, such as ipmi_watchdog, is not in there.

use super::processes::{self, Process};
use super::Root;
use bulkhead_core::analyze::verdict::{Armed, Bootstatus};

const CLASS: &str = "sys/class/watchdog";

/// One of the watchdog core's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watchdog {
    /// Its name below /dev and in sysfs: `watchdog0`.
    pub name: String,
    /// What its driver calls it: `i6300ESB timer`.
    pub identity: String,
    /// The module of its driver; `None` where it is built in, or has no device.
    pub driver: Option<String>,
    /// It counts down.
    pub active: bool,
    /// Unfed for so many seconds it resets the host.
    pub timeout: Option<u32>,
    /// So many seconds before that it raises the alarm, zero for never; `None`
    /// where the kernel cannot.
    pub pretimeout: Option<u32>,
    /// Who acts on the alarm: `panic`, `noop`.
    pub governor: Option<String>,
    /// Who could.
    pub governors: Vec<String>,
    /// What it says of the reset before this boot: WDIOF_*
    /// (include/uapi/linux/watchdog.h).
    pub bootstatus: Option<u32>,
}

impl Watchdog {
    /// It is a timer of the kernel's own (drivers/watchdog/softdog.c), which ends
    /// with the kernel that it should watch.
    pub fn is_software(&self) -> bool {
        self.identity == "Software Watchdog"
    }
}

/// All that are there, by their numbers.
pub fn watchdogs(root: &Root) -> Vec<Watchdog> {
    let names = root.list(CLASS).unwrap_or_default();
    let mut numbered: Vec<(u32, String)> = names
        .into_iter()
        .filter_map(|name| Some((name.strip_prefix("watchdog")?.parse().ok()?, name)))
        .collect();
    numbered.sort();
    numbered.into_iter().map(|(_, name)| one(root, name)).collect()
}

fn one(root: &Root, name: String) -> Watchdog {
    let text = |file: &str| {
        let text = root.read(&format!("{CLASS}/{name}/{file}")).ok()?;
        Some(text.trim().to_owned())
    };
    let number = |file: &str| text(file)?.parse().ok();
    let governors = text("pretimeout_available_governors").unwrap_or_default();
    let module = root.path(&format!("{CLASS}/{name}/device/driver/module"));
    let driver = std::fs::read_link(module).ok();
    Watchdog {
        identity: text("identity").unwrap_or_default(),
        driver: driver.and_then(|path| Some(path.file_name()?.to_str()?.to_owned())),
        active: text("state").as_deref() == Some("active"),
        timeout: number("timeout"),
        pretimeout: number("pretimeout"),
        governor: text("pretimeout_governor"),
        governors: governors.split_whitespace().map(str::to_owned).collect(),
        bootstatus: text("bootstatus").as_deref().and_then(bits),
        name,
    }
}

/// Decimal, as drivers/watchdog/watchdog_dev.c prints it (bootstatus_show());
/// with `0x` hexadecimal, as its documentation leaves open.
fn bits(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// What each says of the reset before this boot.
pub fn bootstatus(root: &Root) -> Vec<Bootstatus> {
    let status = |it: Watchdog| {
        Some(Bootstatus { device: it.name, identity: it.identity, bits: it.bootstatus? })
    };
    watchdogs(root).into_iter().filter_map(status).collect()
}

/// The first that is armed, whoever feeds it.
pub fn armed(root: &Root) -> Option<Armed> {
    let it = watchdogs(root).into_iter().find(|it| it.active)?;
    let timeout_s = it.timeout.unwrap_or(0);
    Some(Armed { device: it.name, identity: it.identity, timeout_s })
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
        for (file, text) in [
            ("identity", "i6300ESB timer\n"),
            ("state", "active\n"),
            ("timeout", "60\n"),
            ("pretimeout", "10\n"),
            ("pretimeout_governor", "panic\n"),
            ("pretimeout_available_governors", "noop\npanic\n"),
            ("bootstatus", "32\n"),
            ("device/driver/x", ""),
        ] {
            tree.write(&format!("{CLASS}/watchdog0/{file}"), text);
        }
        let link = tree.root.path(&format!("{CLASS}/watchdog0/device/driver/module"));
        symlink("../../../../module/i6300esb", link).unwrap();
        let expected = Watchdog {
            name: "watchdog0".to_owned(),
            identity: "i6300ESB timer".to_owned(),
            driver: Some("i6300esb".to_owned()),
            active: true,
            timeout: Some(60),
            pretimeout: Some(10),
            governor: Some("panic".to_owned()),
            governors: vec!["noop".to_owned(), "panic".to_owned()],
            bootstatus: Some(32),
        };
        assert_eq!(watchdogs(&tree.root), [expected]);
    }

    #[test]
    fn what_it_did_and_whether_it_is_armed_are_told() {
        let tree = Tree::new();
        assert!(bootstatus(&tree.root).is_empty() && armed(&tree.root).is_none());
        for (file, text) in [
            ("watchdog0/bootstatus", "0x20\n"),
            ("watchdog0/state", "inactive\n"),
            ("watchdog1/state", "active\n"),
            ("watchdog1/timeout", "60\n"),
        ] {
            tree.write(&format!("{CLASS}/{file}"), text);
        }
        let told: Vec<_> =
            bootstatus(&tree.root).into_iter().map(|it| (it.device, it.bits)).collect();
        assert_eq!(told, [("watchdog0".to_owned(), 32)]);
        let armed = armed(&tree.root).unwrap();
        assert_eq!((armed.device.as_str(), armed.timeout_s), ("watchdog1", 60));
    }

    #[test]
    fn they_come_by_their_numbers_and_may_say_nothing() {
        let tree = Tree::new();
        for name in ["watchdog10", "watchdog2", "watchdogs", "other"] {
            tree.write(&format!("{CLASS}/{name}/x"), "");
        }
        let found = watchdogs(&tree.root);
        let names: Vec<&str> = found.iter().map(|w| w.name.as_str()).collect();
        assert_eq!(names, ["watchdog2", "watchdog10"]);
        assert!(!found[0].active && found[0].timeout.is_none() && found[0].driver.is_none());
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
