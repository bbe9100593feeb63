//! A machine check in one line, for people. Made on demand: it allocates.

use super::amd::{errors, legacy};
use super::mcacod::{
    Form, Level, Mcacod, MemoryFields, MemoryOperation, Participation, Request, Target, IO_ERROR,
};
use super::severity::Severity;
use super::status::{self, Threshold};
use super::{amd, has_threshold_status, intel, vendor};
use crate::model::{CacheKind, MceRecord, Vendor};

/// Says what `record` reports: the unit and bank, the error code, the
/// model-specific code and the severity. The record is enough: whoever shows
/// one need not be on the machine that wrote it. Without a CPUID only what the
/// architecture defines is told.
///
/// ```text
/// memory controller 0 channel 1 (bank 14): memory read error on channel 1, corrected
/// Load Store (bank 0): L1 data ECC error on store, corrected
/// ```
pub fn describe(record: &MceRecord) -> String {
    let number = record.bank;
    if record.status & status::VAL == 0 {
        return format!("bank {number}: no valid record");
    }
    if number == status::APEI_BANK {
        return format!("memory error told by firmware, {}", Severity::of_apei(record));
    }
    if number >= status::FIRST_SOFTWARE_BANK {
        return format!("bank {number}: software's own, format not known");
    }
    let signature = status::family_model(record.cpuid);
    let vendor = vendor(record.cpuvendor);
    let (unit, what) = match vendor {
        Vendor::Amd => of_amd(record, signature),
        Vendor::Intel => of_intel(record, signature),
        Vendor::Other => (None, code(record, vendor)),
    };
    let bank = match unit {
        Some(unit) => format!("{unit} (bank {number})"),
        None => format!("bank {number}"),
    };
    let severity = Severity::of(record, vendor, signature);
    format!("{bank}: {what}, {severity}{}", notes(record, vendor, signature, severity))
}

fn of_intel(record: &MceRecord, signature: (u32, u32)) -> (Option<String>, String) {
    let agent = intel::agent(signature, record.bank);
    let mut what = code(record, Vendor::Intel);
    let mscod = status::mscod(record.status);
    let words = intel::agent::Generation::of(signature.1)
        .zip(agent)
        .and_then(|(generation, agent)| intel::mscod::words(generation, agent, record.status));
    match words {
        Some(words) => what = format!("{what}: {words}"),
        None if mscod != 0 => what = format!("{what}: model-specific code {mscod:#06x}"),
        None => {}
    }
    (agent.map(|agent| agent.to_string()), what)
}

/// The extended error code says more than MCACOD, where it is known.
fn of_amd(record: &MceRecord, signature: (u32, u32)) -> (Option<String>, String) {
    let extended = status::amd_extended_code(record.status);
    let numbered = || {
        let architectural = code(record, Vendor::Amd);
        match extended {
            0 => architectural,
            _ => format!("{architectural}: extended error code {extended}"),
        }
    };
    let family = signature.0;
    if let Some(bank) = amd::bank_type(family, record.ipid) {
        let words = errors::words(bank, signature, extended);
        return (Some(bank.to_string()), words.map_or_else(numbered, str::to_owned));
    }
    if !amd::is_before_smca(family) {
        return (None, numbered());
    }
    let words = match record.bank {
        4 => legacy::north_bridge(family, extended),
        _ => None,
    };
    let unit = legacy::bank(family, record.bank).map(str::to_owned);
    (unit, words.map_or_else(numbered, str::to_owned))
}

