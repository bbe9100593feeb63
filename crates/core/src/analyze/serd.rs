//! The SERD engine (soft error rate discrimination): N records in T, firing at
//! the Nth.
//!
//! Unlike a leaky bucket it has no average that a storm long ago could bias:
//! what is older than T does not exist. After illumos's `fmd_serd.c`, which
//! fires at the N+1th.

use crate::decide::Threshold;
use crate::model::Time;
use serde::{Deserialize, Serialize};

/// The records of one stream that may still matter: at most N of them, the
/// latest. N and T come in with each observation, so that a new configuration
/// takes effect at the next record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Serd {
    /// Moments and how many records lie there, oldest first.
    runs: Vec<(Time, u32)>,
}

impl Serd {
    /// Takes `records` records between `first` and `last` (both inclusive, each
    /// end holding at least one) and answers whether N of all records surely
    /// lie within T.
    ///
    /// Where an aggregate's middle records lie is not known, so they are put
    /// where they can do least: at `last` while the window that ends at `first`
    /// is judged, at `first` ever after. A span longer than T thus counts as
    /// one record at its end. Records that arrive out of order are sorted in,
    /// those older than T before the newest are not taken at all.
    pub fn observe(&mut self, rule: Threshold, first: Time, last: Time, records: u64) -> bool {
        let (first, last) = (first.min(last), first.max(last));
        let middle = match records {
            0 => return false,
            1 => return self.add(rule, last, 1),
            more => u32::try_from(more - 2).unwrap_or(u32::MAX),
        };
        let at_first = self.add(rule, first, 1);
        self.add(rule, first, middle);
        let at_last = self.add(rule, last, 1);
        at_first || at_last
    }

    /// Records within `rule.window` before `now`.
    pub fn count(&self, rule: Threshold, now: Time) -> u32 {
        let start = now.before(rule.window);
        self.runs.iter().filter(|(at, _)| *at >= start).fold(0, |n, (_, k)| n.saturating_add(*k))
    }

