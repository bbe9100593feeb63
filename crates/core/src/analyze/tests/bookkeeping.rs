use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const ADDR: u64 = 0x800_0000;

fn ce(at: u64) -> Report {
    mce(dram(CE, ADDR), at)
}

/// Another analyzer that starts from what the first one saved.
pub fn restart(analyzer: &mut Analyzer, faults: &[Fault]) -> Analyzer {
    let saved = serde_json::to_string(&take_changes(analyzer)).unwrap();
    let rows: Vec<(EvidenceKey, Option<Remembered>)> = serde_json::from_str(&saved).unwrap();
    let rows = rows.into_iter().filter_map(|(key, row)| Some((key, row?)));
    let mut next = Analyzer::new(rules());
    next.restore(rows, faults.iter(), &machine());
    next
}

#[test]
fn a_restart_keeps_the_window() {
    let (mut before, machine) = (analyzer(), machine());
    feed(&mut before, &machine, [&ce(0), &mce(on_cpu(1, 1, L1), 0), &mce(on_cpu(1, 1, L1), 1)]);
    let mut after = restart(&mut before, &[]);
    let findings = feed(&mut after, &machine, [&ce(HOUR), &mce(on_cpu(5, 1, L1), HOUR)]);
    assert_eq!(
        verdicts(&findings),
        [("page-ce", Response::TakePage(Pfn(0x8000))), ("cpu-cache", take(&[1, 5]))]
    );
    assert_eq!(findings[0].fault.first, stamp(0));
}

#[test]
fn a_restart_keeps_the_open_faults() {
    let (mut before, machine) = (analyzer(), machine());
    let fault = feed(&mut before, &machine, [&ce(0), &ce(1)]).remove(0).fault;
    let mut after = restart(&mut before, std::slice::from_ref(&fault));
    let seen = after.observe(&aggregate(ce(HOUR), 2, HOUR), &machine);
    assert_eq!(seen.findings, []);
    assert_eq!((seen.updated[0].fault, seen.updated[0].errors), (fault.id, 4));
}

#[test]
fn an_open_fault_whose_evidence_was_not_saved_is_found_again() {
    let (mut before, machine) = (analyzer(), machine());
    let mut faults: Vec<Fault> = Vec::new();
    for findings in [
        feed(&mut before, &machine, [&aggregate(ce(0), 2, 1)]),
        feed(&mut before, &machine, [&aggregate(mce(on_cpu(1, 1, L1), 0), 3, 1)]),
        feed(&mut before, &machine, [&aggregate(mce(on_cpu(1, 9, L2), 0), 3, 1)]),
    ] {
        faults.extend(findings.into_iter().map(|f| f.fault));
    }
    let mut after = Analyzer::new(rules());
    after.restore(std::iter::empty(), faults.iter(), &machine);
    let again = [
        aggregate(ce(HOUR), 2, HOUR),
        aggregate(mce(on_cpu(1, 1, L1), HOUR), 3, HOUR),
        aggregate(mce(on_cpu(1, 9, L2), HOUR), 3, HOUR),
    ];
    assert_eq!(feed(&mut after, &machine, &again), []);
    let cascade = feed(&mut after, &machine, [&aggregate(mce(on_cpu(0, 1, L1), 0), 3, 1)]);
    assert_eq!(cascade[0].response, Response::Escalate);
}

#[test]
fn a_fault_closed_while_its_row_was_not_saved_may_fire_anew() {
    let (mut before, machine) = (analyzer(), machine());
    feed(&mut before, &machine, [&ce(0), &ce(1)]);
    let mut after = restart(&mut before, &[]);
    assert_eq!(feed(&mut after, &machine, [&ce(2)]), [], "from an empty window");
    assert_eq!(feed(&mut after, &machine, [&ce(3)]).len(), 1);
}

