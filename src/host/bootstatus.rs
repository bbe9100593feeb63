//! The watchdog devices, as sysfs shows them without opening one
//! (Documentation/ABI/testing/sysfs-class-watchdog): to open one would arm it.

use super::Root;
use bulkhead_core::analyze::verdict::{Armed, Bootstatus};

const CLASS: &str = "sys/class/watchdog";

/// Devices that are looked at; MAX_DOGS of drivers/watchdog/watchdog_core.h.
const MOST: usize = 32;

/// What each device says of the reset before this boot. A driver that was not
/// there yet, or a kernel without CONFIG_WATCHDOG_SYSFS, says nothing.
pub fn bootstatus(root: &Root) -> Vec<Bootstatus> {
    let status = |device: String| {
        let bits = value(root, &device, "bootstatus")?;
        // Printed as a decimal or, with 0x, as a hexadecimal number.
        let bits = match bits.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => bits.parse().ok()?,
        };
        Some(Bootstatus { identity: identity(root, &device), device, bits })
    };
    devices(root).into_iter().filter_map(status).collect()
}

/// The first device that is armed, whoever feeds it.
pub fn armed(root: &Root) -> Option<Armed> {
    let is_armed =
        |device: &String| value(root, device, "state").is_some_and(|state| state == "active");
    let device = devices(root).into_iter().find(is_armed)?;
    let timeout = value(root, &device, "timeout").and_then(|text| text.parse().ok());
    let identity = identity(root, &device);
    Some(Armed { identity, timeout_s: timeout.unwrap_or(0), device })
}

fn devices(root: &Root) -> Vec<String> {
    let mut devices = root.list(CLASS).unwrap_or_default();
    devices.truncate(MOST);
    devices
}

fn identity(root: &Root, device: &str) -> String {
    value(root, device, "identity").unwrap_or_else(|| "a watchdog without a name".to_owned())
}

fn value(root: &Root, device: &str, file: &str) -> Option<String> {
    let text = root.read(&format!("{CLASS}/{device}/{file}")).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

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
}
