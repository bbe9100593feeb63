//! How bad a machine check is.

use super::intel;
use super::mcacod::{Form, Mcacod, MemoryOperation};
use super::status;
use super::Outcome;
use crate::model::{MceRecord, Vendor};
use std::fmt;

/// What the hardware says became of the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// CE: corrected by hardware.
    Corrected,
    /// AMD: bad data was found and marked; nobody has used it yet.
    Deferred,
    /// Intel UCNA: bad data was found and marked; no action required.
    Ucna,
    /// Intel SRAO: bad data was found; software may act on it (scrub, L3
    /// write-back).
    Srao,
    /// Intel SRAR: the running task was about to use bad data; it must not go
    /// on.
    Srar,
    /// Uncorrected, and the processor's state is good. Whether software can
    /// recover is not said (Intel without MCG_SER_P, firmware's records), or up
    /// to the task (AMD).
    Uncorrected,
    /// The processor's context may be corrupt (PCC).
    Fatal,
}

impl Severity {
    /// CE or UE.
    pub fn outcome(self) -> Outcome {
        match self {
            Severity::Corrected => Outcome::Corrected,
            _ => Outcome::Uncorrected,
        }
    }

    /// What `record`, a valid one of `vendor`'s hardware, says.
    pub(super) fn of(record: &MceRecord, vendor: Vendor, signature: (u32, u32)) -> Severity {
        match vendor {
            Vendor::Intel => intel(record, signature),
            Vendor::Amd => amd(record.status),
            Vendor::Other => plain(record.status),
        }
    }

    /// What firmware's memory error says that APEI passes on: UC from
    /// "recoverable" and PCC from "panic" up (apei_mce_report_mem_error() in
    /// arch/x86/kernel/cpu/mce/apei.c).
    pub(super) fn of_apei(record: &MceRecord) -> Severity {
        plain(record.status)
    }
}

fn plain(status: u64) -> Severity {
    match (status & status::UC != 0, status & status::PCC != 0) {
        (false, _) => Severity::Corrected,
        (true, false) => Severity::Uncorrected,
        (true, true) => Severity::Fatal,
    }
}

/// SDM vol. 3B, "UCR Error Classification" (table "MC Error Classification")
/// and the order of mce_severity_intel() in arch/x86/kernel/cpu/mce/severity.c.
///
/// EN is not asked: it tells whether the error was to raise an exception, not
/// how bad it is.
fn intel(record: &MceRecord, signature: (u32, u32)) -> Severity {
    let status = record.status;
    if status & status::UC == 0 {
        return match intel::is_silent_scrub_error(record, signature) {
            true => Severity::Srao,
            false => Severity::Corrected,
        };
    }
    let recovery = record.mcgcap & status::MCG_SER_P != 0
        || record.mcgcap == 0 && intel::has_recovery(signature);
    if status & status::PCC != 0 || !recovery {
        return plain(status);
    }
    match (status & status::S != 0, status & status::AR != 0) {
        (true, true) => Severity::Srar,
        (true, false) => Severity::Srao,
        // Told by CMCI instead of an exception, S is clear.
        (false, false) if is_action_optional(status::mcacod(status)) => Severity::Srao,
        (false, false) => Severity::Ucna,
        // No class of the table's.
        (false, true) => Severity::Uncorrected,
    }
}

/// The two SRAO errors that the architecture defines: memory scrub, and an
/// explicit write-back of the last-level cache (0x017a); SDM vol. 3B,
/// "Architecturally Defined SRAO Errors".
fn is_action_optional(mcacod: u16) -> bool {
    match Mcacod::of(mcacod).form {
        Form::Memory(fields) => fields.operation == MemoryOperation::Scrub,
        _ => mcacod == 0x017a,
    }
}

/// APM vol. 2, "Machine Check Architecture", MCi_STATUS; mce_severity_amd() in
/// arch/x86/kernel/cpu/mce/severity.c ranks PCC first, with or without UC.
fn amd(status: u64) -> Severity {
    if status & status::PCC != 0 {
        Severity::Fatal
    } else if status & status::UC != 0 {
        Severity::Uncorrected
    } else if status & status::AMD_DEFERRED != 0 {
        Severity::Deferred
    } else {
        Severity::Corrected
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Corrected => "corrected",
            Severity::Deferred => "deferred",
            Severity::Ucna => "uncorrected, no action required",
            Severity::Srao => "uncorrected, action optional",
            Severity::Srar => "uncorrected, action required",
            Severity::Uncorrected => "uncorrected",
            Severity::Fatal => "fatal",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UC: u64 = status::UC;
    const S: u64 = status::S;
    const AR: u64 = status::AR;
    const PCC: u64 = status::PCC;

    fn of_intel(status: u64, mcgcap: u64) -> Severity {
        let record = MceRecord { status, mcgcap, ..MceRecord::default() };
        Severity::of(&record, Vendor::Intel, (6, 0x8e))
    }

    #[test]
    fn intel_tells_its_classes_by_uc_pcc_s_and_ar() {
        let ser = status::MCG_SER_P;
        for (bits, severity) in [
            (0, Severity::Corrected),
            (S | AR | PCC, Severity::Corrected),
            (UC, Severity::Ucna),
            (UC | S, Severity::Srao),
            (UC | S | AR, Severity::Srar),
            (UC | AR, Severity::Uncorrected),
            (UC | PCC, Severity::Fatal),
            (UC | PCC | S | AR, Severity::Fatal),
        ] {
            assert_eq!(of_intel(bits | 0x0135, ser), severity, "{bits:#x}");
        }
    }

    #[test]
    fn without_recovery_s_and_ar_mean_nothing() {
        assert_eq!(of_intel(UC | S | AR | 0x0134, 0xc09), Severity::Uncorrected);
        assert_eq!(of_intel(UC | S | AR | 0x0134, 0), Severity::Uncorrected, "not a server model");
        let unsaid = MceRecord { status: UC | S | AR | 0x0134, ..MceRecord::default() };
        assert_eq!(Severity::of(&unsaid, Vendor::Intel, (6, 0x6a)), Severity::Srar);
    }

    #[test]
    fn a_scrub_error_told_by_cmci_is_still_action_optional() {
        for (mcacod, severity) in [
            (0x00c1, Severity::Srao),
            (0x10cf, Severity::Srao),
            (0x017a, Severity::Srao),
            (0x009f, Severity::Ucna),
        ] {
            assert_eq!(of_intel(UC | mcacod, status::MCG_SER_P), severity, "{mcacod:#06x}");
        }
    }

    #[test]
    fn amd_ranks_corrupt_context_then_uncorrected_then_deferred() {
        let deferred = status::AMD_DEFERRED;
        for (bits, severity) in [
            (0, Severity::Corrected),
            (deferred, Severity::Deferred),
            (UC | deferred, Severity::Uncorrected),
            (UC | PCC, Severity::Fatal),
            (PCC, Severity::Fatal),
        ] {
            assert_eq!(amd(bits), severity, "{bits:#x}");
        }
    }

    #[test]
    fn only_a_corrected_error_is_a_ce() {
        assert_eq!(Severity::Corrected.outcome(), Outcome::Corrected);
        for severity in [Severity::Deferred, Severity::Ucna, Severity::Srao, Severity::Fatal] {
            assert_eq!(severity.outcome(), Outcome::Uncorrected, "{severity}");
        }
    }
}
