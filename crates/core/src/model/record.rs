//! Raw records, as the kernel hands them out. Every field that a diagnosis may
//! need is kept, so that a logged record can be diagnosed again.

use super::{
    ArmEvent, CpuId, CxlDram, CxlGeneralMedia, CxlMedia, ExtlogMemEvent, LoggedError,
    NonStandardEvent, Pfn,
};
use serde::{Deserialize, Serialize};

/// One x86 machine check: the fields of `struct mce`
/// (arch/x86/include/uapi/asm/mce.h) that `mce:mce_record` shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MceRecord {
    /// MCi_STATUS.
    #[serde(with = "super::hex")]
    pub status: u64,
    /// MCi_ADDR; meaningful only with ADDRV, and of the kind MISC says.
    #[serde(with = "super::hex")]
    pub addr: u64,
    /// MCi_MISC; meaningful only with MISCV.
    #[serde(with = "super::hex")]
    pub misc: u64,
    /// MCG_CAP.
    #[serde(with = "super::hex")]
    pub mcgcap: u64,
    /// MCG_STATUS.
    #[serde(with = "super::hex")]
    pub mcgstatus: u64,
    /// MCA_SYND (AMD SMCA).
    #[serde(with = "super::hex")]
    pub synd: u64,
    /// MCA_IPID (AMD SMCA): which kind of bank this is.
    #[serde(with = "super::hex")]
    pub ipid: u64,
    /// Instruction pointer at the time.
    #[serde(with = "super::hex")]
    pub ip: u64,
    /// Protected processor inventory number; 0 where not readable or not shown
    /// (kernels before 6.8 do not show it).
    #[serde(with = "super::hex")]
    pub ppin: u64,
    /// Wall time of the record in seconds, by the kernel.
    pub time: u64,
    /// Logical CPU that read the bank: the culprit only in private banks.
    pub cpu: u32,
    /// CPUID leaf 1 EAX.
    pub cpuid: u32,
    /// Initial APIC id of that CPU.
    pub apicid: u32,
    /// Package of that CPU.
    pub socketid: u32,
    /// Microcode revision; 0 where not shown.
    pub microcode: u32,
    /// Machine-check bank. 255 is APEI's fake, 128 and above are software's
    /// (thermal, threshold).
    pub bank: u8,
    /// X86_VENDOR_*: 0 Intel, 2 AMD, 9 Hygon (arch/x86/include/asm/processor.h).
    pub cpuvendor: u8,
}

/// One decoded memory error: the fields of `ras:mc_event`
/// (include/ras/ras_event.h).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct McEvent {
    /// enum hw_event_mc_err_type (include/linux/edac.h): 0 corrected,
    /// 1 uncorrected, 2 deferred, 3 fatal, 4 info.
    pub error_type: u8,
    /// Errors that the driver says this event stands for; may be 0.
    pub error_count: u32,
    /// Index of the memory controller, `mcN`.
    pub mc_index: u8,
    /// Top layer (usually channel or csrow); -1 unknown.
    pub top_layer: i8,
    /// Middle layer; -1 unknown.
    pub middle_layer: i8,
    /// Lower layer; -1 unknown.
    pub lower_layer: i8,
    /// System physical address; 0 means unknown, not page 0.
    #[serde(with = "super::hex")]
    pub address: u64,
    /// log2 of the address's grain in bytes (`grain_bits` as traced).
    pub grain_bits: u8,
    /// ECC syndrome.
    #[serde(with = "super::hex")]
    pub syndrome: u64,
    /// Driver's message ("memory read error").
    pub msg: String,
    /// DIMM labels.
    pub label: String,
    /// Free text of the driver: rank, bank, row, column, each in its dialect.
    pub driver_detail: String,
}

/// The result of memory_failure(): `ras:memory_failure_event`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryFailure {
    /// The page.
    pub pfn: Pfn,
    /// enum mf_action_page_type: a number that drifts between kernels.
    pub page_type: i32,
    /// enum mf_result (include/linux/mm.h): 0 ignored, 1 failed, 2 delayed,
    /// 3 recovered.
    pub result: i32,
}

/// What a source delivered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// From `mce:mce_record`.
    Mce(MceRecord),
    /// From `ras:mc_event`.
    MemoryController(McEvent),
    /// From `ras:memory_failure_event`.
    MemoryFailure(MemoryFailure),
    /// From `ras:extlog_mem_event`.
    Extlog(ExtlogMemEvent),
    /// From `ras:non_standard_event`.
    NonStandard(NonStandardEvent),
    /// From `ras:arm_event`.
    Arm(ArmEvent),
    /// From `cxl:cxl_dram`.
    CxlDram(Box<CxlDram>),
    /// From `cxl:cxl_general_media`.
    CxlGeneralMedia(Box<CxlGeneralMedia>),
    /// From a log that somebody else decoded.
    Logged(LoggedError),
}

impl MceRecord {
    /// The CPU that read the bank.
    pub fn cpu(&self) -> CpuId {
        CpuId(self.cpu)
    }
}

impl McEvent {
    /// Memory that its texts take, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let McEvent { msg, label, driver_detail, .. } = self;
        [msg, label, driver_detail].iter().fold(0, |n, text| n.saturating_add(text.capacity()))
    }
}

impl Record {
    /// Memory that it takes beside itself, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let sum = |parts: &[usize]| parts.iter().fold(0usize, |n, part| n.saturating_add(*part));
        let media = |media: &CxlMedia| {
            let CxlMedia { memdev, host, region_name, comp_id, .. } = media;
            let texts = [memdev, host, region_name].map(String::capacity);
            sum(&[sum(&texts), comp_id.0.capacity()])
        };
        match self {
            Record::Mce(_) | Record::MemoryFailure(_) | Record::Logged(_) => 0,
            Record::MemoryController(event) => event.heap_bytes(),
            Record::Extlog(event) => sum(&[event.fru_text.capacity(), event.data.0.capacity()]),
            Record::NonStandard(event) => sum(&[event.fru_text.capacity(), event.buf.0.capacity()]),
            Record::Arm(event) => {
                sum(&[&event.pei_buf, &event.ctx_buf, &event.oem_buf].map(|b| b.0.capacity()))
            }
            Record::CxlDram(event) => {
                let cor_mask = event.cor_mask.0.capacity();
                sum(&[size_of::<CxlDram>(), media(&event.media), cor_mask])
            }
            Record::CxlGeneralMedia(event) => {
                sum(&[size_of::<CxlGeneralMedia>(), media(&event.media)])
            }
        }
    }

    /// How many errors one such record stands for: `max(1, its count field)`.
    ///
    /// For machine checks the corrected-error count, MCi_STATUS bits 52:38
    /// (SDM vol. 3B, IA32_MCi_STATUS), which only Intel defines there.
    pub fn errors(&self) -> u64 {
        match self {
            Record::Mce(mce) if mce.cpuvendor == 0 => ((mce.status >> 38) & 0x7fff).max(1),
            Record::MemoryController(event) => u64::from(event.error_count).max(1),
            Record::Arm(event) => event.errors(),
            // What CXL counts is a running total of the device, no error of this record.
            Record::Mce(_)
            | Record::MemoryFailure(_)
            | Record::Extlog(_)
            | Record::NonStandard(_)
            | Record::CxlDram(_)
            | Record::CxlGeneralMedia(_)
            | Record::Logged(_) => 1,
        }
    }
}