    /// Takes back the latest `records`: they turned out to be known better
    /// elsewhere.
    pub fn withdraw(&mut self, records: u64) {
        let mut left = u32::try_from(records).unwrap_or(u32::MAX);
        while let Some((at, n)) = self.runs.pop() {
            if n > left {
                self.runs.push((at, n - left));
                return;
            }
            left -= n;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.runs.clear();
    }

    fn add(&mut self, rule: Threshold, at: Time, records: u32) -> bool {
        let need = rule.errors.max(1);
        let newest = self.runs.last().map_or(at, |(last, _)| at.max(*last));
        let start = newest.before(rule.window);
        self.runs.retain(|(at, _)| *at >= start);
        if at >= start && records > 0 {
            let place = self.runs.partition_point(|(other, _)| *other < at);
            match self.runs.get_mut(place) {
                Some((other, n)) if *other == at => *n = n.saturating_add(records),
                _ => self.runs.insert(place, (at, records)),
            }
        }
        let held = self.count(rule, newest);
        self.forget_oldest(held.saturating_sub(need));
        held >= need
    }

    /// Drops the `surplus` oldest records: more than N never matter.
    fn forget_oldest(&mut self, mut surplus: u32) {
        self.runs.retain_mut(|(_, n)| {
            let gone = surplus.min(*n);
            *n -= gone;
            surplus -= gone;
            *n > 0
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn rule(errors: u32, window: u64) -> Threshold {
        Threshold { errors, window: Duration::from_nanos(window) }
    }

    fn single(serd: &mut Serd, rule: Threshold, at: u64) -> bool {
        serd.observe(rule, Time(at), Time(at), 1)
    }

    #[test]
    fn a_second_record_within_the_window_fires() {
        let mut serd = Serd::default();
        assert!(!single(&mut serd, rule(2, 100), 1_000));
        assert!(single(&mut serd, rule(2, 100), 1_100));
    }

    #[test]
    fn a_second_record_after_the_window_does_not_fire() {
        let mut serd = Serd::default();
        assert!(!single(&mut serd, rule(2, 100), 1_000));
        assert!(!single(&mut serd, rule(2, 100), 1_101));
        assert!(single(&mut serd, rule(2, 100), 1_150));
    }

    #[test]
    fn a_threshold_of_none_is_one() {
        assert!(single(&mut Serd::default(), rule(0, 100), 1));
    }

    #[test]
    fn an_aggregate_within_the_window_counts_in_full() {
        let mut serd = Serd::default();
        assert!(!serd.observe(rule(5, 100), Time(10), Time(110), 4));
        assert!(single(&mut serd, rule(5, 100), 110));
    }

    #[test]
    fn an_aggregate_longer_than_the_window_counts_once_at_its_end() {
        let mut serd = Serd::default();
        assert!(!serd.observe(rule(2, 100), Time(10), Time(111), 1_000));
        assert!(single(&mut serd, rule(2, 100), 200));
    }

    #[test]
    fn an_aggregate_may_fire_by_its_first_record_with_an_older_one() {
        let mut serd = Serd::default();
        assert!(!single(&mut serd, rule(2, 100), 10));
        assert!(serd.observe(rule(2, 100), Time(50), Time(5_000), 2));
    }

    #[test]
    fn the_middle_of_an_aggregate_is_not_assumed_near_an_older_record() {
        let mut serd = Serd::default();
        assert!(!single(&mut serd, rule(3, 100), 10));
        assert!(!serd.observe(rule(3, 100), Time(50), Time(5_000), 9));
    }

    #[test]
    fn a_clock_that_jumps_back_never_fires_by_it() {
        let mut serd = Serd::default();
        assert!(!single(&mut serd, rule(2, 100), 10_000));
        assert!(!single(&mut serd, rule(2, 100), 10));
        assert!(!single(&mut serd, rule(2, 100), 11));
        assert!(single(&mut serd, rule(2, 100), 9_950));
    }

    #[test]
    fn withdrawn_records_do_not_count() {
        let mut serd = Serd::default();
        assert!(!serd.observe(rule(5, 100), Time(10), Time(20), 4));
        serd.withdraw(3);
        assert_eq!(serd.count(rule(5, 100), Time(20)), 1);
        serd.withdraw(u64::MAX);
        assert_eq!(serd, Serd::default());
    }

    fn within(times: &[u64], end: u64, window: u64) -> usize {
        times.iter().filter(|t| **t <= end && **t >= end.saturating_sub(window)).count()
    }

    proptest! {
        #[test]
        fn fires_exactly_where_brute_force_finds_n_within_t(
            mut times in prop::collection::vec(0u64..5_000, 1..60),
            n in 1u32..8,
            window in 0u64..2_000,
        ) {
            times.sort_unstable();
            let mut serd = Serd::default();
            for (i, at) in times.iter().enumerate() {
                let fired = single(&mut serd, rule(n, window), *at);
                prop_assert_eq!(fired, within(&times[..=i], *at, window) >= n as usize);
            }
        }

        #[test]
        fn out_of_order_records_never_fire_without_n_within_t(
            times in prop::collection::vec(0u64..5_000, 1..60),
            n in 1u32..8,
            window in 0u64..2_000,
        ) {
            let mut serd = Serd::default();
            for (i, at) in times.iter().enumerate() {
                if single(&mut serd, rule(n, window), *at) {
                    let seen = &times[..=i];
                    prop_assert!(seen.iter().any(|t| within(seen, *t, window) >= n as usize));
                }
            }
        }

        /// Whatever the true times inside the aggregates were.
        #[test]
        fn aggregates_never_fire_without_n_within_t(
            spans in prop::collection::vec((0u64..500, prop::collection::vec(0u64..3_000, 1..6)), 1..12),
            n in 1u32..8,
            window in 0u64..2_000,
        ) {
            let (mut serd, mut clock, mut seen) = (Serd::default(), 0, Vec::new());
            for (gap, mut offsets) in spans {
                clock += gap;
                offsets.sort_unstable();
                let times: Vec<u64> = offsets.iter().map(|o| clock + o).collect();
                let (first, last) = (times[0], times[times.len() - 1]);
                clock = last;
                seen.extend(&times);
                let fired = serd.observe(rule(n, window), Time(first), Time(last), times.len() as u64);
                if fired {
                    prop_assert!(seen.iter().any(|t| within(&seen, *t, window) >= n as usize));
                }
            }
        }

        #[test]
        fn holds_at_most_n_records(
            reports in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..40),
            n in 0u32..5,
            window in any::<u64>(),
        ) {
            let mut serd = Serd::default();
            for (first, last, records) in reports {
                serd.observe(rule(n, window), Time(first), Time(last), records);
                let held: u64 = serd.runs.iter().map(|(_, k)| u64::from(*k)).sum();
                prop_assert!(held <= u64::from(n.max(1)));
                prop_assert!(serd.runs.iter().all(|(_, k)| *k > 0));
            }
        }
    }
}
