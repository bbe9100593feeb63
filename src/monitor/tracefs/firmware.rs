//! Trace records of what firmware and CXL devices report.

use super::record::Decoder;
use bulkhead_core::model::{
    ArmEvent, Bytes, CxlDram, CxlGeneralMedia, CxlMedia, ExtlogMemEvent, NonStandardEvent, PhysAddr,
};
use uuid::Uuid;

impl Decoder {
    pub(super) fn extlog(&self, data: &[u8]) -> Option<ExtlogMemEvent> {
        let number = |name| self.number(data, name);
        Some(ExtlogMemEvent {
            err_seq: number("err_seq")? as u32,
            etype: number("etype")? as u8,
            sev: number("sev")? as u8,
            pa: number("pa")?,
            pa_mask_lsb: number("pa_mask_lsb")? as u8,
            fru_id: self.guid(data, "fru_id")?,
            fru_text: self.text(data, "fru_text")?,
            data: self.bytes(data, "data")?,
        })
    }

    pub(super) fn non_standard(&self, data: &[u8]) -> Option<NonStandardEvent> {
        Some(NonStandardEvent {
            sec_type: self.guid(data, "sec_type")?,
            fru_id: self.guid(data, "fru_id")?,
            fru_text: self.text(data, "fru_text")?,
            sev: self.number(data, "sev")? as u8,
            buf: self.bytes(data, "buf")?,
        })
    }

    pub(super) fn arm(&self, data: &[u8]) -> Option<ArmEvent> {
        let number = |name| self.number(data, name);
        let optional = |name| self.optional(data, name);
        Some(ArmEvent {
            mpidr: number("mpidr")?,
            midr: number("midr")?,
            running_state: number("running_state")? as u32,
            psci_state: number("psci_state")? as u32,
            affinity: number("affinity")? as u8,
            pei_buf: self.bytes(data, "pei_buf")?,
            ctx_buf: self.bytes(data, "ctx_buf")?,
            oem_buf: self.bytes(data, "oem_buf")?,
            sev: optional("sev")?.map(|sev| sev as u8),
            cpu: optional("cpu")?.map(|cpu| cpu as i32),
        })
    }

    pub(super) fn cxl_dram(&self, data: &[u8]) -> Option<CxlDram> {
        let number = |name| self.number(data, name);
        Some(CxlDram {
            media: self.cxl_media(data)?,
            nibble_mask: number("nibble_mask")? as u32,
            bank_group: number("bank_group")? as u8,
            bank: number("bank")? as u8,
            row: number("row")? as u32,
            column: number("column")? as u16,
            cor_mask: self.bytes(data, "cor_mask")?,
            sub_channel: number("sub_channel")? as u8,
            cvme_count: number("cvme_count")? as u32,
        })
    }

    pub(super) fn cxl_general_media(&self, data: &[u8]) -> Option<CxlGeneralMedia> {
        Some(CxlGeneralMedia {
            media: self.cxl_media(data)?,
            device: self.number(data, "device")? as u32,
            cme_count: self.number(data, "cme_count")? as u32,
        })
    }

    fn cxl_media(&self, data: &[u8]) -> Option<CxlMedia> {
        let number = |name| self.number(data, name);
        let optional = |name| self.optional(data, name);
        Some(CxlMedia {
            memdev: self.text(data, "memdev")?,
            host: self.text(data, "host")?,
            serial: number("serial")?,
            log: number("log")? as i32,
            hdr_uuid: self.uuid(data, "hdr_uuid")?,
            hdr_flags: number("hdr_flags")? as u32,
            hdr_handle: number("hdr_handle")? as u16,
            hdr_related_handle: number("hdr_related_handle")? as u16,
            hdr_timestamp: number("hdr_timestamp")?,
            hdr_length: number("hdr_length")? as u8,
            hdr_maint_op_class: number("hdr_maint_op_class")? as u8,
            hdr_maint_op_sub_class: number("hdr_maint_op_sub_class")? as u8,
            dpa: number("dpa")?,
            dpa_flags: number("dpa_flags")? as u8,
            descriptor: number("descriptor")? as u8,
            kind: number("type")? as u8,
            sub_type: number("sub_type")? as u8,
            transaction_type: number("transaction_type")? as u8,
            validity_flags: number("validity_flags")? as u16,
            channel: number("channel")? as u8,
            rank: number("rank")? as u8,
            comp_id: self.bytes(data, "comp_id")?,
            hpa: optional("hpa")?.map(PhysAddr),
            hpa_alias0: optional("hpa_alias0")?.map(PhysAddr),
            region_name: self.text(data, "region_name")?,
            region_uuid: self.uuid(data, "region_uuid")?,
            cme_threshold_ev_flags: number("cme_threshold_ev_flags")? as u8,
        })
    }

    /// A `guid_t`: its first three groups are little-endian.
    fn guid(&self, data: &[u8], name: &str) -> Option<Uuid> {
        self.sixteen(data, name).map(Uuid::from_bytes_le)
    }

    /// A `uuid_t`: big-endian throughout.
    fn uuid(&self, data: &[u8], name: &str) -> Option<Uuid> {
        self.sixteen(data, name).map(Uuid::from_bytes)
    }

