use super::*;

fn narrow(row: u32, column: u32) -> DramPlace {
    DramPlace { bits: Some(NARROW), ..at(0, row, column) }
}

fn wide(row: u32, column: u32) -> DramPlace {
    DramPlace { bits: Some(WIDE), ..at(0, row, column) }
}

fn pages(places: &[DramPlace]) -> Vec<Pfn> {
    places.iter().map(page).collect()
}

fn cover(mode: &Mode) -> (CoverBy, Vec<Pfn>) {
    let cover = mode.cover.clone().unwrap();
    (cover.by, cover.pages)
}

fn grown(found: &Found) -> Option<Vec<Pfn>> {
    Some(found.updates[0].as_ref()?.cover.as_ref()?.pages.clone())
}

#[test]
fn a_row_takes_the_pages_that_errors_were_seen_on() {
    let mut dimms = dimms();
    see(&mut dimms, narrow(9, 0), 0);
    let found = see(&mut dimms, narrow(9, 64), 0);
    let seen = pages(&[narrow(9, 0), narrow(9, 64)]);
    assert_eq!(cover(&found.opened[0]), (CoverBy::Seen, seen));
}

#[test]
fn without_an_address_a_row_fault_takes_nothing() {
    let mut dimms = dimms();
    let mut last = Found::default();
    for column in [0, 8] {
        let place = at(0, 9, column);
        let report = report(&place, 0);
        let seen = Sighting { place: &place, page: None, addr: None, report: &report };
        last = dimms.observe(&seen, &rules(), &unknown_map);
    }
    assert_eq!(last.opened[0].cover, None);
}

#[test]
fn a_row_of_weak_cells_leaves_a_single_new_page_to_its_own_rule() {
    let mut dimms = dimms();
    see(&mut dimms, narrow(9, 0), 0);
    see(&mut dimms, narrow(9, 8), 0);
    assert_eq!(grown(&see(&mut dimms, narrow(9, 64), HOUR)), None);
    assert_eq!(grown(&see(&mut dimms, narrow(9, 64), 2 * HOUR)), None);
}

#[test]
fn a_row_of_weak_cells_takes_a_further_page_when_two_columns_of_it_err_within_the_window() {
    let mut dimms = dimms();
    see(&mut dimms, narrow(9, 0), 0);
    see(&mut dimms, narrow(9, 8), 0);
    assert_eq!(grown(&see(&mut dimms, narrow(9, 64), DAY)), None);
    assert_eq!(grown(&see(&mut dimms, narrow(9, 128), DAY)), None, "another page");
    assert_eq!(grown(&see(&mut dimms, narrow(9, 72), 9 * DAY)), None, "8 days later");
    let now = grown(&see(&mut dimms, narrow(9, 80), 10 * DAY));
    assert_eq!(now, Some(pages(&[narrow(9, 0), narrow(9, 64)])));
}

#[test]
fn a_row_with_a_wide_pattern_takes_each_new_page_at_its_first_error() {
    let mut dimms = dimms();
    see(&mut dimms, wide(9, 0), 0);
    see(&mut dimms, narrow(9, 8), 0);
    let now = grown(&see(&mut dimms, narrow(9, 64), HOUR));
    assert_eq!(now, Some(pages(&[wide(9, 0), narrow(9, 64)])));
}

#[test]
fn a_row_without_any_pattern_takes_each_new_page_at_its_first_error() {
    let mut dimms = dimms();
    see(&mut dimms, at(0, 9, 0), 0);
    see(&mut dimms, at(0, 9, 8), 0);
    let now = grown(&see(&mut dimms, at(0, 9, 64), HOUR));
    assert_eq!(now, Some(pages(&[at(0, 9, 0), at(0, 9, 64)])));
}

#[test]
fn a_row_that_turns_wide_takes_what_it_had_left_out() {
    let mut dimms = dimms();
    see(&mut dimms, narrow(9, 0), 0);
    see(&mut dimms, narrow(9, 8), 0);
    see(&mut dimms, narrow(9, 64), HOUR);
    let now = grown(&see(&mut dimms, wide(9, 0), 2 * HOUR));
    assert_eq!(now, Some(pages(&[narrow(9, 0), narrow(9, 64)])));
}

