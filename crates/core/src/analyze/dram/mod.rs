//! Fault modes of DIMMs: cells, rows, columns, banks, ranks.
//!
//! What counts is the geometry of distinct places, never the volume: one cell
//! can give thousands of errors and be harmless to all but its page, while two
//! errors at two columns of a row may be the beginning of the end of that row.
//! docs/diagnosis.md tells every rule with its numbers and their sources.
//!
//! ```text
//!  Sighting ─▶ rows (per row: distinct columns, SERD) ─▶ modes (per DIMM: what is
//!   place,      consistency of place and address          open; wider out of narrower)
//!   address                                         ─▶ findings (faults, words)
//! ```

mod closing;
mod findings;
mod keys;
pub mod map;
mod modes;
mod opening;
pub mod place;
mod rate;
mod row;
mod rows;
mod scope;
#[cfg(test)]
mod tests;

pub(super) use findings::finding;
pub(super) use keys::tells_dimms_apart;
pub use keys::{BankKey, RowKey};
pub use modes::Mode;
pub use rate::Rate;
pub use row::Row;
pub use scope::Scope;

use crate::analyze::finding::FaultUpdate;
use crate::decide::RowPolicy;
use crate::model::{CoverBy, DimmId, DramPlace, Fault, FaultState, Pfn, PhysAddr, Report, Time};
use closing::Anew;
use hashbrown::HashMap;
use keys::CellKey;
use modes::Modes;
use row::{Device, Line, Took};
use rows::{Rows, Slot};
use std::time::Duration;
use uuid::Uuid;

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Rows in all.
    pub rows: usize,
    /// Rows of one bank, so that a failing one does not cost the others their
    /// places.
    pub rows_per_bank: usize,
    /// Columns of one row.
    pub columns: usize,
    /// DIMMs with open modes. Names of DIMMs come out of reports, which may say
    /// anything; a host has a few dozen.
    pub dimms: usize,
}

impl Default for Capacity {
    /// About 10 MiB at worst: 4,096 rows of two raw records each, 64 rows of a
    /// bank (three that are faulty make the bank faulty), 64 columns of a row
    /// (a row of 1,024 columns has 128 lines), 1,024 DIMMs.
    fn default() -> Self {
        Capacity { rows: 4_096, rows_per_bank: 64, columns: 64, dimms: 1_024 }
    }
}

/// The numbers that the modes are found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DramRules {
    /// N errors at M columns in T; T is the window of all modes.
    pub row: RowPolicy,
    /// Pages that may be given up in all, for the outlook.
    pub page_limit: u64,
}

/// A report of corrected errors that says where in the DRAM they were.
#[derive(Debug, Clone, Copy)]
pub struct Sighting<'a> {
    /// Where.
    pub place: &'a DramPlace,
    /// The page, where it has a usable address of it.
    pub page: Option<Pfn>,
    /// The system physical address, where it is good to a 64-byte line.
    pub addr: Option<PhysAddr>,
    /// The report.
    pub report: &'a Report,
}

/// How far a sighting's place is trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trust {
    /// It agrees with what is known.
    Good,
    /// Rank, bank, row or column is missing, or no DIMM is named: no geometry.
    #[default]
    Incomplete,
    /// Its address is known to be of another place, or its place at another
    /// address: the two registers may be of different errors. It is evidence of
    /// its page only.
    Doubtful,
    /// There is no room for another DIMM.
    NoRoom,
}

/// What a sighting came to.
#[derive(Debug, Default)]
pub struct Found {
    /// How far its place is trusted.
    pub trust: Trust,
    /// Place and address were seen together for the first time, and agree with
    /// all that is known: worth learning the address mapping from.
    pub learned: bool,
    /// New modes, narrower before wider.
    pub opened: Vec<Mode>,
    /// Open faults that got more errors, or cover more: the row's own, the
    /// widest that takes it in, and that of the bit patterns.
    pub updates: [Option<FaultUpdate>; 3],
}

/// Answers what the whole row of a place is known to cover; the addresses are
/// those that errors were seen at.
pub type WholeRow<'a> = &'a dyn Fn(&DramPlace, &[PhysAddr]) -> Option<(CoverBy, Vec<Pfn>)>;

/// A sighting, and all that judging it takes.
#[derive(Clone, Copy)]
struct Case<'a> {
    seen: &'a Sighting<'a>,
    cell: CellKey,
    rules: &'a DramRules,
    whole_row: WholeRow<'a>,
}

/// Remembers the distinct places that erred, per DIMM, and finds fault modes in
/// them. Bounded.
#[derive(Debug)]
pub struct Dimms {
    capacity: Capacity,
    rows: Rows,
    modes: HashMap<DimmId, Modes>,
    /// Open faults, by name.
    faults: HashMap<Uuid, Scope>,
    /// From when on errors count for a mode that was no fault after all.
    anew: Anew,
    evictions: u64,
    doubtful: u64,
}

