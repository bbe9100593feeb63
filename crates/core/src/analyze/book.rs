//! All components with evidence, in bounded room.

use super::evidence::{EvidenceKey, EvidenceState};
use crate::decide::Threshold;
use crate::model::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How much a row is worth keeping, least first: no open fault before one,
/// fewer records in the window before more, older before newer.
///
/// The records are those in the window when the row was last touched. Rows that
/// have been quiet since may be worth less than they look; [`Book::expire`]
/// removes them in time.
type Rank = (bool, u32, Time);

/// Rows of evidence, at most a fixed number.
#[derive(Debug)]
pub struct Book {
    capacity: usize,
    rows: BTreeMap<EvidenceKey, (Rank, EvidenceState)>,
    by_rank: BTreeSet<(Rank, EvidenceKey)>,
    /// Rows without an open fault, by their last record.
    by_age: BTreeSet<(Time, EvidenceKey)>,
    dirty: BTreeSet<EvidenceKey>,
    evictions: u64,
}

impl Book {
    /// Room for `capacity` rows.
    pub fn new(capacity: usize) -> Book {
        Book {
            capacity,
            rows: BTreeMap::new(),
            by_rank: BTreeSet::new(),
            by_age: BTreeSet::new(),
            dirty: BTreeSet::new(),
            evictions: 0,
        }
    }

    /// A row, if there is one.
    pub fn get(&self, key: &EvidenceKey) -> Option<&EvidenceState> {
        self.rows.get(key).map(|(_, state)| state)
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = (&EvidenceKey, &EvidenceState)> {
        self.rows.iter().map(|(key, (_, state))| (key, state))
    }

    /// Rows that a full book gave up.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Changes a row, a new one if there is none, in O(log n). Its worth is
    /// judged by `threshold`'s window. A full book gives up its least suspicious
    /// other row for a new one, and hands it out.
    pub fn change<R>(
        &mut self,
        key: &EvidenceKey,
        threshold: Threshold,
        change: impl FnOnce(&mut EvidenceState) -> R,
    ) -> (R, Option<EvidenceState>) {
        let mut state = self.take(key).unwrap_or_default();
        let result = change(&mut state);
        let evicted = (self.rows.len() >= self.capacity).then(|| self.evict()).flatten();
        let rank = (!state.cases.is_empty(), state.count(threshold, state.last), state.last);
        self.by_rank.insert((rank, key.clone()));
        if state.cases.is_empty() {
            self.by_age.insert((state.last, key.clone()));
        }
        self.rows.insert(key.clone(), (rank, state));
        self.dirty.insert(key.clone());
        (result, evicted)
    }

    /// Removes a row.
    pub fn remove(&mut self, key: &EvidenceKey) {
        if self.take(key).is_some() {
            self.dirty.insert(key.clone());
        }
    }

    /// Removes a few of the rows without an open fault whose last record lies
    /// more than `horizon` before `now`: at most two, so that a report costs
    /// little and the book still shrinks faster than it can grow.
    pub fn expire(&mut self, now: Time, horizon: Duration) {
        let start = now.before(horizon);
        for _ in 0..2 {
            match self.by_age.first() {
                Some((last, key)) if *last < start => {
                    let key = key.clone();
                    self.remove(&key);
                }
                _ => return,
            }
        }
    }

    /// All rows are to be handed out by the next [`Book::take_changes`].
    pub fn mark_all(&mut self) {
        self.dirty.extend(self.rows.keys().cloned());
    }

    /// Rows changed or removed (`None`) since the last call.
    pub fn take_changes(&mut self) -> Vec<(EvidenceKey, Option<EvidenceState>)> {
        std::mem::take(&mut self.dirty)
            .into_iter()
            .map(|key| {
                let state = self.get(&key).cloned();
                (key, state)
            })
            .collect()
    }

    fn evict(&mut self) -> Option<EvidenceState> {
        let (_, key) = self.by_rank.first().cloned()?;
        self.evictions += 1;
        let state = self.take(&key);
        self.dirty.insert(key);
        state
    }

    fn take(&mut self, key: &EvidenceKey) -> Option<EvidenceState> {
        let (rank, state) = self.rows.remove(key)?;
        self.by_rank.remove(&(rank, key.clone()));
        self.by_age.remove(&(state.last, key.clone()));
        Some(state)
    }
}
