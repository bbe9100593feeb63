//! What firmware told of errors. What a row does not hold stays as the model has
//! it for unknown.

use super::table::number;
use bulkhead_core::model::{ArmEvent, Bytes, ExtlogMemEvent, NonStandardEvent, Record};
use rasdaemon_bindings as bindings;
use uuid::Uuid;

/// `pa_mask_lsb` is not in the database.
pub(super) fn extlog(row: bindings::ExtlogEvent) -> Result<Record, String> {
    let unknown = ExtlogMemEvent::default();
    Ok(Record::Extlog(ExtlogMemEvent {
        err_seq: row.err_seq.unwrap_or(unknown.err_seq),
        etype: row.etype.unwrap_or(unknown.etype),
        sev: row.severity.unwrap_or(unknown.sev),
        pa: row.address.unwrap_or(unknown.pa),
        pa_mask_lsb: unknown.pa_mask_lsb,
        fru_id: guid(row.fru_id),
        fru_text: row.fru_text.unwrap_or_default(),
        data: bytes(row.cper_data),
    }))
}

pub(super) fn non_standard(row: bindings::NonStandardEvent) -> Result<Record, String> {
    Ok(Record::NonStandard(NonStandardEvent {
        sec_type: guid(row.sec_type),
        fru_id: guid(row.fru_id),
        fru_text: row.fru_text.unwrap_or_default(),
        sev: number(SEVERITIES, "severity", row.severity)?,
        buf: bytes(row.error),
    }))
}

/// MIDR, the severity and the kernel's number of the CPU are not in the database.
pub(super) fn arm(row: bindings::ArmEvent) -> Result<Record, String> {
    let unknown = ArmEvent::default();
    Ok(Record::Arm(ArmEvent {
        mpidr: row.mpidr.unwrap_or(unknown.mpidr),
        running_state: row.running_state.unwrap_or(unknown.running_state),
        psci_state: row.psci_state.unwrap_or(unknown.psci_state),
        affinity: row.affinity.unwrap_or(unknown.affinity),
        pei_buf: bytes(row.err_info),
        ctx_buf: bytes(row.context_info),
        oem_buf: bytes(row.vendor_info),
        ..unknown
    }))
}

/// The numbers of GHES (include/acpi/ghes.h) behind rasdaemon's words
/// (`ras-non-standard-handler.c`).
const SEVERITIES: &[&str] = &["Informational", "Corrected", "Recoverable", "Fatal"];

fn guid(bytes: Option<[u8; 16]>) -> Uuid {
    bytes.map(Uuid::from_bytes_le).unwrap_or_default()
}

/// No buffer is an empty one.
pub(super) fn bytes(found: Option<Vec<u8>>) -> Bytes {
    Bytes(found.unwrap_or_default())
}
