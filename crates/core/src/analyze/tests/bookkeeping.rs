use super::*;
use std::collections::BTreeMap;

const ADDR: u64 = 0x800_0000;

fn ce(at: u64) -> Report {
    mce(dram(CE, ADDR), at)
}

/// Another analyzer that starts from what the first one saved.
fn restart(analyzer: &mut Analyzer, faults: &[Fault]) -> Analyzer {
    let saved = serde_json::to_string(&analyzer.take_changes()).unwrap();
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
    analyzer.closed(&old);
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
    assert_eq!(analyzer.take_changes().len(), 1);
    assert_eq!(analyzer.take_changes(), []);
    // The page's evidence is long past: its row goes.
    feed(&mut analyzer, &machine, [&mce(dram(CE, ADDR + 4096), 100 * 24 * HOUR)]);
    let changes: BTreeMap<_, _> = analyzer.take_changes().into_iter().collect();
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
fn banks_that_records_make_up_do_not_fill_memory() {
    let (mut analyzer, machine) = (analyzer(), machine());
    for n in 0..MAX_OTHERS as u32 + 10 {
        let record = MceRecord { socketid: n, cpu: 999, ..on_cpu(1, 4, PARITY) };
        analyzer.observe(&mce(record, u64::from(n)), &machine);
    }
    assert_eq!(analyzer.evictions(), 10);
}
