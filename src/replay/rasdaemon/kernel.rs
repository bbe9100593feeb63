//! What the kernel itself told of errors.

use super::table::number;
use bulkhead_core::model::{McEvent, MceRecord, MemoryFailure, Pfn, Record};
use rasdaemon_bindings as bindings;

/// SYND and IPID are not in the database, and stay zero.
pub(super) fn machine_check(row: bindings::MceRecord) -> Result<Record, String> {
    Ok(Record::Mce(MceRecord {
        status: row.status.unwrap_or(0),
        addr: row.addr.unwrap_or(0),
        misc: row.misc.unwrap_or(0),
        mcgcap: u64::from(row.mcgcap.unwrap_or(0)),
        mcgstatus: u64::from(row.mcgstatus.unwrap_or(0)),
        synd: 0,
        ipid: 0,
        ip: row.ip.unwrap_or(0),
        ppin: row.ppin.unwrap_or(0),
        time: row.walltime.unwrap_or(0),
        cpu: row.cpu.unwrap_or(0),
        cpuid: row.cpuid.unwrap_or(0),
        apicid: row.apicid.unwrap_or(0),
        socketid: row.socketid.unwrap_or(0),
        microcode: row.microcode.unwrap_or(0),
        bank: row.bank.unwrap_or(0),
        cpuvendor: row.cpuvendor.unwrap_or(0),
    }))
}

pub(super) fn memory_error(row: bindings::McEvent) -> Result<Record, String> {
    Ok(Record::MemoryController(McEvent {
        error_type: number(ERROR_TYPES, "err_type", row.err_type)?,
        error_count: row.err_count.unwrap_or(0),
        mc_index: row.mc.unwrap_or(0),
        top_layer: row.top_layer.unwrap_or(-1),
        middle_layer: row.middle_layer.unwrap_or(-1),
        lower_layer: row.lower_layer.unwrap_or(-1),
        address: row.address.unwrap_or(0),
        grain_bits: row.grain.unwrap_or(0),
        syndrome: row.syndrome.unwrap_or(0),
        msg: row.err_msg.unwrap_or_default(),
        label: row.label.unwrap_or_default(),
        driver_detail: row.driver_detail.unwrap_or_default(),
    }))
}

pub(super) fn memory_failure(row: bindings::MemoryFailureEvent) -> Result<Record, String> {
    Ok(Record::MemoryFailure(MemoryFailure {
        pfn: row.pfn.map(Pfn).ok_or("it names no page")?,
        // Only words tell the kind of page here; nothing is decided by it.
        page_type: -1,
        result: number(RESULTS, "action_result", row.action_result)?.into(),
    }))
}

/// The numbers of enum hw_event_mc_err_type (include/linux/edac.h) behind
/// rasdaemon's words (`ras-mc-handler.c`).
const ERROR_TYPES: &[&str] = &["Corrected", "Uncorrected", "Deferred", "Fatal", "Info"];

/// The numbers of enum mf_result (include/linux/mm.h) behind rasdaemon's words
/// (`ras-memory-failure-handler.c`).
const RESULTS: &[&str] = &["Ignored", "Failed", "Delayed", "Recovered"];
