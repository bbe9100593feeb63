//! Modes that an admin closed.

use super::keys::BankKey;
use super::rows::Slot;
use super::scope::Scope;
use super::Dimms;
use crate::model::{DimmId, Fault, Pfn, Time};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Scopes that count anew, at most: as many as there may be DIMMs.
const MOST: usize = 1_024;

/// From when on errors count for modes that were no faults after all.
///
/// Not kept on disk by itself: an acquitted fault says when its last error was.
#[derive(Debug, Default)]
pub(super) struct Anew(BTreeMap<Scope, Time>);

impl Anew {
    /// Errors up to `last` do not count for `scope` any more.
    pub fn after(&mut self, scope: Scope, last: Time) {
        let from = self.0.entry(scope).or_default();
        *from = (*from).max(Time(last.0.saturating_add(1)));
        while self.0.len() > MOST {
            let oldest = self.0.iter().min_by_key(|(_, from)| **from).map(|(scope, _)| *scope);
            let Some(oldest) = oldest else { return };
            self.0.remove(&oldest);
        }
    }

    /// Something that takes in all of `bank` counts anew: the modes that it was
    /// found by may be open still, and make it due without another.
    pub fn is_around(&self, bank: &BankKey) -> bool {
        let wider = [Scope::Bank(*bank), Scope::Rank(bank.dimm, bank.rank), Scope::Dimm(bank.dimm)];
        !self.0.is_empty() && wider.iter().any(|scope| self.0.contains_key(scope))
    }

    /// The first moment whose errors count for `scope`.
    pub fn of(&self, scope: &Scope) -> Time {
        self.0.get(scope).copied().unwrap_or_default()
    }
}

impl Dimms {
    /// What `fault` takes in was repaired: it may fire anew, from nothing.
    /// Answers the pages whose errors are forgotten with it.
    pub fn forget(&mut self, fault: Uuid) -> Vec<Pfn> {
        let Some(scope) = self.end(fault) else { return Vec::new() };
        let slots: Vec<Slot> = match scope {
            Scope::Row(key) => self.rows.find(&key).into_iter().collect(),
            Scope::Column(bank, column) => return self.forget_column(&bank, column),
            Scope::Bits(_) => return Vec::new(),
            Scope::Bank(_) | Scope::Rank(..) | Scope::Dimm(_) => {
                self.slots(|bank| scope.holds_bank(bank))
            }
        };
        let mut pages = Vec::new();
        for slot in slots {
            // A row with a fault of its own that still stands stays.
            let own = self.rows.row(slot).and_then(|row| row.fault);
            if own.is_none_or(|id| id == fault) {
                let row = self.rows.remove(slot);
                pages.extend(row.iter().flat_map(|row| row.pages(|_| true)));
            }
        }
        pages
    }

    /// `fault` was none: what it takes in may fire anew by errors to come. What
    /// is known of places stays, and counts for whatever else takes them in.
    pub fn acquit(&mut self, fault: &Fault) {
        self.end(fault.id);
        let Some(scope) = Scope::of(fault) else { return };
        self.anew.after(scope, fault.last.at);
        if let Scope::Row(key) = scope {
            if let Some(row) = self.rows.find(&key).and_then(|slot| self.rows.change(slot)) {
                row.acquitted();
            }
        }
    }

    /// Another DIMM is in the place of `dimm`. Its open faults stay as they are;
    /// only nothing is added to them, or made out of them, any more. Answers the
    /// pages that are known to have lain on it.
    pub fn forget_dimm(&mut self, dimm: &DimmId) -> Vec<Pfn> {
        self.modes.remove(dimm);
        self.faults.retain(|_, scope| scope.dimm() != *dimm);
        let mut pages = Vec::new();
        for slot in self.slots(|bank| bank.dimm == *dimm) {
            let row = self.rows.remove(slot);
            pages.extend(row.iter().flat_map(|row| row.pages(|_| true)));
        }
        pages
    }

    /// The mode of `fault` is over.
    fn end(&mut self, fault: Uuid) -> Option<Scope> {
        let scope = self.faults.remove(&fault)?;
        let dimm = scope.dimm();
        if let Some(modes) = self.modes.get_mut(&dimm) {
            modes.close(fault);
            if modes.is_empty() {
                self.modes.remove(&dimm);
            }
        }
        Some(scope)
    }

    /// The rows of the banks that pass `which`.
    fn slots(&self, which: impl Fn(&BankKey) -> bool) -> Vec<Slot> {
        let keys = self.rows.iter().map(|(key, _)| key).filter(|key| which(&key.bank));
        keys.filter_map(|key| self.rows.find(key)).collect()
    }

    fn forget_column(&mut self, bank: &BankKey, column: u32) -> Vec<Pfn> {
        let mut pages = Vec::new();
        for slot in self.rows.of_bank(bank).to_vec() {
            let Some(row) = self.rows.change(slot) else { continue };
            if row.fault.is_none() {
                pages.extend(row.cell(column).and_then(|cell| cell.page));
                if let Some(line) = row.forget_column(column) {
                    self.rows.forget_line(line);
                }
                self.rows.weigh(slot);
            }
        }
        pages
    }
}
