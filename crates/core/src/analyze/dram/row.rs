//! One row: the distinct columns that erred, and whether they make a fault.

use super::Sighting;
use crate::analyze::piece;
use crate::analyze::serd::Serd;
use crate::decide::RowPolicy;
use crate::model::{BitPattern, Evidence, Fault, Pfn, PhysAddr, Report, Source, Stamp, Time};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// Raw records kept of a row for the faults to come: the first ones of its
/// first two columns, which is what the row rule's defaults fire on.
const PIECES: usize = 2;

/// Records of two sources this near to each other may be of one error, and are
/// counted once.
const SAME: Duration = Duration::from_secs(1);

/// log2 of a cache line in bytes: what one burst of a channel delivers.
const LINE: u32 = 6;

/// A 64-byte line of memory: a physical address without its low six bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Line(u64);

impl Line {
    pub fn of(addr: PhysAddr) -> Line {
        Line(addr.0 >> LINE)
    }

    pub fn addr(self) -> PhysAddr {
        PhysAddr(self.0 << LINE)
    }
}

/// A place of a row that erred: a column, and where it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cell {
    pub column: u32,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<Pfn>,
    /// Its line, where a record had the address so exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<Line>,
    /// First and last error with no gap longer than the window, and how many
    /// between.
    pub first: Stamp,
    pub last: Time,
    pub errors: u64,
}

/// What the bit patterns of a row have told so far; only ever gets worse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Pattern {
    /// No record had one.
    #[default]
    Unknown,
    /// All that there were lie on one DQ or in one beat.
    Narrow,
    /// One had more than one DQ and more than one beat.
    Wide,
}

/// The DRAM device that errors lie in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Device {
    /// No record named one.
    #[default]
    Unknown,
    /// All that named one named this.
    One(u16),
    /// They disagree.
    Several,
}

impl Device {
    pub fn with(self, other: Device) -> Device {
        match (self, other) {
            (Device::Unknown, known) | (known, Device::Unknown) => known,
            (Device::One(a), Device::One(b)) if a == b => self,
            _ => Device::Several,
        }
    }

    pub fn known(self) -> Option<u16> {
        match self {
            Device::One(device) => Some(device),
            Device::Unknown | Device::Several => None,
        }
    }
}

impl From<Option<u16>> for Device {
    fn from(device: Option<u16>) -> Self {
        device.map_or(Device::Unknown, Device::One)
    }
}

/// A raw record and its moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Piece {
    pub at: Time,
    pub evidence: Evidence,
}

/// What is remembered of one row: what a restarted daemon needs to carry on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    cells: Vec<Cell>,
    /// Records in the window, while no fault is open.
    #[serde(default)]
    window: Serd,
    /// Who told of the last counted record.
    #[serde(default)]
    source: Option<Source>,
    /// Its last record.
    pub(super) last: Stamp,
    #[serde(default)]
    pub(super) pattern: Pattern,
    #[serde(default)]
    pub(super) device: Device,
    #[serde(default)]
    pub(super) pieces: Vec<Piece>,
    /// Its open fault; known from the fault itself after a restart.
    #[serde(skip)]
    pub(super) fault: Option<Uuid>,
}

/// What a sighting did to its row.
#[derive(Debug, Default)]
pub(super) struct Took {
    /// A column that was not in the window is in it now: only then can a wider
    /// mode appear.
    pub entered: bool,
    /// N errors at M columns within T.
    pub fires: bool,
    /// What is known of its device changed.
    pub new_device: bool,
    /// The first wide bit pattern.
    pub turned_wide: bool,
    /// Its line was seen for the first time.
    pub new_line: bool,
    /// Its page was seen for the first time.
    pub new_page: bool,
    /// The line of a cell that was given up for room.
    pub dropped: Option<Line>,
    /// Errors that nobody had told of.
    pub errors: u64,
    /// A cell was given up for room.
    pub evicted: bool,
}

impl Row {
    /// A row of which only its open fault is left.
    pub(super) fn of(fault: &Fault) -> Row {
        Row { last: fault.last, ..Row::default() }
    }

    /// Its fault was opened: there is nothing to count towards any more.
    pub(super) fn opened(&mut self, fault: Uuid) {
        self.fault = Some(fault);
        self.window = Serd::default();
    }

    /// Its fault was none: it counts from an empty window.
    pub(super) fn acquitted(&mut self) {
        self.fault = None;
        self.window = Serd::default();
    }

