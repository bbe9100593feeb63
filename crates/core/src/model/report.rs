//! What monitor hands to analyze.

use super::{Record, Stamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where reports come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    /// Every machine check of an x86 host.
    #[serde(rename = "mce:mce_record")]
    MceRecord,
    /// Decoded memory errors from EDAC drivers.
    #[serde(rename = "ras:mc_event")]
    McEvent,
    /// Results of memory_failure().
    #[serde(rename = "ras:memory_failure_event")]
    MemoryFailure,
    /// Memory errors of Intel's extended error log (firmware).
    #[serde(rename = "ras:extlog_mem_event")]
    ExtlogMemEvent,
    /// Sections of firmware's records that the kernel does not know.
    #[serde(rename = "ras:non_standard_event")]
    NonStandardEvent,
    /// Errors of ARM processors (firmware).
    #[serde(rename = "ras:arm_event")]
    ArmEvent,
    /// Errors of CXL devices' DRAM.
    #[serde(rename = "cxl:cxl_dram")]
    CxlDram,
    /// Errors of CXL devices' media.
    #[serde(rename = "cxl:cxl_general_media")]
    CxlGeneralMedia,
    /// A log that somebody else decoded; no source of a running kernel.
    #[serde(rename = "log")]
    Log,
    /// What a kernel that died left in the platform's storage.
    #[serde(rename = "pstore")]
    Pstore,
    /// The log that a crash kernel saved of the one that died.
    #[serde(rename = "crash dump")]
    CrashDump,
    /// What the kernel found when it booted: firmware's boot errors, and
    /// machine checks left in their banks.
    #[serde(rename = "boot log")]
    BootLog,
}

/// Equal records, counted.
///
/// The kernel side counts per key, so one report may stand for many records;
/// they lie between `first` and `last`, which are at most 100 ms apart while
/// the daemon runs (and any time apart when it was down).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Who says so.
    pub source: Source,
    /// The first of the records.
    pub first: Stamp,
    /// The last of the records.
    pub last: Stamp,
    /// How many records: each is one observation to a page or row rule.
    pub records: u64,
    /// How many errors they stand for: a record adds `max(1, its count field)`.
    pub errors: u64,
    /// How many of the records (not errors) merely decode a machine check that
    /// `mce:mce_record` reported already. Only for [`Source::McEvent`]: raised
    /// by the same task right after it.
    #[serde(default)]
    pub decodes: u64,
    /// The latest of the records, whole.
    pub record: Record,
}

impl Source {
    /// Those of a running kernel, in display order.
    pub const ALL: [Source; 8] = [
        Source::MceRecord,
        Source::McEvent,
        Source::MemoryFailure,
        Source::ExtlogMemEvent,
        Source::NonStandardEvent,
        Source::ArmEvent,
        Source::CxlDram,
        Source::CxlGeneralMedia,
    ];

    /// The kernel's `system:name` of the tracepoint.
    pub fn name(self) -> &'static str {
        match self {
            Source::MceRecord => "mce:mce_record",
            Source::McEvent => "ras:mc_event",
            Source::MemoryFailure => "ras:memory_failure_event",
            Source::ExtlogMemEvent => "ras:extlog_mem_event",
            Source::NonStandardEvent => "ras:non_standard_event",
            Source::ArmEvent => "ras:arm_event",
            Source::CxlDram => "cxl:cxl_dram",
            Source::CxlGeneralMedia => "cxl:cxl_general_media",
            Source::Log => "log",
            Source::Pstore => "pstore",
            Source::CrashDump => "crash dump",
            Source::BootLog => "boot log",
        }
    }

    /// It tells how the boot before this one ended, and nothing of this one.
    pub fn is_of_last_boot(self) -> bool {
        matches!(self, Source::Pstore | Source::CrashDump | Source::BootLog)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
