//! /proc/meminfo: amounts of memory.

use super::Root;

/// A field of it in bytes, which it counts in KiB
/// (fs/proc/meminfo.c); `None` where it is not there.
pub fn bytes(root: &Root, field: &str) -> Option<u64> {
    let text = root.read("proc/meminfo").ok()?;
    let value = |line: &str| {
        line.strip_prefix(field)?.strip_prefix(':')?.strip_suffix("kB")?.trim().parse().ok()
    };
    text.lines().find_map(value).map(|kib: u64| kib.saturating_mul(1024))
}

/// Memory that the kernel has taken out of service (HWPoison) in this boot, by
/// whatever way, in bytes; `None` on a kernel without memory_failure().
pub fn hardware_corrupted(root: &Root) -> Option<u64> {
    bytes(root, "HardwareCorrupted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::Tree;

    #[test]
    fn a_field_is_known_by_its_whole_name() {
        let tree = Tree::new();
        tree.write(
            "proc/meminfo",
            "MemTotalX: 1 kB\nMemTotal:   16239692 kB\nHardwareCorrupted: 52 kB\n",
        );
        assert_eq!(bytes(&tree.root, "MemTotal"), Some(16_239_692 << 10));
        assert_eq!(hardware_corrupted(&tree.root), Some(52 << 10));
        assert_eq!(bytes(&tree.root, "MemFree"), None);
    }

    #[test]
    fn what_is_no_amount_is_none() {
        let tree = Tree::new();
        assert_eq!(hardware_corrupted(&tree.root), None);
        tree.write("proc/meminfo", "HardwareCorrupted: many kB\n");
        assert_eq!(hardware_corrupted(&tree.root), None);
    }
}
