//! The SERD engine (soft error rate discrimination): N records in T, firing at
//! the Nth.
//!
//! Unlike a leaky bucket it has no average that a storm long ago could bias:
//! what is older than T does not exist. After illumos's `fmd_serd.c`, which
//! fires at the N+1th.

use super::few::Few;
use crate::decide::Threshold;
use crate::model::Time;
use serde::{Deserialize, Serialize};

/// The records of some streams that may still matter: of each at most N, the
/// latest. N and T come in with each observation, so that a new configuration
/// takes effect at the next record.
///
/// Each stream is counted by itself: two sources that tell of the same errors
/// must not add up. `Serd` alone is of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    from = "Vec<(S, Time, u32)>",
    into = "Vec<(S, Time, u32)>",
    bound(serialize = "S: Serialize + Clone", deserialize = "S: Deserialize<'de>")
)]
pub struct Serd<S = ()> {
    /// Oldest first.
    runs: Few<Run<S>>,
}

/// Records of one stream at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run<S> {
    at: Time,
    records: u32,
    stream: S,
}

impl<S> Default for Serd<S> {
    fn default() -> Serd<S> {
        Serd { runs: Few::None }
    }
}

impl<S> From<Vec<(S, Time, u32)>> for Serd<S> {
    fn from(mut runs: Vec<(S, Time, u32)>) -> Serd<S> {
        runs.sort_by_key(|(_, at, _)| *at);
        let run = |(stream, at, records)| Run { at, records, stream };
        Serd { runs: runs.into_iter().map(run).collect() }
    }
}

impl<S: Clone> From<Serd<S>> for Vec<(S, Time, u32)> {
    fn from(serd: Serd<S>) -> Self {
        serd.runs.iter().map(|run| (run.stream.clone(), run.at, run.records)).collect()
    }
}

impl Serd {
    /// [`Serd::observe_of`] the only stream.
    pub fn observe(&mut self, rule: Threshold, first: Time, last: Time, records: u64) -> bool {
        self.observe_of((), rule, first, last, records)
    }
}

impl<S: Copy + PartialEq> Serd<S> {
    /// Takes `records` records of `stream` between `first` and `last` (both
    /// inclusive, each end holding at least one) and answers whether N of all
    /// its records surely lie within T.
    ///
    /// Where an aggregate's middle records lie is not known, so they are put
    /// where they can do least: at `last` while the window that ends at `first`
    /// is judged, at `first` ever after. A span longer than T thus counts as
    /// one record at its end. Records that arrive out of order are sorted in,
    /// those older than T before the newest are not taken at all.
    pub fn observe_of(
        &mut self,
        stream: S,
        rule: Threshold,
        first: Time,
        last: Time,
        records: u64,
    ) -> bool {
        let (first, last) = (first.min(last), first.max(last));
        let middle = match records {
            0 => return false,
            1 => return self.add(stream, rule, last, 1),
            more => u32::try_from(more - 2).unwrap_or(u32::MAX),
        };
        let at_first = self.add(stream, rule, first, 1);
        self.add(stream, rule, first, middle);
        let at_last = self.add(stream, rule, last, 1);
        at_first || at_last
    }

    /// Records within `rule.window` before `now`, of the stream that has most.
    pub fn count(&self, rule: Threshold, now: Time) -> u32 {
        let start = now.before(rule.window);
        let recent = self.runs.split_at(self.runs.partition_point(|run| run.at < start)).1;
        let first_of_stream =
            |(i, run): &(usize, &Run<S>)| !recent.iter().take(*i).any(|r| r.stream == run.stream);
        let streams = recent.iter().enumerate().filter(first_of_stream);
        streams.map(|(_, run)| count_of(recent.iter(), run.stream)).max().unwrap_or(0)
    }

