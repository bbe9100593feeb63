//! All rows that erred, in bounded room.

use super::keys::{BankKey, CellKey, RowKey};
use super::row::{Line, Row};
use crate::model::Time;
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::time::Duration;

/// Where a row is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(u32);

/// How much a row is worth keeping, least first: no open fault before one,
/// fewer columns before more, older before newer.
type Worth = (bool, usize, Time);

#[derive(Debug)]
struct Held {
    key: RowKey,
    row: Row,
    /// Somebody keeps it, and must hear of its end.
    is_known: bool,
    /// Its entries in the two orders.
    worth: Worth,
    age: Time,
}

/// Rows, at most a fixed number, by name, by bank, by line and by worth.
///
/// Worth and age are kept as they were when last looked at. Between two looks a
/// row only gains in either, so the least entry that is still true is the least
/// of all; the others are put right when they come to the front. A sighting of
/// a known place thus touches neither.
#[derive(Debug, Default)]
pub(super) struct Rows {
    held: Vec<Option<Held>>,
    free: Vec<Slot>,
    by_key: HashMap<RowKey, Slot>,
    by_bank: HashMap<BankKey, Vec<Slot>>,
    by_line: HashMap<Line, (Slot, u32)>,
    by_worth: BTreeSet<(Worth, Slot)>,
    by_age: BTreeSet<(Time, Slot)>,
    /// Places whose rows changed, and rows that somebody keeps and that are gone.
    changed: BTreeSet<Slot>,
    gone: Vec<RowKey>,
}

fn worth(row: &Row) -> Worth {
    (row.fault.is_some(), row.cells().len(), row.last.at)
}

impl Rows {
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn find(&self, key: &RowKey) -> Option<Slot> {
        self.by_key.get(key).copied()
    }

    pub fn row(&self, slot: Slot) -> Option<&Row> {
        self.held(slot).map(|held| &held.row)
    }

    /// A row, to be changed.
    pub fn change(&mut self, slot: Slot) -> Option<&mut Row> {
        let held = self.held.get_mut(index(slot))?.as_mut()?;
        self.changed.insert(slot);
        Some(&mut held.row)
    }

    /// The cell that a line is known to lie in.
    pub fn cell_at(&self, line: Line) -> Option<CellKey> {
        let (slot, column) = self.by_line.get(&line)?;
        Some(CellKey { row: self.held(*slot)?.key, column: *column })
    }

    /// `line` lies in `column` of a row.
    pub fn learn_line(&mut self, line: Line, slot: Slot, column: u32) {
        self.by_line.insert(line, (slot, column));
    }

    pub fn forget_line(&mut self, line: Line) {
        self.by_line.remove(&line);
    }

