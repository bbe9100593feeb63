//! What firmware reported: rows of the tables that hold sections of UEFI's CPER.

use super::tables::Row;
use super::value::{Columns, ValueError};

/// `extlog_event`: a memory error out of Intel's extended error log
/// (`ras-extlog-handler.c`). No version stores `pa_mask_lsb`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtlogEvent {
    /// Type of memory error (UEFI, Memory Error Section).
    pub etype: Option<u8>,
    /// The trace event's `err_seq`, which counts records of a boot; the column's
    /// name, `error_count`, is wrong.
    pub err_seq: Option<u32>,
    /// In the numbers of CPER: 0 recoverable, 1 fatal, 2 corrected,
    /// 3 informational.
    pub severity: Option<u8>,
    /// Physical address; all ones unknown.
    pub address: Option<u64>,
    /// The part to replace, a GUID in the kernel's order.
    pub fru_id: Option<[u8; 16]>,
    /// The part to replace, in words.
    pub fru_text: Option<String>,
    /// The section as the kernel traced it: `struct cper_mem_err_compact`.
    pub cper_data: Option<Vec<u8>>,
}

impl Row for ExtlogEvent {
    const TABLE: &'static str = "extlog_event";
    const COLUMNS: &'static [&'static str] =
        &["etype", "error_count", "severity", "address", "fru_id", "fru_text", "cper_data"];

    fn read(columns: &Columns) -> Result<Self, ValueError> {
        Ok(ExtlogEvent {
            etype: columns.word8("etype")?,
            err_seq: columns.word32("error_count")?,
            severity: columns.word8("severity")?,
            address: columns.word("address")?,
            fru_id: columns.guid("fru_id")?,
            fru_text: columns.text("fru_text")?,
            cper_data: columns.bytes("cper_data")?,
        })
    }
}

/// `non_standard_event`: a section that the kernel does not know
/// (`ras-non-standard-handler.c`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NonStandardEvent {
    /// What kind of section, a GUID in the kernel's order; `None` also where it
    /// was stored cut: see [`Columns::guid`].
    pub sec_type: Option<[u8; 16]>,
    /// The part to replace, likewise.
    pub fru_id: Option<[u8; 16]>,
    /// The part to replace, in words.
    pub fru_text: Option<String>,
    /// `Informational`, `Corrected`, `Recoverable`, or `Fatal`, which stands for
    /// whatever else, too.
    pub severity: Option<String>,
    /// The section.
    pub error: Option<Vec<u8>>,
}

impl Row for NonStandardEvent {
    const TABLE: &'static str = "non_standard_event";
    const COLUMNS: &'static [&'static str] =
        &["sec_type", "fru_id", "fru_text", "severity", "error"];

    fn read(columns: &Columns) -> Result<Self, ValueError> {
        Ok(NonStandardEvent {
            sec_type: columns.guid("sec_type")?,
            fru_id: columns.guid("fru_id")?,
            fru_text: columns.text("fru_text")?,
            severity: columns.text("severity")?,
            error: columns.bytes("error")?,
        })
    }
}

/// `arm_event`: an error of an ARM processor (`ras-arm-handler.c`).
///
/// No version stores MIDR, the severity or the kernel's number of the CPU. The
/// buffers are there where the kernel traced them: under the names of an
/// out-of-tree patch before 0.8.2, and under mainline's since. `error_count`, and
/// what 0.8.2 added, are left out: rasdaemon fills them out of `err_info`, the
/// numbers of its last structure only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArmEvent {
    /// Affinity level of the error; 0xff unknown.
    pub affinity: Option<u8>,
    /// MPIDR_EL1.
    pub mpidr: Option<u64>,
    /// Bit 0: the processor was running; all ones unknown.
    pub running_state: Option<u32>,
    /// PSCI's state of a processor that was not; all ones unknown.
    pub psci_state: Option<u32>,
    /// Processor error information structures, one after the other.
    pub err_info: Option<Vec<u8>>,
    /// Processor context structures.
    pub context_info: Option<Vec<u8>>,
    /// What the vendor adds.
    pub vendor_info: Option<Vec<u8>>,
}

impl Row for ArmEvent {
    const TABLE: &'static str = "arm_event";
    const COLUMNS: &'static [&'static str] = &[
        "affinity",
        "mpidr",
        "running_state",
        "psci_state",
        "err_info",
        "context_info",
        "vendor_info",
    ];

    fn read(columns: &Columns) -> Result<Self, ValueError> {
        Ok(ArmEvent {
            affinity: columns.word8("affinity")?,
            mpidr: columns.word("mpidr")?,
            running_state: columns.word32("running_state")?,
            psci_state: columns.word32("psci_state")?,
            err_info: columns.bytes("err_info")?,
            context_info: columns.bytes("context_info")?,
            vendor_info: columns.bytes("vendor_info")?,
        })
    }
}
