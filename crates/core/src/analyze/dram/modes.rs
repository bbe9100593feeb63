//! The open modes of a DIMM, and wider ones out of narrower ones.

use super::keys::{BankKey, CellKey};
use super::rate::Rate;
use super::row::Device;
use super::scope::Scope;
use super::{Found, Sighting};
use crate::analyze::finding::FaultUpdate;
use crate::analyze::piece;
use crate::model::{Cover, Evidence, Fault, Stamp, Time};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Open modes of a DIMM, at most. Wider ones end the search for narrower ones
/// long before: three of a bank make a bank, three banks a rank, two ranks the
/// DIMM. Many closed and opened again by hand could come near it.
const MOST: usize = 64;

/// Distinct rows with an error in one column of one bank that make a column
/// fault: two may meet by chance, three do not, and the column goes on through
/// all rows of the bank, which no affordable set of pages holds.
pub(super) const COLUMN_ROWS: usize = 3;

/// Faulty rows and columns that make a bank fault, for the same reasons.
pub(super) const BANK_MODES: usize = 3;

/// Faulty banks of one rank that make a rank fault if one device is known to be
/// in all of them: two banks share nothing but their device. The figure is ours.
pub(super) const RANK_BANKS_OF_DEVICE: usize = 2;

/// Faulty banks of one rank that make a rank fault if devices are not known: one
/// more, for they may lie in several by chance. The figure is ours.
pub(super) const RANK_BANKS: usize = 3;

/// A rank counts towards a fault of the DIMM with so many faulty banks. The
/// figure is ours: what one bank's fault cannot explain.
pub(super) const DIMM_BANKS_OF_RANK: usize = 2;

/// Such ranks that make a fault of the DIMM: more than one rank share only it.
pub(super) const DIMM_RANKS: usize = 2;

/// A mode that was just found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mode {
    /// The fault's name.
    pub id: Uuid,
    /// What it takes in.
    pub scope: Scope,
    /// The one DRAM device it lies in, where all records agree on one.
    pub device: Option<u16>,
    /// Of a row: a bit pattern with more than one DQ and more than one beat was
    /// seen.
    pub wide: bool,
    /// Of a row: distinct columns within the window.
    pub columns: usize,
    /// First error of the window.
    pub first: Stamp,
    /// The error that made it fire.
    pub last: Stamp,
    /// What it comes to per time.
    pub rate: Rate,
    /// The first reports of the window.
    pub evidence: Vec<Evidence>,
    /// Of a row: the pages it takes, where any are known.
    pub cover: Option<Cover>,
}

/// An open mode, as far as later sightings have to know it.
#[derive(Debug)]
pub(super) struct Open {
    id: Uuid,
    scope: Scope,
    last: Stamp,
    errors: u64,
    evidence: usize,
    pub cover: Option<Cover>,
}

/// The open modes of one DIMM.
#[derive(Debug, Default)]
pub(super) struct Modes {
    open: Vec<Open>,
}

impl Modes {
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// `scope` or something wider is open already.
    pub fn take_in(&self, scope: &Scope) -> bool {
        self.open.iter().any(|open| open.scope.takes_in(scope))
    }

    pub fn has_room(&self) -> bool {
        self.open.len() < MOST
    }

    pub fn get(&mut self, id: Uuid) -> Option<&mut Open> {
        self.open.iter_mut().find(|open| open.id == id)
    }

    /// Notes that a mode was opened.
    pub fn add(&mut self, mode: &Mode) {
        self.open.push(Open {
            id: mode.id,
            scope: mode.scope,
            last: mode.last,
            errors: mode.rate.errors,
            evidence: mode.evidence.len(),
            cover: mode.cover.clone(),
        });
    }

    /// Takes up an open fault; `false` where there is no room.
    pub fn reopen(&mut self, scope: Scope, fault: &Fault) -> bool {
        if !self.has_room() || self.get(fault.id).is_some() {
            return false;
        }
        self.open.push(Open {
            id: fault.id,
            scope,
            last: fault.last,
            errors: fault.errors,
            evidence: fault.evidence.len(),
            cover: fault.cover.clone(),
        });
        true
    }

    pub fn close(&mut self, id: Uuid) {
        self.open.retain(|open| open.id != id);
    }

