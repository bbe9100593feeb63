//! How often the monitor is drained: at once when it was quiet, and less often
//! the more work a drain is, so that a storm costs a bounded share of one CPU
//! and still no error waits longer than [`Pace::LONGEST`] to be seen.

use bulkhead_core::model::Time;
use std::time::Duration;

/// When the monitor may be drained again.
#[derive(Debug, Default)]
pub struct Pace {
    not_before: Time,
}

impl Pace {
    /// Two drains start at least this far apart: enough for errors that come
    /// together to be taken together.
    pub const SHORTEST: Duration = Duration::from_millis(20);
    /// No error waits longer than this for its drain to start. Two drains start
    /// no farther apart either, so that errors counted as one report lie no
    /// farther apart: unless a drain, which may wait for the disk, takes more
    /// than half of it.
    pub const LONGEST: Duration = Duration::from_millis(100);
    /// A drain is followed by a pause so many times as long.
    const REST: u32 = 4;

    /// Whether a drain may start.
    pub fn allows(&self, now: Time) -> bool {
        now >= self.not_before
    }

    /// When one may start.
    pub fn not_before(&self) -> Time {
        self.not_before
    }

    /// A drain, with all that followed from it, took from `start` to `end`.
    pub fn drained(&mut self, start: Time, end: Time) {
        let took = end.since(start);
        let longest = Self::LONGEST.saturating_sub(took).max(took.min(Self::LONGEST));
        let rest = took.saturating_mul(Self::REST).clamp(Self::SHORTEST, longest);
        self.not_before = end.after(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time(1_000_000_000);

    #[test]
    fn the_first_error_after_quiet_is_taken_at_once() {
        let mut pace = Pace::default();
        assert!(pace.allows(START));
        pace.drained(START, START.after(Duration::from_millis(1)));
        assert!(pace.allows(START.after(Duration::from_secs(1))));
    }

    #[test]
    fn a_drain_is_followed_by_a_rest_four_times_as_long_within_bounds() {
        for (took_ms, rest_ms) in
            [(0, 20), (1, 20), (10, 40), (20, 80), (25, 75), (60, 60), (500, 100)]
        {
            let mut pace = Pace::default();
            let end = START.after(Duration::from_millis(took_ms));
            pace.drained(START, end);
            assert_eq!(pace.not_before().since(end), Duration::from_millis(rest_ms), "{took_ms}");
            assert!(!pace.allows(end.after(Duration::from_millis(rest_ms - 1))));
        }
    }

    #[test]
    fn drains_of_up_to_50_ms_start_at_most_100_ms_apart() {
        for took_ms in 0..=50 {
            let mut pace = Pace::default();
            pace.drained(START, START.after(Duration::from_millis(took_ms)));
            assert!(pace.allows(START.after(Pace::LONGEST)), "{took_ms}");
        }
    }
}
