//! Times, sizes and shares, as people write them.

use std::time::Duration;

/// Milliseconds of each unit of time, largest first.
const TIMES: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Bytes of each unit of size.
const SIZES: [(&str, u64); 4] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// `"24h"`, `"1h30m"`: whole numbers with units, each unit at most once, the
/// larger before the smaller. `None` for anything else.
pub(super) fn time(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut units = TIMES.as_slice();
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let (n, after) = number(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let at = units.iter().position(|(name, _)| *name == unit)?;
        let (_, ms) = units.get(at)?;
        sum = sum.checked_add(n.checked_mul(*ms)?)?;
        units = units.get(at + 1..)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(sum))
}

/// `"64MiB"` in bytes. `None` for anything else.
pub fn size(text: &str) -> Option<u64> {
    let (n, unit) = number(text)?;
    let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit)?;
    n.checked_mul(*bytes)
}

/// `"0.1%"` as 0.001; from 0% to 100%. `None` for anything else.
pub(super) fn share(text: &str) -> Option<f64> {
    let digits = text.strip_suffix('%')?;
    // f64's own grammar has signs, exponents and infinities as well.
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    if [whole, fraction].iter().any(|d| d.is_empty() || !d.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let percent: f64 = digits.parse().ok()?;
    (percent <= 100.0).then_some(percent / 100.0)
}

/// The whole number that `text` begins with, and what follows.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_numbers_with_units_largest_first() {
        for (text, ms) in [
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("1h30m", 5_400_000),
            ("1d12h", 129_600_000),
            ("1m5ms", 60_005),
            ("90s", 90_000),
            ("0s", 0),
        ] {
            assert_eq!(time(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in [
            "",
            "h",
            "24",
            "24 h",
            " 24h",
            "24H",
            "24hours",
            "1h1h",
            "30m1h",
            "-1h",
            "1.5h",
            "1h30",
            "1w",
            "٣h",
            "99999999999999999999h",
            "18446744073709551615d",
            "1hm",
        ] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("0KiB"), Some(0));
        for bad in
            ["", "64", "64MB", "64 MiB", "64mib", "1.5GiB", "-1KiB", "18446744073709551615TiB"]
        {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn shares_are_percentages_up_to_the_whole() {
        assert_eq!(share("0.1%"), Some(0.001));
        assert_eq!(share("0%"), Some(0.0));
        assert_eq!(share("100%"), Some(1.0));
        for bad in [
            "", "%", "0.1", "100.1%", "-1%", "+1%", "1e1%", "inf%", "nan%", ".5%", "5.%", "1.2.3%",
            "50 %",
        ] {
            assert_eq!(share(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,40}") {
            let _ = (time(&text), size(&text), share(&text));
        }

        #[test]
        fn any_text_of_digits_and_units_is_read_or_refused(text in "[0-9.dhmsKiBMG%]{0,12}") {
            let _ = (time(&text), size(&text), share(&text));
        }

        #[test]
        fn a_time_is_the_sum_of_its_parts(d in 0..9999u64, h in 0..9999u64, m in 0..99u64, ms in 0..9999u64) {
            let expected = ((d * 24 + h) * 60 + m) * 60_000 + ms;
            prop_assert_eq!(time(&format!("{d}d{h}h{m}m{ms}ms")), Some(Duration::from_millis(expected)));
        }

        #[test]
        fn a_size_is_its_number_times_its_unit(n in 0..1u64 << 20, unit in 0..SIZES.len()) {
            let (name, bytes) = SIZES[unit];
            prop_assert_eq!(size(&format!("{n}{name}")), Some(n * bytes));
        }
    }
}