#[test]
fn a_released_fault_that_was_closed_leaves_no_window_over_a_restart() {
    let (mut before, machine) = (analyzer(), machine());
    feed(&mut before, &machine, [&ce(0), &ce(1)]);
    before.release(&Target::Page(Pfn(0x8000)));
    feed(&mut before, &machine, [&ce(2)]);
    let mut after = restart(&mut before, &[]);
    assert_eq!(feed(&mut after, &machine, [&ce(3)]), []);
}

#[test]
fn a_restart_never_takes_back_errors_that_a_fault_had_shown() {
    let (mut before, machine) = (analyzer(), machine());
    let mut fault = feed(&mut before, &machine, [&ce(0), &ce(1)]).remove(0).fault;
    fault.errors = 40;
    let mut after = restart(&mut before, &[fault]);
    assert_eq!(after.observe(&ce(HOUR), &machine).updated[0].errors, 41);
}

#[test]
fn the_same_log_finds_the_same_faults() {
    let log = [ce(0), mce(on_cpu(1, 1, L1), 1), ce(2), aggregate(mce(on_cpu(1, 1, L1), 3), 2, 4)];
    let run = || feed(&mut analyzer(), &machine(), &log);
    assert_eq!(run().len(), 2);
    assert_eq!(run(), run());
}

#[test]
fn a_release_restarts_a_pages_window() {
    let (mut analyzer, machine) = (analyzer(), machine());
    feed(&mut analyzer, &machine, [&ce(0)]);
    analyzer.release(&Target::Page(Pfn(0x8000)));
    assert_eq!(feed(&mut analyzer, &machine, [&ce(1)]), []);
    assert_eq!(feed(&mut analyzer, &machine, [&ce(2)]).len(), 1);
}

#[test]
fn a_released_page_may_be_taken_again_by_a_new_fault() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let old = feed(&mut analyzer, &machine, [&ce(0), &ce(1)]).remove(0).fault;
    analyzer.release(&Target::Page(Pfn(0x8000)));

    let seen = analyzer.observe(&ce(HOUR), &machine);
    assert_eq!((seen.findings.len(), seen.updated[0].fault), (0, old.id));
    let new = analyzer.observe(&ce(2 * HOUR), &machine).findings.remove(0).fault;
    assert_ne!(new.id, old.id);
    assert_eq!(new.errors, 2);
    let seen = analyzer.observe(&ce(3 * HOUR), &machine);
    assert_eq!((seen.findings.len(), seen.updated[0].fault), (0, new.id));
}

#[test]
fn a_release_of_either_thread_restarts_the_cores_windows() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let l1 = |n| aggregate(mce(on_cpu(1, 1, L1), 0), n, 0);
    feed(&mut analyzer, &machine, [&l1(2)]);
    analyzer.release(&Target::Cpu(CpuId(5)));
    assert_eq!(feed(&mut analyzer, &machine, [&l1(2)]), []);
    assert_eq!(feed(&mut analyzer, &machine, [&l1(1)]).len(), 1);
}

#[test]
fn a_closed_fault_fires_anew_from_an_empty_window() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let old = feed(&mut analyzer, &machine, [&ce(0), &ce(1)]).remove(0).fault;
    analyzer.closed(&repaired(&old), &machine);
    assert_eq!(feed(&mut analyzer, &machine, [&ce(2)]), []);
    assert_ne!(feed(&mut analyzer, &machine, [&ce(3)]).remove(0).fault.id, old.id);
}

#[test]
fn new_rules_hold_from_the_next_report() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let mut rules = rules();
    rules.page.errors = 3;
    analyzer.set_rules(rules);
    assert_eq!(feed(&mut analyzer, &machine, [&ce(0), &ce(1)]), []);
    rules.page = crate::decide::Threshold { errors: 2, window: hours(1) };
    analyzer.set_rules(rules);
    assert_eq!(feed(&mut analyzer, &machine, [&ce(HOUR + 2)]), []);
    assert_eq!(feed(&mut analyzer, &machine, [&ce(HOUR + 3)]).len(), 1);
}

