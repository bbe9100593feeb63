use super::*;

const ADDR: u64 = 0x800_0000;
const PAGE: Pfn = Pfn(0x8000);

fn fired(reports: &[Report]) -> Vec<Finding> {
    feed(&mut analyzer(), &machine(), reports)
}

#[test]
fn a_second_error_within_24_hours_takes_the_page() {
    let findings = fired(&[mce(dram(CE, ADDR), 0), mce(dram(CE, ADDR + 0x40), 24 * HOUR)]);
    assert_eq!(verdicts(&findings), [("page-ce", Response::TakePage(PAGE))]);
    let fault = &findings[0].fault;
    assert_eq!((fault.errors, fault.evidence.len()), (2, 2));
    assert_eq!((fault.first, fault.last), (stamp(0), stamp(24 * HOUR)));
    assert!(fault.decision.contains("page 0x8000000"), "{}", fault.decision);
    assert_eq!(
        fault.rule.numbers,
        [("errors".into(), "2".into()), ("window".into(), "24h".into())]
    );
}

#[test]
fn a_second_error_after_24_hours_does_not_take_the_page() {
    assert_eq!(fired(&[mce(dram(CE, ADDR), 0), mce(dram(CE, ADDR), 24 * HOUR + 1)]), []);
}

#[test]
fn a_fault_begins_with_the_first_error_of_its_window() {
    let findings = fired(&[
        mce(dram(CE, ADDR), 0),
        mce(dram(CE, ADDR), 30 * HOUR),
        mce(dram(CE, ADDR), 31 * HOUR),
    ]);
    assert_eq!(findings[0].fault.first, stamp(30 * HOUR));
    assert_eq!(findings[0].fault.errors, 2);
}

#[test]
fn what_has_left_the_window_is_no_evidence() {
    let mut rules = rules();
    rules.page.errors = 3;
    let reports = [0, 20, 30, 40].map(|hour| mce(dram(CE, ADDR), hour * HOUR));
    let findings = feed(&mut Analyzer::new(rules), &machine(), &reports);
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].fault.first, findings[0].fault.errors), (stamp(20 * HOUR), 3));
}

#[test]
fn errors_of_two_pages_do_not_add_up() {
    assert_eq!(fired(&[mce(dram(CE, ADDR), 0), mce(dram(CE, ADDR + 4096), 1)]), []);
}

#[test]
fn an_aggregated_report_of_two_records_fires_by_itself() {
    let findings = fired(&[aggregate(mce(dram(CE, ADDR), 0), 2, SECOND)]);
    assert_eq!(verdicts(&findings), [("page-ce", Response::TakePage(PAGE))]);
}

#[test]
fn records_of_a_long_downtime_are_not_assumed_near_each_other() {
    assert_eq!(fired(&[aggregate(mce(dram(CE, ADDR), 0), 5, 25 * HOUR)]), []);
}

#[test]
fn a_record_that_counts_many_errors_is_one_observation() {
    let mut reports = [mc_event(McEvent { error_count: 500, ..edac(ADDR) }, 0)];
    reports[0].errors = 500;
    assert_eq!(fired(&reports), []);
}

#[test]
fn one_error_that_two_sources_tell_of_is_one_observation() {
    assert_eq!(fired(&[mce(dram(CE, ADDR), 0), mc_event(edac(ADDR), 1000)]), []);
}

#[test]
fn mc_event_alone_takes_the_page_and_names_the_dimm() {
    let findings = fired(&[mc_event(edac(ADDR), 0), mc_event(edac(ADDR), 10)]);
    assert_eq!(verdicts(&findings), [("page-ce", Response::TakePage(PAGE))]);
    assert_eq!(findings[0].fault.fru.as_deref(), Some("CPU_SrcID#0_MC#0_Chan#0_DIMM#0"));
}

#[test]
fn a_label_of_several_dimms_names_them_all() {
    let event = McEvent { label: "DIMM_A or DIMM_B".into(), ..edac(ADDR) };
    let findings = fired(&[aggregate(mc_event(event, 0), 2, 1)]);
    assert_eq!(findings[0].fault.fru.as_deref(), Some("DIMM_A or DIMM_B"));
}

#[test]
fn a_label_that_says_unknown_names_no_dimm() {
    for label in ["", "any memory", "unknown memory", "unknown label"] {
        let event = McEvent { label: label.into(), ..edac(ADDR) };
        let findings = fired(&[aggregate(mc_event(event, 0), 2, 1)]);
        assert_eq!(findings[0].fault.fru, None, "{label}");
    }
}

