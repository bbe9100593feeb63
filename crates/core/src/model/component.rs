//! What can fail.

use super::dimms::part_name;
use super::{CpuId, DimmId, DramPlace, PageSize, Pfn, SocketId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Level of a cache as a machine-check code names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheLevel {
    /// Level 1 (LL = 01).
    L1,
    /// Level 2 (LL = 10).
    L2,
    /// Level 3 (SMCA bank types name it; LL = 00 "core" does not occur in
    /// records seen of cores' own caches).
    L3,
    /// The code says only "generic" (LL = 11).
    Unknown,
}

/// What a cache-like structure holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheKind {
    /// Instructions (TT = 00).
    Instruction,
    /// Data (TT = 01).
    Data,
    /// Either, or not said (TT = 10).
    Generic,
}

/// A part of the host that a fault lies in.
///
/// CPUs are named by the logical numbers of this boot; the store keeps the
/// stable identity (socket and APIC id) beside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Component {
    /// One page of memory.
    Page {
        /// Its frame.
        pfn: Pfn,
    },
    /// A core's cache.
    Cache {
        /// All hardware threads of the core (or of the sharing set).
        cpus: Vec<CpuId>,
        /// Which level.
        level: CacheLevel,
        /// What it holds.
        holds: CacheKind,
    },
    /// A core's translation look-aside buffer.
    Tlb {
        /// All hardware threads of the core.
        cpus: Vec<CpuId>,
        /// Which level.
        level: CacheLevel,
        /// What it holds.
        holds: CacheKind,
    },
    /// A core, by an internal error of its own.
    Cpu {
        /// All hardware threads of the core.
        cpus: Vec<CpuId>,
    },
    /// Bus or interconnect of a socket.
    Bus {
        /// The package.
        socket: SocketId,
    },
    /// A structure of the socket that no core owns: last-level cache, mesh,
    /// memory controller, or a bank whose owner is not known.
    Shared {
        /// The package.
        socket: SocketId,
        /// Machine-check bank.
        bank: u8,
    },
    /// A row of a DIMM: a word line of one bank, in all devices of the rank.
    Row {
        /// DIMM, rank, bank and row.
        place: DramPlace,
        /// The DIMM's label, may be empty.
        label: String,
    },
    /// A column of a DIMM's bank.
    Column {
        /// DIMM, rank, bank and column.
        place: DramPlace,
        /// The DIMM's label, may be empty.
        label: String,
    },
    /// A bank of a DIMM.
    Bank {
        /// DIMM, rank and bank.
        place: DramPlace,
        /// The DIMM's label, may be empty.
        label: String,
    },
    /// A rank of a DIMM, or one of its devices.
    Rank {
        /// DIMM and rank; the device where one is to blame.
        place: DramPlace,
        /// The DIMM's label, may be empty.
        label: String,
    },
    /// A DIMM as a whole.
    Dimm {
        /// Which.
        dimm: DimmId,
        /// Its label, may be empty.
        label: String,
    },
    /// A memory controller's memory, where no page is known.
    Memory {
        /// `mcN`; `None` when the report names none.
        controller: Option<u8>,
        /// DIMM label as reported, may be empty.
        label: String,
    },
}

impl Component {
    /// The hardware threads that go when this component goes.
    pub fn cpus(&self) -> &[CpuId] {
        match self {
            Component::Cache { cpus, .. }
            | Component::Tlb { cpus, .. }
            | Component::Cpu { cpus } => cpus,
            _ => &[],
        }
    }

    /// It is memory, or a part of it: named by what a change of DIMMs moves.
    pub fn is_memory(&self) -> bool {
        match self {
            Component::Page { .. }
            | Component::Row { .. }
            | Component::Column { .. }
            | Component::Bank { .. }
            | Component::Rank { .. }
            | Component::Dimm { .. }
            | Component::Memory { .. } => true,
            Component::Cache { .. }
            | Component::Tlb { .. }
            | Component::Cpu { .. }
            | Component::Bus { .. }
            | Component::Shared { .. } => false,
        }
    }

    /// A name for people: a page by its address, anything else as displayed.
    pub fn name(&self, page_size: PageSize) -> String {
        match self {
            Component::Page { pfn } => format!("page {}", page_size.addr(*pfn)),
            other => other.to_string(),
        }
    }
}

