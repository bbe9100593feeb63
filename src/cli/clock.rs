//! Time as people read it.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Now, and where the reader is.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    pub(super) now: Timestamp,
    pub(super) zone: TimeZone,
}

impl Clock {
    /// The host's own.
    pub(super) fn system() -> Clock {
        Clock { now: Timestamp::now(), zone: TimeZone::system() }
    }

    /// "2026-03-01 13:00:00", local.
    pub(super) fn local(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// "3 min ago", "in 57 min".
    pub(super) fn ago(&self, time: Timestamp) -> String {
        let seconds = self.now.as_second() - time.as_second();
        if seconds < 0 {
            format!("in {}", words(-seconds))
        } else {
            format!("{} ago", words(seconds))
        }
    }

    /// "2 h": from `time` till now, zero if it lies ahead.
    pub(super) fn since(&self, time: Timestamp) -> String {
        words((self.now.as_second() - time.as_second()).max(0))
    }

    /// A moment as an admin gives it: RFC 3339, or how long ago ("2h", "3d").
    /// The error is one sentence.
    pub(super) fn parse(&self, text: &str) -> Result<Timestamp, String> {
        if let Ok(time) = text.parse() {
            return Ok(time);
        }
        let back = || {
            let span: Span = text.parse().ok().filter(|span: &Span| !span.is_negative())?;
            let then = self.now.to_zoned(self.zone.clone()).checked_sub(span).ok()?;
            Some(then.timestamp())
        };
        back().ok_or_else(|| {
            format!(
                "`{text}` is neither a time such as 2026-03-01T12:00:00Z nor a duration back from \
                 now such as 2h or 3d"
            )
        })
    }
}

/// The largest unit that is there, cut off: a reader wants minutes or days.
pub(super) fn words(seconds: i64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::api::samples;
    use jiff::tz::offset;

    /// Noon in UTC, for a reader an hour east of it.
    pub(in crate::cli) fn noon() -> Clock {
        Clock { now: samples::time(0), zone: TimeZone::fixed(offset(1)) }
    }

    #[test]
    fn moments_are_given_in_words() {
        for (seconds, text) in [
            (0, "0 s ago"),
            (-59, "59 s ago"),
            (-180, "3 min ago"),
            (-7380, "2 h ago"),
            (-172_800, "2 days ago"),
            (3420, "in 57 min"),
        ] {
            assert_eq!(noon().ago(samples::time(seconds)), text);
        }
        assert_eq!(noon().local(samples::time(0)), "2026-03-01 13:00:00");
    }

    #[test]
    fn a_start_is_a_time_or_a_duration_back() {
        for (text, seconds) in [
            ("2026-03-01T12:00:00Z", 0),
            ("2026-03-01T12:00:00+01:00", -3600),
            ("2h", -7200),
            ("3d", -3 * 86400),
            ("1h 30m", -5400),
            ("0s", 0),
        ] {
            assert_eq!(noon().parse(text), Ok(samples::time(seconds)), "{text}");
        }
        for bad in ["", "yesterday", "-2h", "5", "99999999y"] {
            assert!(noon().parse(bad).is_err(), "{bad}");
        }
    }
}
