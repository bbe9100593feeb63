//! When a mode opens, what it covers, and how that grows.

use super::modes::{Mode, COLUMN_ROWS};
use super::rate::Sum;
use super::row::{columns, Cell, Pattern, Row, Took};
use super::rows::Slot;
use super::scope::Scope;
use super::{Case, Dimms, Found, Sighting};
use crate::analyze::{fault_id, piece};
use crate::model::{Cover, CoverBy, Evidence, Fault, Pfn, Time};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Pages that a row fault may come to cover, at most. A row lies in 24 pages
/// (pages kept open, channels interleaved) to 128 (pages kept closed); four
/// times that is no row but an error in the places.
const MOST_PAGES: usize = 512;

impl Dimms {
    /// The error counts in the open modes that take it in.
    pub(super) fn count(&mut self, case: &Case, errors: u64, found: &mut Found) {
        if let Some(modes) = self.modes.get_mut(&case.cell.row.bank.dimm) {
            modes.count(case.seen, &case.cell, errors, found);
        }
    }

    /// An open row fault covers what its row has shown since.
    pub(super) fn grow(&mut self, case: &Case, slot: Slot, took: &Took, found: &mut Found) {
        if !(took.new_page || took.entered || took.turned_wide) {
            return;
        }
        let given_up = self.bank_is_given_up(case);
        let Some((row, id)) = self.rows.row(slot).and_then(|row| Some((row, row.fault?))) else {
            return;
        };
        let Some(modes) = self.modes.get_mut(&case.cell.row.bank.dimm) else { return };
        let Some(open) = modes.get(id) else { return };
        let Some(cover) = grown(open.cover.as_ref(), row, case, given_up) else { return };
        if let [Some(update), ..] = &mut found.updates {
            update.cover = Some(cover.clone());
        }
        open.cover = Some(cover);
    }

    /// N errors at M columns of the row within T.
    pub(super) fn open_row(&mut self, case: &Case, slot: Slot, found: &mut Found) {
        let scope = Scope::Row(case.cell.row);
        if self.is_given_up(&scope) {
            return;
        }
        let Some(row) = self.rows.row(slot) else { return };
        let (device, wide) = (row.device.known(), row.pattern == Pattern::Wide);
        let cover = covered(row, case, false);
        let Some(id) = self.open(scope, device, wide, cover, case, found) else { return };
        if let Some(row) = self.rows.change(slot) {
            row.opened(id);
        }
    }

    /// Enough distinct rows in the column within T.
    pub(super) fn open_column(&mut self, case: &Case, found: &mut Found) {
        let bank = case.cell.row.bank;
        let column = case.cell.column;
        let scope = Scope::Column(bank, column);
        let rows = || self.rows.of_bank(&bank).iter().filter_map(|slot| self.rows.row(*slot));
        let cells = || rows().filter_map(|row| row.cell(column));
        let Some(newest) = cells().map(|cell| cell.last).max() else { return };
        let start = newest.before(case.rules.row.threshold.window).max(self.anew.of(&scope));
        if cells().filter(|cell| cell.last >= start).count() < COLUMN_ROWS {
            return;
        }
        if !self.is_given_up(&scope) {
            let device = self.device(&scope).known();
            self.open(scope, device, false, None, case, found);
        }
    }

    /// Wider modes out of those that are open.
    pub(super) fn open_wider(&mut self, case: &Case, found: &mut Found) {
        let bank = case.cell.row.bank;
        let start = |dimms: &Dimms| {
            let newest = dimms.modes.get(&bank.dimm).map(|modes| modes.newest());
            newest.unwrap_or_default().before(case.rules.row.threshold.window)
        };
        let due = |dimms: &Dimms, scope: &Scope| {
            let modes = dimms.modes.get(&bank.dimm)?;
            let start = start(dimms).max(dimms.anew.of(scope));
            match scope {
                Scope::Bank(bank) => modes.bank_is_due(bank, start).then_some(None),
                Scope::Rank(_, rank) => {
                    modes.rank_is_due(*rank, start, |inner| dimms.device(inner))
                }
                _ => modes.dimm_is_due(start).then_some(None),
            }
        };
        for scope in [Scope::Bank(bank), Scope::Rank(bank.dimm, bank.rank), Scope::Dimm(bank.dimm)]
        {
            if self.is_given_up(&scope) {
                continue;
            }
            if let Some(device) = due(self, &scope) {
                self.open(scope, device, false, None, case, found);
            }
        }
    }

