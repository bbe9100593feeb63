//! Intel's banks.

pub mod agent;
pub mod mscod;

use super::bank::{Bank, SharedUnit, Unit};
use super::status;
use crate::model::MceRecord;
use agent::{Agent, Generation};

/// Family 6 models whose cores own banks 0 to 3: instruction fetch (IFU), data
/// cache (DCU), data TLB (DTLB) and mid-level cache (MLC), and nothing above.
///
/// Sources: the Xeon E5-1600/2600 datasheet, vol. 1, PECI machine-check access
/// ("banks 0 through 3 are core-specific", 4 and up are uncore); SDM vol. 4, the
/// MSR table of 06_55H, which names the four; SDM vol. 3B, "Incremental
/// Decoding Information", which places PCU at bank 4 and links, memory
/// controllers and mesh above on each server model here; the kernel's quirks
/// name bank 0 as IFU (quirk_sandybridge_ifu) and bank 1 as DCU
/// (quirk_skylake_repmov) in arch/x86/kernel/cpu/mce/core.c. Client models are
/// listed where they have a listed server's core. Not listed on purpose:
/// Nehalem and Westmere (banks 0 and 1 are QPI), Granite Rapids and later (no
/// public table names their banks 0 to 4), Atom and hybrid models (an L2 shared
/// by a module of cores).
const CORE_BANKS_0_TO_3: [u32; 23] = [
    0x2a, 0x2d, // Sandy Bridge
    0x3a, 0x3e, // Ivy Bridge
    0x3c, 0x3f, 0x45, 0x46, // Haswell
    0x3d, 0x47, 0x4f, 0x56, // Broadwell
    0x4e, 0x5e, 0x55, // Skylake; 0x55 is Cascade and Cooper Lake too
    0x8e, 0x9e, 0xa5, 0xa6, // Kaby, Coffee and Comet Lake
    0x6a, 0x6c, // Ice Lake server
    0x8f, 0xcf, // Sapphire and Emerald Rapids
];

/// Who reports through `bank` on this model, where it is known by name.
pub fn agent(signature: (u32, u32), bank: u8) -> Option<Agent> {
    let (family, model) = signature;
    if family != 6 {
        return None;
    }
    match bank {
        0..=3 if !is_known(family, model) => None,
        0 => Some(Agent::InstructionFetch),
        1 => Some(Agent::DataCache),
        2 => Some(Agent::DataTlb),
        3 => Some(Agent::MidLevelCache),
        _ => Generation::of(model)?.agent(bank),
    }
}

/// Whose `bank` is on this model.
pub fn bank(family: u32, model: u32, bank: u8) -> Bank {
    match agent((family, model), bank) {
        Some(Agent::InstructionFetch) => Bank::Core(Unit::InstructionFetch),
        Some(Agent::DataCache) => Bank::Core(Unit::DataCache),
        Some(Agent::DataTlb) => Bank::Core(Unit::DataTlb),
        Some(Agent::MidLevelCache) => Bank::Core(Unit::MidLevelCache),
        Some(Agent::CachingAgent) => Bank::Shared(SharedUnit::LastLevelCache),
        Some(Agent::Memory(_) | Agent::HbmMemory) => Bank::Shared(SharedUnit::MemoryController),
        Some(_) => Bank::Shared(SharedUnit::Other),
        // Above the core's four banks there is no other core's.
        None if is_known(family, model) => Bank::Shared(SharedUnit::Other),
        None => Bank::Unknown,
    }
}

/// This model's core banks are known.
pub fn is_known(family: u32, model: u32) -> bool {
    family == 6 && CORE_BANKS_0_TO_3.contains(&model)
}

/// The model is a Xeon's, which have software error recovery (MCG_SER_P): so a
/// record that lost its MCG_CAP can be read.
pub(super) fn has_recovery((family, model): (u32, u32)) -> bool {
    family == 6 && !matches!(Generation::of(model), None | Some(Generation::SnowRidge))
}

/// Skylake-SP and later steppings of model 0x55 may be set to report an
/// uncorrected error of the patrol scrubber as if it were corrected: UC clear,
/// MSCOD 0x0010, MCACOD a scrub's, in a memory controller's bank
/// (arch/x86/kernel/cpu/mce/severity.c, "Uncorrected Patrol Scrub Error").
pub(super) fn is_silent_scrub_error(record: &MceRecord, signature: (u32, u32)) -> bool {
    let valid = status::ADDRV | status::MISCV;
    let stepping = record.cpuid & 0xf;
    signature == (6, 0x55)
        && stepping >= 4
        && (13..=18).contains(&record.bank)
        && record.status & (valid | status::UC | 0xffff_eff0) == valid | 0x0010_00c0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banks_0_to_3_of_a_listed_model_are_the_cores() {
        for model in CORE_BANKS_0_TO_3 {
            for n in 0..=3 {
                assert!(matches!(bank(6, model, n), Bank::Core(_)), "model {model:#x} bank {n}");
            }
            for n in 4..=254 {
                assert!(matches!(bank(6, model, n), Bank::Shared(_)), "model {model:#x} bank {n}");
            }
        }
    }

    #[test]
    fn caching_agents_and_memory_controllers_are_told_from_the_rest() {
        let llc = Bank::Shared(SharedUnit::LastLevelCache);
        let memory = Bank::Shared(SharedUnit::MemoryController);
        let other = Bank::Shared(SharedUnit::Other);
        for (model, number, expected) in [
            (0x55, 9, llc),
            (0x55, 12, other),
            (0x55, 13, memory),
            (0x3f, 19, llc),
            (0x3f, 20, other),
            (0x6a, 12, other),
            (0x6a, 13, memory),
            (0x8f, 31, memory),
            (0xad, 12, other),
            (0xad, 24, memory),
        ] {
            assert_eq!(bank(6, model, number), expected, "model {model:#x} bank {number}");
        }
    }

    #[test]
    fn a_model_that_is_known_above_the_core_only_has_no_core_banks() {
        let (granite_rapids, snow_ridge) = (0xad, 0x86);
        for model in [granite_rapids, snow_ridge] {
            for n in 0..=3 {
                assert_eq!(bank(6, model, n), Bank::Unknown, "model {model:#x} bank {n}");
            }
        }
        assert_eq!(bank(6, granite_rapids, 4), Bank::Unknown);
    }

    #[test]
    fn nothing_is_known_of_models_not_listed() {
        let (nehalem, alder_lake) = (0x1a, 0x97);
        for model in [nehalem, alder_lake, 0] {
            assert_eq!(bank(6, model, 0), Bank::Unknown);
        }
        assert_eq!(bank(15, 0x55, 0), Bank::Unknown);
    }

    #[test]
    fn a_scrub_error_that_hides_as_corrected_is_found_out() {
        let hidden = MceRecord {
            status: status::VAL | status::ADDRV | status::MISCV | 0x0010_00c1,
            bank: 14,
            cpuid: 0x50654,
            ..MceRecord::default()
        };
        assert!(is_silent_scrub_error(&hidden, (6, 0x55)));
        for (what, record) in [
            ("early stepping", MceRecord { cpuid: 0x50653, ..hidden.clone() }),
            ("bank of a link", MceRecord { bank: 12, ..hidden.clone() }),
            (
                "corrected scrub",
                MceRecord { status: hidden.status ^ 0x0018_0000, ..hidden.clone() },
            ),
        ] {
            assert!(!is_silent_scrub_error(&record, (6, 0x55)), "{what}");
        }
        assert!(!is_silent_scrub_error(&hidden, (6, 0x6a)), "another model");
    }
}
