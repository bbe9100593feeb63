//! Never a page too many, whatever the platform.

use super::platform::*;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Checks every row that has errors; answers how many were known, and how.
fn check(platform: &Platform, spots: BTreeSet<Spot>) -> Result<(usize, usize), TestCaseError> {
    let places: Vec<_> = spots.into_iter().map(place_of).collect();
    let map = platform.taught(&places);
    let (mut exact, mut learned) = (0, 0);
    for place in &places {
        let truth = platform.row(place);
        match platform.ask(&map, place, &places) {
            None => {}
            Some((CoverBy::Exact, pages)) => {
                prop_assert_eq!(pages, truth);
                exact += 1;
            }
            Some((_, pages)) => {
                prop_assert!(
                    pages.iter().all(|page| truth.contains(page)),
                    "{:?} {:x?} {:x?}",
                    place,
                    pages,
                    truth
                );
                learned += 1;
            }
        }
    }
    Ok((exact, learned))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_skylake_row_is_never_given_a_page_too_many(
        platform in skylakes(),
        spots in spots(1..6, 1..12),
    ) {
        check(&platform, spots)?;
    }

    #[test]
    fn a_linear_row_is_never_given_a_page_too_many(
        platform in linears(),
        spots in spots(1..6, 1..12),
    ) {
        check(&platform, spots)?;
    }

    #[test]
    fn a_row_of_neither_kind_is_never_given_a_page_too_many(
        platform in strangers(),
        spots in spots(1..6, 1..12),
    ) {
        check(&platform, spots)?;
    }

    #[test]
    fn many_errors_tell_a_skylake_from_what_nearly_is_one(
        platform in near_skylakes(),
        spots in spots(2..6, 8..16),
    ) {
        check(&platform, spots)?;
    }

    #[test]
    fn many_errors_make_a_skylake_row_exact(
        platform in skylakes(),
        spots in spots(4..6, 12..24),
    ) {
        let errors = spots.len();
        let (exact, _) = check(&platform, spots)?;
        prop_assert_eq!(exact, errors);
    }

    #[test]
    fn many_errors_teach_a_linear_mapping(platform in linears(), spots in spots(4..6, 12..24)) {
        let (exact, learned) = check(&platform, spots)?;
        prop_assert!(exact + learned > 0);
    }

    #[test]
    fn addresses_without_any_mapping_teach_nothing(
        errors in prop::collection::vec((0..4_u16, 0..4_u32, 0..128_u32, 1_u64 << 32..1 << 44), 1..80),
    ) {
        let mut map = RowMap::default();
        for &(bank, row, line, addr) in &errors {
            map.learn(&place_of((0, bank, row, line)), PhysAddr(addr));
        }
        for (bank, row, line, addr) in errors {
            prop_assert_eq!(pages(&map, &place_of((0, bank, row, line)), &[PhysAddr(addr)]), None);
        }
    }

    #[test]
    fn no_input_makes_it_panic_or_grow(
        errors in prop::collection::vec(
            (any::<[Option<u16>; 3]>(), any::<[Option<u32>; 2]>(), any::<u64>()), 1..600),
        phys_bits in any::<u8>(),
    ) {
        let mut map = RowMap::default();
        for ([rank, bank_group, bank], [row, column], addr) in errors {
            let place = DramPlace { rank, bank_group, bank, row, column, ..DramPlace::default() };
            map.learn(&place, PhysAddr(addr));
            map.row_pages(&place, &[PhysAddr(addr)], PageSize::KIB_4, phys_bits);
        }
        prop_assert!(map.ranks.len() <= MAX_RANKS);
        prop_assert!(map.ranks.iter().all(|rank| rank.samples.len() <= samples::MAX_SAMPLES));
    }
}
