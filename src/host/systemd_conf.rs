//! Settings of systemd's manager, read from its files (systemd-system.conf(5)).

use super::Root;
use std::collections::BTreeMap;

/// Where they are; what comes first wins.
const PLACES: [&str; 4] = ["etc", "run", "usr/local/lib", "usr/lib"];

/// The value of `key` under `[Manager]`, as the files have it; `None` where none
/// sets it, or the last that does sets it to nothing, which means the default.
pub fn manager(root: &Root, key: &str) -> Option<String> {
    let mains = PLACES.iter().map(|place| format!("{place}/systemd/system.conf"));
    let main = mains.into_iter().find(|file| root.path(file).exists());
    // Fragments go by their names alone, wherever they are.
    let mut fragments = BTreeMap::new();
    for place in PLACES.iter().rev() {
        let dir = format!("{place}/systemd/system.conf.d");
        for name in root.list(&dir).unwrap_or_default() {
            if name.ends_with(".conf") {
                let file = format!("{dir}/{name}");
                fragments.insert(name, file);
            }
        }
    }
    let files = main.into_iter().chain(fragments.into_values());
    let mut set = files.filter_map(|file| last(&root.read(&file).ok()?, key));
    set.next_back().filter(|value| !value.is_empty())
}

/// Whether a time is one that turns off what it is for: "off", or a span of
/// nothing in whatever units (systemd.time(7)).
pub fn is_off(value: &str) -> bool {
    let mut digits = value.chars().filter(char::is_ascii_digit).peekable();
    value == "off" || (digits.peek().is_some() && digits.all(|digit| digit == '0'))
}

/// The last value of `key` under `[Manager]` in one file.
pub(super) fn last(text: &str, key: &str) -> Option<String> {
    let mut ours = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            ours = line == "[Manager]";
        } else if let Some((name, value)) = line.split_once('=') {
            // A comment has its sign before the name.
            if ours && name.trim() == key {
                found = Some(value.trim().to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::Tree;
    use proptest::prelude::*;

    const KEY: &str = "RebootWatchdogSec";

    #[test]
    fn the_last_fragment_by_name_wins_and_that_of_etc_replaces_its_namesake() {
        let tree = Tree::new();
        assert_eq!(manager(&tree.root, KEY), None);
        tree.write("usr/lib/systemd/system.conf", "[Manager]\nRebootWatchdogSec=1min\n");
        assert_eq!(manager(&tree.root, KEY).as_deref(), Some("1min"));
        // The file of /etc hides that of the distribution.
        tree.write("etc/systemd/system.conf", "[Manager]\n#RebootWatchdogSec=10min\n");
        assert_eq!(manager(&tree.root, KEY), None);
        let fragment = |place: &str, name: &str, value: &str| {
            let file = format!("{place}/systemd/system.conf.d/{name}");
            tree.write(&file, &format!("[Manager]\n{KEY} = {value}\n"));
        };
        fragment("usr/lib", "50-a.conf", "2min");
        fragment("etc", "10-b.conf", "3min");
        assert_eq!(manager(&tree.root, KEY).as_deref(), Some("2min"));
        fragment("etc", "50-a.conf", "off");
        assert_eq!(manager(&tree.root, KEY).as_deref(), Some("off"));
        fragment("etc", "60-c.conf", "");
        assert_eq!(manager(&tree.root, KEY), None);
        fragment("etc", "70-d.conf.off", "4min");
        assert_eq!(manager(&tree.root, KEY), None);
    }

    #[test]
    fn only_the_managers_section_counts() {
        let text = "RebootWatchdogSec=1\n[Other]\nRebootWatchdogSec=2\n";
        assert_eq!(last(text, KEY), None);
        let text = format!("{text}[Manager]\n; RebootWatchdogSec=3\nRebootWatchdogSec=4\n");
        assert_eq!(last(&text, KEY).as_deref(), Some("4"));
    }

    #[test]
    fn zero_and_off_turn_it_off() {
        assert!(["0", "off", "0s", "0 min", "0h 0.0s"].into_iter().all(is_off));
        assert!(!["10min", "0h 10min", "default", "infinity", ""].into_iter().any(is_off));
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(text in any::<String>()) {
            last(&text, KEY);
            is_off(&text);
        }
    }
}
