//! What a machine-check record says.

pub mod amd;
pub mod bank;
pub mod code;
mod describe;
pub mod intel;
pub mod mcacod;
pub mod severity;
pub mod status;

use crate::model::{Machine, MceRecord, Pfn, PhysAddr, Vendor};
use bank::{Bank, SharedUnit};
use code::Code;
use status::Threshold;
use thiserror::Error;

pub use bank::Unit;
pub use describe::describe;
pub use severity::Severity;

/// What became of the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Corrected by hardware: CE.
    Corrected,
    /// Uncorrected: UE; on AMD also a deferred one, whose data is known bad and
    /// has not been used yet.
    Uncorrected,
}

/// A record, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineCheck {
    /// How bad it is.
    pub severity: Severity,
    /// CE or UE, by its severity.
    pub outcome: Outcome,
    /// What kind of error.
    pub code: Code,
    /// Whose bank.
    pub bank: Bank,
    /// The page it hit, where the address is a usable system physical one.
    pub page: Option<Pfn>,
    /// A cache's corrected errors passed the hardware's own threshold.
    pub yellow: bool,
    /// Corrected errors since the bank was read last, 0 to 32767, as Intel's
    /// status word counts them; `None` where it does not.
    pub count: Option<u16>,
}

/// Why a record could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unusable {
    /// VAL is clear.
    #[error("machine-check record of bank {0} is not valid (VAL is clear)")]
    NotValid(u8),
    /// A bank number of the kernel's own, with a format of its own.
    #[error("machine-check bank {0} is software's, its record has no known format")]
    SoftwareBank(u8),
    /// MCACOD 0.
    #[error("machine-check record of bank {0} reports no error (MCACOD 0)")]
    NoError(u8),
    /// The code of a corrected error is not defined, or not the fault of who
    /// saw it. (An uncorrected one matters whatever its code.)
    #[error(
        "machine-check bank {bank} reports error code {mcacod:#06x}, which names no component"
    )]
    NoComponent {
        /// The bank.
        bank: u8,
        /// The code.
        mcacod: u16,
    },
    /// The record is another machine's.
    #[error("machine-check record is of a {record:?} processor, the host's is {host:?}")]
    OtherVendor {
        /// By its cpuvendor field.
        record: Vendor,
        /// By the host's topology.
        host: Vendor,
    },
}

/// Reads `record`.
///
/// # Errors
///
/// [`Unusable`] where the record means nothing that a rule could use. It may
/// still count as an error.
pub fn decode(record: &MceRecord, machine: &Machine) -> Result<MachineCheck, Unusable> {
    let number = record.bank;
    if record.status & status::VAL == 0 {
        return Err(Unusable::NotValid(number));
    }
    if number == status::APEI_BANK {
        return Ok(apei(record, machine));
    }
    if number >= status::FIRST_SOFTWARE_BANK {
        return Err(Unusable::SoftwareBank(number));
    }
    let vendor = vendor(record.cpuvendor);
    if machine.vendor != Vendor::Other && vendor != machine.vendor {
        return Err(Unusable::OtherVendor { record: vendor, host: machine.vendor });
    }
    let signature = signature(record, machine);
    let (family, model) = signature;
    let bank = match vendor {
        Vendor::Intel => intel::bank(family, model, number),
        Vendor::Amd => amd::bank(family, record.ipid),
        Vendor::Other => Bank::Unknown,
    };
    let code = match vendor {
        Vendor::Amd => amd_code(record.status, family, number, bank),
        Vendor::Intel | Vendor::Other => Code::of(status::mcacod(record.status)),
    };
    let severity = Severity::of(record, vendor, signature);
    let outcome = severity.outcome();
    match (code, outcome) {
        (Code::None, _) => return Err(Unusable::NoError(number)),
        (Code::Other, Outcome::Corrected) => {
            let mcacod = status::mcacod(record.status);
            return Err(Unusable::NoComponent { bank: number, mcacod });
        }
        _ => {}
    }
    Ok(MachineCheck {
        severity,
        outcome,
        code,
        bank,
        page: (vendor == Vendor::Intel)
            .then(|| memory_page(record, code, outcome, machine))
            .flatten(),
        yellow: vendor == Vendor::Intel
            && outcome == Outcome::Corrected
            && matches!(code, Code::Cache(..))
            && has_threshold_status(record, signature)
            && status::threshold(record.status) == Threshold::Yellow,
        count: (vendor == Vendor::Intel).then(|| status::corrected_count(record)).flatten(),
    })
}

