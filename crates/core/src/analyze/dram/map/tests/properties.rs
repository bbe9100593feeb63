//! Never a page too many, whatever the platform.

use super::platform::*;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn page(platform: &Platform, place: &DramPlace) -> Pfn {
    PageSize::KIB_4.pfn(platform.addr(place))
}

/// Checks the row of every error; answers how many are known exactly, and of how
/// many something is known or nothing is left to know.
fn check(platform: &Platform, spots: BTreeSet<Spot>) -> Result<(usize, usize), TestCaseError> {
    let places: Vec<_> = spots.into_iter().map(place_of).collect();
    let map = platform.taught(&places);
    let (mut exact, mut known) = (0, 0);
    for place in &places {
        let truth = platform.row(place);
        match platform.ask(&map, place, &places) {
            None => {
                let seen = |other: &&DramPlace| other.row == place.row;
                let seen: BTreeSet<_> =
                    places.iter().filter(seen).map(|p| page(platform, p)).collect();
                known += usize::from(truth.iter().all(|page| seen.contains(page)));
            }
            Some((CoverBy::Exact, pages)) => {
                prop_assert_eq!(pages, truth);
                exact += 1;
                known += 1;
            }
            Some((_, pages)) => {
                prop_assert!(
                    pages.iter().all(|page| truth.contains(page)),
                    "{:?} {:x?} {:x?}",
                    place,
                    pages,
                    truth
                );
                known += 1;
            }
        }
    }
    Ok((exact, known))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
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
        let (_, known) = check(&platform, spots)?;
        prop_assert!(known > 0);
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
            (any::<(Option<u16>, Option<u16>, Option<u32>)>(), 0..12_u16, any::<u32>(), any::<u64>()),
            1..600,
        ),
        address_bits in 0..65_u32,
        phys_bits in any::<u8>(),
    ) {
        let mut map = RowMap::default();
        for ((bank_group, bank, column), rank, row, addr) in errors {
            let place = DramPlace {
                rank: Some(rank), bank_group, bank, row: Some(row), column, ..DramPlace::default()
            };
            let addr = PhysAddr(addr.checked_shr(64 - address_bits).unwrap_or(0));
            map.learn(&place, addr);
            map.row_pages(&place, &[addr], PageSize::KIB_4, phys_bits);
        }
        prop_assert!(map.ranks.len() <= MAX_RANKS);
    }
}

/// A line bit that a bank XOR doubles, and a region's base: the carries between
/// two rows contradict each other, and no difference below 64 MiB shows it.
#[test]
fn carries_that_two_rows_disagree_on_are_a_contradiction() {
    let platform = Platform {
        line: vec![20, 26, 9, 10, 11, 12, 13],
        bank: [18, 19],
        group: [27, 17],
        row: vec![14, 15, 16, 7, 28, 21, 22, 23, 24, 25, 8, 6, 29, 30, 31, 32, 33],
        bank_xor: Some(([22, 23], [20, 21])),
        levels: vec![(13, 4, 0)],
        base: 0xa8_1400_0000,
        hash: vec![],
    };
    let first = [38, 42, 52, 63, 67, 93, 98, 112].map(|line| (0, 0, 768, line));
    let second = [70, 71, 77, 82, 85, 89, 95, 110].map(|line| (0, 0, 51_712, line));
    check(&platform, first.into_iter().chain(second).collect()).unwrap();
}
