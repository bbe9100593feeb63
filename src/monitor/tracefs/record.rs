//! Trace records as the model's, by the names of their fields.

use super::format::Format;
use bulkhead_core::model::{Bytes, McEvent, MceRecord, MemoryFailure, Pfn, Record, Source};

/// In a hard interrupt, a soft one or an NMI (enum trace_flag_type,
/// include/linux/trace_events.h).
const NOT_IN_TASK: u64 = 0x08 | 0x10 | 0x40;

/// Reads the records of one tracepoint.
#[derive(Debug)]
pub struct Decoder {
    /// Which.
    pub source: Source,
    format: Format,
}

/// A record taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The task that raised it; `None` if an interrupt did.
    pub task: Option<u32>,
    /// The record.
    pub record: Record,
}

/// What no decision can do without; other fields came and went with kernels.
fn required(source: Source) -> &'static [&'static str] {
    match source {
        Source::MceRecord => &["status", "addr", "misc", "cpu", "bank", "cpuvendor"],
        Source::McEvent => &["error_type", "error_count", "mc_index", "address", "grain_bits"],
        Source::MemoryFailure => &["pfn", "type", "result"],
        Source::ExtlogMemEvent => &["sev", "pa", "pa_mask_lsb", "data"],
        Source::NonStandardEvent => &["sec_type", "sev", "buf"],
        Source::ArmEvent => &["mpidr", "affinity"],
        Source::CxlDram => &["memdev", "log", "descriptor", "type", "validity_flags", "row"],
        Source::CxlGeneralMedia => &["memdev", "log", "descriptor", "type", "validity_flags"],
        Source::Log | Source::Pstore | Source::CrashDump | Source::BootLog => &[],
    }
}

impl Decoder {
    /// A decoder by what the kernel says in its `format` file.
    ///
    /// # Errors
    /// A sentence, if the file cannot be read as one or lacks a field that
    /// matters.
    pub fn new(source: Source, text: &str) -> Result<Decoder, String> {
        let format = Format::parse(text).ok_or("its format file names no ID")?;
        let missing = ["common_flags", "common_pid"]
            .iter()
            .chain(required(source))
            .find(|name| format.field(name).is_none());
        match missing {
            Some(name) => Err(format!("its format file has no field `{name}`")),
            None => Ok(Decoder { source, format }),
        }
    }

    /// Whether `data` is a record of this tracepoint, by its `common_type`.
    pub fn is_of(&self, data: &[u8]) -> bool {
        matches!(data, [a, b, ..] if u16::from_le_bytes([*a, *b]) == self.format.id)
    }

    /// The record in `data`; `None` if it ends too early.
    pub fn decode(&self, data: &[u8]) -> Option<Decoded> {
        let in_task = self.number(data, "common_flags")? & NOT_IN_TASK == 0;
        let pid = self.number(data, "common_pid")? as u32;
        let record = match self.source {
            Source::MceRecord => Record::Mce(self.mce(data)?),
            Source::McEvent => Record::MemoryController(self.mc_event(data)?),
            Source::MemoryFailure => Record::MemoryFailure(MemoryFailure {
                pfn: Pfn(self.number(data, "pfn")?),
                page_type: self.number(data, "type")? as i32,
                result: self.number(data, "result")? as i32,
            }),
            Source::ExtlogMemEvent => Record::Extlog(self.extlog(data)?),
            Source::NonStandardEvent => Record::NonStandard(self.non_standard(data)?),
            Source::ArmEvent => Record::Arm(self.arm(data)?),
            Source::CxlDram => Record::CxlDram(Box::new(self.cxl_dram(data)?)),
            Source::CxlGeneralMedia => {
                Record::CxlGeneralMedia(Box::new(self.cxl_general_media(data)?))
            }
            Source::Log | Source::Pstore | Source::CrashDump | Source::BootLog => return None,
        };
        Some(Decoded { task: in_task.then_some(pid), record })
    }

    fn mce(&self, data: &[u8]) -> Option<MceRecord> {
        let number = |name| self.number(data, name);
        Some(MceRecord {
            status: number("status")?,
            addr: number("addr")?,
            misc: number("misc")?,
            mcgcap: number("mcgcap")?,
            mcgstatus: number("mcgstatus")?,
            synd: number("synd")?,
            ipid: number("ipid")?,
            ip: number("ip")?,
            ppin: number("ppin")?,
            time: number("walltime")?,
            cpu: number("cpu")? as u32,
            cpuid: number("cpuid")? as u32,
            apicid: number("apicid")? as u32,
            socketid: number("socketid")? as u32,
            microcode: number("microcode")? as u32,
            bank: number("bank")? as u8,
            cpuvendor: number("cpuvendor")? as u8,
        })
    }

