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
/// fault (field studies count three in one column as no accident; below it no
/// affordable page set misses much, beyond it none helps).
pub(crate) const COLUMN_ROWS: usize = 3;

/// Faulty rows and columns that make a bank fault.
pub(crate) const BANK_MODES: usize = 3;

/// Faulty banks of one rank that make a rank fault if one device is known to be
/// in all of them: two banks share nothing but their device.
pub(crate) const RANK_BANKS_OF_DEVICE: usize = 2;

/// Faulty banks of one rank that make a rank fault if devices are not known.
pub(crate) const RANK_BANKS: usize = 3;

/// Ranks with so many faulty banks make a fault of the DIMM.
pub(crate) const DIMM_BANKS_OF_RANK: usize = 2;

/// Such ranks that it takes.
pub(crate) const DIMM_RANKS: usize = 2;

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
    device: Device,
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
            device: mode.device.into(),
            last: mode.last,
            errors: mode.rate.errors,
            evidence: mode.evidence.len(),
            cover: mode.cover.clone(),
        });
    }

    /// Takes up an open fault; `false` where there is no room.
    pub fn reopen(&mut self, scope: Scope, device: Device, fault: &Fault) -> bool {
        if !self.has_room() || self.get(fault.id).is_some() {
            return false;
        }
        self.open.push(Open {
            id: fault.id,
            scope,
            device,
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
            if !open.scope.is_wide() || open.device == Device::Unknown {
                open.device = open.device.with(seen.place.device.into());
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

    /// A bank fault is due: enough faulty rows and columns of `bank` since
    /// `start`, and the device they share.
    pub fn bank_is_due(&self, bank: &BankKey, start: Time) -> Option<Option<u16>> {
        let inside = || self.since(start).filter(|open| open.scope.bank().as_ref() == Some(bank));
        let device = inside().fold(Device::Unknown, |device, open| device.with(open.device));
        (inside().count() >= BANK_MODES).then(|| device.known())
    }

    /// A rank fault is due, and the device to blame.
    pub fn rank_is_due(&self, rank: u16, start: Time) -> Option<Option<u16>> {
        let banks = self.faulty_banks(start);
        let of_rank = || banks.iter().filter(|(bank, _)| bank.rank == rank);
        let mut by_device: BTreeMap<u16, usize> = BTreeMap::new();
        for device in of_rank().filter_map(|(_, device)| device.known()) {
            *by_device.entry(device).or_default() += 1;
        }
        let blamed = by_device.iter().find(|(_, banks)| **banks >= RANK_BANKS_OF_DEVICE);
        match blamed {
            Some((device, _)) => Some(Some(*device)),
            None => (of_rank().count() >= RANK_BANKS).then_some(None),
        }
    }

    /// A fault of the whole DIMM is due.
    pub fn dimm_is_due(&self, start: Time) -> bool {
        let mut ranks: BTreeMap<u16, usize> = BTreeMap::new();
        for bank in self.faulty_banks(start).keys() {
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

    /// Banks with a mode inside since `start`, and the device of each.
    fn faulty_banks(&self, start: Time) -> BTreeMap<BankKey, Device> {
        let mut banks: BTreeMap<BankKey, Device> = BTreeMap::new();
        for open in self.since(start) {
            if let Some(bank) = open.scope.bank() {
                let device = banks.entry(bank).or_default();
                *device = device.with(open.device);
            }
        }
        banks
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
            evidence: room.then(|| piece::evidence(seen.report)),
            cover: None,
        }
    }
}
