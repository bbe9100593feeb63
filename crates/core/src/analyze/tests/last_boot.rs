//! What a kernel that died left behind.

use super::*;
use uuid::Uuid;

/// Uncorrected memory read that left the context corrupt.
const FATAL: u64 = 0xbe00_0000_0000_009f;

/// The host in the boot that ended.
fn then() -> Machine {
    Machine { memory: MemoryConfigId(Uuid::from_u128(7)), ..machine() }
}

fn died(record: Record) -> Report {
    report(Source::Pstore, record, 0)
}

fn found(record: Record) -> Vec<Finding> {
    analyzer().observe(&died(record), &then()).findings
}

#[test]
fn the_page_that_ended_the_last_boot_is_a_fault_of_the_memory_it_had() {
    let findings = found(Record::Mce(dram(FATAL, 0x1234_5000)));
    let home = Home::Memory(MemoryConfigId(Uuid::from_u128(7)));
    let response = Response::TakeFreePage { pfn: Pfn(0x12345), home };
    assert_eq!(verdicts(&findings), [("page-fatal", response)]);
    let fault = &findings[0].fault;
    assert_eq!((fault.severity, fault.errors), (Severity::Critical, 1));
    assert_eq!(fault.evidence[0].source, Source::Pstore);
    assert!(fault.summary.contains("ended the boot before"), "{}", fault.summary);
}

#[test]
fn its_address_is_believed_as_a_live_ones_is() {
    let page = dram(FATAL, 0x1234_5000);
    let amd = MceRecord { cpuvendor: 2, cpuid: 0x00a0_0f11, ..page.clone() };
    let amds = Machine { vendor: Vendor::Amd, family: 0x19, model: 1, ..then() };
    for (what, record, machine) in [
        ("no ADDRV", MceRecord { status: FATAL & !(1 << 58), ..page.clone() }, then()),
        ("a grain above a page", MceRecord { misc: 0x8d, ..page.clone() }, then()),
        ("no physical address", MceRecord { misc: 0x4c, ..page.clone() }, then()),
        ("normalized, AMD's", amd, amds),
    ] {
        let findings = analyzer().observe(&died(Record::Mce(record)), &machine).findings;
        let took = |f: &Finding| matches!(f.response, Response::TakeFreePage { .. });
        assert!(!findings.iter().any(took), "{what}: {findings:?}");
    }
}

#[test]
fn what_was_corrected_ended_nothing() {
    assert_eq!(found(Record::Mce(dram(CE, 0x1234_5000))), []);
}

#[test]
fn a_cores_fatal_error_is_told_and_nothing_taken() {
    // L1 data, context corrupt.
    let findings = found(Record::Mce(on_cpu(1, 1, 0xb200_0000_0000_0135)));
    assert_eq!(verdicts(&findings), [("cpu-ue", Response::Escalate)]);
}

#[test]
fn firmwares_fatal_memory_error_counts_as_well() {
    let event = ExtlogMemEvent {
        sev: 1,
        etype: 3,
        pa: 0x1234_5040,
        pa_mask_lsb: 6,
        fru_text: "A2".to_owned(),
        data: Bytes(vec![0; 55]),
        ..Default::default()
    };
    let findings = found(Record::Extlog(event.clone()));
    assert_eq!(findings[0].fault.rule.id, "page-fatal");
    assert!(findings[0].fault.fru.as_deref().is_some_and(|fru| fru.contains("A2")));
    let nowhere = ExtlogMemEvent { pa_mask_lsb: 64, ..event };
    assert_eq!(verdicts(&found(Record::Extlog(nowhere))), [("memory-ue", Response::Escalate)]);
}

#[test]
fn a_fault_that_is_open_gets_the_error_and_its_page_is_known() {
    let mut analyzer = analyzer();
    feed(&mut analyzer, &then(), [&mce(dram(UE, 0x1234_5000), 0)]);
    let seen = analyzer.observe(&died(Record::Mce(dram(FATAL, 0x1234_5000))), &then());
    assert_eq!((seen.findings.len(), seen.updated.len()), (0, 1));
    assert_eq!((seen.page, seen.updated[0].errors), (Some(Pfn(0x12345)), 2));
}

#[test]
fn a_restart_knows_the_fault_by_its_evidence() {
    let findings = found(Record::Mce(dram(FATAL, 0x1234_5000)));
    let mut analyzer = analyzer();
    analyzer.restore(std::iter::empty(), [&findings[0].fault].into_iter(), &then());
    let again = feed(&mut analyzer, &then(), [&mce(dram(UE, 0x1234_5000), HOUR)]);
    assert_eq!(again, [], "its open fault has it");
}
