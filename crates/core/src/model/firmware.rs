//! Raw records that firmware made: sections of UEFI's Common Platform Error
//! Record (CPER, UEFI 2.10 appendix N), as the kernel's tracepoints show them.

use super::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A memory error out of Intel's extended error log: the fields of
/// `ras:extlog_mem_event` (include/ras/ras_event.h).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExtlogMemEvent {
    /// Counts the records of this boot.
    pub err_seq: u32,
    /// Memory error type (UEFI, Memory Error Section); 0xff unknown.
    pub etype: u8,
    /// Severity of the section: 0 recoverable, 1 fatal, 2 corrected,
    /// 3 informational. Not the numbers of `mc_event`.
    pub sev: u8,
    /// Physical address; all ones unknown.
    #[serde(with = "super::hex")]
    pub pa: u64,
    /// Lowest bit of `pa` that means something; 0xff unknown.
    pub pa_mask_lsb: u8,
    /// The part to replace, by GUID.
    pub fru_id: Uuid,
    /// The part to replace, in words; may be empty.
    pub fru_text: String,
    /// `struct cper_mem_err_compact` (include/linux/cper.h).
    pub data: Bytes,
}

/// A section that the kernel does not know: the fields of
/// `ras:non_standard_event` (include/ras/ras_event.h). Its `len` is the length
/// of `buf`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NonStandardEvent {
    /// What kind of section.
    pub sec_type: Uuid,
    /// The part to replace, by GUID.
    pub fru_id: Uuid,
    /// The part to replace, in words; may be empty.
    pub fru_text: String,
    /// As [`ExtlogMemEvent::sev`]; some kernels hand on the severity of GHES
    /// instead, which differs.
    pub sev: u8,
    /// The section.
    pub buf: Bytes,
}

/// An error of an ARM processor: the fields of `ras:arm_event`
/// (include/ras/ras_event.h). The lengths that it shows are those of the
/// buffers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArmEvent {
    /// MPIDR_EL1 of the processor; 0 where firmware did not say.
    #[serde(with = "super::hex")]
    pub mpidr: u64,
    /// MIDR_EL1: which implementation.
    #[serde(with = "super::hex")]
    pub midr: u64,
    /// Bit 0: the processor was running; all ones unknown.
    pub running_state: u32,
    /// PSCI's state of a processor that was not; all ones unknown.
    pub psci_state: u32,
    /// Affinity level of the error: 0 is the processor itself; 0xff unknown.
    pub affinity: u8,
    /// Processor error information structures, one after the other. This and
    /// all below only by newer kernels (6.1 has none, 6.12.117 has all).
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    pub pei_buf: Bytes,
    /// Processor context structures.
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    pub ctx_buf: Bytes,
    /// What the vendor adds.
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    pub oem_buf: Bytes,
    /// As [`NonStandardEvent::sev`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sev: Option<u8>,
    /// The kernel's number of the processor; -1 unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<i32>,
}

impl Default for ExtlogMemEvent {
    /// Nothing known.
    fn default() -> Self {
        ExtlogMemEvent {
            err_seq: 0,
            etype: u8::MAX,
            sev: 3,
            pa: u64::MAX,
            pa_mask_lsb: u8::MAX,
            fru_id: Uuid::nil(),
            fru_text: String::new(),
            data: Bytes::default(),
        }
    }
}

impl Default for ArmEvent {
    /// Nothing known.
    fn default() -> Self {
        ArmEvent {
            mpidr: 0,
            midr: 0,
            running_state: u32::MAX,
            psci_state: u32::MAX,
            affinity: u8::MAX,
            pei_buf: Bytes::default(),
            ctx_buf: Bytes::default(),
            oem_buf: Bytes::default(),
            sev: None,
            cpu: None,
        }
    }
}
