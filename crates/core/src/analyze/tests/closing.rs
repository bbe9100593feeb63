//! What closing a fault does to what is remembered.

use super::*;

/// An error of a log at `row` and `column` of one bank of a DIMM.
fn at(slot: u16, row: u32, column: u32, when: u64) -> Report {
    let dimm = DimmId { channel: Some(1), slot: Some(slot), ..DimmId::default() };
    let place = DramPlace {
        dimm,
        rank: Some(0),
        bank: Some(3),
        row: Some(row),
        column: Some(column),
        ..DramPlace::default()
    };
    let addr = u64::from(slot) << 32 | u64::from(row) << 20 | (u64::from(column) * 512);
    let error = LoggedError { addr: Some(PhysAddr(addr)), place, ..LoggedError::default() };
    report(Source::Log, Record::Logged(error), when)
}

fn closed(fault: &Fault, state: FaultState) -> Fault {
    Fault { state, ..fault.clone() }
}

/// Row 9 of slot 0 fails by columns 0 and 8, of which each lies in a page.
fn failed_row(analyzer: &mut Analyzer) -> Fault {
    feed(analyzer, &machine(), [&at(0, 9, 0, 0), &at(0, 9, 8, 1)]).remove(0).fault
}

fn rules_fired(analyzer: &mut Analyzer, reports: &[Report]) -> Vec<String> {
    let found = feed(analyzer, &machine(), reports);
    found.into_iter().map(|finding| finding.fault.rule.id).collect()
}

#[test]
fn a_repaired_row_takes_the_errors_of_its_pages_with_it() {
    let mut analyzer = analyzer();
    let fault = failed_row(&mut analyzer);
    analyzer.closed(&repaired(&fault), &machine());
    assert_eq!(rules_fired(&mut analyzer, &[at(0, 9, 0, 2)]), [""; 0]);
    assert_eq!(rules_fired(&mut analyzer, &[at(0, 9, 0, 3)]), ["page-ce"]);
}

#[test]
fn an_acquitted_row_fires_by_new_errors_alone_and_its_pages_count_on() {
    let mut analyzer = analyzer();
    let fault = failed_row(&mut analyzer);
    analyzer.closed(&closed(&fault, FaultState::Acquitted), &machine());
    assert_eq!(rules_fired(&mut analyzer, &[at(0, 9, 0, 2)]), ["page-ce"]);
    assert_eq!(rules_fired(&mut analyzer, &[at(0, 9, 0, 3)]), [""; 0], "one new column");
    assert_eq!(rules_fired(&mut analyzer, &[at(0, 9, 16, 4)]), ["row-ce"]);
}

#[test]
fn an_acquitted_row_stays_so_over_a_restart() {
    let mut before = analyzer();
    let fault = closed(&failed_row(&mut before), FaultState::Acquitted);
    before.closed(&fault, &machine());
    let mut after = bookkeeping::restart(&mut before, &[fault]);
    let same_column = [at(0, 9, 0, 2), at(0, 9, 0, 3)];
    assert!(!rules_fired(&mut after, &same_column).contains(&"row-ce".to_owned()));
    assert_eq!(rules_fired(&mut after, &[at(0, 9, 16, 4)]), ["row-ce"]);
}

#[test]
fn places_of_an_acquitted_row_count_on_for_its_column() {
    let mut analyzer = analyzer();
    let fault = failed_row(&mut analyzer);
    analyzer.closed(&closed(&fault, FaultState::Acquitted), &machine());
    let column = [at(0, 10, 0, 2), at(0, 11, 0, 3)];
    assert_eq!(rules_fired(&mut analyzer, &column), ["column-ce"]);
}

#[test]
fn an_acquitted_bank_fires_by_new_errors_alone() {
    let mut analyzer = analyzer();
    let rows = |from: u64| -> Vec<Report> {
        let rows = (1..4)
            .zip(from..)
            .flat_map(|(row, when)| [at(0, row, row, when), at(0, row, row + 64, when)]);
        rows.collect()
    };
    let findings = feed(&mut analyzer, &machine(), &rows(0));
    let bank = findings.into_iter().find(|f| f.fault.kind() == FaultKind::Bank).unwrap().fault;
    analyzer.closed(&closed(&bank, FaultState::Acquitted), &machine());
    let again = rows(10);
    let (last, first) = again.split_last().unwrap();
    let is_bank = |rules: Vec<String>| rules.contains(&"bank-ce".to_owned());
    assert!(!is_bank(rules_fired(&mut analyzer, &first[..4])));
    assert!(is_bank(rules_fired(&mut analyzer, &[first[4].clone(), last.clone()])));
}

#[test]
fn a_replaced_dimm_takes_with_it_all_that_its_errors_told() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let fault = failed_row(&mut analyzer);
    feed(&mut analyzer, &machine, [&at(0, 40, 0, 2), &at(1, 40, 0, 2)]);
    analyzer.closed(&closed(&fault, FaultState::Replaced), &machine);
    assert_eq!(rules_fired(&mut analyzer, &[at(0, 40, 0, 3)]), [""; 0], "its page");
    assert_eq!(rules_fired(&mut analyzer, &[at(0, 9, 0, 3)]), [""; 0], "its row");
    assert_eq!(rules_fired(&mut analyzer, &[at(1, 40, 0, 3)]), ["page-ce"], "another DIMM's");
    let changes = take_changes(&mut analyzer);
    let dimm = DimmId { channel: Some(1), slot: Some(0), ..DimmId::default() };
    let kept = changes.iter().filter(|(key, state)| {
        matches!(key, EvidenceKey::Row(row) if row.bank.dimm == dimm && row.row == 40)
            && state.is_some()
    });
    assert_eq!(kept.count(), 1, "what came since");
}

#[test]
fn a_replaced_dimm_s_other_faults_are_named() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let row = failed_row(&mut analyzer);
    let mut others = feed(&mut analyzer, &machine, [&at(0, 40, 0, 2), &at(0, 40, 0, 3)]);
    others.extend(feed(&mut analyzer, &machine, [&at(1, 40, 0, 2), &at(1, 40, 0, 3)]));
    let faults: Vec<Fault> = others.into_iter().map(|finding| finding.fault).collect();
    let same = analyzer.on_the_same_part(&row, faults.iter(), &machine);
    assert_eq!(same, [&faults[0]]);
    assert_eq!(analyzer.on_the_same_part(&faults[0], [&row].into_iter(), &machine), [&row]);
}

#[test]
fn a_replaced_processor_takes_its_windows_with_it_and_no_other_s() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let three = aggregate(mce(on_cpu(0, 1, L1), 0), 3, 0);
    let fault = feed(&mut analyzer, &machine, [&three]).remove(0).fault;
    let two = |cpu: u32, bank, status| aggregate(mce(on_cpu(cpu, bank, status), 1), 2, 1);
    feed(&mut analyzer, &machine, [&two(1, 1, TLB), &two(2, 1, TLB)]);
    analyzer.closed(&closed(&fault, FaultState::Replaced), &machine);
    let one = |cpu| mce(on_cpu(cpu, 1, TLB), 2);
    assert_eq!(feed(&mut analyzer, &machine, [&one(1)]), []);
    assert_eq!(feed(&mut analyzer, &machine, [&one(2)]).len(), 1);
}
