//! The kernel parameter that keeps pages out of a boot. Pure.

use crate::host::masked::union;
use crate::host::memmap::{self, Memmap};
use bulkhead_core::model::{PageSize, Pfn};
use std::collections::BTreeSet;
use std::ops::Range;

/// The longest command line of x86, in bytes
/// (arch/x86/include/asm/setup.h, COMMAND_LINE_SIZE, less the NUL). What is
/// beyond is cut off, and with it perhaps the root file system.
pub const LONGEST: usize = 2047;

/// So many ranges the kernel keeps clear of when it chooses a place for itself
/// (arch/x86/boot/compressed/kaslr.c, MAX_MEMMAP_REGIONS). A parameter that
/// has more makes it stay where the boot loader put it. One that comes after
/// so many is not looked at, and the kernel may come to lie in its ranges: so
/// all of ours are in one parameter.
pub const KASLR_RANGES: usize = 4;

/// What keeps some pages out of the next boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The pages, in as few ranges as possible, in ascending order.
    pub ranges: Vec<Range<Pfn>>,
    /// `memmap=…$…`; empty if there are no pages.
    pub text: String,
    /// What it costs, a sentence each.
    pub warnings: Vec<String>,
}

/// The command line would be too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{ranges} ranges would make the kernel command line {length} bytes long, and the kernel reads \
     {LONGEST}"
)]
pub struct TooLong {
    /// Ranges to mask.
    pub ranges: usize,
    /// What the command line would come to, in bytes.
    pub length: usize,
}

impl Parameter {
    /// The parameter that masks `pages`, beside what `command_line` has.
    ///
    /// A parameter there that masks none but `listed` pages is an earlier one
    /// of ours, which this one replaces.
    ///
    /// # Errors
    /// When the kernel would not read all of it.
    pub fn masking(
        pages: &BTreeSet<Pfn>,
        listed: &BTreeSet<Pfn>,
        command_line: &str,
        page_size: PageSize,
    ) -> Result<Parameter, TooLong> {
        let ranges = union(pages.iter().map(|pfn| *pfn..Pfn(pfn.0.saturating_add(1))).collect());
        let text = text(&ranges, page_size);
        let (ours, others): (Vec<_>, Vec<_>) =
            memmap::all(command_line).partition(|memmap| is_ours(memmap, listed, page_size));
        // Each with the space before it.
        let freed: usize = ours.iter().map(|memmap| memmap.text.len() + 1).sum();
        let added = if text.is_empty() { 0 } else { text.len() + 1 };
        let length = command_line.trim_end().len().saturating_sub(freed).saturating_add(added);
        if !ranges.is_empty() && length > LONGEST {
            return Err(TooLong { ranges: ranges.len(), length });
        }
        let others = others.iter().map(|memmap| memmap.masks.len()).sum();
        let warnings = warnings(ranges.len(), others);
        Ok(Parameter { ranges, text, warnings })
    }
}

/// The pages that parameters of ours mask, of which `listed` are known.
pub fn present(listed: &BTreeSet<Pfn>, command_line: &str, page_size: PageSize) -> BTreeSet<Pfn> {
    memmap::all(command_line)
        .filter(|memmap| is_ours(memmap, listed, page_size))
        .flat_map(|memmap| memmap.masks)
        .flat_map(|mask| pages(&mask, page_size))
        .collect()
}

fn is_ours(memmap: &Memmap, listed: &BTreeSet<Pfn>, page_size: PageSize) -> bool {
    !memmap.more
        && !memmap.masks.is_empty()
        && memmap.masks.iter().all(|mask| {
            let aligned = [mask.start, mask.end].iter().all(|at| at % page_size.bytes() == 0);
            aligned && pages(mask, page_size).all(|pfn| listed.contains(&pfn))
        })
}

fn pages(mask: &Range<u64>, page_size: PageSize) -> impl Iterator<Item = Pfn> {
    (mask.start >> page_size.shift()..mask.end >> page_size.shift()).map(Pfn)
}

fn text(ranges: &[Range<Pfn>], page_size: PageSize) -> String {
    if ranges.is_empty() {
        return String::new();
    }
    let entries: Vec<String> = ranges
        .iter()
        .map(|range| {
            let pages = range.end.0.saturating_sub(range.start.0);
            let kib = pages.saturating_mul(page_size.bytes() / 1024);
            format!("{kib}K${}", page_size.addr(range.start))
        })
        .collect();
    format!("memmap={}", entries.join(","))
}

