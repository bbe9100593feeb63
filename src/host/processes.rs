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

/// The first that has a file open whose path is `wanted`, with that path; `None`
/// where we may not look into all of them.
pub fn holding(root: &Root, wanted: impl Fn(&str) -> bool) -> Option<Option<(Process, String)>> {
    let entries = fs::read_dir(root.path("proc")).ok()?;
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let mut all = true;
    for pid in pids.take(MOST) {
        let open = match fs::read_dir(root.path(&format!("proc/{pid}/fd"))) {
            Ok(open) => open,
            Err(error) => {
                // One that has ended meanwhile holds nothing.
                all &= error.kind() == std::io::ErrorKind::NotFound;
                continue;
            }
        };
        let mut paths = open.flatten().filter_map(|e| fs::read_link(e.path()).ok());
        let path = paths.find_map(|p| p.to_str().filter(|p| wanted(p)).map(str::to_owned));
        if let Some(path) = path {
            let name = root.read(&format!("proc/{pid}/comm")).unwrap_or_default();
            return Some(Some((Process { pid, name: name.trim_end().to_owned() }, path)));
        }
    }
    all.then_some(None)
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
