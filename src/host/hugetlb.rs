//! Huge pages of the pools that an admin set aside (hugetlb), and what is left
//! in those pools (Documentation/admin-guide/mm/hugetlbpage.rst).

use super::{HostError, PageFlags, Root};
use bulkhead_core::model::{PageSize, Pfn};

const POOLS: &str = "sys/kernel/mm/hugepages";
const NODES: &str = "sys/devices/system/node";
const BLOCKS: &str = "sys/devices/system/memory";

/// Huge pages of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// The size of each, in KiB.
    pub page_kib: u64,
    /// How many are free and promised to nobody: of all nodes together, or of
    /// the page's own node where those are fewer. Promises are not counted by
    /// node.
    pub free: u64,
}

/// The pool that the huge page around `pfn` is of; `None` if it is in none.
///
/// # Errors
/// When it is in one and the pool's figures cannot be read.
pub fn pool_of(
    root: &Root,
    flags: &PageFlags,
    page_size: PageSize,
    pfn: Pfn,
) -> Result<Option<Pool>, HostError> {
    if !flags.is_hugetlb(pfn)? {
        return Ok(None);
    }
    let page_kib = page_kib(root, flags, page_size, pfn)?;
    let dir = format!("hugepages-{page_kib}kB");
    let all = number(root, &format!("{POOLS}/{dir}/free_hugepages"))?;
    let promised = number(root, &format!("{POOLS}/{dir}/resv_hugepages"))?;
    let mut free = all.saturating_sub(promised);
    for node in nodes_of(root, page_size, pfn) {
        free = free.min(number(root, &format!("{NODES}/{node}/hugepages/{dir}/free_hugepages"))?);
    }
    Ok(Some(Pool { page_kib, free }))
}

/// The size of the huge page around `pfn`, in KiB: the smallest whose first
/// frame is a head, and which the same huge page does not reach beyond.
fn page_kib(
    root: &Root,
    flags: &PageFlags,
    page_size: PageSize,
    pfn: Pfn,
) -> Result<u64, HostError> {
    let mut sizes: Vec<u64> = root
        .list(POOLS)?
        .iter()
        .filter_map(|name| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok())
        .collect();
    sizes.sort_unstable();
    for kib in sizes {
        let frames = kib.saturating_mul(1024) >> page_size.shift();
        let Some(offset) = pfn.0.checked_rem(frames) else { continue };
        let head = Pfn(pfn.0 - offset);
        let next = Pfn(head.0.saturating_add(frames));
        if flags.is_head(head)? && !flags.is_tail(next)? {
            return Ok(kib);
        }
    }
    Err(HostError::unexpected(root.path(POOLS), "no size listed here fits the huge page"))
}

/// The names of the nodes that the memory block of `pfn` is of; none where
/// sysfs does not tell (Documentation/admin-guide/mm/memory-hotplug.rst).
fn nodes_of(root: &Root, page_size: PageSize, pfn: Pfn) -> Vec<String> {
    let Ok(text) = root.read(&format!("{BLOCKS}/block_size_bytes")) else { return Vec::new() };
    let Ok(bytes) = u64::from_str_radix(text.trim(), 16) else { return Vec::new() };
    let Some(block) = page_size.addr(pfn).0.checked_div(bytes) else { return Vec::new() };
    let names = root.list(&format!("{BLOCKS}/memory{block}")).unwrap_or_default();
    let is_node =
        |name: &String| name.strip_prefix("node").is_some_and(|n| n.parse::<u32>().is_ok());
    names.into_iter().filter(is_node).collect()
}

fn number(root: &Root, path: &str) -> Result<u64, HostError> {
    let text = root.read(path)?;
    text.trim().parse().map_err(|_| HostError::unexpected(root.path(path), "no whole number"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    const HEAD: u64 = 1 << 15 | 1 << 17;
    const TAIL: u64 = 1 << 16 | 1 << 17;

    /// A host with pools of 8 KiB and 32 KiB, `free` of the first of which
    /// are free, all of them on node 1, and one promised.
    fn host(words: &[u64], free: u64) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        let put = |path: &str, text: &str| {
            let path = root.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for size in ["8", "32"] {
            put(&format!("{POOLS}/hugepages-{size}kB/free_hugepages"), &format!("{free}\n"));
            put(&format!("{POOLS}/hugepages-{size}kB/resv_hugepages"), "1\n");
            put(&format!("{NODES}/node0/hugepages/hugepages-{size}kB/free_hugepages"), "0\n");
            put(&format!("{NODES}/node1/hugepages/hugepages-{size}kB/free_hugepages"), "9\n");
        }
        put(&format!("{BLOCKS}/block_size_bytes"), "10000\n");
        put(&format!("{BLOCKS}/memory0/node1/x"), "");
        put(&format!("{BLOCKS}/memory1/node0/x"), "");
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        put(super::super::pageflags::PATH, "");
        fs::write(root.path(super::super::pageflags::PATH), bytes).unwrap();
        (dir, root)
    }

    fn pool(root: &Root, pfn: u64) -> Option<Pool> {
        let flags = PageFlags::open(root).unwrap();
        pool_of(root, &flags, PageSize::KIB_4, Pfn(pfn)).unwrap()
    }

    #[test]
    fn a_base_page_and_a_transparent_huge_page_are_of_no_pool() {
        let (_dir, root) = host(&[0, 1 << 15 | 1 << 22, 1 << 16 | 1 << 22], 4);
        assert_eq!((pool(&root, 0), pool(&root, 1), pool(&root, 2)), (None, None, None));
    }

    #[test]
    fn head_and_tail_are_of_the_pool_of_their_size() {
        let mut words = vec![HEAD, TAIL, 0, 0, 0, 0, 0, 0];
        words.extend([[HEAD].as_slice(), &[TAIL; 7]].concat());
        let (_dir, root) = host(&words, 4);
        for (pfn, page_kib) in [(0, 8), (1, 8), (8, 32), (9, 32), (15, 32)] {
            assert_eq!(pool(&root, pfn), Some(Pool { page_kib, free: 3 }), "{pfn}");
        }
    }

    #[test]
    fn what_is_promised_or_on_another_node_is_not_free_for_it() {
        let mut words = vec![0; 64];
        words[0..2].copy_from_slice(&[HEAD, TAIL]);
        words[16..18].copy_from_slice(&[HEAD, TAIL]);
        let (_dir, root) = host(&words, 20);
        assert_eq!(pool(&root, 0).unwrap().free, 9, "node 1 has 9");
        assert_eq!(pool(&root, 16).unwrap().free, 0, "node 0 has none");
        let (_dir, root) = host(&words, 1);
        assert_eq!(pool(&root, 0).unwrap().free, 0, "the last one is promised");
    }

    #[test]
    fn a_pool_that_cannot_be_read_is_an_error_and_not_an_empty_one() {
        let (_dir, root) = host(&[HEAD, TAIL], 4);
        let path = format!("{POOLS}/hugepages-8kB/free_hugepages");
        fs::write(root.path(&path), "many").unwrap();
        let flags = PageFlags::open(&root).unwrap();
        let error = pool_of(&root, &flags, PageSize::KIB_4, Pfn(1)).unwrap_err();
        assert!(error.to_string().contains("free_hugepages"), "{error}");
    }
}
