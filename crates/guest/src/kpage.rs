//! What the kernel says of a page of memory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use anyhow::{bail, ensure, Context, Result};

/// The size of a base page on the machines of the tests.
pub const PAGE_SIZE: u64 = 4096;

/// Bits of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h).
const FLAGS: &[(u8, &str)] = &[
    (0, "locked"),
    (2, "referenced"),
    (3, "uptodate"),
    (4, "dirty"),
    (5, "lru"),
    (6, "active"),
    (7, "slab"),
    (8, "writeback"),
    (10, "buddy"),
    (11, "mmap"),
    (12, "anon"),
    (13, "swapcache"),
    (14, "swapbacked"),
    (15, "compound-head"),
    (16, "compound-tail"),
    (17, "huge"),
    (18, "unevictable"),
    (19, "hwpoison"),
    (20, "nopage"),
    (22, "thp"),
    (23, "offline"),
    (24, "zero"),
    (26, "pgtable"),
    (32, "reserved"),
];

/// Out of service.
pub const HWPOISON: u64 = 1 << 19;
/// There is no such page.
const NOPAGE: u64 = 1 << 20;

/// Where a virtual address of this process is in memory now.
pub fn physical_address(address: u64) -> Result<u64> {
    const PRESENT: u64 = 1 << 63;
    const PFN: u64 = (1 << 55) - 1;
    let entry = read_entry("/proc/self/pagemap", address / PAGE_SIZE)?;
    ensure!(entry & PRESENT != 0, "the page at {address:#x} is not in memory ({entry:#x})");
    ensure!(entry & PFN != 0, "/proc/self/pagemap hides page frames from other users than root");
    Ok((entry & PFN) * PAGE_SIZE + address % PAGE_SIZE)
}

/// Prints one line for each address: itself and the flags of its page.
pub fn print_flags(addresses: &[&str]) -> Result<()> {
    for text in addresses {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let address = u64::from_str_radix(digits, 16)
            .with_context(|| format!("{text:?} is no hexadecimal address"))?;
        let flags = read_entry("/proc/kpageflags", address / PAGE_SIZE)?;
        let names: Vec<_> =
            FLAGS.iter().filter(|(bit, _)| flags >> bit & 1 != 0).map(|&(_, name)| name).collect();
        println!("{address:#x} {}", names.join(","));
    }
    Ok(())
}

/// Prints the address of every page that is out of service (HWPoison).
pub fn print_poisoned() -> Result<()> {
    for (pfn, flags) in (0u64..).zip(flags_from(0)?) {
        if flags & HWPOISON != 0 && flags & NOPAGE == 0 {
            println!("{:#x}", pfn * PAGE_SIZE);
        }
    }
    Ok(())
}

/// Prints the addresses of `count` healthy pages above 16 MiB that have a flag: out of the middle of the longest run of
/// such pages, where free ones are the last to be used for something else, or the first ones where no run is so long.
/// Free ones are of the movable zone, where there is one: a page that the kernel has for itself does not come off.
pub fn find(flag: &str, count: usize) -> Result<()> {
    const FIRST: u64 = (16 << 20) / PAGE_SIZE;
    let Some(&(bit, _)) = FLAGS.iter().find(|(_, name)| *name == flag) else {
        let names: Vec<_> = FLAGS.iter().map(|&(_, name)| name).collect();
        bail!("no page flag {flag:?}; there are {}", names.join(", "));
    };
    let all = flags_from(FIRST)?;
    let zones = match flag {
        "buddy" => movable(&fs::read_to_string("/proc/zoneinfo").context("/proc/zoneinfo")?),
        _ => Vec::new(),
    };
    let fit = |pfn: u64, flags: u64| {
        flags >> bit & 1 != 0
            && flags & (HWPOISON | NOPAGE) == 0
            && (zones.is_empty() || zones.iter().any(|zone| zone.contains(&pfn)))
    };
    let pages: Vec<u64> =
        (FIRST..).zip(all).filter(|(pfn, flags)| fit(*pfn, *flags)).map(|(pfn, _)| pfn).collect();
    ensure!(pages.len() >= count, "only {} pages are {flag}", pages.len());
    let longest = pages.chunk_by(|a, b| a + 1 == *b).max_by_key(|run| run.len()).unwrap_or(&pages);
    let chosen = match longest.len().checked_sub(count) {
        Some(rest) => &longest[rest / 2..rest / 2 + count],
        None => &pages[..count],
    };
    for pfn in chosen {
        println!("{:#x}", pfn * PAGE_SIZE);
    }
    Ok(())
}

