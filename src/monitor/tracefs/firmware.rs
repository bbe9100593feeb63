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
