//! Fields of the machine-check registers.
//!
//! Intel SDM vol. 3B, "Machine-Check Architecture", IA32_MCi_STATUS,
//! IA32_MCi_MISC and IA32_MCG_CAP; AMD APM vol. 2, "Machine Check
//! Architecture"; arch/x86/include/asm/mce.h has the same bits.

use crate::model::MceRecord;

/// MCi_STATUS: the bank holds a record.
pub const VAL: u64 = 1 << 63;
/// MCi_STATUS: at least one more error came before this one was read.
pub const OVER: u64 = 1 << 62;
/// MCi_STATUS: uncorrected.
pub const UC: u64 = 1 << 61;
/// MCi_STATUS: MCi_MISC holds something.
pub const MISCV: u64 = 1 << 59;
/// MCi_STATUS: MCi_ADDR holds something.
pub const ADDRV: u64 = 1 << 58;
/// MCi_STATUS: the processor's context may be corrupt.
pub const PCC: u64 = 1 << 57;
/// MCi_STATUS on Intel with [`MCG_SER_P`]: signalled by an exception.
pub const S: u64 = 1 << 56;
/// MCi_STATUS on Intel with [`MCG_SER_P`]: software must act.
pub const AR: u64 = 1 << 55;
/// MCi_STATUS on AMD: uncorrected, not consumed yet.
pub const AMD_DEFERRED: u64 = 1 << 44;
/// MCi_STATUS on AMD: poisoned data was consumed.
pub const AMD_POISON: u64 = 1 << 43;
/// MCG_CAP: MCi_STATUS bits 52:38 count corrected errors.
pub const MCG_CMCI_P: u64 = 1 << 10;
/// MCG_CAP: MCi_STATUS bits 54:53 are the threshold-based error status.
pub const MCG_TES_P: u64 = 1 << 11;
/// MCG_CAP: software error recovery, MCi_STATUS bits 56 and 55 are S and AR.
pub const MCG_SER_P: u64 = 1 << 24;

/// The bank number under which APEI passes firmware's memory errors on
/// (arch/x86/kernel/cpu/mce/apei.c): a physical address in Intel's format on
/// every vendor, and no meaningful CPU.
pub const APEI_BANK: u8 = 255;
/// The first bank number that is software's (arch/x86/include/asm/mce.h,
/// MCE_EXTENDED_BANK).
pub const FIRST_SOFTWARE_BANK: u8 = 128;

/// MCi_STATUS bits 54:53, where they are the threshold-based error status (SDM
/// vol. 3B, "Enhanced Cache Error Reporting").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// 0: not tracked.
    None,
    /// 1: the cache's corrected errors are below its threshold.
    Green,
    /// 2: they passed it.
    Yellow,
    /// 3, not defined.
    Reserved,
}

/// The threshold-based error status of `status`.
pub fn threshold(status: u64) -> Threshold {
    match (status >> 53) & 3 {
        0 => Threshold::None,
        1 => Threshold::Green,
        2 => Threshold::Yellow,
        _ => Threshold::Reserved,
    }
}

/// Intel's corrected-error count, MCi_STATUS bits 52:38; `None` where the record
/// is of an uncorrected error, which the field does not count, or MCG_CAP says
/// that the bits are something else. May be 0.
pub fn corrected_count(record: &MceRecord) -> Option<u16> {
    let counts = record.mcgcap == 0 || record.mcgcap & MCG_CMCI_P != 0;
    (counts && record.status & UC == 0).then_some(((record.status >> 38) & 0x7fff) as u16)
}

/// Intel's model-specific error code, MSCOD, MCi_STATUS bits 31:16.
pub fn mscod(status: u64) -> u16 {
    ((status >> 16) & 0xffff) as u16
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

/// What kind of address MCi_ADDR holds: Intel's MCi_MISC bits 8:6 (SDM vol. 3B,
/// "IA32_MCi_MISC MSRs").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressMode {
    /// 0.
    SegmentOffset,
    /// 1.
    Linear,
    /// 2.
    Physical,
    /// 3: of a memory module.
    Memory,
    /// 7.
    Generic,
    /// 4 to 6.
    Reserved,
}

/// MCi_ADDR with what MCi_MISC says of it, on processors that follow Intel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The register; bits below `lsb` mean nothing.
    pub value: u64,
    /// Its kind and its lowest valid bit (0 to 63); `None` where MISCV is clear.
    pub kind: Option<(AddressMode, u8)>,
}

/// The address of a record, if it has one (ADDRV).
pub fn address(record: &MceRecord) -> Option<Address> {
    if record.status & ADDRV == 0 {
        return None;
    }
    let mode = match (record.misc >> 6) & 7 {
        0 => AddressMode::SegmentOffset,
        1 => AddressMode::Linear,
        2 => AddressMode::Physical,
        3 => AddressMode::Memory,
        7 => AddressMode::Generic,
        _ => AddressMode::Reserved,
    };
    let lsb = (record.misc & 0x3f) as u8;
    let kind = (record.status & MISCV != 0).then_some((mode, lsb));
    Some(Address { value: record.addr, kind })
}

/// The physical address in MCi_ADDR, if MCi_MISC says that it is one and its
/// grain is a page (`shift` = log2 of its bytes) or less.
///
/// The test of the kernel's intel_mce_usable_address(): MISCV, address mode
/// physical, LSB within a page. An LSB of 0 claims a single byte and is as good
/// as any. Address 0 is refused although ADDRV vouches for it: the kernel never
/// hands out page 0 on x86, and a zero is what an unfilled register reads.
pub fn physical_address(record: &MceRecord, shift: u8) -> Option<u64> {
    let Address { value, kind } = address(record)?;
    let (mode, lsb) = kind?;
    (mode == AddressMode::Physical && lsb <= shift && value != 0).then_some(value)
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
