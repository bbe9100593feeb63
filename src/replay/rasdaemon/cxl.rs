//! What CXL memory devices told of errors.

use super::firmware::bytes;
use super::table::{nanos, number};
use bulkhead_core::model::{CxlDram, CxlGeneralMedia, CxlMedia, PhysAddr, Record};
use rasdaemon_bindings as bindings;
use uuid::Uuid;

pub(super) fn dram(row: bindings::CxlDramEvent) -> Result<Record, String> {
    Ok(Record::CxlDram(Box::new(CxlDram {
        media: media(row.media)?,
        nibble_mask: row.nibble_mask.unwrap_or(0),
        bank_group: row.bank_group.unwrap_or(0),
        bank: row.bank.unwrap_or(0),
        row: row.row.unwrap_or(0),
        column: row.column.unwrap_or(0),
        cor_mask: bytes(row.cor_mask),
        sub_channel: row.sub_channel.unwrap_or(0),
        cvme_count: row.cvme_count.unwrap_or(0),
    })))
}

pub(super) fn general_media(row: bindings::CxlGeneralMediaEvent) -> Result<Record, String> {
    Ok(Record::CxlGeneralMedia(Box::new(CxlGeneralMedia {
        media: media(row.media)?,
        device: row.device.unwrap_or(0),
        cme_count: row.cme_count.unwrap_or(0),
    })))
}

fn media(row: bindings::CxlMedia) -> Result<CxlMedia, String> {
    // Without what it must hold, zeros would tell of a corrected error.
    let descriptor = row.descriptor.ok_or("it has no descriptor")?;
    let kind = row.kind.ok_or("it has no type")?;
    // Where they are equal this one was written over: see the bindings.
    let hdr_uuid = row.hdr_uuid.filter(|uuid| row.region_uuid.as_ref() != Some(uuid));
    Ok(CxlMedia {
        memdev: row.memdev.unwrap_or_default(),
        host: row.host.unwrap_or_default(),
        serial: row.serial.unwrap_or(0),
        log: log(row.log_type)?,
        hdr_uuid: uuid("hdr_uuid", hdr_uuid)?,
        hdr_flags: row.hdr_flags.unwrap_or(0),
        hdr_handle: row.hdr_handle.unwrap_or(0),
        hdr_related_handle: row.hdr_related_handle.unwrap_or(0),
        hdr_timestamp: u64::try_from(nanos(row.hdr_ts.unwrap_or(0))).unwrap_or(0),
        hdr_length: row.hdr_length.unwrap_or(0),
        hdr_maint_op_class: row.hdr_maint_op_class.unwrap_or(0),
        hdr_maint_op_sub_class: row.hdr_maint_op_sub_class.unwrap_or(0),
        dpa: row.dpa.unwrap_or(0),
        dpa_flags: row.dpa_flags.unwrap_or(0),
        descriptor,
        kind,
        sub_type: row.sub_type.unwrap_or(0),
        transaction_type: row.transaction_type.unwrap_or(0),
        // Not in the database: which of the fields mean something is not known.
        validity_flags: 0,
        channel: row.channel.unwrap_or(0),
        rank: row.rank.unwrap_or(0),
        comp_id: bytes(row.comp_id),
        hpa: row.hpa.map(PhysAddr),
        hpa_alias0: row.hpa_alias0.map(PhysAddr),
        region_name: row.region.unwrap_or_default(),
        region_uuid: uuid("region_uuid", row.region_uuid)?,
        cme_threshold_ev_flags: row.cme_threshold_ev_flags.unwrap_or(0),
    })
}

/// The numbers of enum cxl_event_log_type (drivers/cxl/cxlmem.h)
/// behind rasdaemon's words (`ras-cxl-handler.c`).
const LOGS: &[&str] = &["Informational", "Warning", "Failure", "Fatal"];

/// What is in none of them is -1.
fn log(found: Option<String>) -> Result<i32, String> {
    match found.as_deref() {
        None | Some("Unknown") => Ok(-1),
        Some(_) => number(LOGS, "log_type", found).map(i32::from),
    }
}

fn uuid(column: &str, found: Option<String>) -> Result<Uuid, String> {
    let Some(text) = found else { return Ok(Uuid::nil()) };
    Uuid::parse_str(&text).map_err(|why| format!("{column} is no UUID: {why}"))
}
