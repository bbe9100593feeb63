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
    #[test]
    fn a_skylake_row_is_never_given_a_page_too_many(platform in skylakes(), spots in spots(1..6, 1..12)) {
        check(&platform, spots)?;
    }

    #[test]
    fn a_near_skylake_row_is_never_given_a_page_too_many(platform in near_skylakes(), spots in spots(1..6, 1..12)) {
        check(&platform, spots)?;
    }

    #[test]
    fn a_linear_row_is_never_given_a_page_too_many(platform in linears(), spots in spots(1..6, 1..12)) {
        check(&platform, spots)?;
    }

    #[test]
    fn a_strange_row_is_never_given_a_page_too_many(platform in strangers(), spots in spots(1..6, 1..12)) {
        check(&platform, spots)?;
    }

    #[test]
    fn a_skylake_of_many_errors_is_known_exactly(platform in skylakes(), spots in spots(4..6, 12..24)) {
        let errors = spots.len();
        let (exact, _) = check(&platform, spots)?;
        prop_assert_eq!(exact, errors);
    }

    #[test]
    fn a_linear_mapping_of_many_errors_is_learned(platform in linears(), spots in spots(4..6, 12..24)) {
        let (_, learned) = check(&platform, spots)?;
        prop_assert!(learned > 0);
    }
}
