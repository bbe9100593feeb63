//! A raw record in one line, for `explain` and `events`.

use bulkhead_core::analyze::dram::place;
use bulkhead_core::analyze::mce;
use bulkhead_core::model::{
    ArmEvent, CxlDram, CxlMedia, DramPlace, ExtlogMemEvent, LoggedError, McEvent, MceRecord,
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
    let mut line = format!("machine check, {}", mce::describe(mce));
    if mce.status & ADDRV != 0 {
        line += &format!(", address {:#x}", mce.addr);
    }
    line + &format!(", read by CPU {}, status {:#x}", mce.cpu, mce.status)
}

fn logged(error: &LoggedError) -> String {
    let kind = if error.uncorrected { "uncorrected" } else { "corrected" };
    let mut line = format!("{kind} memory error");
    if let Some(addr) = error.addr {
        line += &format!(", address {addr}");
    }
    line + &format!(", DIMM at {}", error.place.dimm) + &inside(&error.place)
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
    for text in [&event.label, &event.msg] {
        line = with_text(line, text);
    }
    match place::of_detail(&event.driver_detail).map(|place| inside(&place)) {
        Some(place) if !place.is_empty() => line + &place,
        _ => with_text(line, &event.driver_detail),
    }
}

/// Where inside a DIMM, in the words of `faults`, after a comma; empty where
/// nothing is known of it.
fn inside(place: &DramPlace) -> String {
    let mut words = Vec::new();
    let numbers = place.inside();
    if !numbers.is_empty() {
        words.push(numbers);
    }
    if let Some(bits) = place.bits {
        words.push(format!("wrong bits on {} DQ in {} beats", bits.dqs(), bits.beats()));
    }
    words.iter().map(|word| format!(", {word}")).collect()
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
    with_text(line, &event.fru_text)
}

fn non_standard(event: &NonStandardEvent) -> String {
    let line = format!(
        "firmware's section {} ({} bytes), severity {}",
        event.sec_type,
        event.buf.len(),
        event.sev
    );
    with_text(line, &event.fru_text)
}

fn with_text(mut line: String, text: &str) -> String {
    let text = text.trim();
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
    use bulkhead_core::model::{BitPattern, Bytes, CxlGeneralMedia, DimmId, PhysAddr};

    #[test]
    fn a_machine_check_is_decoded_and_the_raw_status_kept() {
        let record = MceRecord {
            status: 0x8c00_0000_0000_0135,
            addr: 0x1000,
            bank: 1,
            cpu: 3,
            ..MceRecord::default()
        };
        assert_eq!(
            line(&Record::Mce(record)),
            "machine check, bank 1: L1 data cache error on data read, corrected, address 0x1000, \
             read by CPU 3, status 0x8c00000000000135"
        );
    }

    #[test]
    fn a_drivers_text_is_told_as_a_place_and_as_it_is_where_it_is_of_no_known_dialect() {
        let event = |driver_detail: &str| {
            let label = "A7".to_owned();
            let driver_detail = driver_detail.to_owned();
            Record::MemoryController(McEvent { label, driver_detail, ..McEvent::default() })
        };
        for (detail, told) in [
            (
                " err_code:0x0101:0x0090 socket:1 imc:0 rank:0 bg:2 ba:1 row:0x8d49 col:0x210",
                "row 0x8d49, column 0x210, bank 1, bank group 2, rank 0",
            ),
            (
                "APEI location: node:0 card:2 module:0 rank:1 bank:3 row:5 col:9",
                "row 0x5, column 0x9, bank 3, rank 1",
            ),
            ("area:DRAM err_code:0001:0090 socket:0 channel_mask:4 rank:1", "rank 1"),
            // Its far memory's names say nothing of an error in the near one.
            ("err_code:0x0101:0x0290 imc:0 rank:0", "err_code:0x0101:0x0290 imc:0 rank:0"),
            ("csrow: 3", "csrow: 3"),
        ] {
            assert_eq!(line(&event(detail)), format!("corrected memory error on mc0, A7, {told}"));
        }
        assert_eq!(line(&event("")), "corrected memory error on mc0, A7");
    }

    #[test]
    fn a_decoded_error_of_a_log_is_told_with_its_place_and_bits() {
        let dimm = DimmId { socket: Some(0), channel: Some(1), ..DimmId::default() };
        let place = DramPlace { dimm, row: Some(5), rank: Some(0), ..DramPlace::default() };
        let bits = Some(BitPattern(0x000d_0009));
        for (error, told) in [
            (
                LoggedError {
                    addr: Some(PhysAddr(0x1000)),
                    place: DramPlace { bits, ..place },
                    ..LoggedError::default()
                },
                "corrected memory error, address 0x1000, DIMM at socket 0 channel 1, row 0x5, \
                 rank 0, wrong bits on 3 DQ in 2 beats",
            ),
            (
                LoggedError {
                    uncorrected: true,
                    place: DramPlace { dimm, ..DramPlace::default() },
                    ..LoggedError::default()
                },
                "uncorrected memory error, DIMM at socket 0 channel 1",
            ),
        ] {
            assert_eq!(line(&Record::Logged(error)), told);
        }
    }

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
