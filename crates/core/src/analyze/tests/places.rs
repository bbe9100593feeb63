use super::*;

/// An error of a log at a column of row 9 of one bank.
fn at(column: u32, when: u64) -> Report {
    let dimm = DimmId { channel: Some(1), slot: Some(0), ..DimmId::default() };
    let place = DramPlace {
        dimm,
        rank: Some(0),
        bank: Some(3),
        row: Some(9),
        column: Some(column),
        ..DramPlace::default()
    };
    let addr = PhysAddr(0x800_0000 + u64::from(column) * 512);
    let error = LoggedError { addr: Some(addr), place, ..LoggedError::default() };
    report(Source::Log, Record::Logged(error), when)
}

fn machine_with_dimm() -> Machine {
    let id = DimmId { channel: Some(1), slot: Some(0), ..DimmId::default() };
    let dimm = Dimm { id: Some(id), label: "A1".to_owned(), ..Dimm::default() };
    Machine { dimms: vec![dimm], ..machine() }
}

#[test]
fn two_columns_of_a_row_take_its_pages_and_name_the_dimm() {
    let findings = feed(&mut analyzer(), &machine_with_dimm(), [&at(0, 0), &at(8, 2 * 24 * HOUR)]);
    let pages = vec![Pfn(0x8000), Pfn(0x8001)];
    assert_eq!(verdicts(&findings), [("row-ce", Response::TakePages(pages))]);
    let fault = &findings[0].fault;
    assert_eq!((fault.kind(), fault.fru.as_deref()), (FaultKind::Row, Some("DIMM A1")));
    assert_eq!(
        fault.decision,
        "2 corrected errors at 2 columns of row 0x9, bank 3, rank 0 of DIMM A1 (channel 1 slot 0) \
         within 7d: the 2 pages known to lie in it are to be taken out of use."
    );
}

#[test]
fn a_page_of_a_faulty_row_still_goes_by_its_own_rule() {
    let findings = feed(&mut analyzer(), &machine(), [&at(0, 0), &at(8, 1), &at(8, 2)]);
    let page = Response::TakePage(Pfn(0x8001));
    assert_eq!(verdicts(&findings)[1], ("page-ce", page));
}

#[test]
fn an_uncorrected_error_counts_for_no_row() {
    let uncorrected = |column, when| {
        let mut report = at(column, when);
        if let Record::Logged(error) = &mut report.record {
            error.uncorrected = true;
        }
        report
    };
    let findings =
        feed(&mut analyzer(), &machine(), [&uncorrected(0, 0), &uncorrected(8, 1), &at(16, 2)]);
    assert!(verdicts(&findings).iter().all(|(rule, _)| *rule == "page-ue"), "{findings:?}");
}

#[test]
fn a_restart_keeps_the_row_and_its_open_fault() {
    let (mut before, machine) = (analyzer(), machine());
    let fault = feed(&mut before, &machine, [&at(0, 0), &at(8, 1)]).remove(0).fault;
    let mut after = bookkeeping::restart(&mut before, std::slice::from_ref(&fault));
    let seen = after.observe(&at(16, HOUR), &machine);
    assert_eq!((seen.findings, seen.updated.len()), (vec![], 1));
    let cover = seen.updated[0].cover.as_ref().unwrap();
    assert_eq!((seen.updated[0].fault, cover.pages.len()), (fault.id, 3));
}

#[test]
fn a_closed_row_fault_may_fire_anew() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let fault = feed(&mut analyzer, &machine, [&at(0, 0), &at(8, 1)]).remove(0).fault;
    analyzer.closed(&repaired(&fault), &machine);
    let again = feed(&mut analyzer, &machine, [&at(16, 48 * HOUR), &at(24, 49 * HOUR)]);
    assert_eq!(again.iter().filter(|f| f.fault.kind() == FaultKind::Row).count(), 1);
}