    /// A wide bit pattern: told once per DIMM.
    pub(super) fn bits(&mut self, seen: &Sighting, found: &mut Found) {
        let report = seen.report;
        if !seen.place.bits.is_some_and(|bits| bits.is_wide()) {
            return;
        }
        let modes = self.modes.entry(seen.place.dimm).or_default();
        if modes.count_bits(seen, found) || !modes.has_room() {
            return;
        }
        let scope = Scope::Bits(seen.place.dimm);
        let mut sum = Sum::new();
        sum.first = Some(report.first);
        sum.errors = report.errors.max(1);
        let mode = Mode {
            id: fault_id(&scope, scope.rule(), report.first.at),
            scope,
            device: seen.place.device,
            wide: true,
            columns: 0,
            first: report.first,
            last: report.last,
            rate: sum.rate(),
            evidence: vec![piece::evidence(report)],
            cover: None,
        };
        modes.add(&mode);
        self.faults.insert(mode.id, scope);
        found.opened.push(mode);
    }

    /// Opens a mode, told by what its scope has shown within T.
    fn open(
        &mut self,
        scope: Scope,
        device: Option<u16>,
        wide: bool,
        cover: Option<Cover>,
        case: &Case,
        found: &mut Found,
    ) -> Option<Uuid> {
        let report = case.seen.report;
        let start = report.last.at.before(case.rules.row.threshold.window);
        let start = start.max(self.anew.of(&scope));
        let (sum, columns, pieces) = self.sum(&scope, start, case);
        let first = sum.first.unwrap_or(report.first);
        let mode = Mode {
            id: fault_id(&scope, scope.rule(), first.at),
            scope,
            device,
            wide,
            columns,
            first,
            last: report.last,
            rate: sum.rate(),
            evidence: pieces,
            cover,
        };
        let modes = self.modes.entry(scope.dimm()).or_default();
        if !modes.has_room() || modes.get(mode.id).is_some() {
            return None;
        }
        modes.add(&mode);
        self.faults.insert(mode.id, scope);
        let id = mode.id;
        found.opened.push(mode);
        Some(id)
    }

    /// What the rows in `scope` have shown since `start`: their errors, the most
    /// columns of any, and the first reports, the last one included.
    fn sum(&self, scope: &Scope, start: Time, case: &Case) -> (Sum, usize, Vec<Evidence>) {
        let mut sum = Sum::new();
        let mut columns = 0;
        let mut pieces = Vec::new();
        let mut add = |row: &Row, column: Option<u32>| {
            let of_column = |cell: &&Cell| column.is_none_or(|c| c == cell.column);
            let inside = row.cells().iter().filter(|cell| cell.last >= start).filter(of_column);
            columns = columns.max(inside.clone().count());
            if inside.clone().next().is_some() {
                pieces.extend(row.pieces.iter().map(|piece| (piece.at, piece.evidence.clone())));
            }
            sum.add(inside);
        };
        let row = |slot: &Slot| self.rows.row(*slot);
        match scope {
            Scope::Row(key) => {
                self.rows.find(key).iter().filter_map(row).for_each(|r| add(r, None))
            }
            Scope::Column(bank, column) => {
                let rows = self.rows.of_bank(bank).iter().filter_map(row);
                rows.for_each(|r| add(r, Some(*column)));
            }
            Scope::Bank(bank) => {
                self.rows.of_bank(bank).iter().filter_map(row).for_each(|r| add(r, None));
            }
            Scope::Rank(..) | Scope::Dimm(_) | Scope::Bits(_) => {
                let rows = self.rows.iter().filter(|(key, _)| scope.holds_bank(&key.bank));
                rows.for_each(|(_, r)| add(r, None));
            }
        }
        (sum, columns, first_and_last(pieces, case))
    }

