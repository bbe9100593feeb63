//! Pages that the kernel was booted without.
//!
//! `memmap=nn$ss` takes memory out of the map that firmware gave
//! (arch/x86/kernel/e820.c, parse_memmap_one()). That it did is seen in
//! /proc/iomem: such memory is `Reserved` there, or left out, and no
//! `System RAM`. /sys/firmware/memmap goes on to show what firmware gave.

use super::{memmap, Root};
use bulkhead_core::model::{PageSize, Pfn};
use std::ops::Range;

/// Where the kernel lists its memory. Only root sees addresses there.
const IOMEM: &str = "proc/iomem";

/// Whole pages that the command line masks, and that the kernel does without
/// indeed: not in its RAM, and with nothing of the kernel itself in them. In
/// ascending order; ranges do not touch. None where any of it cannot be read.
pub fn read(root: &Root, page_size: PageSize) -> Vec<Range<Pfn>> {
    let (Ok(command_line), Ok(iomem)) = (root.read("proc/cmdline"), root.read(IOMEM)) else {
        return Vec::new();
    };
    masked(&command_line, &iomem, page_size)
}

/// As [`read`], of what the two files hold.
pub fn masked(command_line: &str, iomem: &str, page_size: PageSize) -> Vec<Range<Pfn>> {
    let used: Vec<Range<u64>> = iomem.lines().filter_map(in_use).collect();
    // To others than root all addresses are zero.
    if used.iter().all(|range| range.end <= 1) {
        return Vec::new();
    }
    let mut free = Vec::new();
    for mask in memmap::all(command_line).flat_map(|memmap| memmap.masks) {
        free.extend(without(whole_pages(&mask, page_size), &used, page_size));
    }
    union(free)
}

/// A line of /proc/iomem that the kernel has memory in.
fn in_use(line: &str) -> Option<Range<u64>> {
    let (range, name) = line.trim_start().split_once(" : ")?;
    let (start, end) = range.split_once('-')?;
    let used = name == "System RAM" || name.starts_with("Kernel ");
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?.checked_add(1)?;
    (used && start < end).then_some(start..end)
}

/// The pages that lie in `bytes` as a whole.
fn whole_pages(bytes: &Range<u64>, page_size: PageSize) -> Range<Pfn> {
    let shift = page_size.shift();
    let up = bytes.start >> shift;
    let start = if up << shift == bytes.start { up } else { up.saturating_add(1) };
    Pfn(start)..Pfn(bytes.end >> shift)
}

/// `pages` but for those that `used` touches.
fn without(pages: Range<Pfn>, used: &[Range<u64>], page_size: PageSize) -> Vec<Range<Pfn>> {
    let shift = page_size.shift();
    used.iter().fold(vec![pages], |left, used| {
        let first = Pfn(used.start >> shift);
        let next = Pfn(((used.end - 1) >> shift) + 1);
        let cut = |pages: Range<Pfn>| {
            [pages.start..pages.end.min(first), pages.start.max(next)..pages.end]
        };
        left.into_iter().flat_map(cut).filter(|pages| !pages.is_empty()).collect()
    })
}

/// The same pages in as few ranges as possible, in ascending order.
pub fn union(mut ranges: Vec<Range<Pfn>>) -> Vec<Range<Pfn>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    let mut united: Vec<Range<Pfn>> = Vec::new();
    for range in ranges {
        match united.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => united.push(range),
        }
    }
    united
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A mask in the middle of RAM, one at its edge that the kernel ignored,
    /// and the kernel itself in a page that was to be masked.
    const IOMEM: &str = "\
00000000-00000fff : Reserved
00001000-07ffffff : System RAM
08000000-08001fff : Reserved
08002000-0fffffff : System RAM
  09000000-09ffffff : Kernel code
10000000-10000fff : Reserved
  10000000-10000fff : Kernel data
fee00000-fee00fff : Local APIC
";

    fn pages(command_line: &str) -> Vec<Range<Pfn>> {
        masked(command_line, IOMEM, PageSize::KIB_4)
    }

    #[test]
    fn a_page_is_masked_where_the_kernel_has_no_ram() {
        let masked = [Pfn(0x8000)..Pfn(0x8002)];
        assert_eq!(pages("ro memmap=4K$0x8000000,4K$0x8001000"), masked);
        assert_eq!(pages("memmap=64K$0x7ff8000"), masked, "only as far as it was heeded");
        assert_eq!(pages("memmap=4K$0x8000800"), [], "half a page is none");
    }

    #[test]
    fn a_mask_that_the_kernel_did_not_heed_is_none() {
        assert_eq!(pages("memmap=4K$0x7000000"), []);
        assert_eq!(pages("memmap=4K$0x10000000"), [], "the kernel itself lies there");
        assert_eq!(pages("memmap=4K@0x8000000 mem=1G"), []);
    }

    #[test]
    fn who_sees_no_addresses_sees_no_masks() {
        let hidden = "00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n";
        assert_eq!(masked("memmap=4K$0x8000000", hidden, PageSize::KIB_4), []);
        assert_eq!(masked("memmap=4K$0x8000000", "", PageSize::KIB_4), []);
    }

    fn ranges() -> impl Strategy<Value = Vec<Range<Pfn>>> {
        let range = (0u64..50, 0u64..8).prop_map(|(start, n)| Pfn(start)..Pfn(start + n));
        prop::collection::vec(range, 0..12)
    }

    proptest! {
        #[test]
        fn ranges_are_united_in_order_apart_and_without_loss(ranges in ranges()) {
            let united = union(ranges.clone());
            prop_assert!(united.windows(2).all(|pair| pair[0].end < pair[1].start));
            for pfn in (0..70).map(Pfn) {
                let before = ranges.iter().any(|range| range.contains(&pfn));
                prop_assert_eq!(united.iter().any(|range| range.contains(&pfn)), before);
            }
        }

        #[test]
        fn nothing_that_the_kernel_uses_is_masked(
            masks in ranges(),
            used in prop::collection::vec((0u64..60 << 12, 0u64..9 << 12), 1..6),
        ) {
            let command_line: String = masks
                .iter()
                .map(|m| format!("memmap={}K${:#x} ", (m.end.0 - m.start.0) * 4, m.start.0 << 12))
                .collect();
            let iomem: String =
                used.iter().map(|(a, n)| format!("{a:x}-{:x} : System RAM\n", a + n)).collect();
            let found = masked(&command_line, &iomem, PageSize::KIB_4);
            // All addresses zero, or nothing but the first byte: nobody can tell.
            prop_assume!(used.iter().any(|(a, n)| a + n > 0));
            for pfn in (0..70).map(Pfn) {
                let page = pfn.0 << 12..(pfn.0 + 1) << 12;
                let is_used = used.iter().any(|(a, n)| *a < page.end && page.start <= a + n);
                let asked = masks.iter().any(|mask| mask.contains(&pfn));
                let is_masked = found.iter().any(|range| range.contains(&pfn));
                prop_assert_eq!(is_masked, asked && !is_used, "{:?}", pfn);
            }
        }

        #[test]
        fn any_text_is_read(command_line in "\\PC{0,40}", iomem in "([0-9a-f\\-: \n]|System RAM){0,40}") {
            masked(&command_line, &iomem, PageSize::KIB_4);
        }
    }
}