#[test]
fn changes_are_told_once_and_removals_too() {
    let (mut analyzer, machine) = (analyzer(), machine());
    feed(&mut analyzer, &machine, [&ce(0)]);
    assert_eq!(take_changes(&mut analyzer).len(), 1);
    assert_eq!(take_changes(&mut analyzer), []);
    // The page's evidence is long past: its row goes.
    feed(&mut analyzer, &machine, [&mce(dram(CE, ADDR + 4096), 100 * 24 * HOUR)]);
    let changes: BTreeMap<_, _> = take_changes(&mut analyzer).into_iter().collect();
    assert_eq!(changes[&EvidenceKey::Page(Pfn(0x8000))], None);
    assert!(changes[&EvidenceKey::Page(Pfn(0x8001))].is_some());
    assert_eq!(analyzer.evictions(), 0);
}

#[test]
fn a_full_book_gives_up_single_errors_before_suspects() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let mut rules = rules();
    rules.page.errors = 4;
    analyzer.set_rules(rules);
    let page = |n: u64, at| mce(dram(CE, (n + 1) * 4096), at);
    // The oldest page of all is the most suspicious one.
    feed(&mut analyzer, &machine, [&aggregate(page(0, 0), 3, 0)]);
    for n in 1..=MAX_PAGES as u64 + 100 {
        analyzer.observe(&page(n, n), &machine);
    }
    assert_eq!(analyzer.evictions(), 101);
    assert_eq!(feed(&mut analyzer, &machine, [&page(0, HOUR)]).len(), 1);
}

#[test]
fn an_open_fault_outlives_all_pages_without_one() {
    let mut analyzer = Analyzer::with_capacity(rules(), 4);
    let machine = machine();
    let page = |n: u64, at| mce(dram(CE, ADDR + n * 4096), at);
    let fault = feed(&mut analyzer, &machine, [&page(0, 0), &page(0, 1)]).remove(0).fault;
    for n in 1..100 {
        analyzer.observe(&page(n, n), &machine);
    }
    assert_eq!((analyzer.tracked(), analyzer.evictions()), (4, 96));
    assert_eq!(analyzer.observe(&page(0, 200), &machine).updated[0].fault, fault.id);
}

#[test]
fn of_equal_pages_the_one_that_was_touched_longest_ago_goes() {
    let mut analyzer = Analyzer::with_capacity(rules(), 2);
    let machine = machine();
    let page = |n: u64, at| mce(dram(CE, ADDR + n * 4096), at);
    feed(&mut analyzer, &machine, [&page(0, 0), &page(1, 1), &memory_failure(0x8000, 2)]);
    analyzer.observe(&page(2, 3), &machine);
    assert_eq!(feed(&mut analyzer, &machine, [&page(0, 4)]).len(), 1, "kept");
    assert_eq!(feed(&mut analyzer, &machine, [&page(1, 5)]), [], "given up");
}

#[test]
fn long_texts_leave_room_for_fewer_pages() {
    let mut analyzer = Analyzer::with_capacity(rules(), 1_000);
    let machine = machine();
    for n in 0..1_000 {
        let driver_detail = "x".repeat(10_000);
        let event = McEvent { driver_detail, ..edac(ADDR + n * 4096) };
        analyzer.observe(&mc_event(event, n), &machine);
    }
    assert_eq!(analyzer.tracked() as u64 + analyzer.evictions(), 1_000);
    assert!(analyzer.tracked() < 30, "{}", analyzer.tracked());
}

