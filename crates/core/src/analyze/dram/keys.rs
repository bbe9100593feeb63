//! Names of places, once they are complete enough to be compared.

use crate::model::dram::append;
use crate::model::{DimmId, DimmSpace, DramPlace};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::{Hash, Hasher};

/// A bank of a rank of a DIMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BankKey {
    /// Its DIMM.
    pub dimm: DimmId,
    /// Its rank.
    pub rank: u16,
    /// Its die, of a 3D-stacked rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_rank: Option<u16>,
    /// Its bank group; `None` where banks are numbered without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank_group: Option<u16>,
    /// Its bank.
    pub bank: u16,
}

/// A row of a bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowKey {
    /// Its bank.
    pub bank: BankKey,
    /// Its number.
    pub row: u32,
}

/// A column of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CellKey {
    pub row: RowKey,
    pub column: u32,
}

/// Whether `dimm` tells one DIMM from another: a controller or a channel is
/// named (for CXL the device is all there is).
pub(in crate::analyze) fn tells_dimms_apart(dimm: &DimmId) -> bool {
    match dimm.space {
        DimmSpace::Cxl => dimm.controller.is_some(),
        DimmSpace::Edac | DimmSpace::Firmware | DimmSpace::Log => dimm.channel.is_some(),
    }
}

impl CellKey {
    /// `place`, if it is complete: a place with an unknown rank, bank, row or
    /// column is several cells, and geometry would mix them up.
    pub fn of(place: &DramPlace) -> Option<CellKey> {
        let bank = BankKey {
            dimm: Some(place.dimm).filter(tells_dimms_apart)?,
            rank: place.rank?,
            sub_rank: place.sub_rank,
            bank_group: place.bank_group,
            bank: place.bank?,
        };
        Some(CellKey { row: RowKey { bank, row: place.row? }, column: place.column? })
    }
}

impl Hash for BankKey {
    /// As two numbers, for the same reason as [`DimmId`]'s.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.dimm.hash(state);
        let numbers = [Some(self.rank), self.sub_rank, self.bank_group, Some(self.bank)];
        state.write_u128(numbers.into_iter().fold(0, append));
    }
}

impl BankKey {
    /// The bank as a place.
    pub fn place(&self) -> DramPlace {
        DramPlace {
            dimm: self.dimm,
            rank: Some(self.rank),
            sub_rank: self.sub_rank,
            bank_group: self.bank_group,
            bank: Some(self.bank),
            ..DramPlace::default()
        }
    }

    /// The bank that `place` names.
    pub(super) fn of(place: &DramPlace) -> Option<BankKey> {
        Some(BankKey {
            dimm: place.dimm,
            rank: place.rank?,
            sub_rank: place.sub_rank,
            bank_group: place.bank_group,
            bank: place.bank?,
        })
    }
}

impl RowKey {
    /// The row as a place.
    pub fn place(&self) -> DramPlace {
        DramPlace { row: Some(self.row), ..self.bank.place() }
    }
}

impl fmt::Display for BankKey {
    /// Part of the name that fault identities are made of: never changes its
    /// form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/rank{}", DimmName(&self.dimm), self.rank)?;
        if let Some(die) = self.sub_rank {
            write!(f, "/die{die}")?;
        }
        if let Some(group) = self.bank_group {
            write!(f, "/group{group}")?;
        }
        write!(f, "/bank{}", self.bank)
    }
}

impl fmt::Display for RowKey {
    /// As for [`BankKey`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row/{}/{:#x}", self.bank, self.row)
    }
}

/// A DIMM in the name that fault identities are made of: never changes its form.
pub(super) struct DimmName<'a>(pub &'a DimmId);

impl fmt::Display for DimmName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.space {
            DimmSpace::Edac => "edac",
            DimmSpace::Firmware => "firmware",
            DimmSpace::Cxl => "cxl",
            DimmSpace::Log => "log",
        })?;
        for part in [self.0.socket, self.0.controller, self.0.channel, self.0.slot] {
            match part {
                Some(number) => write!(f, ":{number}")?,
                None => f.write_str(":-")?,
            }
        }
        Ok(())
    }
}
