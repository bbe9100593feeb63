//! A raw record in one line, for `explain` and `events`.

use bulkhead_core::model::{Component, LoggedError, McEvent, MceRecord, Record};

/// MCi_STATUS.ADDRV: MCi_ADDR holds an address (SDM vol. 3B,
/// IA32_MCi_STATUS MSRs).
const ADDRV: u64 = 1 << 58;

/// What a hardware engineer looks for first.
pub(super) fn line(record: &Record) -> String {
    match record {
        Record::Mce(mce) => machine_check(mce),
        Record::MemoryController(event) => memory_error(event),
        Record::MemoryFailure(failure) => {
            let result = match failure.result {
                0 => "ignored",
                1 => "failed",
                2 => "delayed",
                3 => "recovered",
                _ => "unknown result",
            };
            format!("memory_failure() of page frame {:#x}: {result}", failure.pfn.0)
        }
        Record::Logged(error) => logged(error),
    }
}

fn machine_check(mce: &MceRecord) -> String {
    let mut line = format!(
        "machine check in bank {}, read by CPU {}, status {:#x}",
        mce.bank, mce.cpu, mce.status
    );
    if mce.status & ADDRV != 0 {
        line += &format!(", address {:#x}", mce.addr);
    }
    line
}

fn logged(error: &LoggedError) -> String {
    let kind = if error.uncorrected { "uncorrected" } else { "corrected" };
    let component = Component::Rank { place: error.place, label: String::new() };
    let mut line = format!("{kind} memory error, {component}");
    if let Some(addr) = error.addr {
        line += &format!(", address {addr}");
    }
    line
}

fn memory_error(event: &McEvent) -> String {
    let kind = match event.error_type {
        0 => "corrected",
        1 => "uncorrected",
        2 => "deferred",
        3 => "fatal",
        _ => "other",
    };
    let mut line = format!("{kind} memory error on mc{}", event.mc_index);
    if event.address != 0 {
        line += &format!(", address {:#x}", event.address);
    }
    for text in [&event.label, &event.msg, &event.driver_detail] {
        let text = text.trim();
        if !text.is_empty() {
            line += &format!(", {text}");
        }
    }
    line
}
