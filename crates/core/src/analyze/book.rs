//! All components with evidence, in bounded room.

use super::evidence::EvidenceState;
use super::few::Few;
use super::queues::{Link, Queues};
use crate::decide::Threshold;
use crate::model::Time;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

/// Rows that remember who told of which errors, at most, unless they need to:
/// a second source may tell of them up to a second later by the errors' time,
/// and after a downtime only when all that the first one counted is read. The
/// kernel side counts fewer keys than this per source of machine checks.
const TOLD: usize = 8_192;

/// Changes that room is kept for.
const FEW_CHANGES: usize = 1_024;

/// Rows of evidence, at most a fixed number.
///
/// A row is worth keeping, least first: no open fault before one, fewer records
/// in the window before more, touched longer ago before later. The records are
/// those in the window when the row was last touched: rows that have been quiet
/// since may be worth less than they look; [`Book::expire`] removes them in
/// time.
#[derive(Debug)]
pub struct Book<K> {
    capacity: usize,
    /// Most bytes of reports kept in all, and how many there are now.
    room: u64,
    kept: u64,
    /// Rows stay where they are; a place is used again.
    slots: Vec<Slot<K>>,
    free: Vec<u32>,
    places: HashTable<u32>,
    /// Seeded anew each time: nobody can make a log whose pages collide.
    hasher: DefaultHashBuilder,
    worth: Queues,
    /// Places that have changed since the last [`Book::kept`], each once.
    dirty: Vec<u32>,
    /// Rows that somebody keeps and that are gone. No more than there were
    /// rows: a new one is kept by nobody before it was told of.
    gone: Vec<K>,
    /// Places that remember who told of what, each once, oldest first.
    told: VecDeque<u32>,
    evictions: u64,
}

/// A place for a row. The marks are the place's, whatever row is in it.
#[derive(Debug)]
struct Slot<K> {
    link: Link,
    is_dirty: bool,
    in_told: bool,
    row: Option<Row<K>>,
}

#[derive(Debug)]
struct Row<K> {
    key: K,
    state: EvidenceState,
    /// Bytes of reports kept.
    kept: u32,
    /// Somebody keeps it, and must hear of its end.
    is_known: bool,
}

impl<K: Clone + Eq + Hash> Book<K> {
    /// Room for `capacity` rows, and for one at least, that keep `average` bytes
    /// of reports each.
    pub fn new(capacity: usize, average: usize) -> Book<K> {
        Book {
            capacity: capacity.clamp(1, Queues::MOST),
            room: capacity.saturating_mul(average) as u64,
            kept: 0,
            slots: Vec::new(),
            free: Vec::new(),
            places: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            worth: Queues::default(),
            dirty: Vec::new(),
            gone: Vec::new(),
            told: VecDeque::new(),
            evictions: 0,
        }
    }