impl Dimms {
    /// With nothing remembered.
    pub fn new(capacity: Capacity) -> Dimms {
        Dimms {
            capacity,
            rows: Rows::default(),
            modes: HashMap::default(),
            faults: HashMap::default(),
            anew: Anew::default(),
            evictions: 0,
            doubtful: 0,
        }
    }

    /// Takes a sighting: at most a few new modes, and growth of open ones.
    ///
    /// `whole_row` is asked for the pages of a row whose errors are not known
    /// to be those of weak cells.
    pub fn observe(&mut self, seen: &Sighting, rules: &DramRules, whole_row: WholeRow) -> Found {
        let now = seen.report.last.at;
        self.rows.expire(now, rules.row.threshold.window);
        let mut found = Found::default();
        if seen.report.records == 0 || !keys::tells_dimms_apart(&seen.place.dimm) {
            return found;
        }
        let room = self.modes.len() < self.capacity.dimms.max(1);
        if !room && !self.modes.contains_key(&seen.place.dimm) {
            found.trust = Trust::NoRoom;
            return found;
        }
        let Some(named) = CellKey::of(seen.place) else {
            self.bits(seen, &mut found);
            return found;
        };
        let slot = self.find_fresh(&named, seen, rules.row.threshold.window);
        let Some(cell) = self.agreed(named, slot, seen) else {
            self.doubtful = self.doubtful.saturating_add(1);
            found.trust = Trust::Doubtful;
            return found;
        };
        found.trust = Trust::Good;
        let case = Case { seen, cell, rules, whole_row };
        let mut wider_may_be_due = false;
        match self.take(&case, slot) {
            Some((slot, took)) => {
                wider_may_be_due = took.new_device || self.anew.is_around(&cell.row.bank);
                found.learned = took.new_line;
                self.count(&case, took.errors, &mut found);
                self.grow(&case, slot, &took, &mut found);
                if took.fires {
                    self.open_row(&case, slot, &mut found);
                }
                if took.entered {
                    self.open_column(&case, &mut found);
                }
            }
            None => self.count(&case, seen.report.errors, &mut found),
        }
        if wider_may_be_due || !found.opened.is_empty() {
            self.open_wider(&case, &mut found);
        }
        self.bits(seen, &mut found);
        found
    }

    /// Places that a full memory gave up.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Sightings whose place and address contradicted what was known.
    pub fn doubtful(&self) -> u64 {
        self.doubtful
    }