/// MCACOD in words.
fn code(record: &MceRecord, vendor: Vendor) -> String {
    let amd = vendor == Vendor::Amd;
    let Mcacod { raw, form, .. } = Mcacod::of(status::mcacod(record.status));
    match form {
        Form::NoError => "no error code".to_owned(),
        Form::Unclassified => "unclassified error".to_owned(),
        Form::MicrocodeRom => "microcode ROM parity error".to_owned(),
        Form::External => "external error".to_owned(),
        Form::Frc => "functional redundancy check error".to_owned(),
        Form::InternalParity => "internal parity error".to_owned(),
        Form::SmmHandler => "SMM handler code access violation".to_owned(),
        Form::InternalTimer if !amd => "internal timer error".to_owned(),
        // UU = 2, APM vol. 2.
        Form::Internal if amd && raw == 0x0600 => "hardware assertion".to_owned(),
        Form::InternalTimer | Form::Internal => format!("internal error {raw:#06x}"),
        Form::AnyCache { level } => format!("{} cache error", level_word(level, amd)),
        Form::Tlb { holds, level } => {
            format!("{} {} TLB error", level_word(level, amd), kind_word(holds))
        }
        Form::Cache { request, holds, level } => format!(
            "{} {} cache error on {}",
            level_word(level, amd),
            kind_word(holds),
            request_word(request)
        ),
        // AMD has no such form.
        Form::Memory(_) | Form::NearMemory(_) if amd => undefined(raw),
        Form::Memory(fields) => format!("memory {}", memory(fields)),
        Form::NearMemory(fields) => format!("near-memory {}", memory(fields)),
        Form::Bus { .. } if !amd && raw & 0xefff == IO_ERROR => "I/O error".to_owned(),
        Form::Bus { participation, timed_out, request, target, level } => format!(
            "bus error on {} {}, {}, {} level{}",
            target_word(target),
            request_word(request),
            participation_word(participation),
            level_word(level, amd),
            if timed_out { ", timed out" } else { "" }
        ),
        Form::Undefined => undefined(raw),
    }
}

fn undefined(raw: u16) -> String {
    format!("undefined error code {raw:#06x}")
}

fn memory(fields: MemoryFields) -> String {
    let what = match fields.operation {
        MemoryOperation::Generic => "error",
        MemoryOperation::Read => "read error",
        MemoryOperation::Write => "write error",
        MemoryOperation::AddressCommand => "address or command error",
        MemoryOperation::Scrub => "scrub error",
        MemoryOperation::Reserved(_) => "error of undefined kind",
    };
    match fields.channel {
        Some(channel) => format!("{what} on channel {channel}"),
        None => what.to_owned(),
    }
}

fn level_word(level: Level, amd: bool) -> &'static str {
    match level {
        Level::L0 if amd => "reserved-level",
        Level::L0 => "L0",
        Level::L1 => "L1",
        Level::L2 => "L2",
        Level::Generic if amd => "L3 or generic",
        Level::Generic => "generic",
    }
}

fn kind_word(holds: Option<CacheKind>) -> &'static str {
    match holds {
        Some(CacheKind::Instruction) => "instruction",
        Some(CacheKind::Data) => "data",
        Some(CacheKind::Generic) => "unified",
        None => "reserved-type",
    }
}

fn request_word(request: Request) -> &'static str {
    match request {
        Request::Generic => "any request",
        Request::Read => "read",
        Request::Write => "write",
        Request::DataRead => "data read",
        Request::DataWrite => "data write",
        Request::InstructionFetch => "instruction fetch",
        Request::Prefetch => "prefetch",
        Request::Eviction => "eviction",
        Request::Snoop => "snoop",
        Request::Reserved(_) => "undefined request",
    }
}

fn target_word(target: Target) -> &'static str {
    match target {
        Target::Memory => "memory",
        Target::Reserved => "reserved-target",
        Target::Io => "I/O",
        Target::Other => "other",
    }
}

fn participation_word(participation: Participation) -> &'static str {
    match participation {
        Participation::Source => "as requester",
        Participation::Responder => "as responder",
        Participation::Observer => "as observer",
        Participation::Generic => "by anyone",
    }
}

/// What else the status word says, each after a comma.
fn notes(record: &MceRecord, vendor: Vendor, signature: (u32, u32), severity: Severity) -> String {
    let mut notes = String::new();
    let mut note = |words: &str| {
        notes.push_str(", ");
        notes.push_str(words);
    };
    if vendor == Vendor::Intel {
        if severity == Severity::Corrected {
            if let Some(count) = status::corrected_count(record).filter(|count| *count > 1) {
                note(&format!("{count} errors"));
            }
            if has_threshold_status(record, signature) {
                match status::threshold(record.status) {
                    Threshold::Green => note("below threshold (green)"),
                    Threshold::Yellow => note("above threshold (yellow)"),
                    Threshold::None | Threshold::Reserved => {}
                }
            }
        }
        if Mcacod::of(status::mcacod(record.status)).filtered {
            note("filtered");
        }
    }
    if vendor == Vendor::Amd && record.status & status::AMD_POISON != 0 {
        note("poison");
    }
    if record.status & status::OVER != 0 {
        note("overflowed");
    }
    notes
}