    fn sixteen(&self, data: &[u8], name: &str) -> Option<[u8; 16]> {
        let Bytes(bytes) = self.bytes(data, name)?;
        if bytes.is_empty() {
            return Some([0; 16]);
        }
        bytes.try_into().ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::format::Format;
    use super::*;
    use bulkhead_core::model::{Record, Source};
    use proptest::prelude::*;

    /// As Linux 6.12 has them, and 6.1 the second.
    const FORMATS: [(Source, &str); 6] = [
        (Source::ArmEvent, include_str!("testdata/arm_event.format")),
        (Source::ArmEvent, include_str!("testdata/arm_event-6.1.format")),
        (Source::ExtlogMemEvent, include_str!("testdata/extlog_mem_event.format")),
        (Source::NonStandardEvent, include_str!("testdata/non_standard_event.format")),
        (Source::CxlDram, include_str!("testdata/cxl_dram.format")),
        (Source::CxlGeneralMedia, include_str!("testdata/cxl_general_media.format")),
    ];

    /// A record of a tracepoint in the making.
    struct Raw {
        format: Format,
        data: Vec<u8>,
    }

    impl Raw {
        fn new(text: &str) -> Raw {
            let format = Format::parse(text).unwrap();
            let data = vec![0; 256];
            Raw { format, data }.put("common_pid", &[1, 0, 0, 0])
        }

        fn put(mut self, name: &str, value: &[u8]) -> Raw {
            let field = self.format.field(name).unwrap();
            assert!(field.data_loc || field.size == value.len(), "{name}");
            let place = (value.len() << 16 | self.data.len()) as u32;
            let at = field.offset;
            match field.data_loc {
                true => {
                    self.data[at..at + 4].copy_from_slice(&place.to_le_bytes());
                    self.data.extend(value);
                }
                false => self.data[at..][..value.len()].copy_from_slice(value),
            }
            self
        }
    }

    fn decode(format: usize, raw: impl FnOnce(Raw) -> Raw) -> Record {
        let (source, text) = FORMATS[format];
        let raw = raw(Raw::new(text));
        Decoder::new(source, text).unwrap().decode(&raw.data).unwrap().record
    }

    #[test]
    fn an_arm_event_brings_its_buffers_and_what_is_not_known() {
        let record = decode(0, |raw| {
            raw.put("mpidr", &0x8100_0001u64.to_le_bytes())
                .put("affinity", &[0xff])
                .put("running_state", &[0xff; 4])
                .put("pei_buf", &[1, 2, 3])
                .put("oem_buf", &[9])
                .put("sev", &[1])
                .put("cpu", &[0xff; 4])
        });
        let Record::Arm(event) = record else { panic!("{record:?}") };
        assert_eq!(
            (event.mpidr, event.affinity, event.running_state),
            (0x8100_0001, 0xff, u32::MAX)
        );
        assert_eq!(
            (event.pei_buf.0, event.ctx_buf.0, event.oem_buf.0),
            (vec![1, 2, 3], vec![], vec![9])
        );
        assert_eq!((event.sev, event.cpu), (Some(1), Some(-1)));
    }

    #[test]
    fn an_arm_event_of_an_older_kernel_has_no_buffers_and_no_severity() {
        let record = decode(1, |raw| raw.put("midr", &7u64.to_le_bytes()));
        let Record::Arm(event) = record else { panic!("{record:?}") };
        assert_eq!((event.midr, event.sev, event.cpu), (7, None, None));
        assert!(event.pei_buf.is_empty());
    }

    #[test]
    fn guids_are_mixed_endian_and_uuids_are_not() {
        let bytes: Vec<u8> = (0..16).collect();
        let guid = "03020100-0504-0706-0809-0a0b0c0d0e0f";
        let record = decode(3, |raw| raw.put("sec_type", &bytes).put("buf", &[0xde, 0xad]));
        let Record::NonStandard(event) = record else { panic!("{record:?}") };
        assert_eq!(
            (event.sec_type.to_string(), event.buf.to_string()),
            (guid.into(), "dead".into())
        );

        let record = decode(2, |raw| raw.put("fru_id", &bytes).put("data", &[7; 55]));
        let Record::Extlog(event) = record else { panic!("{record:?}") };
        assert_eq!((event.fru_id.to_string(), event.data.len()), (guid.to_owned(), 55));

        let record = decode(4, |raw| raw.put("region_uuid", &bytes));
        let Record::CxlDram(event) = record else { panic!("{record:?}") };
        assert_eq!(event.media.region_uuid.to_string(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }

    #[test]
    fn a_cxl_event_brings_its_place_and_lacks_what_the_kernel_lacks() {
        let record = decode(4, |raw| {
            raw.put("memdev", b"mem3\0")
                .put("row", &0x1_2345u32.to_le_bytes())
                .put("cor_mask", &[0xf0; 32])
                .put("hpa", &u64::MAX.to_le_bytes())
                .put("type", &[1])
        });
        let Record::CxlDram(event) = record else { panic!("{record:?}") };
        assert_eq!(
            (event.media.memdev.as_str(), event.row, event.media.kind),
            ("mem3", 0x1_2345, 1)
        );
        assert_eq!(event.media.hpa, Some(PhysAddr(u64::MAX)));
        assert_eq!((event.media.hpa_alias0, event.cvme_count), (None, 0));
        assert_eq!(event.cor_mask.0, [0xf0; 32]);

        let record = decode(5, |raw| raw.put("device", &3u32.to_le_bytes()));
        let Record::CxlGeneralMedia(event) = record else { panic!("{record:?}") };
        assert_eq!(event.device, 3);
    }

    proptest! {
        #[test]
        fn a_record_of_any_length_is_decoded_or_refused(
            data in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            for (source, text) in FORMATS {
                let _ = Decoder::new(source, text).unwrap().decode(&data);
            }
        }
    }
}