fn warnings(ours: usize, others: usize) -> Vec<String> {
    let mut warnings = Vec::new();
    if ours > 0 && others >= KASLR_RANGES {
        warnings.push(format!(
            "The command line masks {others} other ranges before these, and the kernel keeps \
             clear of the first {KASLR_RANGES} alone when it chooses a place for itself: add \
             nokaslr, or it may come to lie in these."
        ));
    } else if ours.saturating_add(others) > KASLR_RANGES {
        warnings.push(format!(
            "{} ranges are more than {KASLR_RANGES}: the kernel will not choose a random place \
             for itself in physical memory (KASLR), and stays where the boot loader puts it.",
            ours.saturating_add(others)
        ));
    }
    warnings
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: PageSize = PageSize::KIB_4;

    fn set(pages: &[u64]) -> BTreeSet<Pfn> {
        pages.iter().copied().map(Pfn).collect()
    }

    fn masking(pages: &[u64], command_line: &str) -> Result<Parameter, TooLong> {
        Parameter::masking(&set(pages), &set(pages), command_line, SIZE)
    }

    #[test]
    fn neighbours_are_one_range_and_all_ranges_one_parameter() {
        let parameter = masking(&[0x8002, 0x8000, 0x8001, 0x1234], "ro quiet").unwrap();
        assert_eq!(parameter.text, "memmap=4K$0x1234000,12K$0x8000000");
        assert_eq!(parameter.ranges, [Pfn(0x1234)..Pfn(0x1235), Pfn(0x8000)..Pfn(0x8003)]);
        assert_eq!(parameter.warnings, [""; 0]);
    }

    #[test]
    fn without_pages_there_is_no_parameter_and_no_limit() {
        let parameter = masking(&[], &"x".repeat(3000)).unwrap();
        assert_eq!((parameter.text.as_str(), parameter.warnings.len()), ("", 0));
    }

    #[test]
    fn more_than_4_ranges_warn_of_what_they_cost() {
        assert_eq!(masking(&[1, 3, 5, 7], "").unwrap().warnings.len(), 0);
        let five = masking(&[1, 3, 5, 7, 9], "").unwrap().warnings;
        assert!(five[0].contains("KASLR") && five[0].starts_with("5 ranges"), "{five:?}");
        let other = "memmap=1M$512M memmap=1M$514M";
        assert_eq!(masking(&[1, 3], other).unwrap().warnings.len(), 0);
        assert_eq!(masking(&[1, 3, 5], other).unwrap().warnings.len(), 1);
        let others = "memmap=1M$1G,1M$2G,1M$3G,1M$4G";
        let behind = masking(&[1], others).unwrap().warnings;
        assert!(behind[0].contains("nokaslr"), "{behind:?}");
    }

    #[test]
    fn an_earlier_parameter_of_ours_is_replaced_and_another_ones_stays() {
        let listed = set(&[1, 2, 9]);
        let line = "ro memmap=4K$0x1000,4K$0x9000 memmap=64K$0x2000 memmap=4K$0x2800";
        assert_eq!(present(&listed, line, SIZE), set(&[1, 9]));
        assert_eq!(present(&set(&[]), line, SIZE), set(&[]));
    }

    #[test]
    fn a_command_line_that_the_kernel_would_cut_is_refused() {
        let text = "memmap=4K$0x1000";
        let fits = "x".repeat(LONGEST - 1 - text.len());
        assert_eq!(masking(&[1], &fits).unwrap().text, text);
        assert_eq!(masking(&[1], &format!("{fits}\n")).unwrap().text, text);
        let error = masking(&[1], &format!("{fits}x")).unwrap_err();
        assert_eq!(error, TooLong { ranges: 1, length: LONGEST + 1 });
        // The earlier one goes, and makes room.
        assert!(masking(&[1], &format!("{fits} {text}")).is_ok());
    }

    proptest! {
        #[test]
        fn every_page_is_covered_and_none_beyond(
            pages in prop::collection::btree_set(0u64..200, 0..40),
        ) {
            let pages: BTreeSet<Pfn> = pages.into_iter().map(Pfn).collect();
            let parameter = Parameter::masking(&pages, &pages, "ro", SIZE).unwrap();
            prop_assert!(parameter.ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            // Read back as the kernel does.
            prop_assert_eq!(present(&pages, &format!("ro {}", parameter.text), SIZE), pages);
        }

        #[test]
        fn what_is_accepted_fits_and_fits_again_beside_itself(
            pages in prop::collection::btree_set(0u64..1 << 36, 0..160),
            line in "[a-z =.]{0,600}",
        ) {
            let pages: BTreeSet<Pfn> = pages.into_iter().map(Pfn).collect();
            let line = line.trim().to_owned();
            match Parameter::masking(&pages, &pages, &line, SIZE) {
                Err(error) => prop_assert!(error.length > LONGEST),
                Ok(first) => {
                    let next = format!("{line} {}", first.text);
                    prop_assert!(pages.is_empty() || next.len() <= LONGEST);
                    let again = Parameter::masking(&pages, &pages, &next, SIZE);
                    prop_assert_eq!(again, Ok(first));
                }
            }
        }
    }
}
