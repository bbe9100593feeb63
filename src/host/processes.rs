//! Who runs on this host, by the names that /proc has for them.

use super::Root;
use std::fs;

/// So many processes are looked at; what comes after is not found.
const MOST: usize = 1 << 16;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name: that of its program, cut after 15 bytes (`/proc/PID/comm`,
    /// proc(5)), unless it gave itself another.
    pub name: String,
}

impl Process {
    /// One of its strings that end with a NUL, such as its environment
    /// (`environ`) or its arguments (`cmdline`); `None` where we may not look.
    pub fn strings(&self, root: &Root, file: &str) -> Option<Vec<String>> {
        let text = root.read(&format!("proc/{}/{file}", self.pid)).ok()?;
        Some(text.split_terminator('\0').map(str::to_owned).collect())
    }
}

/// Those with one of `names`, in the order of /proc.
pub fn named(root: &Root, names: &[&str]) -> Vec<Process> {
    let Ok(entries) = fs::read_dir(root.path("proc")) else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let named = pids.take(MOST).filter_map(|pid| {
        let name = root.read(&format!("proc/{pid}/comm")).ok()?;
        let name = name.trim_end();
        names.contains(&name).then(|| Process { pid, name: name.to_owned() })
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::Tree;

    #[test]
    fn a_process_is_found_by_its_name_and_has_strings() {
        let tree = Tree::new();
        tree.write("proc/1/comm", "systemd\n");
        tree.write("proc/812/comm", "rasdaemon\n");
        tree.write("proc/812/environ", "A=1\0B=2\0");
        tree.write("proc/version", "Linux\n");
        let found = named(&tree.root, &["rasdaemon", "mcelog"]);
        assert_eq!(found, [Process { pid: 812, name: "rasdaemon".to_owned() }]);
        let strings = found[0].strings(&tree.root, "environ");
        assert_eq!(strings, Some(vec!["A=1".to_owned(), "B=2".to_owned()]));
        assert_eq!(found[0].strings(&tree.root, "cmdline"), None);
    }

    #[test]
    fn a_host_without_proc_has_none() {
        assert_eq!(named(&Tree::new().root, &["rasdaemon"]), []);
    }
}
