use super::*;

#[test]
fn two_errors_at_two_columns_within_7_days_make_a_row_fault() {
    let mut dimms = dimms();
    let found = [see(&mut dimms, at(0, 9, 0), 0), see(&mut dimms, at(0, 9, 8), 7 * DAY)];
    assert_eq!(fired(&found), ["row-ce"]);
    let mode = &found[1].opened[0];
    assert_eq!((mode.columns, mode.first, mode.last), (2, stamp(0), stamp(7 * DAY)));
    assert_eq!((mode.rate.errors, mode.evidence.len()), (2, 2));
}

#[test]
fn two_errors_at_two_columns_further_apart_make_none() {
    let mut dimms = dimms();
    let found = [see(&mut dimms, at(0, 9, 0), 0), see(&mut dimms, at(0, 9, 8), 7 * DAY + 1)];
    assert_eq!(fired(&found), [""; 0]);
}

#[test]
fn any_number_of_errors_of_one_cell_is_no_row_fault() {
    let mut dimms = dimms();
    let found: Vec<Found> = (0..9_000).map(|i| see(&mut dimms, at(0, 9, 0), i * SECOND)).collect();
    assert_eq!(fired(&found), [""; 0]);
}

#[test]
fn a_row_fires_once() {
    let mut dimms = dimms();
    faulty_row(&mut dimms, 0, 9, 0);
    let found = see(&mut dimms, at(0, 9, 800), HOUR);
    assert_eq!(fired(std::slice::from_ref(&found)), [""; 0]);
    assert_eq!(found.updates[0].as_ref().unwrap().errors, 3);
}

#[test]
fn places_that_are_not_complete_have_no_geometry() {
    let strip: [fn(&mut DramPlace); 5] = [
        |p| p.rank = None,
        |p| p.bank = None,
        |p| p.row = None,
        |p| p.column = None,
        |p| p.dimm = DimmId::default(),
    ];
    for strip in strip {
        let mut dimms = dimms();
        for column in [0, 8, 16] {
            let full = at(0, 9, column);
            let mut place = full;
            strip(&mut place);
            let found = see_at(&mut dimms, place, addr(&full), 0, &rules(), &unknown_map);
            assert_eq!((found.trust, found.opened.len()), (Trust::Incomplete, 0));
        }
    }
}

#[test]
fn three_rows_in_one_column_make_a_column_fault() {
    let mut dimms = dimms();
    let found = all(&mut dimms, &[at(0, 1, 8), at(0, 2, 8), at(0, 3, 8)], 0);
    assert_eq!(fired(&found), ["column-ce"]);
    assert_eq!(found[2].opened[0].rate.rows, 3);
}

#[test]
fn a_column_of_two_banks_is_two_columns() {
    let mut dimms = dimms();
    let found = all(&mut dimms, &[at(0, 1, 8), at(0, 2, 8), at(1, 3, 8), at(1, 4, 8)], 0);
    assert_eq!(fired(&found), [""; 0]);
}

#[test]
fn rows_of_one_column_that_erred_weeks_apart_are_no_column_fault() {
    let mut dimms = dimms();
    let found: Vec<Found> =
        (0..9).map(|i| see(&mut dimms, at(0, i, 8), u64::from(i) * 4 * DAY)).collect();
    assert_eq!(fired(&found), [""; 0]);
}

#[test]
fn a_cell_that_errs_again_after_weeks_may_complete_a_column() {
    let mut dimms = dimms();
    see(&mut dimms, at(0, 1, 8), 0);
    see(&mut dimms, at(0, 1, 8), 30 * DAY);
    let found = [see(&mut dimms, at(0, 2, 8), 30 * DAY), see(&mut dimms, at(0, 3, 8), 31 * DAY)];
    assert_eq!(fired(&found), ["column-ce"]);
}

#[test]
fn three_faulty_rows_make_a_bank_fault_and_end_the_search_in_it() {
    let mut dimms = dimms();
    let found: Vec<Found> = (1..7).flat_map(|row| faulty_row(&mut dimms, 0, row, 0)).collect();
    assert_eq!(fired(&found), ["row-ce", "row-ce", "row-ce", "bank-ce"]);
}