/// Family and model of the processor that wrote the record; the host's where
/// the record does not say.
pub fn signature(record: &MceRecord, machine: &Machine) -> (u32, u32) {
    match record.cpuid {
        0 => (machine.family, machine.model),
        eax => status::family_model(eax),
    }
}

/// By X86_VENDOR_* (arch/x86/include/asm/processor.h). Zhaoxin (10) and Centaur
/// (5) follow Intel's codes, but no bank of theirs is known here.
fn vendor(cpuvendor: u8) -> Vendor {
    match cpuvendor {
        0 => Vendor::Intel,
        2 | 9 => Vendor::Amd,
        _ => Vendor::Other,
    }
}

/// Firmware's memory error, as APEI passes it on.
fn apei(record: &MceRecord, machine: &Machine) -> MachineCheck {
    let severity = Severity::of_apei(record);
    MachineCheck {
        severity,
        outcome: severity.outcome(),
        code: Code::Memory,
        bank: Bank::Shared(SharedUnit::MemoryController),
        page: usable_page(record, machine),
        yellow: false,
        count: None,
    }
}

/// AMD gives DRAM errors the code of a cache's: whose bank it is decides first.
/// The form of Intel's memory-controller codes means nothing there.
fn amd_code(status: u64, family: u32, number: u8, bank: Bank) -> Code {
    if amd::is_memory(family, number, bank, status::amd_extended_code(status)) {
        return Code::Memory;
    }
    match Code::of(status::mcacod(status)) {
        Code::Memory | Code::NearMemory => Code::Other,
        code => code,
    }
}

/// The page of a memory error.
///
/// A corrected one is the memory controller's. An uncorrected one may be found
/// by a core that used the bad data or a cache that wrote it back (SDM vol. 3B,
/// "Architecturally Defined UCR Errors": codes 0x0134, 0x0150, 0x017a), unless
/// its context is corrupt: then the error is the processor's. The classes are
/// those of mce_is_memory_error() (arch/x86/kernel/cpu/mce/core.c).
fn memory_page(record: &MceRecord, code: Code, outcome: Outcome, machine: &Machine) -> Option<Pfn> {
    let context_intact = record.status & status::PCC == 0;
    let of_memory = match (code, outcome) {
        (Code::Memory, _) => true,
        (Code::Cache(..), Outcome::Uncorrected) => context_intact,
        _ => false,
    };
    of_memory.then(|| usable_page(record, machine)).flatten()
}

fn usable_page(record: &MceRecord, machine: &Machine) -> Option<Pfn> {
    let addr = status::physical_address(record, machine.page_size.shift())?;
    page_of(addr, machine)
}

/// The page of a physical address, if the processor has that many address bits.
pub fn page_of(addr: u64, machine: &Machine) -> Option<Pfn> {
    let within = addr.checked_shr(u32::from(machine.phys_bits)).unwrap_or(0) == 0;
    within.then(|| machine.page_size.pfn(PhysAddr(addr)))
}

/// Bits 54:53 are the threshold-based error status: MCG_CAP says so (TES_P), or
/// the model is one whose banks are known, every one of which has it (SDM vol.
/// 3B, "Enhanced Cache Error Reporting": since Core Duo). The second half is
/// for hypervisors, which show a made-up MCG_CAP (QEMU's lacks TES_P) and pass
/// the status word on as it was raised.
fn has_threshold_status(record: &MceRecord, (family, model): (u32, u32)) -> bool {
    record.mcgcap & status::MCG_TES_P != 0 || intel::is_known(family, model)
}

#[cfg(test)]
mod tests;
