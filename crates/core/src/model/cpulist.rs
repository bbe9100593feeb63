//! Lists of CPUs as sysfs writes them: "0-3,8,10-11".

use super::CpuId;
use std::collections::BTreeSet;

/// CPU numbers from here on are not believed: NR_CPUS is at most 8192 on every
/// architecture (arch/*/Kconfig), and a list that is garbage must not fill the
/// memory.
const MOST: u32 = 8192;

/// The CPUs of a list; an empty one has none. `None` when it is no such list.
///
/// The format is the kernel's `%*pbl`; the strides ("0-8:2/4") that it takes as
/// input it never writes.
pub fn parse(text: &str) -> Option<BTreeSet<CpuId>> {
    let text = text.trim();
    let mut cpus = BTreeSet::new();
    if text.is_empty() {
        return Some(cpus);
    }
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        cpus.extend((first..=last).map(CpuId));
    }
    Some(cpus)
}

fn number(digits: &str) -> Option<u32> {
    // u32::from_str would take a sign.
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|n| *n < MOST)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cpus(numbers: &[u32]) -> BTreeSet<CpuId> {
        numbers.iter().copied().map(CpuId).collect()
    }

    #[test]
    fn ranges_and_single_cpus_mix() {
        assert_eq!(parse("0-3,8,10-11\n"), Some(cpus(&[0, 1, 2, 3, 8, 10, 11])));
        assert_eq!(parse("5"), Some(cpus(&[5])));
    }

    #[test]
    fn an_empty_line_is_no_cpus() {
        assert_eq!(parse("\n"), Some(cpus(&[])));
    }

    #[test]
    fn what_is_no_list_is_not_read_as_one() {
        assert_eq!(parse("8191"), Some(cpus(&[8191])));
        for bad in
            ["8192", "0-", "-1", "3-1", "a", "0,,1", "0-1-2", "+1", "0-4294967295", "99999999999"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9,\\- a\n]{0,40}") {
            if let Some(cpus) = parse(&text) {
                prop_assert!(cpus.len() <= MOST as usize);
            }
        }

        #[test]
        fn every_list_the_kernel_can_write_is_read(
            ranges in prop::collection::vec((0u32..8192, 0u32..20), 1..20)
        ) {
            let text: Vec<String> = ranges
                .iter()
                .map(|(first, more)| format!("{first}-{}", (first + more).min(8191)))
                .collect();
            let expected: BTreeSet<CpuId> = ranges
                .iter()
                .flat_map(|(first, more)| *first..=(first + more).min(8191))
                .map(CpuId)
                .collect();
            prop_assert_eq!(parse(&text.join(",")).unwrap(), expected);
        }
    }
}
