//! One story each.

use super::platform::Platform;
use super::*;

/// Six channels of 256 bytes, two ranks, fine-grained open pages.
fn six_way() -> Platform {
    Platform { levels: vec![(13, 2, 1), (8, 6, 4)], base: 0x30 << 32, ..Platform::skylake(2) }
}

/// Two channels, hashed: no Skylake, but linear.
fn hashed() -> Platform {
    Platform {
        line: vec![6, 7, 9, 11, 12, 13, 15],
        group: [8, 10],
        levels: vec![(8, 2, 1)],
        hash: vec![(8, 0x0521_4000)],
        base: 0x10 << 32,
        row: vec![14, 16, 17, 20, 28, 21, 22, 23, 24, 25, 26, 27, 29, 30, 31, 32, 33],
        ..Platform::skylake(2)
    }
}

/// Lines of a row, spread so that each line bit is tested.
fn row(row: u32) -> Vec<DramPlace> {
    let lines = [1, 6, 13, 26, 52, 77, 100, 127].into_iter();
    lines.map(|line| place(2, 3, row, (line ^ (row % 4)) * 8)).collect()
}

fn rows(numbers: std::ops::Range<u32>) -> Vec<DramPlace> {
    numbers.flat_map(row).collect()
}

#[test]
fn a_row_whose_mapping_many_errors_confirm_is_known_exactly() {
    let (platform, places) = (six_way(), rows(70_000..70_003));
    let map = platform.taught(&places);
    let (by, pages) = platform.ask(&map, &places[0], &places).unwrap();
    assert_eq!(by, CoverBy::Exact);
    assert_eq!(pages, platform.row(&places[0]));
    assert_eq!(pages.len(), 24, "two runs of 48 KiB");
}

#[test]
fn a_row_that_shows_its_first_error_is_known_from_its_neighbours() {
    let platform = six_way();
    let map = platform.taught(&rows(70_000..70_003));
    let new = place(2, 3, 65_000, 0);
    assert_eq!(platform.ask(&map, &new, &[new]), Some((CoverBy::Exact, platform.row(&new))));
}

#[test]
fn one_row_is_not_enough_for_exact() {
    let platform = six_way();
    let places: Vec<_> = (0..128).map(|line| place(2, 3, 70_000, line * 8)).collect();
    // With every line seen there is nothing to learn; with half of them there is.
    assert_eq!(platform.ask(&platform.taught(&places), &places[0], &places), None);
    let (by, pages) = platform.ask(&platform.taught(&places), &places[0], &places[..64]).unwrap();
    assert_eq!((by, pages), (CoverBy::Learned, platform.row(&places[0])));
}

#[test]
fn columns_that_always_change_together_are_not_enough_for_exact() {
    let platform = six_way();
    let places: Vec<_> =
        (70_000..70_010).flat_map(|row| [0, 127].map(|line| place(2, 3, row, line * 8))).collect();
    let (by, _) = platform.ask(&platform.taught(&places), &places[0], &places).unwrap();
    assert_eq!(by, CoverBy::Learned);
}

#[test]
fn differences_that_reach_where_regions_begin_are_not_taken_for_linear() {
    // Almost closed pages over 16 channels, the base under the row's high bits.
    let mut platform = Platform::skylake(0);
    platform.line[0] = 6;
    platform.group[0] = 14;
    platform.levels = vec![(6, 16, 0)];
    platform.base = 0x2b7b << 26;
    let lines = [(8640, vec![12, 24, 28, 39, 59, 63, 103]), (10816, vec![29, 33, 41, 42, 126])];
    let places: Vec<_> = lines
        .into_iter()
        .flat_map(|(row, lines)| lines.into_iter().map(move |line| place(0, 0, row, line * 8)))
        .collect();
    let answer = platform.ask(&platform.taught(&places), &places[0], &places);
    let row = platform.row(&places[0]);
    assert!(answer.is_none_or(|(_, pages)| pages.iter().all(|page| row.contains(page))));
}

#[test]
fn columns_beyond_those_that_errors_have_shown_are_left_out() {
    let platform = six_way();
    // The highest line bit, and with it the second run of pages, never shows.
    let places: Vec<_> = [1, 10, 20, 33, 44, 63].map(|line| place(2, 3, 70_000, line * 8)).into();
    let (by, pages) = platform.ask(&platform.taught(&places), &places[0], &places).unwrap();
    assert_eq!((by, &pages[..]), (CoverBy::Learned, &platform.row(&places[0])[..12]));
}

#[test]
fn five_errors_teach_nothing() {
    let (platform, places) = (six_way(), rows(70_000..70_001));
    let map = platform.taught(&places[..5]);
    assert_eq!(platform.ask(&map, &places[0], &places[..5]), None);
}

