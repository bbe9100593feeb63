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
    /// Severity, in the numbers of whoever handed it on: GHES
    /// (drivers/acpi/apei/ghes.c) has 0 none, 1 corrected, 2 recoverable,
    /// 3 panic; the extended error log those of [`ExtlogMemEvent::sev`].
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
    /// Severity in the numbers of GHES: 0 none, 1 corrected, 2 recoverable,
    /// 3 panic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sev: Option<u8>,
    /// The kernel's number of the processor; -1 unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<i32>,
}

/// An ARM processor error information structure (UEFI 2.10 N.2.4.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArmErrorInfo {
    /// Which of the fields below mean something: bit 0 `multiple_error`,
    /// 1 `flags`, 2 `error_info`, 3 the virtual, 4 the physical address.
    pub validation_bits: u16,
    /// Bit 1 cache, 2 TLB, 3 bus, 4 micro-architectural error.
    pub kind: u8,
    /// 0 one error, 1 several, above that how many.
    pub multiple_error: u16,
    /// Bit 0 first, 1 last error, 2 propagated, 3 overflow.
    pub flags: u8,
    /// More, by kind.
    pub error_info: u64,
    /// Physical address.
    pub physical_fault_addr: u64,
}

impl ArmErrorInfo {
    /// Bytes of the structure.
    const SIZE: usize = 32;

    fn parse(bytes: &[u8]) -> Option<ArmErrorInfo> {
        let bytes = Bytes(bytes.to_vec());
        Some(ArmErrorInfo {
            validation_bits: bytes.u16_at(2)?,
            kind: bytes.u8_at(4)?,
            multiple_error: bytes.u16_at(5)?,
            flags: bytes.u8_at(7)?,
            error_info: bytes.u64_at(8)?,
            physical_fault_addr: bytes.u64_at(24)?,
        })
    }

    /// How many errors it stands for, at least.
    fn errors(&self) -> u64 {
        match self.validation_bits & 1 {
            0 => 1,
            _ => u64::from(self.multiple_error).max(1),
        }
    }
}

impl ArmEvent {
    /// Its error information structures; what is left of a buffer that ends in
    /// the middle of one is passed over.
    pub fn infos(&self) -> impl Iterator<Item = ArmErrorInfo> + '_ {
        self.pei_buf.0.chunks_exact(ArmErrorInfo::SIZE).filter_map(ArmErrorInfo::parse)
    }

    /// How many errors it stands for.
    pub fn errors(&self) -> u64 {
        self.infos().map(|info| info.errors()).sum::<u64>().max(1)
    }
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