    /// An error of `cell`: counts in every mode that takes it in, and is told of
    /// the row's and the widest.
    pub fn count(&mut self, seen: &Sighting, cell: &CellKey, errors: u64, found: &mut Found) {
        let mut widest: Option<&mut Open> = None;
        let mut row: Option<&mut Open> = None;
        for open in self.open.iter_mut().filter(|open| open.scope.holds(cell)) {
            open.errors = open.errors.saturating_add(errors);
            if open.last.at < seen.report.last.at {
                open.last = seen.report.last;
            }
            match open.scope {
                Scope::Row(_) => row = Some(open),
                _ if widest.as_ref().is_none_or(|w| w.scope < open.scope) => widest = Some(open),
                _ => {}
            }
        }
        let [of_row, of_widest, _] = &mut found.updates;
        *of_row = row.map(|open| open.update(seen));
        *of_widest = widest.map(|open| open.update(seen));
    }

    /// One more wide bit pattern of an open fault for them; `false` if none is
    /// open.
    pub fn count_bits(&mut self, seen: &Sighting, found: &mut Found) -> bool {
        let bits = self.open.iter_mut().find(|open| matches!(open.scope, Scope::Bits(_)));
        let Some(open) = bits else { return false };
        open.errors = open.errors.saturating_add(seen.report.errors);
        open.last = seen.report.last;
        let [_, _, of_bits] = &mut found.updates;
        *of_bits = Some(open.update(seen));
        true
    }

    /// The newest error of any mode.
    pub fn newest(&self) -> Time {
        self.open.iter().map(|open| open.last.at).max().unwrap_or_default()
    }

    /// Open modes of narrower scope than a rank, with an error since `start`.
    pub fn inside_banks(&self, start: Time) -> impl Iterator<Item = (BankKey, &Scope)> {
        self.since(start).filter_map(|open| Some((open.scope.bank()?, &open.scope)))
    }

    /// A bank fault is due: enough faulty rows and columns of `bank` since
    /// `start`.
    pub fn bank_is_due(&self, bank: &BankKey, start: Time) -> bool {
        self.inside_banks(start).filter(|(of, _)| of == bank).count() >= BANK_MODES
    }

    /// A rank fault is due, and the device to blame. `device` tells that of a
    /// narrower mode.
    pub fn rank_is_due(
        &self,
        rank: u16,
        start: Time,
        device: impl Fn(&Scope) -> Device,
    ) -> Option<Option<u16>> {
        let mut banks: BTreeMap<BankKey, Device> = BTreeMap::new();
        for (bank, scope) in self.inside_banks(start).filter(|(bank, _)| bank.rank == rank) {
            let of_bank = banks.entry(bank).or_default();
            *of_bank = of_bank.with(device(scope));
        }
        let mut by_device: BTreeMap<u16, usize> = BTreeMap::new();
        for device in banks.values().filter_map(|device| device.known()) {
            *by_device.entry(device).or_default() += 1;
        }
        let blamed = by_device.iter().find(|(_, banks)| **banks >= RANK_BANKS_OF_DEVICE);
        match blamed {
            Some((device, _)) => Some(Some(*device)),
            None => (banks.len() >= RANK_BANKS).then_some(None),
        }
    }

    /// A fault of the whole DIMM is due.
    pub fn dimm_is_due(&self, start: Time) -> bool {
        let mut ranks: BTreeMap<u16, usize> = BTreeMap::new();
        let banks: BTreeSet<BankKey> = self.inside_banks(start).map(|(bank, _)| bank).collect();
        for bank in banks {
            *ranks.entry(bank.rank).or_default() += 1;
        }
        let several = ranks.into_iter().filter(|(_, banks)| *banks >= DIMM_BANKS_OF_RANK);
        let escalated = self.since(start).filter_map(|open| match open.scope {
            Scope::Rank(_, rank) => Some(rank),
            _ => None,
        });
        let ranks: BTreeSet<u16> = several.map(|(rank, _)| rank).chain(escalated).collect();
        ranks.len() >= DIMM_RANKS
    }

    fn since(&self, start: Time) -> impl Iterator<Item = &Open> {
        self.open.iter().filter(move |open| open.last.at >= start)
    }
}

impl Open {
    fn update(&mut self, seen: &Sighting) -> FaultUpdate {
        let room = self.evidence < Fault::MAX_EVIDENCE;
        self.evidence += usize::from(room);
        FaultUpdate {
            fault: self.id,
            last: self.last,
            errors: self.errors,
            evidence: room.then(|| Box::new(piece::evidence(seen.report))),
            cover: None,
        }
    }
}