/// The page frames of each node's movable zone, out of /proc/zoneinfo (mm/vmstat.c, `zoneinfo_show_print()`).
fn movable(zoneinfo: &str) -> Vec<Range<u64>> {
    let zones = zoneinfo.split("Node ").filter(|zone| {
        let name = zone.lines().next().and_then(|line| line.split_whitespace().last());
        name == Some("Movable")
    });
    let range = |zone: &str| {
        let number = |name: &str| {
            let words = |line: &str| -> Option<u64> {
                line.trim_start().strip_prefix(name)?.trim().parse().ok()
            };
            zone.lines().find_map(words)
        };
        let start = number("start_pfn:")?;
        Some(start..start + number("spanned ")?)
    };
    zones.filter_map(range).filter(|zone| !zone.is_empty()).collect()
}

/// The flags of every page from `first` on.
fn flags_from(first: u64) -> Result<Vec<u64>> {
    const BATCH: usize = 1 << 16;
    let file = File::open("/proc/kpageflags").context("/proc/kpageflags")?;
    let mut buffer = vec![0; BATCH * 8];
    let mut all: Vec<u64> = Vec::new();
    loop {
        let at = (first + all.len() as u64) * 8;
        let n = file.read_at(&mut buffer, at).context("read /proc/kpageflags")?;
        if n < 8 {
            return Ok(all);
        }
        let entries = buffer[..n].chunks_exact(8);
        all.extend(
            entries.map(|e| e.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))),
        );
    }
}

/// Soft-offlines pages as a plain loop does: write an address, read its flags.
pub fn take() -> Result<()> {
    let text = io::read_to_string(io::stdin()).context("addresses")?;
    let address = |line: &str| {
        let digits = line.strip_prefix("0x").unwrap_or(line);
        u64::from_str_radix(digits, 16).with_context(|| format!("{line:?} is no address"))
    };
    let addresses: Vec<u64> = text.lines().map(address).collect::<Result<_>>()?;
    let start = Instant::now();
    let mut order = File::options()
        .write(true)
        .open("/sys/devices/system/memory/soft_offline_page")
        .context("soft_offline_page")?;
    let flags = File::open("/proc/kpageflags").context("/proc/kpageflags")?;
    let mut off = 0;
    for address in &addresses {
        // What does not come off shows when it is read back.
        let _ = order.write_all(format!("{address:#x}").as_bytes());
        let mut entry = [0; 8];
        flags.read_exact_at(&mut entry, address / PAGE_SIZE * 8)?;
        off += usize::from(u64::from_le_bytes(entry) >> 19 & 1 == 1);
    }
    println!("{:.3} {off}", start.elapsed().as_secs_f64());
    Ok(())
}

fn read_entry(path: &str, index: u64) -> Result<u64> {
    let mut entry = [0; 8];
    File::open(path)
        .and_then(|file| file.read_exact_at(&mut entry, index * 8))
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::other("no such page"),
            _ => error,
        })
        .with_context(|| format!("entry {index:#x} of {path}"))?;
    Ok(u64::from_le_bytes(entry))
}

#[cfg(test)]
mod tests {
    use super::movable;

    #[test]
    fn the_movable_zone_of_each_node_is_found() {
        let zone = |node: u8, name: &str, spanned: u64, start: u64| {
            format!(
                "Node {node}, zone {name:>8}\n  pages free     7\n        spanned  {spanned}\n        \
                 present  {spanned}\n      nr_free_pages 7\n  start_pfn:           {start}\n"
            )
        };
        let empty = "Node 0, zone  Movable\n  pages free     0\n        spanned  0\n";
        let host = [
            zone(0, "DMA32", 0x1000, 0x1000),
            zone(0, "Movable", 0x200, 0x2000),
            zone(1, "Movable", 0x100, 0x3000),
            empty.to_owned(),
        ];
        assert_eq!(movable(&host.concat()), [0x2000..0x2200, 0x3000..0x3100]);
        assert!(movable(empty).is_empty());
    }
}
