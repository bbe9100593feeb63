//! The architectural error code, MCACOD: every field of it.
//!
//! Intel SDM vol. 3B, "Machine-Check Architecture", "Simple Error Codes" and
//! "Compound Error Codes" with their sub-field tables. AMD's codes (APM vol. 2,
//! "Machine-Check Error Codes") share the forms of TLB, cache ("memory") and
//! bus errors; an internal error there is `0000 01UU 0000 0000`.

use crate::model::CacheKind;

/// An MCACOD, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mcacod {
    /// The whole code, MCi_STATUS bits 15:0.
    pub raw: u16,
    /// F, bit 12 of a compound code: later corrections of this entry may go
    /// unreported.
    pub filtered: bool,
    /// What it says.
    pub form: Form,
}

/// The simple codes and the forms of compound ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// 0: no error is reported.
    NoError,
    /// 1: not classified.
    Unclassified,
    /// 2: parity in the microcode ROM.
    MicrocodeRom,
    /// 3: BINIT# from another processor.
    External,
    /// 4: functional redundancy check, master against slave.
    Frc,
    /// 5: parity inside the processor.
    InternalParity,
    /// 6: an SMM handler ran code outside its range.
    SmmHandler,
    /// 0x0400: internal timer; no instruction retired for too long.
    InternalTimer,
    /// `0000 01xx xxxx xxxx`: inside the processor, not classified.
    Internal,
    /// `000F 0000 0000 11LL`.
    AnyCache {
        /// LL.
        level: Level,
    },
    /// `000F 0000 0001 TTLL`.
    Tlb {
        /// TT; `None` for the reserved value.
        holds: Option<CacheKind>,
        /// LL.
        level: Level,
    },
    /// `000F 0001 RRRR TTLL`.
    Cache {
        /// RRRR.
        request: Request,
        /// TT; `None` for the reserved value.
        holds: Option<CacheKind>,
        /// LL.
        level: Level,
    },
    /// `000F 0000 1MMM CCCC`: memory controller.
    Memory(MemoryFields),
    /// `000F 0010 1MMM CCCC`: memory that serves as a cache of other memory.
    NearMemory(MemoryFields),
    /// `000F 1PPT RRRR IILL`.
    Bus {
        /// PP.
        participation: Participation,
        /// T: the request timed out.
        timed_out: bool,
        /// RRRR.
        request: Request,
        /// II.
        target: Target,
        /// LL.
        level: Level,
    },
    /// None of these.
    Undefined,
}

/// Where and at what a memory controller saw the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryFields {
    /// MMM.
    pub operation: MemoryOperation,
    /// CCCC, 0 to 14; `None` where the channel is not specified (15).
    pub channel: Option<u8>,
}

/// LL: the level of a cache or TLB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The core's innermost. AMD reserves the value.
    L0,
    /// Level 1.
    L1,
    /// Level 2.
    L2,
    /// Not said; on AMD level 3 too.
    Generic,
}

/// RRRR: what was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// 0.
    Generic,
    /// 1: a read of either kind.
    Read,
    /// 2: a write of either kind.
    Write,
    /// 3.
    DataRead,
    /// 4.
    DataWrite,
    /// 5.
    InstructionFetch,
    /// 6.
    Prefetch,
    /// 7.
    Eviction,
    /// 8: a snoop; AMD's probe.
    Snoop,
    /// 9 to 15, not defined.
    Reserved(u8),
}

/// PP: the part this processor had in a bus transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Participation {
    /// 0: made the request.
    Source,
    /// 1: answered it.
    Responder,
    /// 2: a third party that saw it.
    Observer,
    /// 3: not said.
    Generic,
}

/// II: what a bus transaction went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// 0.
    Memory,
    /// 1, not defined.
    Reserved,
    /// 2.
    Io,
    /// 3: another kind of transaction.
    Other,
}

/// MMM: what the memory controller was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryOperation {
    /// 0: not said.
    Generic,
    /// 1.
    Read,
    /// 2.
    Write,
    /// 3: an address or a command.
    AddressCommand,
    /// 4.
    Scrub,
    /// 5 to 7, not defined.
    Reserved(u8),
}

/// Bit 12 of a compound code.
const FILTERED: u16 = 1 << 12;

/// Generic participation, I/O, generic request, generic level: the code of an
/// error behind a PCI Express root port (SDM vol. 3B, "I/O Error").
pub const IO_ERROR: u16 = 0x0e0b;

impl Mcacod {
    /// Reads a code. The highest set bit tells the form, so the order of the
    /// tests is that of the forms from the top.
    pub fn of(raw: u16) -> Mcacod {
        let code = raw & !FILTERED;
        let compound = compound(code);
        let form = match raw {
            0x0000 => Form::NoError,
            0x0001 => Form::Unclassified,
            0x0002 => Form::MicrocodeRom,
            0x0003 => Form::External,
            0x0004 => Form::Frc,
            0x0005 => Form::InternalParity,
            0x0006 => Form::SmmHandler,
            0x0400 => Form::InternalTimer,
            0x0401..=0x07ff => Form::Internal,
            _ => compound,
        };
        let filtered = raw & FILTERED != 0 && form != Form::Undefined;
        Mcacod { raw, filtered, form }
    }
}

