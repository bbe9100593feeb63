//! What a fault mode takes in.

use super::keys::{BankKey, CellKey, DimmName, RowKey};
use crate::analyze::rules::RuleId;
use crate::model::{Component, DimmId, DramPlace, Fault};
use std::fmt;

/// The part of a DIMM that a mode takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A row.
    Row(RowKey),
    /// A column of a bank.
    Column(BankKey, u32),
    /// A bank.
    Bank(BankKey),
    /// A rank.
    Rank(DimmId, u16),
    /// The whole DIMM.
    Dimm(DimmId),
    /// The bit patterns of a DIMM, wherever in it: takes in no place.
    Bits(DimmId),
}

impl Scope {
    /// The rule that finds such modes.
    pub fn rule(&self) -> RuleId {
        match self {
            Scope::Row(_) => RuleId::RowCe,
            Scope::Column(..) => RuleId::ColumnCe,
            Scope::Bank(_) => RuleId::BankCe,
            Scope::Rank(..) => RuleId::RankCe,
            Scope::Dimm(_) => RuleId::ManyBanks,
            Scope::Bits(_) => RuleId::DimmBits,
        }
    }

    /// Of which DIMM.
    pub fn dimm(&self) -> DimmId {
        match self {
            Scope::Row(row) => row.bank.dimm,
            Scope::Column(bank, _) | Scope::Bank(bank) => bank.dimm,
            Scope::Rank(dimm, _) | Scope::Dimm(dimm) | Scope::Bits(dimm) => *dimm,
        }
    }

    /// The bank it lies in, if it lies in one.
    pub(super) fn bank(&self) -> Option<BankKey> {
        match self {
            Scope::Row(row) => Some(row.bank),
            Scope::Column(bank, _) | Scope::Bank(bank) => Some(*bank),
            Scope::Rank(..) | Scope::Dimm(_) | Scope::Bits(_) => None,
        }
    }

    /// An error of `cell` is an error of this.
    pub(super) fn holds(&self, cell: &CellKey) -> bool {
        match self {
            Scope::Row(row) => *row == cell.row,
            Scope::Column(bank, column) => *bank == cell.row.bank && *column == cell.column,
            _ => self.holds_bank(&cell.row.bank),
        }
    }

    /// It takes in all of `bank`.
    pub(super) fn holds_bank(&self, bank: &BankKey) -> bool {
        match self {
            Scope::Bank(own) => own == bank,
            Scope::Rank(dimm, rank) => *dimm == bank.dimm && *rank == bank.rank,
            Scope::Dimm(dimm) => *dimm == bank.dimm,
            Scope::Row(_) | Scope::Column(..) | Scope::Bits(_) => false,
        }
    }

    /// It takes in all of `other`, and is wider or the same.
    pub(super) fn takes_in(&self, other: &Scope) -> bool {
        self == other
            || match (self, other) {
                (Scope::Dimm(dimm), Scope::Rank(of, _)) => dimm == of,
                _ => other.bank().is_some_and(|bank| self.holds_bank(&bank)),
            }
    }

    /// The component, for a fault.
    pub(super) fn component(&self, device: Option<u16>, label: &str) -> Component {
        let label = label.to_owned();
        match self {
            Scope::Row(row) => Component::Row { place: row.place(), label },
            Scope::Column(bank, column) => {
                let place = DramPlace { column: Some(*column), ..bank.place() };
                Component::Column { place, label }
            }
            Scope::Bank(bank) => Component::Bank { place: bank.place(), label },
            Scope::Rank(dimm, rank) => {
                let place =
                    DramPlace { dimm: *dimm, rank: Some(*rank), device, ..DramPlace::default() };
                Component::Rank { place, label }
            }
            Scope::Dimm(dimm) | Scope::Bits(dimm) => Component::Dimm { dimm: *dimm, label },
        }
    }

    /// What `fault` takes in, if it is one of these rules' faults.
    pub(in crate::analyze) fn of(fault: &Fault) -> Option<Scope> {
        Some(match &fault.component {
            Component::Row { place, .. } => {
                Scope::Row(RowKey { bank: BankKey::of(place)?, row: place.row? })
            }
            Component::Column { place, .. } => Scope::Column(BankKey::of(place)?, place.column?),
            Component::Bank { place, .. } => Scope::Bank(BankKey::of(place)?),
            Component::Rank { place, .. } => Scope::Rank(place.dimm, place.rank?),
            Component::Dimm { dimm, .. } if fault.rule.id == RuleId::ManyBanks.name() => {
                Scope::Dimm(*dimm)
            }
            Component::Dimm { dimm, .. } if fault.rule.id == RuleId::DimmBits.name() => {
                Scope::Bits(*dimm)
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Scope {
    /// The name that fault identities are made of: never changes its form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Row(row) => row.fmt(f),
            Scope::Column(bank, column) => write!(f, "column/{bank}/{column:#x}"),
            Scope::Bank(bank) => write!(f, "dram-bank/{bank}"),
            Scope::Rank(dimm, rank) => write!(f, "rank/{}/rank{rank}", DimmName(dimm)),
            Scope::Dimm(dimm) => write!(f, "dimm/{}", DimmName(dimm)),
            Scope::Bits(dimm) => write!(f, "dimm-bits/{}", DimmName(dimm)),
        }
    }
}