#[test]
fn a_wrong_sample_among_many_does_not_unlearn_a_mapping() {
    let (platform, places) = (six_way(), rows(70_000..70_003));
    let mut map = RowMap::default();
    map.learn(&place(2, 3, 70_000, 8), PhysAddr(0x31_2345_6780));
    for place in &places {
        map.learn(place, platform.addr(place));
    }
    let answer = platform.ask(&map, &places[0], &places);
    assert_eq!(answer, Some((CoverBy::Exact, platform.row(&places[0]))));
}

#[test]
fn samples_that_contradict_a_mapping_unlearn_it() {
    let (platform, places) = (six_way(), rows(70_000..70_003));
    let mut map = platform.taught(&places);
    for place in &rows(71_000..71_001) {
        map.learn(place, PhysAddr(platform.addr(place).0 ^ 1 << 30));
    }
    assert_eq!(platform.ask(&map, &places[0], &places), None);
}

#[test]
fn an_address_at_two_places_supports_neither() {
    let (platform, places) = (six_way(), rows(70_000..70_001));
    let mut map = platform.taught(&places[..6]);
    assert!(platform.ask(&map, &places[0], &places[..6]).is_some());
    map.learn(&place(2, 3, 70_000, 800), platform.addr(&places[0]));
    // Five undisputed ones are left.
    assert_eq!(platform.ask(&map, &places[0], &places[..6]), None);
}

#[test]
fn an_address_that_does_not_lie_in_the_row_gets_no_answer() {
    let (platform, places) = (six_way(), rows(70_000..70_003));
    let map = platform.taught(&places);
    let seen = [platform.addr(&places[0]), platform.addr(&places[20])];
    assert_eq!(pages(&map, &places[0], &seen), None);
    assert_eq!(pages(&map, &places[0], &[]), None, "nor does a row without any");
}

#[test]
fn another_rank_has_everything_to_teach_again() {
    let (platform, places) = (six_way(), rows(70_000..70_003));
    let map = platform.taught(&places);
    let other = DramPlace { rank: Some(1), ..places[0] };
    assert_eq!(pages(&map, &other, &[platform.addr(&places[0])]), None);
}

#[test]
fn nothing_is_said_of_a_row_below_4_gib() {
    // Closed pages: the row's lines lie 24 MiB and more apart, over the edge.
    let mut platform = Platform::skylake(0);
    platform.levels = vec![(6, 2, 0), (8, 6, 0)];
    platform.base = 0x7000_0000;
    let places = rows(1 << 16..(1 << 16) + 3);
    let map = platform.taught(&places);
    assert_eq!(platform.ask(&map, &places[0], &places).unwrap().0, CoverBy::Exact);
    let low = place(2, 3, 3, 1000);
    assert!(platform.addr(&low).0 > 1 << 32 && platform.row(&low)[0] < Pfn(1 << 20));
    assert_eq!(platform.ask(&map, &low, &[low]), None);
}

#[test]
fn no_page_beyond_the_address_width_is_named() {
    let (platform, places) = (six_way(), rows(70_000..70_003));
    let map = platform.taught(&places);
    let seen = [platform.addr(&places[0])];
    let bits = 64 - seen[0].0.leading_zeros() as u8;
    let ask = |bits| map.row_pages(&places[0], &seen, PageSize::KIB_4, bits);
    assert!(ask(bits).is_some());
    assert_eq!(ask(bits - 1), None);
}

#[test]
fn a_hashed_mapping_is_learned_from_what_its_rows_have_shown() {
    let (platform, places) = (hashed(), rows(70_000..70_004));
    let map = platform.taught(&places);
    assert_eq!(
        platform.ask(&map, &places[0], &places),
        Some((CoverBy::Learned, platform.row(&places[0])))
    );
}

#[test]
fn one_contradiction_drops_a_learned_mapping() {
    let (platform, places) = (hashed(), rows(70_000..70_004));
    let mut map = platform.taught(&places);
    let wrong = place(2, 3, 70_000, 320);
    map.learn(&wrong, PhysAddr(platform.addr(&wrong).0 ^ 1 << 14));
    assert_eq!(platform.ask(&map, &places[0], &places), None);
}

#[test]
fn the_same_columns_in_many_rows_do_not_test_linearity() {
    let platform = hashed();
    let places: Vec<_> = (70_000..70_020)
        .flat_map(|row| [1, 2, 4, 8, 16].map(|line| place(2, 3, row, line * 8)))
        .collect();
    let map = platform.taught(&places);
    assert_eq!(platform.ask(&map, &places[0], &places), None);
}

#[test]
fn the_samples_of_a_rank_are_bounded_and_the_last_ones_count() {
    let (old, new) = (six_way(), Platform { base: 0x40 << 32, ..six_way() });
    let places = rows(70_000..70_100);
    let mut map = old.taught(&places);
    assert_eq!(map.ranks[0].samples.len(), samples::MAX_SAMPLES);
    assert!(old.ask(&map, &places[0], &places[..8]).is_some());
    for place in &places {
        map.learn(place, new.addr(place));
    }
    assert_eq!(old.ask(&map, &places[0], &places[..8]), None);
}