    /// A row, if there is one.
    pub fn get(&self, key: &K) -> Option<&EvidenceState> {
        self.find(key).and_then(|place| self.row(place)).map(|row| &row.state)
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &EvidenceState)> {
        self.slots.iter().filter_map(|slot| slot.row.as_ref()).map(|row| (&row.key, &row.state))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Rows that a full book gave up.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Changes a row, a new one if there is none, in constant time. Its worth
    /// is judged by `threshold`'s window. A full book gives up its least
    /// suspicious rows for it, and hands them out.
    pub fn change<R>(
        &mut self,
        key: &K,
        threshold: Threshold,
        change: impl FnOnce(&mut EvidenceState) -> R,
    ) -> (R, Few<EvidenceState>) {
        let mut evicted = Few::default();
        let place = self.place_of(key, &mut evicted);
        self.mark(place);
        let result = self.enter(place, threshold, change, &mut evicted);
        (result, evicted)
    }

    /// Changes the row at `place`, and makes room for it.
    fn enter<R>(
        &mut self,
        place: u32,
        threshold: Threshold,
        change: impl FnOnce(&mut EvidenceState) -> R,
        evicted: &mut Few<EvidenceState>,
    ) -> R {
        let Some(row) = self.row_mut(place) else {
            // Not reached: the place was just found or made.
            return change(&mut EvidenceState::default());
        };
        let result = change(&mut row.state);
        let state = &row.state;
        let kept = state.pieces.iter().fold(0u32, |n, piece| n.saturating_add(piece.bytes()));
        let before = std::mem::replace(&mut row.kept, kept);
        let held = !row.state.cases().is_empty();
        let records = row.state.count(threshold, row.state.last);
        let (last, has_tally) = (row.state.last, row.state.has_tally());
        self.kept = (self.kept + u64::from(kept)).saturating_sub(u64::from(before));
        self.worth.put(&mut self.slots, place, held, records);
        if has_tally {
            self.remember_told(place, last);
        }
        while self.kept > self.room && self.len() > 1 {
            let Some(state) = self.evict() else { break };
            evicted.push(state);
        }
        result
    }

    /// Takes in a row as an earlier book told of it: it need not be told of
    /// again.
    pub fn restore(
        &mut self,
        key: &K,
        threshold: Threshold,
        row: EvidenceState,
    ) -> Few<EvidenceState> {
        let mut evicted = Few::default();
        let place = self.place_of(key, &mut evicted);
        if let Some(row) = self.row_mut(place) {
            // Should there be no room for it, its end is to be told.
            row.is_known = true;
        }
        self.enter(place, threshold, |state| *state = row, &mut evicted);
        evicted
    }

    /// Removes a row.
    pub fn remove(&mut self, key: &K) {
        if let Some(place) = self.find(key) {
            self.take(place);
        }
    }

    /// Removes a few of the rows without an open fault whose last record lies
    /// more than `horizon` before `now`: at most two, so that a report costs
    /// little and the book still shrinks faster than it can grow.
    pub fn expire(&mut self, now: Time, horizon: Duration) {
        let start = now.before(horizon);
        for _ in 0..2 {
            let past = |place: &u32| self.row(*place).is_some_and(|row| row.state.last < start);
            let Some(place) = self.worth.oldest_idle().find(past) else { return };
            self.take(place);
        }
    }

    /// [`Book::changes`] is to tell of all rows.
    pub fn mark_all(&mut self) {
        for place in 0..self.slots.len() {
            // Places are u32 by Queues::MOST.
            self.mark(place as u32);
        }
    }

    /// Rows changed or removed (`None`) since the last [`Book::kept`]. Where one
    /// was removed and made anew, the removal comes first.
    pub fn changes(&self) -> impl Iterator<Item = (&K, Option<&EvidenceState>)> {
        let changed = self.dirty.iter().filter_map(|place| self.row(*place));
        let changed = changed.map(|row| (&row.key, Some(&row.state)));
        self.gone.iter().map(|key| (key, None)).chain(changed)
    }

    /// There are [`Book::changes`].
    pub fn has_changes(&self) -> bool {
        !self.dirty.is_empty() || !self.gone.is_empty()
    }

    /// Somebody keeps what [`Book::changes`] tells, and must hear of its end.
    pub fn kept(&mut self) {
        for place in &self.dirty {
            if let Some(row) = self.slots.get_mut(*place as usize).and_then(|s| s.row.as_mut()) {
                row.is_known = true;
            }
        }
        self.forget_changes();
    }

    /// Tells nothing of what changed up to now.
    pub fn forget_changes(&mut self) {
        for place in self.dirty.drain(..) {
            if let Some(slot) = self.slots.get_mut(place as usize) {
                slot.is_dirty = false;
            }
        }
        self.gone.clear();
        // A burst's room is not kept.
        self.dirty.shrink_to(FEW_CHANGES);
        self.gone.shrink_to(FEW_CHANGES);
    }

    fn find(&self, key: &K) -> Option<u32> {
        let is = |place: &u32| self.row(*place).is_some_and(|row| row.key == *key);
        self.places.find(self.hasher.hash_one(key), is).copied()
    }

    /// The place of a row, made if there is none.
    fn place_of(&mut self, key: &K, evicted: &mut Few<EvidenceState>) -> u32 {
        if let Some(place) = self.find(key) {
            return place;
        }
        if self.len() >= self.capacity {
            self.evict().into_iter().for_each(|state| evicted.push(state));
        }
        let (key, state) = (key.clone(), EvidenceState::default());
        let row = Row { key, state, kept: 0, is_known: false };
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                let slot =
                    Slot { link: Link::default(), is_dirty: false, in_told: false, row: None };
                self.slots.push(slot);
                // Places are u32 by Queues::MOST.
                (self.slots.len() - 1) as u32
            }
        };
        if let Some(slot) = self.slots.get_mut(place as usize) {
            slot.row = Some(row);
        }
        let Book { slots, hasher, places, .. } = self;
        let hash = |place: &u32| {
            let row = slots.get(*place as usize).and_then(|slot| slot.row.as_ref());
            row.map_or(0, |row| hasher.hash_one(&row.key))
        };
        places.insert_unique(hash(&place), place, hash);
        place
    }

    fn evict(&mut self) -> Option<EvidenceState> {
        let place = self.worth.least()?;
        self.evictions += 1;
        self.take(place)
    }

    fn take(&mut self, place: u32) -> Option<EvidenceState> {
        self.worth.remove(&mut self.slots, place);
        let row = self.slots.get_mut(place as usize)?.row.take()?;
        self.free.push(place);
        self.kept = self.kept.saturating_sub(u64::from(row.kept));
        let hash = self.hasher.hash_one(&row.key);
        if let Ok(entry) = self.places.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
        if row.is_known {
            self.gone.push(row.key);
        }
        Some(row.state)
    }

    fn row(&self, place: u32) -> Option<&Row<K>> {
        self.slots.get(place as usize)?.row.as_ref()
    }

    fn row_mut(&mut self, place: u32) -> Option<&mut Row<K>> {
        self.slots.get_mut(place as usize)?.row.as_mut()
    }

    fn mark(&mut self, place: u32) {
        let Some(slot) = self.slots.get_mut(place as usize) else { return };
        if !slot.is_dirty {
            slot.is_dirty = true;
            self.dirty.push(place);
        }
    }

    /// The row at `place` remembers who told of what: rows that did so before
    /// it forget that, once they are many and it cannot matter at `now`.
    fn remember_told(&mut self, place: u32, now: Time) {
        let Some(slot) = self.slots.get_mut(place as usize) else { return };
        if !std::mem::replace(&mut slot.in_told, true) {
            self.told.push_back(place);
        }
        for _ in 0..2 {
            if self.told.len() <= TOLD {
                return;
            }
            let Some(oldest) = self.told.pop_front() else { return };
            let Some(slot) = self.slots.get_mut(oldest as usize) else { continue };
            if let Some(row) = &mut slot.row {
                row.state.forget_tally(now);
            }
            slot.in_told = slot.row.as_ref().is_some_and(|row| row.state.has_tally());
            if slot.in_told {
                self.told.push_back(oldest);
            }
        }
    }
}

impl<K> AsMut<Link> for Slot<K> {
    fn as_mut(&mut self) -> &mut Link {
        &mut self.link
    }
}