    pub(super) fn cell(&self, column: u32) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.column == column)
    }

    pub(super) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Distinct columns with an error at or after `start`.
    pub(super) fn columns_since(&self, start: Time) -> usize {
        self.cells.iter().filter(|cell| cell.last >= start).count()
    }

    /// Forgets a column.
    pub(super) fn forget_column(&mut self, column: u32) -> Option<Line> {
        let place = self.cells.iter().position(|cell| cell.column == column)?;
        self.cells.swap_remove(place).line
    }

    /// Pages of the cells that pass `which`, ascending.
    pub(super) fn pages(&self, which: impl Fn(&Cell) -> bool) -> Vec<Pfn> {
        let cells = self.cells.iter().filter(|cell| which(cell));
        let mut pages: Vec<Pfn> = cells.filter_map(|cell| cell.page).collect();
        pages.sort_unstable();
        pages.dedup();
        pages
    }

    /// Addresses at which errors of this row were seen.
    pub(super) fn addrs(&self) -> Vec<PhysAddr> {
        self.cells.iter().filter_map(|cell| cell.line).map(Line::addr).collect()
    }

    /// Takes a sighting at `column`; room for `most` columns. What was before
    /// `anew` is not counted.
    pub(super) fn take(
        &mut self,
        seen: &Sighting,
        column: u32,
        most: usize,
        rule: RowPolicy,
        anew: Time,
    ) -> Took {
        let report = seen.report;
        let mut took = Took::default();
        let (from, to) = (report.first.at.min(report.last.at), report.last.at.max(report.first.at));
        let told = self.is_told_already(report, from);
        let records = if told { 0 } else { report.records };
        took.errors = if told { 0 } else { report.errors };
        if !told {
            self.source = Some(report.source);
        }
        let pattern = self.pattern.max(pattern(seen.place.bits));
        took.turned_wide = pattern == Pattern::Wide && self.pattern != Pattern::Wide;
        self.pattern = pattern;
        let device = self.device.with(seen.place.device.into());
        took.new_device = device != self.device;
        self.device = device;

        let start_of_first = self.last.at.max(from).before(rule.threshold.window).max(anew);
        let start = self.last.at.max(to).before(rule.threshold.window).max(anew);
        let cell = Cell {
            column,
            page: seen.page,
            line: seen.addr.map(Line::of),
            first: report.first,
            last: from,
            errors: took.errors,
        };
        self.touch(cell, start_of_first, most, &mut took);
        if self.fault.is_some() {
            self.reach(column, to);
        } else {
            if took.entered {
                self.keep(report, start);
            }
            let enough = self.count(rule, from, from, records.min(1));
            let at_first = enough && self.columns_since(start_of_first) >= columns(rule);
            self.reach(column, to);
            let enough = self.count(rule, from, to, records.saturating_sub(1));
            let at_last = enough && self.columns_since(start) >= columns(rule);
            took.fires = at_first || at_last;
        }
        if to > self.last.at || self.last == Stamp::default() {
            self.last = report.last;
        }
        took
    }

    /// Counts `records` and answers whether N are in the window.
    fn count(&mut self, rule: RowPolicy, from: Time, to: Time, records: u64) -> bool {
        self.window.observe(rule.threshold, from, to, records);
        let newest = self.last.at.max(to);
        self.window.count(rule.threshold, newest) >= rule.threshold.errors.max(1)
    }

    /// Adds what `new` tells to its column's cell. Room for a new column is
    /// made by giving up the one that has been quiet for longest.
    fn touch(&mut self, new: Cell, start: Time, most: usize, took: &mut Took) {
        if let Some(cell) = self.cells.iter_mut().find(|cell| cell.column == new.column) {
            took.new_line = cell.line.is_none() && new.line.is_some();
            took.new_page = cell.page.is_none() && new.page.is_some();
            cell.line = cell.line.or(new.line);
            cell.page = cell.page.or(new.page);
            if cell.last < start && new.last >= start {
                took.entered = true;
                *cell = Cell { line: cell.line, page: cell.page, ..new };
            } else {
                cell.last = cell.last.max(new.last);
                cell.errors = cell.errors.saturating_add(new.errors);
            }
            return;
        }
        if self.cells.len() >= most.max(1) {
            let oldest = self.cells.iter().enumerate().min_by_key(|(_, cell)| cell.last);
            if let Some((oldest, _)) = oldest {
                took.dropped = self.cells.swap_remove(oldest).line;
                took.evicted = true;
            }
        }
        took.entered = true;
        took.new_line = new.line.is_some();
        took.new_page = new.page.is_some();
        self.cells.reserve_exact(1);
        self.cells.push(new);
    }

    fn reach(&mut self, column: u32, to: Time) {
        if let Some(cell) = self.cells.iter_mut().find(|cell| cell.column == column) {
            cell.last = cell.last.max(to);
        }
    }

    /// Another source told of the row's last error; this may be the same one.
    fn is_told_already(&self, report: &Report, from: Time) -> bool {
        self.source.is_some_and(|source| source != report.source)
            && from.since(self.last.at).max(self.last.at.since(from)) <= SAME
    }

    fn keep(&mut self, report: &Report, start: Time) {
        self.pieces.retain(|piece| piece.at >= start);
        if self.pieces.len() < PIECES {
            self.pieces.reserve_exact(1);
            self.pieces.push(Piece { at: report.last.at, evidence: piece::evidence(report) });
        }
    }
}

/// Distinct columns that a row fault needs.
pub(super) fn columns(rule: RowPolicy) -> usize {
    usize::try_from(rule.columns.max(1)).unwrap_or(usize::MAX)
}

fn pattern(bits: Option<BitPattern>) -> Pattern {
    match bits {
        None => Pattern::Unknown,
        Some(bits) if bits.is_wide() => Pattern::Wide,
        Some(_) => Pattern::Narrow,
    }
}