    /// Rows of a bank.
    pub fn of_bank(&self, bank: &BankKey) -> &[Slot] {
        self.by_bank.get(bank).map_or(&[], Vec::as_slice)
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = (&RowKey, &Row)> {
        self.held.iter().flatten().map(|held| (&held.key, &held.row))
    }

    /// Adds a row that is not there yet.
    pub fn insert(&mut self, key: RowKey, row: Row) -> Option<Slot> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = Slot(u32::try_from(self.held.len()).ok()?);
                self.held.push(None);
                slot
            }
        };
        let (worth, age) = (worth(&row), row.last.at);
        self.by_worth.insert((worth, slot));
        self.by_age.insert((age, slot));
        self.by_key.insert(key, slot);
        self.by_bank.entry(key.bank).or_default().push(slot);
        for cell in row.cells() {
            if let Some(line) = cell.line {
                self.by_line.insert(line, (slot, cell.column));
            }
        }
        self.changed.insert(slot);
        let held = Held { key, row, is_known: false, worth, age };
        *self.held.get_mut(index(slot))? = Some(held);
        Some(slot)
    }

    /// Adds a row that somebody keeps.
    pub fn restore(&mut self, key: RowKey, row: Row) {
        let slot = self.insert(key, row);
        if let Some(held) = slot.and_then(|s| self.held.get_mut(index(s))?.as_mut()) {
            held.is_known = true;
        }
    }

    /// Removes a row.
    pub fn remove(&mut self, slot: Slot) -> Option<Row> {
        let Held { key, row, worth, age, is_known, .. } = self.held.get_mut(index(slot))?.take()?;
        self.by_worth.remove(&(worth, slot));
        self.by_age.remove(&(age, slot));
        self.by_key.remove(&key);
        if let Some(slots) = self.by_bank.get_mut(&key.bank) {
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                self.by_bank.remove(&key.bank);
            }
        }
        for line in row.cells().iter().filter_map(|cell| cell.line) {
            self.by_line.remove(&line);
        }
        if is_known {
            self.gone.push(key);
        }
        self.free.push(slot);
        Some(row)
    }

    /// The row that is worth least.
    pub fn least(&mut self) -> Option<Slot> {
        loop {
            let (kept, slot) = self.by_worth.first().copied()?;
            let now = worth(self.row(slot)?);
            if now <= kept {
                return Some(slot);
            }
            self.weigh(slot);
        }
    }

    /// The row of `bank` that is worth least.
    pub fn least_of_bank(&self, bank: &BankKey) -> Option<Slot> {
        let slots = self.of_bank(bank).iter().copied();
        slots.min_by_key(|slot| self.row(*slot).map(worth))
    }

    /// Puts a row's entry by worth right. To be called when it lost some: its
    /// fault was closed, or a column forgotten.
    pub fn weigh(&mut self, slot: Slot) {
        let Some(held) = self.held.get_mut(index(slot)).and_then(Option::as_mut) else { return };
        let now = worth(&held.row);
        self.by_worth.remove(&(std::mem::replace(&mut held.worth, now), slot));
        self.by_worth.insert((now, slot));
    }

    /// Removes at most two of the rows without an open fault that have been
    /// quiet for longer than `horizon`, so that a report costs little and the
    /// rows still shrink faster than they can grow.
    pub fn expire(&mut self, now: Time, horizon: Duration) {
        let start = now.before(horizon);
        for _ in 0..2 {
            let Some((kept, slot)) = self.by_age.first().copied() else { return };
            if kept >= start {
                return;
            }
            match self.row(slot).map(|row| (row.fault.is_some(), row.last.at)) {
                Some((false, last)) if last < start => {
                    self.remove(slot);
                }
                // One with an open fault is looked at again in a while.
                Some((true, _)) => self.age(slot, now),
                Some((false, last)) => self.age(slot, last),
                None => {
                    self.by_age.pop_first();
                }
            }
        }
    }

    fn age(&mut self, slot: Slot, now: Time) {
        let Some(held) = self.held.get_mut(index(slot)).and_then(Option::as_mut) else { return };
        self.by_age.remove(&(std::mem::replace(&mut held.age, now), slot));
        self.by_age.insert((now, slot));
    }

    /// [`Rows::changes`] is to tell of all rows.
    pub fn mark_all(&mut self) {
        let held = self.held.iter().zip(0..).filter(|(held, _)| held.is_some());
        self.changed = held.map(|(_, slot)| Slot(slot)).collect();
    }

    /// Rows changed or gone (`None`) since the last [`Rows::kept`]. Where one is
    /// gone and made anew, its end comes first.
    pub fn changes(&self) -> impl Iterator<Item = (RowKey, Option<&Row>)> {
        let changed = self.changed.iter().filter_map(|slot| self.held(*slot));
        let changed = changed.map(|held| (held.key, Some(&held.row)));
        self.gone.iter().map(|key| (*key, None)).chain(changed)
    }

    /// There are [`Rows::changes`].
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty() || !self.gone.is_empty()
    }

    /// Somebody keeps what [`Rows::changes`] tells, and must hear of its end.
    pub fn kept(&mut self) {
        for slot in &self.changed {
            if let Some(held) = self.held.get_mut(index(*slot)).and_then(Option::as_mut) {
                held.is_known = true;
            }
        }
        self.forget_changes();
    }

    /// Tells nothing of what changed up to now.
    pub fn forget_changes(&mut self) {
        self.changed.clear();
        self.gone = Vec::new();
    }

    /// All indexes tell of the same rows and lines.
    #[cfg(test)]
    pub fn is_consistent(&self) -> bool {
        let rows = self.len();
        let lines = self.iter().flat_map(|(_, row)| row.cells()).filter(|c| c.line.is_some());
        let in_banks: usize = self.by_bank.values().map(Vec::len).sum();
        self.held.iter().flatten().count() == rows
            && in_banks == rows
            && self.by_worth.len() == rows
            && self.by_age.len() == rows
            && lines.count() == self.by_line.len()
            && self.held.len() == rows + self.free.len()
    }

    fn held(&self, slot: Slot) -> Option<&Held> {
        self.held.get(index(slot))?.as_ref()
    }
}

fn index(slot: Slot) -> usize {
    // A u32 index fits every usize that Linux runs on.
    slot.0 as usize
}
