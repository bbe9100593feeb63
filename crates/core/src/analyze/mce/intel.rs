//! Intel's banks.

use super::bank::{Bank, SharedUnit, Unit};

/// Family 6 models whose cores own banks 0 to 3: instruction fetch (IFU), data
/// cache (DCU), data TLB (DTLB) and mid-level cache (MLC), and nothing above.
///
/// Sources: the Xeon E5-1600/2600 datasheet, vol. 1, PECI machine-check access
/// ("banks 0 through 3 are core-specific", 4 and up are uncore); SDM vol. 3B,
/// "Incremental Decoding Information", which places PCU at bank 4 and links,
/// memory controllers and mesh above on each server model here; the kernel's
/// quirks name bank 0 as IFU (quirk_sandybridge_ifu) and bank 1 as DCU
/// (quirk_skylake_repmov) in arch/x86/kernel/cpu/mce/core.c. Client models are
/// listed where they have a listed server's core. Not listed on purpose:
/// Nehalem and Westmere (banks 0 and 1 are QPI), Granite Rapids and later (no source at hand), Atom and hybrid models (an L2
/// shared by a module of cores).
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

/// Skylake server: the caching and home agents of the L3 are banks 9 to 11.
const SKYLAKE_SERVER: u32 = 0x55;

/// Whose `bank` is on this model.
pub fn bank(family: u32, model: u32, bank: u8) -> Bank {
    if !is_known(family, model) {
        return Bank::Unknown;
    }
    match bank {
        0 => Bank::Core(Unit::InstructionFetch),
        1 => Bank::Core(Unit::DataCache),
        2 => Bank::Core(Unit::DataTlb),
        3 => Bank::Core(Unit::MidLevelCache),
        9..=11 if model == SKYLAKE_SERVER => Bank::Shared(SharedUnit::LastLevelCache),
        _ => Bank::Shared(SharedUnit::Other),
    }
}

/// This model's banks are known.
pub fn is_known(family: u32, model: u32) -> bool {
    family == 6 && CORE_BANKS_0_TO_3.contains(&model)
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
    fn the_l3_agents_of_skylake_server_are_shared() {
        assert_eq!(bank(6, 0x55, 9), Bank::Shared(SharedUnit::LastLevelCache));
        assert_eq!(bank(6, 0x55, 12), Bank::Shared(SharedUnit::Other));
    }

    #[test]
    fn nothing_is_known_of_models_not_listed() {
        let (nehalem, alder_lake) = (0x1a, 0x97);
        for model in [nehalem, alder_lake, 0] {
            assert_eq!(bank(6, model, 0), Bank::Unknown);
        }
        assert_eq!(bank(15, 0x55, 0), Bank::Unknown);
    }
}
