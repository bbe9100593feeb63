//! Counting each error once, though several sources tell of it.
//!
//! One error on a page may be a machine check, its decode by an EDAC driver and
//! a memory_failure() result. Reports of one page that lie within a second of
//! each other count as the larger source, never as the sum.

use super::few::Few;
use crate::model::{Source, Time};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Reports of two sources this near to each other may be of one error.
const SAME: Duration = Duration::from_secs(1);
/// Reports of one source this near to each other share an entry, so that a
/// storm of single reports needs no more room than an aggregated one.
const MERGE: Duration = Duration::from_millis(100);
/// Entries kept per page: [`SAME`] / [`MERGE`] for each of three sources, and
/// some. Beyond it the oldest goes, and a late second report of it counts as an
/// error of its own.
const MOST: usize = 40;
/// The errors of one page in the last second or so, and who has told of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tally {
    entries: Few<Entry>,
}

/// Errors that one source told of first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    first: Time,
    last: Time,
    errors: u64,
    /// Of these, credited to a source's total.
    credited: u64,
    /// Who told of them first: of all.
    by: Source,
    /// How many of these each other source has told of.
    #[serde(default)]
    told: Few<(Source, u64)>,
}

/// What a report added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// Errors that no source had told of before.
    pub fresh: u64,
    /// Errors to credit to the totals.
    pub credit: u64,
}

impl Tally {
    /// Takes `errors` by `source` between `first` and `last`, of which at most
    /// `creditable` may go to its total; the rest is credited elsewhere.
    pub fn add(
        &mut self,
        source: Source,
        first: Time,
        last: Time,
        errors: u64,
        creditable: u64,
    ) -> Added {
        self.entries.retain_mut(|e| near(e.last, first));
        let (mut left, mut credit) = (errors, 0u64);
        for entry in self.entries.iter_mut().filter(|e| near(last, e.first)) {
            let known = entry.tell(source, left);
            left -= known;
            let owed = known.min(entry.errors - entry.credited).min(creditable - credit);
            entry.credited += owed;
            credit += owed;
        }
        let credited = left.min(creditable - credit);
        self.open(source, first, last, left, credited);
        Added { fresh: left, credit: credit + credited }
    }

    /// Nothing told of at `now` or later can be of an error in here.
    pub fn is_past(&self, now: Time) -> bool {
        !self.entries.iter().any(|e| near(e.last, now))
    }

    /// There is nothing in here.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn open(&mut self, source: Source, first: Time, last: Time, errors: u64, credited: u64) {
        if errors == 0 {
            return;
        }
        if let Some(entry) = self.entries.last_mut() {
            let alone = entry.by == source && entry.told.is_empty();
            if alone && last.since(entry.first) <= MERGE && entry.first <= first {
                entry.last = entry.last.max(last);
                entry.errors = entry.errors.saturating_add(errors);
                entry.credited = entry.credited.saturating_add(credited);
                return;
            }
        }
        let mut surplus = (self.entries.len() + 1).saturating_sub(MOST);
        self.entries.retain_mut(|_| {
            let stays = surplus == 0;
            surplus = surplus.saturating_sub(1);
            stays
        });
        let told = Few::default();
        self.entries.push(Entry { first, last, errors, credited, by: source, told });
    }
}

impl Entry {
    /// `source` tells of `errors`: of how many of these, that it had not told
    /// of before?
    fn tell(&mut self, source: Source, errors: u64) -> u64 {
        if source == self.by {
            return 0;
        }
        match self.told.iter_mut().find(|(other, _)| *other == source) {
            Some((_, told)) => {
                let known = errors.min(self.errors.saturating_sub(*told));
                *told += known;
                known
            }
            None => {
                let known = errors.min(self.errors);
                if known > 0 {
                    self.told.push((source, known));
                }
                known
            }
        }
    }
}

/// `later` is at most a second after `earlier`, or before it.
fn near(earlier: Time, later: Time) -> bool {
    later.since(earlier) <= SAME
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use Source::{McEvent, MceRecord, MemoryFailure};

    const MS: u64 = 1_000_000;

    /// (source, ms, errors) in, errors credited out.
    fn credits(reports: &[(Source, u64, u64)]) -> Vec<u64> {
        let mut tally = Tally::default();
        let add = |(source, ms, errors): &(Source, u64, u64)| {
            let at = Time(10_000 * MS + ms * MS);
            tally.add(*source, at, at, *errors, *errors).credit
        };
        reports.iter().map(add).collect()
    }

    #[test]
    fn two_sources_within_a_second_count_as_the_larger() {
        assert_eq!(credits(&[(MceRecord, 0, 3), (McEvent, 1_000, 5)]), [3, 2]);
        assert_eq!(credits(&[(MceRecord, 0, 5), (McEvent, 1_000, 3)]), [5, 0]);
    }

    #[test]
    fn two_sources_more_than_a_second_apart_are_two_errors() {
        assert_eq!(credits(&[(MceRecord, 0, 1), (McEvent, 1_001, 1)]), [1, 1]);
    }

    #[test]
    fn one_source_alone_counts_all_of_its_errors() {
        assert_eq!(credits(&[(McEvent, 0, 1), (McEvent, 1, 1), (McEvent, 2, 4)]), [1, 1, 4]);
    }

    #[test]
    fn three_sources_of_one_error_count_once() {
        assert_eq!(
            credits(&[(MceRecord, 0, 1), (McEvent, 1, 1), (MemoryFailure, 2, 1)]),
            [1, 0, 0]
        );
        assert_eq!(credits(&[(MemoryFailure, 0, 1), (MceRecord, 1, 1)]), [1, 0]);
    }

    #[test]
    fn each_error_is_matched_once() {
        assert_eq!(credits(&[(MceRecord, 0, 1), (McEvent, 1, 1), (McEvent, 2, 1)]), [1, 0, 1]);
    }

    #[test]
    fn what_one_source_must_not_credit_the_next_one_does() {
        let mut tally = Tally::default();
        let at = Time(MS);
        assert_eq!(tally.add(McEvent, at, at, 1, 0), Added { fresh: 1, credit: 0 });
        assert_eq!(tally.add(MceRecord, at, at, 1, 1), Added { fresh: 0, credit: 1 });
    }

    #[test]
    fn a_storm_of_single_reports_stays_small() {
        let mut tally = Tally::default();
        for us in 0..200_000u64 {
            let at = Time(us * 10_000);
            tally.add(if us % 2 == 0 { MceRecord } else { McEvent }, at, at, 1, 1);
        }
        assert!(tally.entries.len() <= MOST);
    }

    proptest! {
        #[test]
        fn a_burst_counts_as_its_larger_source_in_any_order(
            reports in prop::collection::vec((0usize..3, 1u64..9), 1..30),
        ) {
            let mut sums = [0; 3];
            let burst: Vec<_> = reports
                .iter()
                .enumerate()
                .map(|(ms, (source, n))| {
                    sums[*source] += n;
                    (Source::ALL[*source], ms as u64, *n)
                })
                .collect();
            let credited: u64 = credits(&burst).iter().sum();
            prop_assert_eq!(Some(&credited), sums.iter().max());
        }

        #[test]
        fn never_credits_more_than_was_told(
            reports in prop::collection::vec((0usize..3, any::<u64>(), any::<u64>(), any::<u64>()), 1..40),
        ) {
            let mut tally = Tally::default();
            for (source, at, errors, creditable) in reports {
                let added = tally.add(Source::ALL[source], Time(at), Time(at), errors, creditable);
                prop_assert!(added.fresh <= errors && added.credit <= creditable.min(errors));
            }
        }
    }
}