#[test]
fn pages_that_came_and_went_between_two_commits_leave_no_trace() {
    let mut analyzer = Analyzer::with_capacity(rules(), 2);
    let machine = machine();
    let page = |n: u64| mce(dram(CE, ADDR + n * 4096), n);
    feed(&mut analyzer, &machine, [&page(0), &page(1)]);
    take_changes(&mut analyzer);
    for n in 2..100 {
        analyzer.observe(&page(n), &machine);
    }
    let changes = take_changes(&mut analyzer);
    let pages: Vec<_> = changes.iter().map(|(key, row)| (key.clone(), row.is_some())).collect();
    let key = |n: u64| EvidenceKey::Page(Pfn(0x8000 + n));
    assert_eq!(pages.len(), 4, "{pages:?}");
    for row in [(key(0), false), (key(1), false), (key(98), true), (key(99), true)] {
        assert!(pages.contains(&row), "{row:?} in {pages:?}");
    }
}

#[test]
fn what_nobody_could_keep_is_told_as_it_is_now_and_takes_no_more_room_than_evidence() {
    let mut analyzer = Analyzer::with_capacity(rules(), 2);
    let machine = machine();
    let page = |n: u64| mce(dram(CE, ADDR + n * 4096), n);
    feed(&mut analyzer, &machine, [&page(0), &page(1)]);
    analyzer.kept();
    assert!(!analyzer.has_changes());
    for n in 2..100 {
        analyzer.observe(&page(n), &machine);
        assert!(analyzer.changes().count() <= 4, "two that are gone, and two that are there");
    }
    let first: Vec<_> = analyzer.changes().collect();
    assert_eq!(first.len(), 4);
    assert_eq!(first, take_changes(&mut analyzer), "until somebody keeps them");
}

#[test]
fn a_page_that_went_and_came_again_is_not_forgotten() {
    let mut analyzer = Analyzer::with_capacity(rules(), 1);
    let machine = machine();
    let page = |n: u64| mce(dram(CE, ADDR + n * 4096), n);
    analyzer.observe(&page(0), &machine);
    take_changes(&mut analyzer);
    feed(&mut analyzer, &machine, [&page(1), &page(0)]);
    let changes: BTreeMap<_, _> = take_changes(&mut analyzer).into_iter().collect();
    assert!(changes[&EvidenceKey::Page(Pfn(0x8000))].is_some());
    assert_eq!(changes.len(), 1);
}

#[test]
fn a_restart_into_less_room_keeps_the_latest_and_forgets_the_rest() {
    let (mut before, machine) = (analyzer(), machine());
    let page = |n: u64, at| mce(dram(CE, ADDR + n * 4096), at);
    feed(&mut before, &machine, [&page(0, 9), &page(1, 8), &page(2, 7)]);
    let rows = take_changes(&mut before).into_iter().filter_map(|(key, row)| Some((key, row?)));
    let mut after = Analyzer::with_capacity(rules(), 1);
    after.restore(rows, std::iter::empty(), &machine);
    let gone = take_changes(&mut after).into_iter().filter(|(_, row)| row.is_none()).count();
    assert_eq!((after.tracked(), gone), (1, 2));
    assert_eq!(feed(&mut after, &machine, [&page(0, 10)]).len(), 1);
}

#[test]
fn a_clock_that_came_back_wrong_makes_the_downtime_count_as_zero() {
    use crate::model::time::Anchor;
    let (mut before, machine) = (analyzer(), machine());
    let last = stamp(0);
    feed(&mut before, &machine, [&ce(0)]);
    for (wall, fires) in [
        (last.wall.0 - 1_000_000_000_000, true),
        (last.wall.0 + 23 * HOUR as i64, true),
        (last.wall.0 + 25 * HOUR as i64, false),
    ] {
        before.mark_all();
        let mut after = restart(&mut before, &[]);
        let anchor = Anchor::of_new_boot(SECOND, Wall(wall), Some(last.at));
        let at = Stamp { at: anchor.time(2 * SECOND), wall: Wall(wall) };
        let next = Report { first: at, last: at, ..ce(0) };
        assert_eq!(feed(&mut after, &machine, [&next]).len(), usize::from(fires), "{wall}");
    }
}