    /// Takes back the latest `records` of `stream`: they turned out to be known
    /// better elsewhere.
    pub fn withdraw(&mut self, stream: S, records: u64) {
        let left = u32::try_from(records).unwrap_or(u32::MAX);
        take_from(self.runs.iter_mut().rev().filter(|run| run.stream == stream), left);
        self.runs.retain_mut(|run| run.records > 0);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.runs.clear();
    }

    fn add(&mut self, stream: S, rule: Threshold, at: Time, records: u32) -> bool {
        let need = rule.errors.max(1);
        let last = self.runs.iter().rev().find(|run| run.stream == stream);
        let newest = last.map_or(at, |last| at.max(last.at));
        let start = newest.before(rule.window);
        self.runs.retain_mut(|run| run.stream != stream || run.at >= start);
        if at >= start && records > 0 {
            let place = self.runs.partition_point(|run| run.at < at);
            let same = self.runs.iter_mut().skip(place).take_while(|run| run.at == at);
            match same.into_iter().find(|run| run.stream == stream) {
                Some(run) => run.records = run.records.saturating_add(records),
                None => self.runs.insert(place, Run { at, records, stream }),
            }
        }
        let held = count_of(self.runs.iter(), stream);
        if held > need {
            // The oldest go: more than N never matter.
            take_from(self.runs.iter_mut().filter(|run| run.stream == stream), held - need);
            self.runs.retain_mut(|run| run.records > 0);
        }
        held >= need
    }
}

fn count_of<'r, S: PartialEq + 'r>(runs: impl Iterator<Item = &'r Run<S>>, stream: S) -> u32 {
    runs.filter(|run| run.stream == stream).fold(0, |n, run| n.saturating_add(run.records))
}

fn take_from<'r, S: 'r>(runs: impl Iterator<Item = &'r mut Run<S>>, mut records: u32) {
    for run in runs {
        let gone = records.min(run.records);
        run.records -= gone;
        records -= gone;
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
        serd.withdraw((), 3);
        assert_eq!(serd.count(rule(5, 100), Time(20)), 1);
        serd.withdraw((), u64::MAX);
        assert_eq!(serd, Serd::default());
    }

    #[test]
    fn streams_do_not_add_up() {
        let mut serd = Serd::<char>::default();
        let mut single = |stream, at| serd.observe_of(stream, rule(2, 100), Time(at), Time(at), 1);
        assert!(!single('a', 1_000));
        assert!(!single('b', 1_000));
        assert!(!single('c', 1_050));
        assert!(single('b', 1_100));
        assert_eq!(serd.count(rule(2, 100), Time(1_100)), 2);
        serd.withdraw('b', 2);
        assert_eq!(serd.count(rule(2, 100), Time(1_100)), 1);
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

        #[test]
        fn two_streams_in_one_are_as_two_by_themselves(
            reports in prop::collection::vec((any::<bool>(), 0u64..5_000, 0u64..9, 1u64..4), 1..60),
            n in 1u32..8,
            window in 0u64..2_000,
        ) {
            let (mut both, mut alone) = (Serd::<bool>::default(), [Serd::default(), Serd::default()]);
            for (stream, at, span, records) in reports {
                let (rule, first, last) = (rule(n, window), Time(at), Time(at + span));
                let alone = &mut alone[usize::from(stream)];
                prop_assert_eq!(
                    both.observe_of(stream, rule, first, last, records),
                    alone.observe(rule, first, last, records)
                );
            }
            let now = Time(5_009);
            let most = alone.iter().map(|s| s.count(rule(n, window), now)).max();
            prop_assert_eq!(Some(both.count(rule(n, window), now)), most);
            let saved = serde_json::to_string(&both).unwrap();
            prop_assert_eq!(serde_json::from_str::<Serd<bool>>(&saved).unwrap(), both);
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
                let held: u64 = serd.runs.iter().map(|run| u64::from(run.records)).sum();
                prop_assert!(held <= u64::from(n.max(1)));
                prop_assert!(serd.runs.iter().all(|run| run.records > 0));
            }
        }
    }
}
