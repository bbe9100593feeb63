//! AMD's and Hygon's banks.

pub mod errors;
pub mod legacy;
pub mod smca;

use super::bank::{Bank, SharedUnit};
use smca::BankType;

/// The first family with Scalable MCA, whose IPID register names each bank's
/// type (AMD PPR for family 17h, "MCA_IPID").
const FIRST_SMCA_FAMILY: u32 = 0x17;

/// Whose the bank with this MCA_IPID is.
pub fn bank(family: u32, ipid: u64) -> Bank {
    bank_type(family, ipid).map_or(Bank::Unknown, BankType::bank)
}

/// What kind of bank this MCA_IPID names.
pub fn bank_type(family: u32, ipid: u64) -> Option<BankType> {
    (!is_before_smca(family)).then(|| BankType::of(ipid)).flatten()
}

/// The family names its banks by number, not by IPID.
pub fn is_before_smca(family: u32) -> bool {
    family < FIRST_SMCA_FAMILY
}

/// The error is one of DRAM: amd_mce_is_memory_error() of the kernel. With
/// SMCA a memory controller's extended code 0 (DRAM ECC); before it, the north
/// bridge's (bank 4) extended code 8.
pub fn is_memory(family: u32, number: u8, bank: Bank, extended_code: u8) -> bool {
    if is_before_smca(family) {
        number == 4 && extended_code == 8
    } else {
        bank == Bank::Shared(SharedUnit::MemoryController) && extended_code == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::bank::Unit;
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
