use super::*;
use proptest::prelude::*;

const ADDR: u64 = 0x800_0000;

fn counted(reports: &[Report]) -> Vec<u64> {
    let (mut analyzer, machine) = (analyzer(), machine());
    reports.iter().map(|r| analyzer.observe(r, &machine).counted).collect()
}

#[test]
fn an_aggregated_record_of_500_adds_500() {
    assert_eq!(counted(&[aggregate(mce(dram(CE, ADDR), 0), 500, 1)]), [500]);
}

#[test]
fn a_record_adds_its_own_count() {
    assert_eq!(counted(&[mce(dram(CE | 7 << 38, ADDR), 0)]), [7]);
}

#[test]
fn two_sources_on_a_page_within_a_second_count_as_the_larger() {
    let mce = |n, at| aggregate(mce(dram(CE, ADDR), at), n, at);
    let event = |n, at| aggregate(mc_event(edac(ADDR), at), n, at);
    assert_eq!(counted(&[mce(2, 0), event(5, SECOND)]), [2, 3]);
    assert_eq!(counted(&[mce(2, 0), event(5, SECOND + 1)]), [2, 5]);
}

#[test]
fn a_decode_is_credited_to_the_machine_check_even_without_an_address() {
    let placeless = mce(MceRecord { misc: 0, ..dram(CE, ADDR) }, 0);
    let decode = Report { decodes: 1, ..mc_event(edac(ADDR), 0) };
    assert_eq!(counted(&[placeless, decode]), [1, 0]);
}

#[test]
fn the_part_of_a_report_that_decodes_nothing_is_credited() {
    let event = Report { decodes: 3, ..aggregate(mc_event(edac(ADDR), 0), 4, 0) };
    assert_eq!(counted(&[event]), [1]);
}

#[test]
fn a_decode_read_before_its_machine_check_still_counts_once() {
    let decode = Report { decodes: 1, ..mc_event(edac(ADDR), 0) };
    assert_eq!(counted(&[decode, mce(dram(CE, ADDR), 0)]), [0, 1]);
}

#[test]
fn a_memory_failure_that_follows_a_machine_check_is_no_new_error() {
    assert_eq!(counted(&[mce(dram(UE, ADDR), 0), memory_failure(0x8000, SECOND / 2)]), [1, 0]);
    assert_eq!(counted(&[memory_failure(0x8000, 0), mce(dram(UE, ADDR), 9)]), [1, 0]);
}

#[test]
fn a_memory_failure_alone_counts_and_is_no_fault() {
    let seen = analyzer().observe(&memory_failure(0x8000, 0), &machine());
    assert_eq!((seen.counted, seen.page, seen.findings), (1, Some(Pfn(0x8000)), vec![]));
}

#[test]
fn an_uncorrected_error_told_of_by_memory_failure_first_is_a_fault_of_one_error() {
    let findings =
        feed(&mut analyzer(), &machine(), [&memory_failure(0x8000, 0), &mce(dram(UE, ADDR), 9)]);
    assert_eq!(findings[0].fault.errors, 1);
}

#[test]
fn records_that_cannot_be_used_count_and_say_why() {
    let good = dram(CE, ADDR);
    for (what, report) in [
        ("VAL clear", mce(MceRecord { status: CE & !(1 << 63), ..good.clone() }, 0)),
        ("no error", mce(MceRecord { status: CE & !0xffff, ..good.clone() }, 0)),
        (
            "no error, uncorrected",
            mce(MceRecord { status: 0xa000_0000_0000_0000, ..good.clone() }, 0),
        ),
        ("undefined code", mce(MceRecord { status: CE & !0xffff | 0x2000, ..good.clone() }, 0)),
        ("software's bank", mce(MceRecord { bank: 128, ..good.clone() }, 0)),
        ("another vendor's", mce(MceRecord { cpuvendor: 2, ..good.clone() }, 0)),
        ("another source's", report(Source::McEvent, Record::Mce(good), 0)),
        ("a frame beyond memory", memory_failure(u64::MAX, 0)),
    ] {
        let seen = analyzer().observe(&report, &machine());
        assert!(seen.undecodable.is_some(), "{what}");
        assert_eq!((seen.counted, seen.page, seen.findings), (1, None, vec![]), "{what}");
    }
}

#[test]
fn a_report_of_no_records_does_nothing() {
    let report = Report { records: 0, ..mce(dram(UE, ADDR), 0) };
    let seen = analyzer().observe(&report, &machine());
    assert_eq!((seen.counted, seen.findings), (0, vec![]));
    assert!(seen.undecodable.is_some());
}

prop_compose! {
    fn any_report()(
        kind in 0usize..4,
        source in 0usize..3,
        (status, addr, misc, ipid) in any::<(u64, u64, u64, u64)>(),
        (bank, cpu, apicid, cpuid) in (any::<u8>(), 0u32..10, 0u32..24, prop::sample::select(vec![0, 0x50654, 0x80f12, u32::MAX])),
        cpuvendor in 0u8..3,
        (first, last, records, errors, decodes) in any::<(u64, u64, u64, u64, u64)>(),
        (error_type, grain_bits) in (0u8..6, any::<u8>()),
    ) -> Report {
        let record = match kind {
            0 => Record::MemoryController(McEvent { error_type, grain_bits, address: addr, ..edac(0) }),
            1 => Record::MemoryFailure(MemoryFailure { pfn: Pfn(addr), page_type: 0, result: 0 }),
            _ => Record::Mce(MceRecord { status, addr, misc, ipid, bank, cpu, apicid, cpuid, cpuvendor, ..Default::default() }),
        };
        let at = |t| Stamp { at: Time(t), wall: Wall(t as i64) };
        Report { source: Source::ALL[source], first: at(first), last: at(last), records, errors, decodes, record }
    }
}

proptest! {
    #[test]
    fn no_report_is_too_strange(reports in prop::collection::vec(any_report(), 1..20)) {
        let (mut analyzer, machine) = (analyzer(), machine());
        for report in &reports {
            let seen = analyzer.observe(report, &machine);
            prop_assert!(seen.counted <= report.errors);
            for finding in seen.findings {
                if let Response::TakeCpus(cpus) = finding.response {
                    let threads = &machine.cpus[&cpus[0]].threads;
                    prop_assert!(cpus.iter().eq(threads), "{cpus:?} is not a core");
                }
            }
        }
    }
}
