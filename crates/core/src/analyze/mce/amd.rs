//! AMD's and Hygon's banks.

use super::bank::{Bank, SharedUnit, Unit};

/// The first family with Scalable MCA, whose IPID register names each bank's
/// type (AMD PPR for family 17h, "MCA_IPID").
const FIRST_SMCA_FAMILY: u32 = 0x17;

/// (hardware id, MCA type) of MCA_IPID, and what that is.
///
/// From smca_hwid_mcatypes[] in arch/x86/kernel/cpu/mce/amd.c. A pair that is
/// not here is not known to be anybody's.
const TYPES: [(u16, u16, Bank); 13] = [
    (0xb0, 0x0, Bank::Core(Unit::DataCache)),
    (0xb0, 0x10, Bank::Core(Unit::DataCache)),
    (0xb0, 0x1, Bank::Core(Unit::InstructionFetch)),
    (0xb0, 0x2, Bank::Core(Unit::L2Cache)),
    (0xb0, 0x3, Bank::Core(Unit::Decode)),
    (0xb0, 0x5, Bank::Core(Unit::Execution)),
    (0xb0, 0x6, Bank::Core(Unit::FloatingPoint)),
    (0xb0, 0x7, Bank::Shared(SharedUnit::LastLevelCache)),
    (0x2e, 0x0, Bank::Shared(SharedUnit::Other)), // coherent station
    (0x2e, 0x1, Bank::Shared(SharedUnit::Other)), // PIE
    (0x2e, 0x2, Bank::Shared(SharedUnit::Other)), // coherent station, second kind
    (0x96, 0x0, Bank::Shared(SharedUnit::MemoryController)),
    (0x96, 0x1, Bank::Shared(SharedUnit::MemoryController)),
];

/// Whose the bank with this MCA_IPID is: hardware id in bits 43:32, MCA type in
/// bits 63:48. A hypervisor that raises errors with an IPID of 0 names none.
pub fn bank(family: u32, ipid: u64) -> Bank {
    if family < FIRST_SMCA_FAMILY {
        return Bank::Unknown;
    }
    let (hwid, mcatype) = ((ipid >> 32) & 0xfff, ipid >> 48);
    TYPES
        .iter()
        .find(|(h, t, _)| u64::from(*h) == hwid && u64::from(*t) == mcatype)
        .map_or(Bank::Unknown, |(_, _, bank)| *bank)
}

/// The error is one of DRAM: amd_mce_is_memory_error() of the kernel. With
/// SMCA a memory controller's extended code 0 (DRAM ECC); before it, the north
/// bridge's (bank 4) extended code 8.
pub fn is_memory(family: u32, number: u8, bank: Bank, extended_code: u8) -> bool {
    if family < FIRST_SMCA_FAMILY {
        number == 4 && extended_code == 8
    } else {
        bank == Bank::Shared(SharedUnit::MemoryController) && extended_code == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipid(hwid: u64, mcatype: u64) -> u64 {
        mcatype << 48 | hwid << 32 | 0x2000_1234
    }

    #[test]
    fn the_ipid_tells_core_banks_from_shared_ones() {
        assert_eq!(bank(0x19, ipid(0xb0, 0x10)), Bank::Core(Unit::DataCache));
        assert_eq!(bank(0x17, ipid(0xb0, 2)), Bank::Core(Unit::L2Cache));
        assert_eq!(bank(0x17, ipid(0xb0, 7)), Bank::Shared(SharedUnit::LastLevelCache));
        assert_eq!(bank(0x17, ipid(0xb0, 4)), Bank::Unknown);
    }

    #[test]
    fn an_ipid_of_zero_names_nobody() {
        assert_eq!(bank(0x17, 0), Bank::Unknown);
    }

    #[test]
    fn only_dram_ecc_is_memory() {
        let umc = Bank::Shared(SharedUnit::MemoryController);
        assert!(is_memory(0x17, 15, umc, 0));
        assert!(!is_memory(0x17, 15, umc, 4));
        assert!(!is_memory(0x17, 4, Bank::Unknown, 8));
        assert!(is_memory(0x15, 4, Bank::Unknown, 8));
    }
}
