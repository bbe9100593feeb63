//! The architectural error code, MCACOD.

use crate::model::CacheKind;

/// What an MCACOD says, by Intel SDM vol. 3B, "Simple Error Codes" and
/// "Compound Error Codes". AMD's compound codes (APM vol. 2, "Machine-Check
/// Error Codes") share the forms of cache, TLB, bus and internal errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// No error is reported.
    None,
    /// A cache, or a level of the hierarchy.
    Cache(Level, CacheKind),
    /// A translation look-aside buffer.
    Tlb(Level, CacheKind),
    /// The memory controller: DRAM.
    Memory,
    /// Memory that serves as a cache of other memory: the address is that of
    /// the cached memory, not of the failing cell.
    NearMemory,
    /// Bus or interconnect.
    Bus,
    /// Inside the processor: parity, timer, microcode, unclassified.
    Internal,
    /// Somebody else's error, only seen here (BINIT#), or not defined.
    Other,
}

/// LL: the level of a cache or TLB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The core's innermost.
    L0,
    /// Level 1.
    L1,
    /// Level 2.
    L2,
    /// Not said.
    Generic,
}

/// Bit 12, F: corrected-error filtering, says nothing on what the error is.
const FILTERED: u16 = 1 << 12;

impl Code {
    /// Reads an MCACOD. The highest set bit tells the form, so the order of the
    /// tests is that of the forms from the top.
    pub fn of(mcacod: u16) -> Code {
        match mcacod {
            0x0000 => return Code::None,
            // Unclassified, microcode ROM parity, FRC, internal parity.
            0x0001 | 0x0002 | 0x0004 | 0x0005 => return Code::Internal,
            // External, SMM handler violation: no fault of this core.
            0x0003 | 0x0006 => return Code::Other,
            _ => {}
        }
        let code = mcacod & !FILTERED;
        let level = Level::of(code);
        let holds = kind(code);
        match code {
            // 000F 1PPT RRRR IILL
            _ if code & 0xe800 == 0x0800 => Code::Bus,
            // 0000 01xx xxxx xxxx, of which 0x0400 is the internal timer
            _ if mcacod & 0xfc00 == 0x0400 => Code::Internal,
            // 000F 0010 1MMM CCCC
            _ if code & 0xff80 == 0x0280 => Code::NearMemory,
            // 000F 0001 RRRR TTLL
            _ if code & 0xff00 == 0x0100 => Code::Cache(level, holds),
            // 000F 0000 1MMM CCCC
            _ if code & 0xff80 == 0x0080 => Code::Memory,
            // 000F 0000 0001 TTLL
            _ if code & 0xfff0 == 0x0010 => Code::Tlb(level, holds),
            // 000F 0000 0000 11LL
            _ if code & 0xfffc == 0x000c => Code::Cache(level, CacheKind::Generic),
            _ => Code::Other,
        }
    }
}

impl Level {
    fn of(code: u16) -> Level {
        match code & 3 {
            0 => Level::L0,
            1 => Level::L1,
            2 => Level::L2,
            _ => Level::Generic,
        }
    }
}

fn kind(code: u16) -> CacheKind {
    match (code >> 2) & 3 {
        0 => CacheKind::Instruction,
        1 => CacheKind::Data,
        _ => CacheKind::Generic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CacheKind::{Data, Generic, Instruction};
    use Level::{L0, L1, L2};

    #[test]
    fn each_form_is_told_by_its_highest_bit() {
        for (mcacod, meaning) in [
            (0x0000, Code::None),
            (0x0001, Code::Internal),
            (0x0003, Code::Other),
            (0x0005, Code::Internal),
            (0x0006, Code::Other),
            (0x0007, Code::Other),
            (0x000c, Code::Cache(L0, Generic)),
            (0x000f, Code::Cache(Level::Generic, Generic)),
            (0x0011, Code::Tlb(L1, Instruction)),
            (0x0015, Code::Tlb(L1, Data)),
            (0x001a, Code::Tlb(L2, Generic)),
            (0x1015, Code::Tlb(L1, Data)),
            (0x0020, Code::Other),
            (0x0080, Code::Memory),
            (0x009f, Code::Memory),
            (0x109f, Code::Memory),
            (0x00c0, Code::Memory),
            (0x0134, Code::Cache(L0, Data)),
            (0x0135, Code::Cache(L1, Data)),
            (0x0136, Code::Cache(L2, Data)),
            (0x1136, Code::Cache(L2, Data)),
            (0x0150, Code::Cache(L0, Instruction)),
            (0x017a, Code::Cache(L2, Generic)),
            (0x017b, Code::Cache(Level::Generic, Generic)),
            (0x0280, Code::NearMemory),
            (0x0400, Code::Internal),
            (0x0402, Code::Internal),
            (0x0800, Code::Bus),
            (0x0e0b, Code::Bus),
            (0x1e0b, Code::Bus),
            (0x2135, Code::Other),
            (0x8000, Code::Other),
        ] {
            assert_eq!(Code::of(mcacod), meaning, "{mcacod:#06x}");
        }
    }
}
