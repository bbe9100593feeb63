//! Scalable MCA: which kind of bank a record is of.

use crate::analyze::mce::bank::{Bank, SharedUnit, Unit};
use std::fmt;

/// A bank type. A second version is its own where its errors are numbered
/// otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BankType {
    /// LS: loads, stores, L1 data cache.
    LoadStore,
    /// LS, second version (Zen 2 on).
    LoadStoreV2,
    /// IF: fetch, L1 instruction cache, instruction TLBs.
    InstructionFetch,
    /// L2.
    L2Cache,
    /// DE: decode, micro-op cache.
    Decode,
    /// EX: execution.
    Execution,
    /// FP: floating point.
    FloatingPoint,
    /// L3.
    L3Cache,
    /// CS: coherent station, the data fabric's door to a memory controller.
    CoherentStation,
    /// CS, second version.
    CoherentStationV2,
    /// PIE: power, interrupts and the like.
    Pie,
    /// A last-level cache at the memory (MA_LLC).
    MemoryCache,
    /// UMC: memory controller.
    Memory,
    /// UMC, second version: the memory of an accelerator node.
    MemoryV2,
    /// Any other, by name.
    Other(&'static str),
}

/// (hardware id, MCA type) of MCA_IPID.
///
/// All of smca_hwid_mcatypes[] in arch/x86/kernel/cpu/mce/amd.c but the
/// reserved (0, 0); names by the PPRs, "MCA_IPID" of each bank. A pair that is
/// not here is not known to be anybody's.
const TYPES: [(u16, u16, BankType); 35] = [
    (0xb0, 0x00, BankType::LoadStore),
    (0xb0, 0x10, BankType::LoadStoreV2),
    (0xb0, 0x01, BankType::InstructionFetch),
    (0xb0, 0x02, BankType::L2Cache),
    (0xb0, 0x03, BankType::Decode),
    (0xb0, 0x05, BankType::Execution),
    (0xb0, 0x06, BankType::FloatingPoint),
    (0xb0, 0x07, BankType::L3Cache),
    (0x2e, 0x00, BankType::CoherentStation),
    (0x2e, 0x01, BankType::Pie),
    (0x2e, 0x02, BankType::CoherentStationV2),
    (0x2e, 0x04, BankType::MemoryCache),
    (0x96, 0x00, BankType::Memory),
    (0x96, 0x01, BankType::MemoryV2),
    (0x05, 0x00, BankType::Other("Parameter Block")),
    (0xff, 0x00, BankType::Other("Platform Security Processor")),
    (0xff, 0x01, BankType::Other("Platform Security Processor")),
    (0x01, 0x00, BankType::Other("System Management Unit")),
    (0x01, 0x01, BankType::Other("System Management Unit")),
    (0x01, 0x02, BankType::Other("Microprocessor 5")),
    (0x01, 0x03, BankType::Other("MPDMA")),
    (0x18, 0x00, BankType::Other("Northbridge I/O")),
    (0x46, 0x00, BankType::Other("PCI Express")),
    (0x46, 0x01, BankType::Other("PCI Express")),
    (0x50, 0x00, BankType::Other("xGMI PCS")),
    (0x6c, 0x00, BankType::Other("NBIF")),
    (0x80, 0x00, BankType::Other("System Hub")),
    (0xa8, 0x00, BankType::Other("SATA")),
    (0xaa, 0x00, BankType::Other("USB")),
    (0x170, 0x00, BankType::Other("USR data plane")),
    (0x180, 0x00, BankType::Other("USR control plane")),
    (0x241, 0x00, BankType::Other("GMI PCS")),
    (0x259, 0x00, BankType::Other("xGMI PHY")),
    (0x267, 0x00, BankType::Other("WAFL PHY")),
    (0x269, 0x00, BankType::Other("GMI PHY")),
];

impl BankType {
    /// By MCA_IPID: hardware id in bits 43:32, MCA type in bits 63:48. A
    /// hypervisor that raises errors with an IPID of 0 names none.
    pub fn of(ipid: u64) -> Option<BankType> {
        let (hwid, mcatype) = ((ipid >> 32) & 0xfff, ipid >> 48);
        TYPES
            .iter()
            .find(|(h, t, _)| u64::from(*h) == hwid && u64::from(*t) == mcatype)
            .map(|(_, _, bank_type)| *bank_type)
    }

    /// Whose such a bank is.
    pub fn bank(self) -> Bank {
        match self {
            BankType::LoadStore | BankType::LoadStoreV2 => Bank::Core(Unit::DataCache),
            BankType::InstructionFetch => Bank::Core(Unit::InstructionFetch),
            BankType::L2Cache => Bank::Core(Unit::L2Cache),
            BankType::Decode => Bank::Core(Unit::Decode),
            BankType::Execution => Bank::Core(Unit::Execution),
            BankType::FloatingPoint => Bank::Core(Unit::FloatingPoint),
            BankType::L3Cache => Bank::Shared(SharedUnit::LastLevelCache),
            BankType::Memory | BankType::MemoryV2 => Bank::Shared(SharedUnit::MemoryController),
            BankType::CoherentStation
            | BankType::CoherentStationV2
            | BankType::Pie
            | BankType::MemoryCache
            | BankType::Other(_) => Bank::Shared(SharedUnit::Other),
        }
    }
}

impl fmt::Display for BankType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BankType::LoadStore | BankType::LoadStoreV2 => "Load Store",
            BankType::InstructionFetch => "Instruction Fetch",
            BankType::L2Cache => "L2 Cache",
            BankType::Decode => "Decode",
            BankType::Execution => "Execution",
            BankType::FloatingPoint => "Floating Point",
            BankType::L3Cache => "L3 Cache",
            BankType::CoherentStation | BankType::CoherentStationV2 => "Coherent Station",
            BankType::Pie => "Power, Interrupts, etc.",
            BankType::MemoryCache => "Memory-Attached Last-Level Cache",
            BankType::Memory | BankType::MemoryV2 => "Unified Memory Controller",
            BankType::Other(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pair_names_two_types() {
        for (n, (hwid, mcatype, _)) in TYPES.iter().enumerate() {
            let again = TYPES.iter().skip(n + 1).any(|(h, t, _)| (h, t) == (hwid, mcatype));
            assert!(!again, "{hwid:#x} {mcatype:#x}");
        }
    }

    #[test]
    fn the_instance_of_a_bank_does_not_change_its_type() {
        let umc = 0x0000_0096_0000_0000;
        for instance in [0, 0x0025_0f00, 0x0000_4000_0000_0000, 0x0000_f000_ffff_ffff] {
            assert_eq!(BankType::of(umc | instance), Some(BankType::Memory), "{instance:#x}");
        }
    }

    #[test]
    fn the_reserved_pair_names_nobody() {
        assert_eq!(BankType::of(0), None);
        assert_eq!(BankType::of(0x0004_00b0_0000_0000), None);
    }
}