#[test]
fn an_error_in_a_faulty_bank_counts_for_the_bank_and_its_row() {
    let mut dimms = dimms();
    let opened: Vec<Mode> = (1..4)
        .flat_map(|row| faulty_row(&mut dimms, 0, row, 0))
        .flat_map(|found| found.opened)
        .collect();
    let (row, bank) = (&opened[0], &opened[3]);
    let again = see(&mut dimms, at(0, 1, 8), HOUR);
    let [Some(of_row), Some(of_bank), None] = again.updates else { panic!("{again:?}") };
    assert_eq!((of_row.fault, of_row.errors), (row.id, 3));
    assert_eq!((of_bank.fault, of_bank.errors), (bank.id, 7));
    let elsewhere = see(&mut dimms, at(0, 77, 8), HOUR);
    assert_eq!(elsewhere.updates[1].as_ref().unwrap().errors, 8);
}

fn of_device(device: u16, place: DramPlace) -> DramPlace {
    DramPlace { device: Some(device), ..place }
}

#[test]
fn two_faulty_banks_of_one_device_make_a_rank_fault_that_names_it() {
    let mut dimms = dimms();
    let places = [at(0, 1, 0), at(0, 1, 8), at(1, 2, 16), at(1, 2, 24)];
    let found = all(&mut dimms, &places.map(|p| of_device(5, p)), 0);
    assert_eq!(fired(&found), ["row-ce", "row-ce", "rank-ce"]);
    assert_eq!(found[3].opened[1].device, Some(5));
}

#[test]
fn two_faulty_banks_of_two_devices_make_no_rank_fault() {
    let mut dimms = dimms();
    let first = [at(0, 1, 0), at(0, 1, 8)].map(|p| of_device(5, p));
    let second = [at(1, 2, 16), at(1, 2, 24)].map(|p| of_device(6, p));
    let found = all(&mut dimms, &[first, second].concat(), 0);
    assert_eq!(fired(&found), ["row-ce", "row-ce"]);
}

#[test]
fn three_faulty_banks_make_a_rank_fault_without_a_device() {
    let mut dimms = dimms();
    let found: Vec<Found> =
        (0..3).flat_map(|bank| faulty_row(&mut dimms, bank, 1 + u32::from(bank), 0)).collect();
    assert_eq!(fired(&found), ["row-ce", "row-ce", "row-ce", "rank-ce"]);
    assert_eq!(found[5].opened[1].device, None);
}

#[test]
fn two_ranks_of_two_faulty_banks_make_a_fault_of_the_dimm() {
    let mut dimms = dimms();
    let mut found = Vec::new();
    for (rank, bank) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for column in [0, 8] {
            let row = 10 + u32::from(rank * 2 + bank);
            let place = DramPlace { rank: Some(rank), ..at(bank, row, column + 100 * row) };
            found.push(see(&mut dimms, place, 0));
        }
    }
    assert_eq!(fired(&found), ["row-ce", "row-ce", "row-ce", "row-ce", "many-banks"]);
}

#[test]
fn a_wide_pattern_is_told_once_per_dimm_and_calls_for_nothing() {
    let mut dimms = dimms();
    let wide = |row| DramPlace { bits: Some(WIDE), ..at(0, row, 8 * row) };
    let found = all(&mut dimms, &[wide(1), wide(2)], 0);
    assert_eq!(fired(&found), ["dimm-bits"]);
    assert_eq!(found[1].updates[2].as_ref().unwrap().errors, 2);
    let finding = findings::finding(
        found[0].opened[0].clone(),
        "A1",
        None,
        &rules(),
        PageSize::KIB_4,
        Home::Unknown,
    );
    assert_eq!(finding.response, crate::analyze::Response::Report);
}

#[test]
fn a_narrow_pattern_is_no_fault() {
    let mut dimms = dimms();
    let place = DramPlace { bits: Some(NARROW), ..at(0, 1, 8) };
    assert_eq!(fired(&[see(&mut dimms, place, 0)]), [""; 0]);
}

#[test]
fn an_escalation_names_the_dimm_and_says_how_long_it_lasts() {
    let mut dimms = dimms();
    let modes: Vec<Mode> = (1..4)
        .flat_map(|row| faulty_row(&mut dimms, 0, row, u64::from(row) * HOUR))
        .flat_map(|found| found.opened)
        .collect();
    let finding =
        findings::finding(modes[3].clone(), "A1", None, &rules(), PageSize::KIB_4, Home::Unknown);
    assert_eq!(finding.response, crate::analyze::Response::Escalate);
    assert_eq!(finding.fault.severity, Severity::Major);
    assert_eq!(
        finding.fault.advice,
        "Replace DIMM A1; at the present rate (6 errors in 3 rows on 6 pages within 2 hours) the \
         limit of 1024 pages would be used up in about 14 days."
    );
}