#[test]
fn all_pages_of_a_row_are_taken_where_the_map_knows_them() {
    let whole = |_: &DramPlace, seen: &[PhysAddr]| {
        let first = PageSize::KIB_4.pfn(seen[0]).0 & !0xf;
        Some((CoverBy::Exact, (first..first + 16).map(Pfn).collect()))
    };
    let mut dimms = dimms();
    let mut last = Found::default();
    for place in [wide(9, 0), wide(9, 8)] {
        last = see_at(&mut dimms, place, addr(&place), 0, &rules(), &whole);
    }
    let (by, pages) = cover(last.opened.iter().find(|m| m.cover.is_some()).unwrap());
    assert_eq!((by, pages.len()), (CoverBy::Exact, 16));
    let again = see_at(&mut dimms, wide(9, 64), addr(&wide(9, 64)), HOUR, &rules(), &whole);
    assert_eq!(grown(&again), None, "it is covered already");
}

#[test]
fn a_map_that_does_not_hold_a_page_seen_is_not_believed() {
    let wrong = |_: &DramPlace, _: &[PhysAddr]| Some((CoverBy::Learned, vec![Pfn(1), Pfn(2)]));
    let mut dimms = dimms();
    let mut last = Found::default();
    for place in [at(0, 9, 0), at(0, 9, 64)] {
        last = see_at(&mut dimms, place, addr(&place), 0, &rules(), &wrong);
    }
    let seen = pages(&[at(0, 9, 0), at(0, 9, 64)]);
    assert_eq!(cover(&last.opened[0]), (CoverBy::Seen, seen));
}

#[test]
fn an_escalated_bank_takes_no_page_that_saw_no_error() {
    let whole = |_: &DramPlace, seen: &[PhysAddr]| {
        let first = PageSize::KIB_4.pfn(seen[0]).0 & !0xf;
        Some((CoverBy::Exact, (first..first + 16).map(Pfn).collect()))
    };
    let mut dimms = dimms();
    for row in 1..4 {
        faulty_row(&mut dimms, 0, row, 0);
    }
    let place = at(0, 1, 512);
    let found = see_at(&mut dimms, place, addr(&place), HOUR, &rules(), &whole);
    assert!(grown(&found).unwrap().contains(&page(&place)));
    assert_eq!(found.updates[0].as_ref().unwrap().cover.as_ref().unwrap().by, CoverBy::Seen);
}

#[test]
fn a_place_at_another_address_is_doubtful_and_adds_nothing() {
    let mut dimms = dimms();
    let (first, second) = (wide(9, 0), wide(9, 8));
    see(&mut dimms, first, 0);
    see(&mut dimms, second, 0);
    let elsewhere = PhysAddr(0x7_0000_0000);
    let found = see_at(&mut dimms, first, elsewhere, HOUR, &rules(), &unknown_map);
    assert_eq!((found.trust, found.learned), (Trust::Doubtful, false));
    assert!(found.updates.iter().all(Option::is_none), "{found:?}");
    assert_eq!(dimms.doubtful(), 1);
}

#[test]
fn an_address_of_another_place_is_doubtful_and_fires_nothing() {
    let mut dimms = dimms();
    let known = at(0, 9, 0);
    see(&mut dimms, known, 0);
    see(&mut dimms, at(0, 8, 0), 0);
    let found = see_at(&mut dimms, at(0, 8, 64), addr(&known), 0, &rules(), &unknown_map);
    assert_eq!((found.trust, found.opened.len()), (Trust::Doubtful, 0));
}

#[test]
fn another_line_of_the_same_page_is_doubtful_too() {
    let mut dimms = dimms();
    let known = at(0, 9, 0);
    see(&mut dimms, known, 0);
    let other_line = PhysAddr(addr(&known).0 + 0x40);
    let found = see_at(&mut dimms, known, other_line, 0, &rules(), &unknown_map);
    assert_eq!(found.trust, Trust::Doubtful);
}

#[test]
fn columns_of_one_burst_are_one_place() {
    let mut dimms = dimms();
    let first = at(0, 9, 8);
    see(&mut dimms, first, 0);
    let found = see_at(&mut dimms, at(0, 9, 9), addr(&first), 0, &rules(), &unknown_map);
    assert_eq!((found.trust, found.opened.len()), (Trust::Good, 0));
}