    /// Rows remembered.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// What is known of where addresses lie, to learn an address mapping from.
    pub fn known(&self) -> impl Iterator<Item = (DramPlace, PhysAddr)> + '_ {
        self.rows.iter().flat_map(|(key, row)| {
            row.cells().iter().filter_map(move |cell| {
                let place = DramPlace { column: Some(cell.column), ..key.place() };
                Some((place, cell.line?.addr()))
            })
        })
    }

    /// Takes up where an earlier run left off: its rows, as
    /// [`Dimms::changes`] told of them, and the faults that are open or were
    /// acquitted.
    pub fn restore<'f>(
        &mut self,
        rows: impl Iterator<Item = (RowKey, Row)>,
        faults: impl Iterator<Item = &'f Fault>,
    ) {
        for (key, row) in rows {
            if let Some(slot) = self.rows.find(&key) {
                self.rows.remove(slot);
            }
            self.make_room(&key);
            self.rows.restore(key, row);
        }
        for fault in faults {
            let Some(scope) = Scope::of(fault) else { continue };
            if fault.state == FaultState::Acquitted {
                self.anew.after(scope, fault.last.at);
            }
            if !fault.is_open() {
                continue;
            }
            let modes = self.modes.entry(scope.dimm()).or_default();
            if !modes.reopen(scope, fault) {
                continue;
            }
            self.faults.insert(fault.id, scope);
            if let Scope::Row(key) = scope {
                let slot = self.rows.find(&key).or_else(|| self.rows.insert(key, Row::of(fault)));
                self.mark(slot, Some(fault.id));
            }
        }
    }

    /// What changed since the last [`Dimms::kept`]: a row's new content, or
    /// `None` where it is gone.
    pub fn changes(&self) -> impl Iterator<Item = (RowKey, Option<&Row>)> {
        self.rows.changes()
    }

    /// There are [`Dimms::changes`].
    pub fn has_changes(&self) -> bool {
        self.rows.has_changes()
    }

    /// What [`Dimms::changes`] tells is kept by somebody.
    pub fn kept(&mut self) {
        self.rows.kept();
    }

    /// Tells nothing of what changed up to now.
    pub fn forget_changes(&mut self) {
        self.rows.forget_changes();
    }

    /// [`Dimms::changes`] is to tell of all rows.
    pub fn mark_all(&mut self) {
        self.rows.mark_all();
    }

    /// The row that a sighting names, if it is known.
    ///
    /// Rows expire a few at a time; one that is due and touched before its turn
    /// is forgotten now, so that what is found does not hang on whose turn it
    /// was.
    fn find_fresh(&mut self, named: &CellKey, seen: &Sighting, window: Duration) -> Option<Slot> {
        let start = seen.report.last.at.before(window);
        let by_line = seen.addr.and_then(|addr| self.rows.cell_at(Line::of(addr)));
        if let Some(other) = by_line.map(|cell| cell.row).filter(|row| *row != named.row) {
            if let Some(slot) = self.rows.find(&other) {
                self.unless_stale(slot, start);
            }
        }
        self.rows.find(&named.row).and_then(|slot| self.unless_stale(slot, start))
    }

    /// `slot`, unless its row has no open fault and was quiet since `start`: then
    /// it is forgotten.
    fn unless_stale(&mut self, slot: Slot, start: Time) -> Option<Slot> {
        let stale = |row: &Row| row.fault.is_none() && row.last.at < start;
        if self.rows.row(slot).is_some_and(stale) {
            self.rows.remove(slot);
            return None;
        }
        Some(slot)
    }

    /// The cell that a sighting is of, unless it contradicts what is known: one
    /// cell lies at one line, and one line is one cell. Whichever was seen first
    /// is believed, until its row has been quiet for a window.
    ///
    /// A line is a burst of columns; a report may name any of them. They are
    /// taken for the one seen first.
    fn agreed(&self, named: CellKey, slot: Option<Slot>, seen: &Sighting) -> Option<CellKey> {
        let row = slot.and_then(|slot| self.rows.row(slot));
        let known = row.and_then(|row| row.cell(named.column));
        let known_page = known.and_then(|cell| cell.page);
        if known_page.zip(seen.page).is_some_and(|(known, page)| known != page) {
            return None;
        }
        let Some(line) = seen.addr.map(Line::of) else { return Some(named) };
        if let Some(known) = known.and_then(|cell| cell.line) {
            return (known == line).then_some(named);
        }
        match self.rows.cell_at(line) {
            None => Some(named),
            Some(other) => {
                let same = other.row == named.row && same_burst(other.column, named.column);
                same.then_some(other)
            }
        }
    }

    /// Puts the sighting into its row, which is in `slot` if it is known. A new
    /// row in a bank that is given up anyway is not kept.
    fn take(&mut self, case: &Case, slot: Option<Slot>) -> Option<(Slot, Took)> {
        let Case { seen, cell, rules, .. } = case;
        let slot = match slot {
            Some(slot) => slot,
            None if self.is_given_up(&Scope::Row(cell.row)) => return None,
            None => {
                self.make_room(&cell.row);
                self.rows.insert(cell.row, Row::default())?
            }
        };
        let row = self.rows.change(slot)?;
        let anew = self.anew.of(&Scope::Row(cell.row));
        let took = row.take(seen, cell.column, self.capacity.columns, rules.row, anew);
        if let Some(line) = took.dropped {
            self.rows.forget_line(line);
        }
        if took.evicted {
            self.evictions = self.evictions.saturating_add(1);
        }
        if let (Some(line), true) = (seen.addr.map(Line::of), took.new_line) {
            self.rows.learn_line(line, slot, cell.column);
        }
        Some((slot, took))
    }

    fn make_room(&mut self, key: &RowKey) {
        let crowded = self.rows.of_bank(&key.bank).len() >= self.capacity.rows_per_bank.max(1);
        let victim = if crowded {
            self.rows.least_of_bank(&key.bank)
        } else if self.rows.len() >= self.capacity.rows.max(1) {
            self.rows.least()
        } else {
            None
        };
        if let Some(row) = victim.and_then(|slot| self.rows.remove(slot)) {
            self.evictions = self.evictions.saturating_add(1);
            // Its fault stays open; only this engine no longer adds to it.
            if let Some(scope) = row.fault.and_then(|id| self.faults.remove(&id)) {
                if let (Some(modes), Some(id)) = (self.modes.get_mut(&scope.dimm()), row.fault) {
                    modes.close(id);
                }
            }
        }
    }

    /// The device that a row or column lies in, as far as its rows tell; wider
    /// scopes are judged by what is at fault inside.
    fn device(&self, scope: &Scope) -> Device {
        let row = |slot: Slot| self.rows.row(slot);
        match scope {
            Scope::Row(key) => {
                self.rows.find(key).and_then(row).map_or(Device::Unknown, |r| r.device)
            }
            Scope::Column(bank, column) => {
                let rows = self.rows.of_bank(bank).iter().filter_map(|slot| row(*slot));
                let inside = rows.filter(|row| row.cell(*column).is_some());
                inside.fold(Device::Unknown, |device, row| device.with(row.device))
            }
            _ => Device::Unknown,
        }
    }

    /// A wider mode than `scope` (or itself) is open.
    fn is_given_up(&self, scope: &Scope) -> bool {
        self.modes.get(&scope.dimm()).is_some_and(|modes| modes.take_in(scope))
    }

    fn mark(&mut self, slot: Option<Slot>, fault: Option<Uuid>) {
        if let Some(row) = slot.and_then(|slot| self.rows.change(slot)) {
            row.fault = fault;
        }
    }
}

/// Two columns of one burst of eight, the least that fills a line.
fn same_burst(a: u32, b: u32) -> bool {
    a / 8 == b / 8
}
