//! What kind of error it is, as far as rules ask.

use super::mcacod::{Form, Mcacod};
use crate::model::CacheKind;

pub use super::mcacod::Level;

/// The class of an MCACOD.
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

impl Code {
    /// What a rule needs of an MCACOD.
    pub fn of(mcacod: u16) -> Code {
        match Mcacod::of(mcacod).form {
            Form::NoError => Code::None,
            Form::Unclassified
            | Form::MicrocodeRom
            | Form::Frc
            | Form::InternalParity
            | Form::InternalTimer
            | Form::Internal => Code::Internal,
            // No fault of this core.
            Form::External | Form::SmmHandler | Form::Undefined => Code::Other,
            Form::AnyCache { level } => Code::Cache(level, CacheKind::Generic),
            Form::Cache { holds, level, .. } => Code::Cache(level, known(holds)),
            Form::Tlb { holds, level } => Code::Tlb(level, known(holds)),
            Form::Memory(_) => Code::Memory,
            Form::NearMemory(_) => Code::NearMemory,
            Form::Bus { .. } => Code::Bus,
        }
    }
}

/// The reserved transaction type says as little as the generic one.
fn known(holds: Option<CacheKind>) -> CacheKind {
    holds.unwrap_or(CacheKind::Generic)
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
