//! Fields of the machine-check registers.
//!
//! Intel SDM vol. 3B, "Machine-Check Architecture", IA32_MCi_STATUS,
//! IA32_MCi_MISC and IA32_MCG_CAP; AMD APM vol. 2, "Machine Check
//! Architecture"; arch/x86/include/asm/mce.h has the same bits.

use crate::model::MceRecord;

/// MCi_STATUS: the bank holds a record.
pub const VAL: u64 = 1 << 63;
/// MCi_STATUS: uncorrected.
pub const UC: u64 = 1 << 61;
/// MCi_STATUS: MCi_MISC holds something.
pub const MISCV: u64 = 1 << 59;
/// MCi_STATUS: MCi_ADDR holds something.
pub const ADDRV: u64 = 1 << 58;
/// MCi_STATUS: the processor's context may be corrupt.
pub const PCC: u64 = 1 << 57;
/// MCi_STATUS on AMD: uncorrected, not consumed yet.
pub const AMD_DEFERRED: u64 = 1 << 44;
/// MCG_CAP: MCi_STATUS bits 54:53 are the threshold-based error status.
pub const MCG_TES_P: u64 = 1 << 11;

/// The bank number under which APEI passes firmware's memory errors on
/// (arch/x86/kernel/cpu/mce/apei.c): a physical address in Intel's format on
/// every vendor, and no meaningful CPU.
pub const APEI_BANK: u8 = 255;
/// The first bank number that is software's (arch/x86/include/asm/mce.h,
/// MCE_EXTENDED_BANK).
pub const FIRST_SOFTWARE_BANK: u8 = 128;

/// MCi_STATUS bits 54:53 say that a cache's corrected errors passed its
/// threshold (10 binary, "yellow").
pub fn is_yellow(status: u64) -> bool {
    (status >> 53) & 3 == 2
}

/// MCACOD, MCi_STATUS bits 15:0.
pub fn mcacod(status: u64) -> u16 {
    (status & 0xffff) as u16
}

/// AMD's extended error code, MCi_STATUS bits 21:16.
pub fn amd_extended_code(status: u64) -> u8 {
    ((status >> 16) & 0x3f) as u8
}

/// Family and model as displayed, from CPUID leaf 1 EAX (SDM vol. 2A, CPUID,
/// "Version Information").
pub fn family_model(eax: u32) -> (u32, u32) {
    let base = (eax >> 8) & 0xf;
    let family = if base == 0xf { base + ((eax >> 20) & 0xff) } else { base };
    let model = (eax >> 4) & 0xf;
    let extended = matches!(base, 0x6 | 0xf).then_some(((eax >> 16) & 0xf) << 4).unwrap_or(0);
    (family, extended + model)
}

/// The physical address in MCi_ADDR, if MCi_MISC says that it is one and its
/// grain is a page (`shift` = log2 of its bytes) or less.
///
/// The test of the kernel's intel_mce_usable_address(): MISCV, address mode
/// (MISC bits 8:6) 2 = physical, LSB (bits 5:0) within a page. An LSB of 0
/// claims a single byte and is as good as any. Address 0 is refused although
/// ADDRV vouches for it: the kernel never hands out page 0 on x86, and a zero
/// is what an unfilled register reads.
pub fn physical_address(record: &MceRecord, shift: u8) -> Option<u64> {
    let mode = (record.misc >> 6) & 7;
    let lsb = record.misc & 0x3f;
    let valid = record.status & (ADDRV | MISCV) == ADDRV | MISCV;
    (valid && mode == 2 && lsb <= u64::from(shift) && record.addr != 0).then_some(record.addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn family_and_model_are_those_displayed() {
        assert_eq!(family_model(0x0005_0654), (6, 85));
        assert_eq!(family_model(0x0080_0f12), (23, 1));
        assert_eq!(family_model(0x0000_0f29), (15, 2));
        assert_eq!(family_model(0), (0, 0));
    }

    #[test]
    fn only_a_physical_address_of_page_grain_is_one() {
        let good = MceRecord {
            status: VAL | ADDRV | MISCV,
            addr: 0x8000_0000,
            misc: 0x8c,
            ..Default::default()
        };
        assert_eq!(physical_address(&good, 12), Some(0x8000_0000));
        assert_eq!(
            physical_address(&MceRecord { misc: 0x80, ..good.clone() }, 12),
            Some(0x8000_0000)
        );
        for (what, bad) in [
            ("grain above a page", MceRecord { misc: 0x8d, ..good.clone() }),
            ("linear address", MceRecord { misc: 0x4c, ..good.clone() }),
            ("memory-module address", MceRecord { misc: 0xcc, ..good.clone() }),
            ("no ADDRV", MceRecord { status: VAL | MISCV, ..good.clone() }),
            ("no MISCV", MceRecord { status: VAL | ADDRV, ..good.clone() }),
            ("address 0", MceRecord { addr: 0, ..good.clone() }),
        ] {
            assert_eq!(physical_address(&bad, 12), None, "{what}");
        }
    }
}