#[test]
fn a_row_of_the_first_stored_form_can_be_read() {
    let row = r#"{
        "windows": {"mce_record": [[1700000000000000000, 1]], "mc_event": [],
            "memory_failure": [], "log": []},
        "tally": [{"first": 1700000000000000000, "last": 1700000000000000000, "errors": 1,
            "credited": 1, "told": [1, 0, 0, 0]}],
        "pieces": [{"first": {"at": 1700000000000000000, "wall": 1700000000000000000}, "fresh": 1,
            "evidence": {"first": 1700000000000000000, "last": 1700000000000000000, "records": 1,
                "errors": 1, "source": "mce:mce_record",
                "record": {"mce": {"status": "0x8c0000000000009f", "addr": "0x8000000"}}}}],
        "errors": 1, "last": 1700000000000000000, "cases": [], "cpus": []}"#;
    let row: Remembered = serde_json::from_str(row).unwrap();
    let (mut analyzer, machine) = (analyzer(), machine());
    let rows = [(EvidenceKey::Page(Pfn(0x8000)), row)];
    analyzer.restore(rows.into_iter(), std::iter::empty(), &machine);
    let fault = feed(&mut analyzer, &machine, [&ce(HOUR)]).remove(0).fault;
    assert_eq!((fault.first, fault.errors, fault.evidence.len()), (stamp(0), 2, 2));
}

#[test]
fn who_told_of_an_error_is_remembered_over_a_restart() {
    let (mut before, machine) = (analyzer(), machine());
    assert_eq!(before.observe(&ce(0), &machine).counted, 1);
    let mut after = restart(&mut before, &[]);
    assert_eq!(after.observe(&mc_event(edac(ADDR), SECOND), &machine).counted, 0);
}

#[test]
fn many_pages_told_of_by_one_source_and_then_by_the_other_count_once() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let pages = || (0..8_000).map(|n| ADDR + n * 4096);
    // As after a downtime: the errors lie far apart, and come source by source.
    let at = |addr: u64| (addr - ADDR) / 4096 * SECOND;
    let first: u64 =
        pages().map(|p| analyzer.observe(&mce(dram(CE, p), at(p)), &machine).counted).sum();
    let second: u64 =
        pages().map(|p| analyzer.observe(&mc_event(edac(p), at(p)), &machine).counted).sum();
    assert_eq!((first, second), (8_000, 0));
}

proptest! {
    /// Whatever comes, in whatever order of time.
    #[test]
    fn a_small_book_forgets_and_never_invents(
        reports in prop::collection::vec((0u64..8, 0u64..200, any::<bool>()), 1..120),
    ) {
        let (mut analyzer, machine) = (Analyzer::with_capacity(rules(), 3), machine());
        let mut seen = Vec::new();
        for (page, hour, of_edac) in reports {
            let addr = ADDR + page * 4096;
            let report = match of_edac {
                true => mc_event(edac(addr), hour * HOUR),
                false => mce(dram(CE, addr), hour * HOUR),
            };
            seen.push((page, of_edac, hour));
            let near = |(p, e, h): &&(u64, bool, u64)| (*p, *e) == (page, of_edac) && h.abs_diff(hour) <= 24;
            for _ in analyzer.observe(&report, &machine).findings {
                prop_assert!(seen.iter().filter(near).count() >= 2);
            }
            prop_assert!(analyzer.tracked() <= 3);
        }
    }
}

#[test]
fn banks_that_records_make_up_do_not_fill_memory() {
    let (mut analyzer, machine) = (analyzer(), machine());
    for n in 0..MAX_OTHERS as u32 + 10 {
        let record = MceRecord { socketid: n, cpu: 999, ..on_cpu(1, 4, PARITY) };
        analyzer.observe(&mce(record, u64::from(n)), &machine);
    }
    assert_eq!(analyzer.evictions(), 10);
}
