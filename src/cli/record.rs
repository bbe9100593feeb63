//! A raw record in one line, for `explain` and `events`.

use bulkhead_core::model::{
    ArmEvent, Component, CxlDram, CxlMedia, ExtlogMemEvent, LoggedError, McEvent, MceRecord,
    NonStandardEvent, Record,
};

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
        Record::Extlog(event) => extlog(event),
        Record::NonStandard(event) => non_standard(event),
        Record::Arm(event) => arm(event),
        Record::CxlDram(event) => cxl_dram(event),
        Record::CxlGeneralMedia(event) => cxl_media(&event.media),
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

/// Severity of a CPER section (include/linux/cper.h, CPER_SEV_*).
fn cper_severity(sev: u8) -> &'static str {
    match sev {
        0 => "recoverable",
        1 => "fatal",
        2 => "corrected",
        3 => "informational",
        _ => "unknown severity",
    }
}

/// Severity as GHES hands it on (include/acpi/ghes.h, GHES_SEV_*).
fn ghes_severity(sev: u8) -> &'static str {
    match sev {
        0 => "informational",
        1 => "corrected",
        2 => "recoverable",
        _ => "fatal",
    }
}

fn extlog(event: &ExtlogMemEvent) -> String {
    let mut line = format!("firmware's {} memory error", cper_severity(event.sev));
    if event.pa != u64::MAX {
        line += &format!(", address {:#x}", event.pa);
    }
    of_part(line, &event.fru_text)
}

fn non_standard(event: &NonStandardEvent) -> String {
    let line = format!(
        "firmware's section {} ({} bytes), severity {}",
        event.sec_type,
        event.buf.len(),
        event.sev
    );
    of_part(line, &event.fru_text)
}

fn of_part(mut line: String, fru_text: &str) -> String {
    let text = fru_text.trim();
    if !text.is_empty() {
        line += &format!(", {text}");
    }
    line
}

fn arm(event: &ArmEvent) -> String {
    let mut line = "ARM processor error".to_owned();
    if let Some(sev) = event.sev {
        line = format!("{} {line}", ghes_severity(sev));
    }
    match event.cpu {
        Some(cpu) if cpu >= 0 => line += &format!(" of CPU {cpu}"),
        _ => {}
    }
    line + &format!(", MPIDR {:#x}, MIDR {:#x}", event.mpidr, event.midr)
}

fn cxl_dram(event: &CxlDram) -> String {
    let CxlDram { bank_group, bank, row, column, .. } = event;
    cxl_media(&event.media)
        + &format!(", bank group {bank_group}, bank {bank}, row {row}, column {column}")
}

fn cxl_media(media: &CxlMedia) -> String {
    let log = match media.log {
        0 => "informational",
        1 => "warning",
        2 => "failure",
        3 => "fatal",
        _ => "unknown",
    };
    let mut line = format!(
        "CXL memory event of {} ({log} log), device address {:#x}",
        media.memdev, media.dpa
    );
    if let Some(hpa) = media.hpa.filter(|hpa| hpa.0 != u64::MAX) {
        line += &format!(", address {hpa}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_core::model::{Bytes, CxlGeneralMedia, PhysAddr};

    #[test]
    fn what_firmware_and_devices_tell_is_one_line_each() {
        let media = CxlMedia {
            memdev: "mem3".to_owned(),
            log: 2,
            dpa: 0x1000_0040,
            hpa: Some(PhysAddr(0x2_0000_0040)),
            ..CxlMedia::default()
        };
        let untranslated = CxlMedia { hpa: Some(PhysAddr(u64::MAX)), log: 0, ..media.clone() };
        for (record, expected) in [
            (
                Record::Extlog(ExtlogMemEvent {
                    sev: 2,
                    pa: 0x8000_0000,
                    fru_text: "DIMM A1 ".to_owned(),
                    ..ExtlogMemEvent::default()
                }),
                "firmware's corrected memory error, address 0x80000000, DIMM A1",
            ),
            (Record::Extlog(ExtlogMemEvent::default()), "firmware's informational memory error"),
            (
                Record::NonStandard(NonStandardEvent {
                    sev: 1,
                    buf: Bytes(vec![1, 2]),
                    ..NonStandardEvent::default()
                }),
                "firmware's section 00000000-0000-0000-0000-000000000000 (2 bytes), severity 1",
            ),
            (
                Record::Arm(ArmEvent {
                    mpidr: 0x100,
                    sev: Some(1),
                    cpu: Some(4),
                    ..ArmEvent::default()
                }),
                "corrected ARM processor error of CPU 4, MPIDR 0x100, MIDR 0x0",
            ),
            (
                Record::Arm(ArmEvent { cpu: Some(-1), ..ArmEvent::default() }),
                "ARM processor error, MPIDR 0x0, MIDR 0x0",
            ),
            (
                Record::CxlDram(Box::new(CxlDram { media, row: 7, ..CxlDram::default() })),
                "CXL memory event of mem3 (failure log), device address 0x10000040, address \
                 0x200000040, bank group 0, bank 0, row 7, column 0",
            ),
            (
                Record::CxlGeneralMedia(Box::new(CxlGeneralMedia {
                    media: untranslated,
                    ..CxlGeneralMedia::default()
                })),
                "CXL memory event of mem3 (informational log), device address 0x10000040",
            ),
        ] {
            assert_eq!(line(&record), expected);
        }
    }
}