    /// The bank, its rank or its DIMM has a mode of its own.
    fn bank_is_given_up(&self, case: &Case) -> bool {
        self.is_given_up(&Scope::Bank(case.cell.row.bank))
    }
}

/// The oldest pieces, and the report that made the rule fire.
fn first_and_last(mut pieces: Vec<(Time, Evidence)>, case: &Case) -> Vec<Evidence> {
    pieces.sort_by_key(|(at, _)| *at);
    pieces.truncate(Fault::MAX_EVIDENCE - 1);
    let mut evidence: Vec<Evidence> = pieces.into_iter().map(|(_, piece)| piece).collect();
    let last = piece::evidence(case.seen.report);
    if !evidence.contains(&last) {
        evidence.push(last);
    }
    evidence
}

/// What a row fault covers when it opens: the pages that errors were seen on;
/// all of the row's, where they are known, unless its errors look like those of
/// weak cells.
///
/// Cells scattered along a row, each wrong in one bit at a time, are weak cells:
/// real DIMMs carry such rows for months and lose nothing but those cells. A
/// pattern over several DQ and beats is what comes before UEs, and a row without
/// any pattern is treated like one.
fn covered(row: &Row, case: &Case, given_up: bool) -> Option<Cover> {
    let seen = row.pages(|_| true);
    if row.pattern != Pattern::Narrow && !given_up {
        let whole = (case.whole_row)(&case.cell.row.place(), &row.addrs());
        if let Some((by, mut pages)) = whole {
            pages.sort_unstable();
            pages.dedup();
            let holds_all = seen.iter().all(|page| pages.binary_search(page).is_ok());
            if holds_all && pages.len() <= MOST_PAGES {
                return Some(Cover { by, pages }).filter(|cover| !cover.pages.is_empty());
            }
        }
    }
    Some(Cover { by: CoverBy::Seen, pages: seen }).filter(|cover| !cover.pages.is_empty())
}

/// What an open row fault covers now, if that is more than `old`.
fn grown(old: Option<&Cover>, row: &Row, case: &Case, given_up: bool) -> Option<Cover> {
    let had = old.map_or(&[][..], |cover| cover.pages.as_slice());
    let more = match row.pattern {
        Pattern::Narrow => fresh_pages(had, row, case),
        Pattern::Unknown | Pattern::Wide => {
            let known = old.is_some_and(|cover| cover.by != CoverBy::Seen);
            covered(row, case, given_up || known)?
        }
    };
    let mut pages = [had, &more.pages].concat();
    pages.sort_unstable();
    pages.dedup();
    let by = match old {
        Some(cover) if more.by == CoverBy::Seen => cover.by,
        _ => more.by,
    };
    (pages.len() > had.len() && pages.len() <= MOST_PAGES).then_some(Cover { by, pages })
}

/// The pages of a row of weak cells that its fault does not cover yet, and that
/// by themselves have erred at as many columns within T as the rule asks of the
/// row. A page with fewer is left to its own rule: such rows show a new cell now
/// and then for months, and taking each cell's page would give up the row bit by
/// bit for nothing.
fn fresh_pages(had: &[Pfn], row: &Row, case: &Case) -> Cover {
    let start = row.last.at.before(case.rules.row.threshold.window);
    let mut columns_of: BTreeMap<Pfn, usize> = BTreeMap::new();
    for cell in row.cells().iter().filter(|cell| cell.last >= start) {
        if let Some(page) = cell.page.filter(|page| had.binary_search(page).is_err()) {
            *columns_of.entry(page).or_default() += 1;
        }
    }
    let enough = columns(case.rules.row);
    let pages = columns_of.into_iter().filter(|(_, n)| *n >= enough).map(|(page, _)| page);
    Cover { by: CoverBy::Seen, pages: pages.collect() }
}
