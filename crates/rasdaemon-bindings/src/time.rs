//! Timestamps as rasdaemon writes them.

use jiff::fmt::strtime;

/// Seconds since the Unix epoch of `2024-01-02 03:04:05 +0100`: local time with
/// its zone, whole seconds (`strftime` with `%Y-%m-%d %H:%M:%S %z` in every
/// handler). `None` for anything else.
pub fn unix_seconds(text: &str) -> Option<i64> {
    let time = strtime::parse("%Y-%m-%d %H:%M:%S %z", text).ok()?;
    Some(time.to_timestamp().ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn local_time_is_read_with_its_zone() {
        for (text, seconds) in [
            ("1970-01-01 00:00:00 +0000", 0),
            ("1970-01-01 01:00:00 +0100", 0),
            ("2024-01-02 03:04:05 +0100", 1_704_161_045),
            ("2024-07-01 00:00:00 -0330", 1_719_804_600),
            ("2024-02-29 23:59:59 +1400", 1_709_200_799),
        ] {
            assert_eq!(unix_seconds(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_such_time_is_refused() {
        for text in [
            "",
            "2024-01-02 03:04:05",
            "2024-01-02T03:04:05Z",
            "2024-13-02 03:04:05 +0100",
            "2023-02-29 03:04:05 +0100",
            "2024-01-02 03:04:05 +0100 or so",
            "1704161045",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            let _ = unix_seconds(&text);
        }
    }
}
