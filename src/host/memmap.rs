//! `memmap=` on the kernel command line
//! (Documentation/admin-guide/kernel-parameters.txt).

use std::ops::Range;

/// One `memmap=` of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memmap<'a> {
    /// As it stands there.
    pub text: &'a str,
    /// What it keeps from the kernel, in bytes, entry by entry (`nn$ss`).
    pub masks: Vec<Range<u64>>,
    /// It says something else besides.
    pub more: bool,
}

/// All that a command line has, in its order. What follows `--` is not the
/// kernel's.
pub fn all(command_line: &str) -> impl Iterator<Item = Memmap<'_>> {
    let words = command_line.split_ascii_whitespace().take_while(|word| *word != "--");
    words.filter_map(one)
}

fn one(text: &str) -> Option<Memmap<'_>> {
    // The kernel takes quotes off values (lib/cmdline.c, next_arg()).
    let (name, value) = text.trim_matches('"').split_once('=')?;
    if name != "memmap" {
        return None;
    }
    let mut memmap = Memmap { text, masks: Vec::new(), more: false };
    for entry in value.trim_matches('"').split(',') {
        match mask(entry) {
            Some(mask) => memmap.masks.push(mask),
            None => memmap.more = true,
        }
    }
    Some(memmap)
}

/// `4K$0x8000000`.
fn mask(entry: &str) -> Option<Range<u64>> {
    let (size, start) = entry.split_once('$')?;
    let (size, start) = (bytes(size)?, bytes(start)?);
    (size > 0).then_some(start..start.checked_add(size)?)
}

/// A number as the kernel reads it (lib/cmdline.c, memparse()): decimal, octal
/// or hexadecimal by its beginning, times 1024 for each step of K, M, G, T, P,
/// E.
fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().last()? {
        (last, unit @ ('k' | 'K' | 'm' | 'M' | 'g' | 'G' | 't' | 'T' | 'p' | 'P')) => {
            let step = "KMGTP".find(unit.to_ascii_uppercase())?;
            (text.get(..last)?, 10 * u32::try_from(step + 1).ok()?)
        }
        // E is a digit of hexadecimal numbers, too; nobody has exbibytes.
        _ => (text, 0),
    };
    let number = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => unsigned(hex, 16)?,
        None if digits.len() > 1 && digits.starts_with('0') => unsigned(digits, 8)?,
        None => unsigned(digits, 10)?,
    };
    number.checked_mul(1u64.checked_shl(shift)?)
}

/// Without the sign that `from_str_radix` would take.
fn unsigned(digits: &str, radix: u32) -> Option<u64> {
    let sign = digits.starts_with(['+', '-']);
    u64::from_str_radix(digits, radix).ok().filter(|_| !sign)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masks(command_line: &str) -> Vec<Range<u64>> {
        all(command_line).flat_map(|memmap| memmap.masks).collect()
    }

    #[test]
    fn masks_are_found_among_all_else_that_memmap_says() {
        let line = "BOOT_IMAGE=/vmlinuz memmap=4K$0x1000,8K$010000 ro memmap=1G@4G,1M$2M \
                    memmap=exactmap mem=2G \"memmap=64$65536\" quiet -- memmap=4K$0x9000";
        let found: Vec<_> = all(line).map(|memmap| (memmap.masks.len(), memmap.more)).collect();
        assert_eq!(found, [(2, false), (1, true), (0, true), (1, false)]);
        assert_eq!(masks(line), [0x1000..0x2000, 0x1000..0x3000, 2 << 20..3 << 20, 65536..65600]);
        assert_eq!(all(line).next().unwrap().text, "memmap=4K$0x1000,8K$010000");
    }

    #[test]
    fn what_is_no_range_masks_nothing() {
        for entry in ["4K$", "$1M", "0$1M", "4K$0x", "4Q$0", "-1$0", "4K$0xffffffffffffffff", "K$0"]
        {
            assert_eq!(masks(&format!("memmap={entry}")), [], "{entry}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in "(memmap=|\\$|,|\"| |[0-9a-zA-Z]|\\PC){0,64}") {
            for memmap in all(&line) {
                prop_assert!(line.contains(memmap.text));
                prop_assert!(memmap.masks.iter().all(|mask| mask.start < mask.end));
            }
        }

        #[test]
        fn a_mask_is_read_as_it_is_written(start in 0u64..1 << 52, kib in 1u64..1 << 20) {
            let read = masks(&format!("memmap={kib}K${start:#x}"));
            let mask = start..start + kib * 1024;
            prop_assert_eq!(read, vec![mask]);
        }
    }
}