    fn mc_event(&self, data: &[u8]) -> Option<McEvent> {
        let number = |name| self.number(data, name);
        Some(McEvent {
            error_type: u8::try_from(number("error_type")?).unwrap_or(u8::MAX),
            error_count: number("error_count")? as u32,
            mc_index: number("mc_index")? as u8,
            top_layer: number("top_layer")? as i8,
            middle_layer: number("middle_layer")? as i8,
            lower_layer: number("lower_layer")? as i8,
            address: number("address")?,
            grain_bits: number("grain_bits")? as u8,
            syndrome: number("syndrome")?,
            msg: self.text(data, "msg")?,
            label: self.text(data, "label")?,
            driver_detail: self.text(data, "driver_detail")?,
        })
    }

    /// The number in a field; 0 where this kernel has no such field, `None`
    /// where the record ends before it.
    pub(super) fn number(&self, data: &[u8], name: &str) -> Option<u64> {
        self.optional(data, name).map(Option::unwrap_or_default)
    }

    /// Likewise, where 0 means something.
    pub(super) fn optional(&self, data: &[u8], name: &str) -> Option<Option<u64>> {
        self.format.field(name).map_or(Some(None), |field| field.of(data).map(Some))
    }

    /// The text of a field, empty where this kernel has no such field.
    pub(super) fn text(&self, data: &[u8], name: &str) -> Option<String> {
        self.format.field(name).map_or(Some(String::new()), |field| field.text(data))
    }

    /// The bytes of a structure or array, likewise.
    pub(super) fn bytes(&self, data: &[u8], name: &str) -> Option<Bytes> {
        let field = self.format.field(name);
        field.map_or(Some(Bytes::default()), |f| f.bytes(data).map(|b| Bytes(b.to_vec())))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As Linux 6.12 has it.
    pub const MC_EVENT: &str = include_str!("testdata/mc_event.format");
    /// As Linux 6.1 has it: without ppin and microcode.
    pub const MCE_RECORD: &str = include_str!("testdata/mce_record.format");

    fn put(data: &mut [u8], format: &Format, name: &str, value: u64) {
        let field = format.field(name).unwrap();
        data[field.offset..][..field.size].copy_from_slice(&value.to_le_bytes()[..field.size]);
    }

    pub fn mc_event(flags: u64, pid: u64, address: u64) -> Vec<u8> {
        let format = Format::parse(MC_EVENT).unwrap();
        let mut data = vec![0; 88];
        put(&mut data, &format, "common_type", format.id.into());
        put(&mut data, &format, "common_flags", flags);
        put(&mut data, &format, "common_pid", pid);
        put(&mut data, &format, "address", address);
        put(&mut data, &format, "top_layer", u64::MAX);
        put(&mut data, &format, "grain_bits", 12);
        put(&mut data, &format, "error_count", 3);
        let at = data.len() as u64;
        data.extend(b"DIMM_A1\0");
        put(&mut data, &format, "label", 8 << 16 | at);
        data
    }

    pub fn mce_record(pid: u64, status: u64) -> Vec<u8> {
        let format = Format::parse(MCE_RECORD).unwrap();
        let mut data = vec![0; 120];
        put(&mut data, &format, "common_type", format.id.into());
        put(&mut data, &format, "common_pid", pid);
        put(&mut data, &format, "status", status);
        data
    }

    #[test]
    fn fields_are_found_by_name() {
        let decoder = Decoder::new(Source::McEvent, MC_EVENT).unwrap();
        let decoded = decoder.decode(&mc_event(0, 77, 0x1234_5000)).unwrap();
        assert_eq!(decoded.task, Some(77));
        let Record::MemoryController(event) = decoded.record else { panic!("not an mc_event") };
        assert_eq!((event.address, event.error_count, event.top_layer), (0x1234_5000, 3, -1));
        assert_eq!((event.label.as_str(), event.msg.as_str()), ("DIMM_A1", ""));
    }

    #[test]
    fn an_interrupt_is_no_task() {
        let decoder = Decoder::new(Source::McEvent, MC_EVENT).unwrap();
        assert_eq!(decoder.decode(&mc_event(0x08, 77, 0)).unwrap().task, None);
    }

    #[test]
    fn a_field_that_a_kernel_lacks_is_zero() {
        let decoder = Decoder::new(Source::MceRecord, MCE_RECORD).unwrap();
        let decoded = decoder.decode(&mce_record(1, 0x8c00_0000_0000_009f)).unwrap();
        let Record::Mce(mce) = decoded.record else { panic!("not a machine check") };
        assert_eq!((mce.status, mce.ppin), (0x8c00_0000_0000_009f, 0));
    }

    #[test]
    fn a_format_without_a_field_that_matters_is_refused() {
        let text = MC_EVENT.replace(" address;", " place;");
        let error = Decoder::new(Source::McEvent, &text).unwrap_err();
        assert!(error.contains("`address`"), "{error}");
    }

    proptest! {
        #[test]
        fn a_record_of_any_length_is_decoded_or_refused(
            data in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            for (source, text) in [(Source::McEvent, MC_EVENT), (Source::MceRecord, MCE_RECORD)] {
                let _ = Decoder::new(source, text).unwrap().decode(&data);
            }
        }
    }
}