/// The form of a compound code whose F bit is cleared.
fn compound(code: u16) -> Form {
    let level = Level::of(code);
    let holds = holds(code);
    let request = Request::of(code);
    match code {
        _ if code & 0xf800 == 0x0800 => Form::Bus {
            participation: Participation::of(code),
            timed_out: code & 0x0100 != 0,
            request,
            target: Target::of(code),
            level,
        },
        _ if code & 0xff80 == 0x0280 => Form::NearMemory(MemoryFields::of(code)),
        _ if code & 0xff00 == 0x0100 => Form::Cache { request, holds, level },
        _ if code & 0xff80 == 0x0080 => Form::Memory(MemoryFields::of(code)),
        _ if code & 0xfff0 == 0x0010 => Form::Tlb { holds, level },
        _ if code & 0xfffc == 0x000c => Form::AnyCache { level },
        _ => Form::Undefined,
    }
}

/// TT.
fn holds(code: u16) -> Option<CacheKind> {
    match (code >> 2) & 3 {
        0 => Some(CacheKind::Instruction),
        1 => Some(CacheKind::Data),
        2 => Some(CacheKind::Generic),
        _ => None,
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

impl Request {
    fn of(code: u16) -> Request {
        match (code >> 4) & 0xf {
            0 => Request::Generic,
            1 => Request::Read,
            2 => Request::Write,
            3 => Request::DataRead,
            4 => Request::DataWrite,
            5 => Request::InstructionFetch,
            6 => Request::Prefetch,
            7 => Request::Eviction,
            8 => Request::Snoop,
            n => Request::Reserved(n as u8),
        }
    }
}

impl Participation {
    fn of(code: u16) -> Participation {
        match (code >> 9) & 3 {
            0 => Participation::Source,
            1 => Participation::Responder,
            2 => Participation::Observer,
            _ => Participation::Generic,
        }
    }
}

impl Target {
    fn of(code: u16) -> Target {
        match (code >> 2) & 3 {
            0 => Target::Memory,
            1 => Target::Reserved,
            2 => Target::Io,
            _ => Target::Other,
        }
    }
}

impl MemoryFields {
    fn of(code: u16) -> MemoryFields {
        let operation = match (code >> 4) & 7 {
            0 => MemoryOperation::Generic,
            1 => MemoryOperation::Read,
            2 => MemoryOperation::Write,
            3 => MemoryOperation::AddressCommand,
            4 => MemoryOperation::Scrub,
            n => MemoryOperation::Reserved(n as u8),
        };
        let channel = (code & 0xf) as u8;
        MemoryFields { operation, channel: (channel != 0xf).then_some(channel) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_compound_code_is_read() {
        let bus = Form::Bus {
            participation: Participation::Observer,
            timed_out: true,
            request: Request::Snoop,
            target: Target::Io,
            level: Level::L2,
        };
        // 000F 1PPT RRRR IILL
        assert_eq!(Mcacod::of(0b0000_1101_1000_1010).form, bus);
        let cache = Form::Cache {
            request: Request::Eviction,
            holds: Some(CacheKind::Generic),
            level: Level::L2,
        };
        assert_eq!(Mcacod::of(0x017a).form, cache);
        let scrub = MemoryFields { operation: MemoryOperation::Scrub, channel: Some(3) };
        assert_eq!(Mcacod::of(0x00c3).form, Form::Memory(scrub));
        assert_eq!(Mcacod::of(0x02c3).form, Form::NearMemory(scrub));
        let anywhere = MemoryFields { operation: MemoryOperation::Read, channel: None };
        assert_eq!(Mcacod::of(0x009f).form, Form::Memory(anywhere));
        assert_eq!(Mcacod::of(0x001f).form, Form::Tlb { holds: None, level: Level::Generic });
    }

    #[test]
    fn only_a_compound_code_can_be_filtered() {
        for (raw, filtered) in
            [(0x1136, true), (0x0136, false), (0x1001, false), (0x1400, false), (0x1e0b, true)]
        {
            assert_eq!(Mcacod::of(raw).filtered, filtered, "{raw:#06x}");
        }
    }

    #[test]
    fn values_that_no_table_defines_are_kept_as_reserved() {
        for code in 0..=u16::MAX {
            match Mcacod::of(code).form {
                Form::Cache { request: Request::Reserved(n), .. } => assert!((9..16).contains(&n)),
                Form::Memory(MemoryFields { operation: MemoryOperation::Reserved(n), .. }) => {
                    assert!((5..8).contains(&n));
                }
                _ => {}
            }
        }
    }
}
