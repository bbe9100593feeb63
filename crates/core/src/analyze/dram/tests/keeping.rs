use super::*;

/// Another engine that starts from what the first one saved.
fn restart(dimms: &mut Dimms, faults: &[Fault]) -> Dimms {
    let rows: Vec<(RowKey, Row)> =
        take_changes(dimms).into_iter().filter_map(|(key, row)| Some((key, row?))).collect();
    let saved = serde_json::to_string(&rows).unwrap();
    let rows: Vec<(RowKey, Row)> = serde_json::from_str(&saved).unwrap();
    let mut next = Dimms::new(dimms.capacity);
    next.restore(rows.into_iter(), faults.iter());
    next
}

#[test]
fn a_restart_keeps_the_window_of_a_row() {
    let mut before = dimms();
    see(&mut before, at(0, 9, 0), 0);
    let mut after = restart(&mut before, &[]);
    let found = see(&mut after, at(0, 9, 8), DAY);
    assert_eq!(fired(std::slice::from_ref(&found)), ["row-ce"]);
    assert_eq!((found.opened[0].first, found.opened[0].evidence.len()), (stamp(0), 2));
}

#[test]
fn a_restart_keeps_columns_banks_and_open_faults() {
    let mut before = dimms();
    all(&mut before, &[at(1, 1, 8), at(1, 2, 8)], 0);
    let modes: Vec<Mode> = [5, 6]
        .into_iter()
        .flat_map(|row| faulty_row(&mut before, 0, row, 0))
        .flat_map(|found| found.opened)
        .collect();
    let faults: Vec<Fault> = modes.iter().map(as_fault).collect();
    let mut after = restart(&mut before, &faults);
    assert_eq!(fired(&[see(&mut after, at(1, 3, 8), 1)]), ["column-ce"]);
    let again = see(&mut after, at(0, 5, 40), 1);
    let update = again.updates[0].as_ref().unwrap();
    assert_eq!((update.fault, update.errors), (modes[0].id, 3));
    assert_eq!(fired(&faulty_row(&mut after, 0, 7, 1)), ["row-ce", "bank-ce"]);
}

#[test]
fn a_restart_keeps_what_a_row_fault_covers() {
    let mut before = dimms();
    let mode = faulty_row(&mut before, 0, 9, 0).remove(1).opened.remove(0);
    let mut after = restart(&mut before, &[as_fault(&mode)]);
    let new = at(0, 9, 256);
    let cover = see(&mut after, new, HOUR).updates[0].clone().unwrap().cover.unwrap();
    assert_eq!(cover.pages.len(), 3);
    assert!(cover.pages.contains(&page(&new)));
}

#[test]
fn a_known_place_is_remembered_as_the_same_after_a_restart() {
    let mut before = dimms();
    let known = at(0, 9, 0);
    see(&mut before, known, 0);
    let mut after = restart(&mut before, &[]);
    let other = see_at(&mut after, at(0, 8, 64), addr(&known), 0, &rules(), &unknown_map);
    assert_eq!(other.trust, Trust::Doubtful);
}

#[test]
fn a_closed_row_fault_may_fire_anew_from_an_empty_window() {
    let mut dimms = dimms();
    let mode = faulty_row(&mut dimms, 0, 9, 0).remove(1).opened.remove(0);
    dimms.forget(mode.id);
    assert_eq!(fired(&[see(&mut dimms, at(0, 9, 8), 1)]), [""; 0]);
    assert_eq!(fired(&[see(&mut dimms, at(0, 9, 16), 1)]), ["row-ce"]);
}

#[test]
fn a_closed_bank_fault_forgets_the_rows_without_a_fault_of_their_own() {
    let mut dimms = dimms();
    see(&mut dimms, at(0, 50, 0), 0);
    let bank = (1..4)
        .flat_map(|row| faulty_row(&mut dimms, 0, row, 0))
        .flat_map(|found| found.opened)
        .last()
        .unwrap();
    assert_eq!(dimms.rows(), 4);
    dimms.forget(bank.id);
    assert_eq!(dimms.rows(), 3);
}

#[test]
fn a_closed_column_fault_forgets_its_cells() {
    let mut dimms = dimms();
    let found = all(&mut dimms, &[at(0, 1, 8), at(0, 2, 8), at(0, 3, 8)], 0);
    dimms.forget(found[2].opened[0].id);
    assert_eq!(fired(&all(&mut dimms, &[at(0, 1, 8), at(0, 2, 8)], 1)), [""; 0]);
    assert_eq!(fired(&all(&mut dimms, &[at(0, 3, 8)], 1)), ["column-ce"]);
}

#[test]
fn a_quiet_row_is_forgotten_after_the_window_and_an_open_fault_s_is_not() {
    let mut dimms = dimms();
    faulty_row(&mut dimms, 0, 9, 0);
    see(&mut dimms, at(1, 9, 0), 0);
    see(&mut dimms, at(2, 9, 0), 8 * DAY);
    assert_eq!(dimms.rows(), 2);
}

#[test]
fn a_full_memory_gives_up_the_row_with_the_fewest_columns_first() {
    let mut dimms = Dimms::new(Capacity { rows: 2, ..Capacity::default() });
    faulty_row(&mut dimms, 0, 9, 0);
    see(&mut dimms, at(1, 1, 0), 1);
    see(&mut dimms, at(2, 1, 0), 2);
    assert_eq!((dimms.rows(), dimms.evictions()), (2, 1));
    let again = see(&mut dimms, at(0, 9, 400), 3);
    assert!(again.updates[0].is_some(), "the row with a fault is still there");
    assert_eq!(fired(&[see(&mut dimms, at(1, 1, 8), 3)]), [""; 0], "the other is gone");
}

#[test]
fn a_failing_bank_costs_the_others_no_place() {
    let mut dimms = Dimms::new(Capacity { rows_per_bank: 4, ..Capacity::default() });
    see(&mut dimms, at(7, 1, 0), 0);
    for row in 0..100 {
        see(&mut dimms, at(0, row, 8 * row), 1);
    }
    assert_eq!((dimms.rows(), dimms.evictions()), (5, 96));
    assert_eq!(fired(&[see(&mut dimms, at(7, 1, 8), 2)]), ["row-ce"]);
}

#[test]
fn rows_that_nobody_could_keep_take_no_more_room_than_rows() {
    let mut dimms = Dimms::new(Capacity { rows: 4, ..Capacity::default() });
    for row in 0..4 {
        see(&mut dimms, at(row as u16, row, 0), 0);
    }
    dimms.kept();
    for row in 4..100 {
        see(&mut dimms, at(row as u16, row, 0), 1);
        assert!(dimms.changes().count() <= 8, "four that are gone, and four that are there");
    }
    assert_eq!((dimms.rows(), dimms.changes().count()), (4, 8));
}

#[test]
fn rows_that_are_gone_are_handed_out_as_gone() {
    let mut dimms = dimms();
    see(&mut dimms, at(0, 9, 0), 0);
    assert_eq!(take_changes(&mut dimms).len(), 1);
    see(&mut dimms, at(0, 8, 0), 8 * DAY);
    let changes = take_changes(&mut dimms);
    let gone: Vec<u32> =
        changes.iter().filter(|(_, row)| row.is_none()).map(|(key, _)| key.row).collect();
    assert_eq!((changes.len(), gone), (2, vec![9]));
    assert_eq!(take_changes(&mut dimms).len(), 0);
}