#[test]
fn a_dimm_that_the_host_knows_is_named_as_it_is_found_in_the_box() {
    let at = |slot| DimmId {
        controller: Some(0),
        channel: Some(1),
        slot: Some(slot),
        ..DimmId::default()
    };
    let dimm = |slot, locator: &str| Dimm {
        id: Some(at(slot)),
        locator: Some(locator.into()),
        serial: Some("2f31".into()),
        part: Some("M393A4K40".into()),
        ..Dimm::default()
    };
    let host = Machine { dimms: vec![dimm(0, "A1"), dimm(1, "A2")], ..machine() };
    let event = McEvent {
        top_layer: 1,
        middle_layer: 1,
        driver_detail: "err_code:0101:0090 socket:0 imc:0 rank:0 bg:2 ba:2 row:8d49 col:210".into(),
        ..edac(ADDR)
    };
    let findings = feed(&mut analyzer(), &host, [&aggregate(mc_event(event, 0), 2, 1)]);
    let part = "DIMM A2 (serial 2f31, part M393A4K40)";
    assert_eq!(findings[0].fault.fru.as_deref(), Some(part));
    assert!(findings[0].fault.advice.contains(part), "{}", findings[0].fault.advice);
}

#[test]
fn a_row_is_named_by_the_label_that_its_errors_have_where_the_host_knows_no_dimm() {
    let row = |label: &str| {
        let at = |column: u64, hour| {
            let driver_detail = format!(
                "err_code:0101:0090 socket:0 imc:0 rank:0 bg:2 ba:2 row:8d49 col:{column:x}"
            );
            let label = label.into();
            let (top_layer, middle_layer) = (1, 0);
            let address = ADDR + column * 64;
            mc_event(
                McEvent { label, top_layer, middle_layer, driver_detail, ..edac(address) },
                hour * HOUR,
            )
        };
        let findings = feed(&mut analyzer(), &machine(), [&at(0x100, 0), &at(0x200, 1)]);
        findings[0].fault.component.to_string()
    };
    let place = "row 0x8d49, bank 2, bank group 2, rank 0 of";
    let dimm = "socket 0 mc0 channel 1 slot 0";
    assert_eq!(row("CPU0_A1"), format!("{place} DIMM CPU0_A1 ({dimm})"));
    for none in ["", "unknown memory", "A1 or B1"] {
        assert_eq!(row(none), format!("{place} DIMM at {dimm}"), "{none}");
    }
}

#[test]
fn firmware_first_errors_have_an_address_on_every_vendor() {
    let amd = Machine { vendor: Vendor::Amd, family: 0x19, model: 1, ..machine() };
    let record = MceRecord { bank: 255, cpuvendor: 2, cpu: 0xffff, ..dram(CE, ADDR) };
    let findings = feed(&mut analyzer(), &amd, [&aggregate(mce(record, 0), 2, 1)]);
    assert_eq!(verdicts(&findings), [("page-ce", Response::TakePage(PAGE))]);
}

#[test]
fn an_amd_memory_controllers_address_is_never_used() {
    let amd = Machine { vendor: Vendor::Amd, family: 0x17, model: 1, ..machine() };
    let record = MceRecord {
        bank: 15,
        cpuvendor: 2,
        cpuid: 0x0080_0f12,
        ipid: 0x96 << 32,
        status: 0x9c00_0000_0000_011b,
        ..dram(0, ADDR)
    };
    let seen = analyzer().observe(&aggregate(mce(record, 0), 5, 1), &amd);
    assert_eq!((seen.page, seen.findings, seen.counted), (None, vec![], 5));
}

#[test]
fn an_address_that_is_none_takes_no_page() {
    let (ce, event) = (dram(CE, ADDR), edac(ADDR));
    for (what, report) in [
        ("grain above a page", mce(MceRecord { misc: 0x8d, ..ce.clone() }, 0)),
        ("not a physical address", mce(MceRecord { misc: 0x0c, ..ce.clone() }, 0)),
        ("no MISCV", mce(MceRecord { status: CE & !(1 << 59), ..ce.clone() }, 0)),
        ("no ADDRV", mce(MceRecord { status: CE & !(1 << 58), ..ce.clone() }, 0)),
        ("beyond the address width", mce(MceRecord { addr: 1 << 46, ..ce.clone() }, 0)),
        ("near memory", mce(MceRecord { status: CE & !0xffff | 0x28f, ..ce.clone() }, 0)),
        ("a cache's address", mce(MceRecord { status: CE & !0xffff | 0x135, bank: 4, ..ce }, 0)),
        ("mc_event without an address", mc_event(McEvent { address: 0, ..event.clone() }, 0)),
        ("mc_event of a coarse grain", mc_event(McEvent { grain_bits: 13, ..event.clone() }, 0)),
        ("mc_event beyond the width", mc_event(McEvent { address: 1 << 50, ..event.clone() }, 0)),
        ("mc_event for information", mc_event(McEvent { error_type: 4, ..event.clone() }, 0)),
        ("mc_event of no known type", mc_event(McEvent { error_type: 9, ..event }, 0)),
    ] {
        let seen = analyzer().observe(&aggregate(report, 2, 1), &machine());
        assert_eq!((seen.page, verdicts(&seen.findings)), (None, vec![]), "{what}");
    }
}