/// "CPUs 1,5" for people.
pub(crate) struct CpuSet<'a>(pub &'a [CpuId]);

impl fmt::Display for CpuSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.len() == 1 { "CPU " } else { "CPUs " })?;
        for (i, cpu) in self.0.iter().enumerate() {
            write!(f, "{}{cpu}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// "row 0x9, bank 1, bank group 0, rank 0 of DIMM A1 (mc0 channel 1 slot 0)": what
/// is known, from the inside out.
struct Inside<'a>(&'a DramPlace, &'a str);

impl fmt::Display for Inside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inside(place, label) = self;
        let inside = place.inside();
        let of = if inside.is_empty() { "" } else { " of " };
        match label.is_empty() {
            true => write!(f, "{inside}{of}DIMM at {}", place.dimm),
            false => write!(f, "{inside}{of}{} ({})", part_name(label), place.dimm),
        }
    }
}

impl fmt::Display for CacheLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CacheLevel::L1 => "L1",
            CacheLevel::L2 => "L2",
            CacheLevel::L3 => "L3",
            CacheLevel::Unknown => "unknown-level",
        })
    }
}

impl fmt::Display for CacheKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CacheKind::Instruction => "instruction",
            CacheKind::Data => "data",
            CacheKind::Generic => "generic",
        })
    }
}

impl fmt::Display for Component {
    /// A name for people. Pages are shown by frame here, since the page size is
    /// the machine's; whoever knows it shows the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Component::Page { pfn } => write!(f, "page frame {:#x}", pfn.0),
            Component::Cache { cpus, level, holds } => {
                write!(f, "{level} {holds} cache of {}", CpuSet(cpus))
            }
            Component::Tlb { cpus, level, holds } => {
                write!(f, "{level} {holds} TLB of {}", CpuSet(cpus))
            }
            Component::Cpu { cpus } => write!(f, "{}", CpuSet(cpus)),
            Component::Bus { socket } => write!(f, "bus or interconnect of socket {socket}"),
            Component::Shared { socket, bank } => {
                write!(f, "shared structure of socket {socket} (machine-check bank {bank})")
            }
            Component::Row { place, label }
            | Component::Column { place, label }
            | Component::Bank { place, label }
            | Component::Rank { place, label } => write!(f, "{}", Inside(place, label)),
            Component::Dimm { dimm, label } => {
                let place = DramPlace { dimm: *dimm, ..DramPlace::default() };
                write!(f, "{}", Inside(&place, label))
            }
            Component::Memory { controller: Some(mc), label } if !label.is_empty() => {
                write!(f, "memory {label} (mc{mc})")
            }
            Component::Memory { controller: Some(mc), .. } => write!(f, "memory of mc{mc}"),
            Component::Memory { controller: None, label } if !label.is_empty() => {
                write!(f, "memory {label}")
            }
            Component::Memory { controller: None, .. } => f.write_str("memory, place unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_dimm_is_named_from_the_inside_out() {
        let dimm = DimmId { channel: Some(1), slot: Some(0), ..DimmId::default() };
        let rank = DramPlace { dimm, rank: Some(0), ..DramPlace::default() };
        let bank = DramPlace { bank: Some(3), bank_group: Some(1), ..rank };
        let label = || "A1".to_owned();
        for (component, name) in [
            (
                Component::Row { place: DramPlace { row: Some(9), ..bank }, label: label() },
                "row 0x9, bank 3, bank group 1, rank 0 of DIMM A1 (channel 1 slot 0)",
            ),
            (
                Component::Column { place: DramPlace { column: Some(64), ..bank }, label: label() },
                "column 0x40, bank 3, bank group 1, rank 0 of DIMM A1 (channel 1 slot 0)",
            ),
            (
                Component::Bank { place: bank, label: String::new() },
                "bank 3, bank group 1, rank 0 of DIMM at channel 1 slot 0",
            ),
            (
                Component::Rank { place: rank, label: label() },
                "rank 0 of DIMM A1 (channel 1 slot 0)",
            ),
            (
                Component::Rank { place: DramPlace { device: Some(7), ..rank }, label: label() },
                "device 7, rank 0 of DIMM A1 (channel 1 slot 0)",
            ),
            (Component::Dimm { dimm, label: label() }, "DIMM A1 (channel 1 slot 0)"),
        ] {
            assert_eq!(component.to_string(), name);
        }
    }
}
