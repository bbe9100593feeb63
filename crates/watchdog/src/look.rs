//! Which watchdogs there are, without opening one: that would arm it.

use crate::choose::{Device, Found, Systemd};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Reads /sys and /dev under `root`, and asks systemd where it runs.
pub fn look(root: &Path) -> Found {
    let devices = devices(root);
    // The class's first device makes this node its own (watchdog_dev.c,
    // watchdog_cdev_register()); without one it is another driver's.
    let bare = devices.iter().all(|device| device.number != 0)
        && root.join("sys/class/misc/watchdog").exists();
    let systemd = root.join("run/systemd/system").exists().then(systemd).flatten();
    Found { devices, bare, systemd }
}

/// /sys/class/watchdog, by number.
pub fn devices(root: &Path) -> Vec<Device> {
    let class = root.join("sys/class/watchdog");
    let Ok(entries) = fs::read_dir(&class) else { return Vec::new() };
    let mut devices: Vec<Device> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix("watchdog")?.parse().ok()?;
            Some(device(&entry.path(), number))
        })
        .collect();
    devices.sort_by_key(|device| device.number);
    devices
}

fn device(dir: &Path, number: u32) -> Device {
    let text = |file: &str| {
        let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
        text.trim().to_owned()
    };
    let governors = text("pretimeout_available_governors");
    Device {
        number,
        identity: text("identity"),
        active: text("state") == "active",
        timeout_s: text("timeout").parse().ok(),
        min_timeout_s: text("min_timeout").parse().unwrap_or(0),
        max_timeout_s: text("max_timeout").parse().unwrap_or(0),
        governors: governors.split_whitespace().map(str::to_owned).collect(),
        nowayout: text("nowayout") == "1",
        bootstatus: bits(&text("bootstatus")),
    }
}

/// Printed as a decimal or, with 0x, as a hexadecimal number.
fn bits(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Asks process 1. None when it does not answer.
fn systemd() -> Option<Systemd> {
    let properties = "--property=RuntimeWatchdogUSec,WatchdogDevice";
    let shown = Command::new("systemctl")
        .args(["show", properties])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|shown| shown.status.success())?;
    Some(shown_by_systemd(&String::from_utf8_lossy(&shown.stdout)))
}

/// Reads what `systemctl show` prints. "0" is off; anything else, "infinity"
/// (which stands for the device's own timeout) among it, is on.
pub fn shown_by_systemd(text: &str) -> Systemd {
    let value = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
    };
    Systemd {
        feeds: !matches!(value("RuntimeWatchdogUSec"), "" | "0"),
        device: Some(value("WatchdogDevice")).filter(|path| !path.is_empty()).map(PathBuf::from),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_watchdog_is_read_from_sysfs() {
        let root = tempfile::tempdir().unwrap();
        let class = root.path().join("sys/class/watchdog");
        for (name, file, text) in [
            ("watchdog1", "identity", "iTCO_wdt\n"),
            ("watchdog0", "identity", "i6300ESB timer\n"),
            ("watchdog0", "state", "active\n"),
            ("watchdog0", "timeout", "30\n"),
            ("watchdog0", "max_timeout", "2046\n"),
            ("watchdog0", "nowayout", "1\n"),
            ("watchdog0", "bootstatus", "32\n"),
            ("watchdog0", "pretimeout_available_governors", "noop\npanic\n"),
        ] {
            fs::create_dir_all(class.join(name)).unwrap();
            fs::write(class.join(name).join(file), text).unwrap();
        }
        let found = look(root.path());
        let expected = Device {
            number: 0,
            identity: "i6300ESB timer".to_owned(),
            active: true,
            timeout_s: Some(30),
            min_timeout_s: 0,
            max_timeout_s: 2046,
            governors: vec!["noop".to_owned(), "panic".to_owned()],
            nowayout: true,
            bootstatus: Some(32),
        };
        assert_eq!(found.devices[0], expected);
        assert_eq!(found.devices[1].identity, "iTCO_wdt");
        assert!(!found.bare && found.systemd.is_none());
    }

    #[test]
    fn a_bootstatus_is_read_in_either_base_and_may_be_unknown() {
        assert_eq!(["32", "0x20", "", "many"].map(bits), [Some(32), Some(32), None, None]);
    }

    #[test]
    fn a_host_without_any_has_none() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(look(root.path()), Found::default());
    }

    #[test]
    fn a_node_that_is_none_of_the_class_is_seen() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/class/misc/watchdog")).unwrap();
        assert!(look(root.path()).bare);
    }

    #[test]
    fn systemd_says_whether_it_feeds() {
        let shown = |text| shown_by_systemd(text);
        assert_eq!(shown("RuntimeWatchdogUSec=0\nWatchdogDevice=\n"), Systemd::default());
        let on = shown("WatchdogDevice=/dev/watchdog1\nRuntimeWatchdogUSec=1min\n");
        assert!(on.feeds && on.device == Some("/dev/watchdog1".into()), "{on:?}");
        assert!(shown("RuntimeWatchdogUSec=infinity").feeds);
        assert_eq!(shown(""), Systemd::default());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(?s).{0,80}") {
            let _ = (shown_by_systemd(&text), bits(&text));
        }
    }
}