#[test]
fn an_uncorrected_error_is_memory_failures_page_at_once() {
    for report in [
        mce(dram(UE, ADDR), 0),
        mce(dram(0xbd80_0000_0000_0134, ADDR), 0),
        mc_event(McEvent { error_type: 1, ..edac(ADDR) }, 0),
        mc_event(McEvent { error_type: 2, ..edac(ADDR) }, 0),
        mc_event(McEvent { error_type: 3, ..edac(ADDR) }, 0),
    ] {
        let findings = fired(&[report]);
        assert_eq!(verdicts(&findings), [("page-ue", Response::EnsureFailedPage(PAGE))]);
        assert_eq!(findings[0].fault.severity, Severity::Critical);
        assert_eq!(findings[0].fault.errors, 1);
    }
}

#[test]
fn a_page_with_an_uncorrected_error_is_never_soft_offlined() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let ue = analyzer.observe(&mce(dram(UE, ADDR), 0), &machine).findings.remove(0).fault;
    for at in 1..10 {
        let seen = analyzer.observe(&mce(dram(CE, ADDR), at * HOUR), &machine);
        assert_eq!(seen.findings, []);
        assert_eq!((seen.updated[0].fault, seen.updated[0].errors), (ue.id, 1 + at));
    }
}

#[test]
fn an_uncorrected_error_after_the_page_fault_is_a_fault_of_its_own() {
    let findings = fired(&[aggregate(mce(dram(CE, ADDR), 0), 2, 1), mce(dram(UE, ADDR), HOUR)]);
    assert_eq!(
        verdicts(&findings),
        [("page-ce", Response::TakePage(PAGE)), ("page-ue", Response::EnsureFailedPage(PAGE))]
    );
    assert_ne!(findings[0].fault.id, findings[1].fault.id);
}

#[test]
fn an_uncorrected_memory_error_without_an_address_is_a_humans() {
    let findings = fired(&[mce(dram(UE & !(1 << 58), 0), 0)]);
    assert_eq!(verdicts(&findings), [("memory-ue", Response::Escalate)]);
}

#[test]
fn an_amd_deferred_error_is_no_corrected_one() {
    let amd = Machine { vendor: Vendor::Amd, family: 0x17, model: 1, ..machine() };
    let record = MceRecord {
        cpuvendor: 2,
        cpuid: 0x0080_0f12,
        ipid: 0x96 << 32,
        status: 0x9c00_1000_0000_011b,
        ..dram(0, ADDR)
    };
    let findings = feed(&mut analyzer(), &amd, [&mce(record, 0)]);
    assert_eq!(verdicts(&findings), [("memory-ue", Response::Escalate)]);
}

#[test]
fn many_errors_without_a_page_are_reported() {
    let event = McEvent { address: 0, ..edac(0) };
    assert_eq!(fired(&[aggregate(mc_event(event.clone(), 0), 11, 1)]), []);
    let findings = fired(&[aggregate(mc_event(event, 0), 12, 1)]);
    assert_eq!(verdicts(&findings), [("memory-ce", Response::Report)]);
    assert_eq!(findings[0].fault.severity, Severity::Minor);
}

#[test]
fn machine_checks_whose_decode_has_a_place_are_not_without_one() {
    let (mut analyzer, machine) = (analyzer(), machine());
    for n in 0..40u64 {
        let at = n * 2 * SECOND;
        let placeless = MceRecord { misc: 0, ..dram(CE, 0) };
        let decode = Report { decodes: 1, ..mc_event(edac(ADDR + n * 4096), at) };
        assert_eq!(feed(&mut analyzer, &machine, [&mce(placeless, at), &decode]), []);
    }
}

#[test]
fn an_open_fault_counts_on_and_does_not_fire_again() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let fault =
        feed(&mut analyzer, &machine, [&aggregate(mce(dram(CE, ADDR), 0), 2, 1)]).remove(0).fault;
    let mut kept = fault.evidence.len();
    for n in 1..=30 {
        let seen = analyzer.observe(&mce(dram(CE, ADDR), n * SECOND), &machine);
        assert_eq!(seen.findings, []);
        let update = &seen.updated[0];
        assert_eq!(
            (update.fault, update.errors, update.last),
            (fault.id, 2 + n, stamp(n * SECOND))
        );
        kept += usize::from(update.evidence.is_some());
    }
    assert_eq!(kept, Fault::MAX_EVIDENCE);
}

#[test]
fn of_a_storm_a_fault_keeps_the_first_pieces_of_evidence_and_one_a_second() {
    const MS: u64 = SECOND / 1_000;
    let (mut analyzer, machine) = (analyzer(), machine());
    feed(&mut analyzer, &machine, [&aggregate(mce(dram(CE, ADDR), 0), 2, 1)]);
    let mut kept = Vec::new();
    for n in (100..=2_500).step_by(100) {
        let seen = analyzer.observe(&mce(dram(CE, ADDR), n * MS), &machine);
        assert_eq!(seen.updated[0].errors, 2 + n / 100);
        kept.extend(seen.updated[0].evidence.iter().map(|_| n));
    }
    assert_eq!(kept, [100, 200, 300, 1_300, 2_300]);
}
