use super::*;
use crate::decide::{RowPolicy, Threshold};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// What was found, but for who was first: the modes that no other one takes in.
fn widest(found: &[Found]) -> BTreeSet<Scope> {
    let all: BTreeSet<Scope> =
        found.iter().flat_map(|f| &f.opened).map(|mode| mode.scope).collect();
    let inner = |scope: &&Scope| all.iter().all(|other| other == *scope || !other.takes_in(scope));
    all.iter().filter(inner).copied().collect()
}

/// A place in a few banks, rows and columns, so that all modes occur. Records
/// name the device in two banks of three.
fn place() -> impl Strategy<Value = DramPlace> {
    (0u16..2, 0u16..3, 0u32..4, 0u32..4, any::<bool>()).prop_map(
        |(rank, bank, row, column, wide)| DramPlace {
            rank: Some(rank),
            device: (bank > 0).then_some(7),
            bits: Some(if wide { WIDE } else { NARROW }),
            ..at(bank, row, column * 64)
        },
    )
}

proptest! {
    #[test]
    fn a_row_fires_exactly_where_brute_force_finds_n_errors_at_m_columns_within_t(
        mut errors in prop::collection::vec((0u64..3_000, 0u32..5), 1..40),
        n in 1u32..6,
        m in 1u32..4,
        window in 1u64..1_500,
    ) {
        errors.sort_unstable();
        let threshold = Threshold { errors: n, window: Duration::from_nanos(window) };
        let row = RowPolicy { threshold, columns: m };
        let mut dimms = dimms();
        for (i, (when, column)) in errors.iter().enumerate() {
            let rules = DramRules { row, page_limit: 1 };
            let found = see_by(&mut dimms, at(0, 1, column * 8), *when, rules);
            let inside = || {
                errors[..=i].iter().filter(|(t, _)| *t >= when.saturating_sub(window))
            };
            let columns: BTreeSet<u32> = inside().map(|(_, column)| *column).collect();
            let due = inside().count() >= n as usize && columns.len() >= m as usize;
            prop_assert_eq!(found.opened.len(), usize::from(due));
            if due {
                break;
            }
        }
    }

    #[test]
    fn the_order_of_errors_of_one_moment_does_not_change_the_modes_found(
        places in prop::collection::vec(place(), 1..40),
        seed in prop::collection::vec(any::<u32>(), 40),
    ) {
        let mut shuffled: Vec<_> = places.iter().zip(seed).collect();
        shuffled.sort_by_key(|(_, key)| *key);
        let shuffled: Vec<DramPlace> = shuffled.into_iter().map(|(place, _)| *place).collect();
        let (mut one, mut other) = (dimms(), dimms());
        let (one, other) = (all(&mut one, &places, 0), all(&mut other, &shuffled, 0));
        prop_assert_eq!(widest(&one), widest(&other));
    }

    #[test]
    fn state_stays_within_its_bounds_whatever_comes(
        errors in prop::collection::vec(
            (any::<u64>(), place(), any::<u64>(), 0u16..4, any::<bool>(), any::<u64>()), 0..120,
        ),
    ) {
        let capacity = Capacity { rows: 6, rows_per_bank: 3, columns: 2, dimms: 2 };
        let mut dimms = Dimms::new(capacity);
        for (when, mut place, addr, channel, consistent, records) in errors {
            place.dimm.channel = Some(channel);
            let addr = if consistent { self::addr(&place) } else { PhysAddr(addr) };
            let mut report = report(&place, 0);
            report.first.at = Time(when);
            report.last.at = Time(when.saturating_add(records));
            report.records = records;
            report.errors = records;
            let page = Some(PageSize::KIB_4.pfn(addr));
            let seen = Sighting { place: &place, page, addr: Some(addr), report: &report };
            dimms.observe(&seen, &rules(), &unknown_map);
            prop_assert!(dimms.rows() <= capacity.rows);
            prop_assert!(dimms.modes.len() <= capacity.dimms);
            prop_assert!(dimms.known().count() <= capacity.rows * capacity.columns);
            prop_assert!(dimms.rows.is_consistent(), "{dimms:?}");
        }
    }

    #[test]
    fn a_restart_between_any_two_errors_changes_nothing(
        places in prop::collection::vec((place(), 0u64..DAY), 1..30),
        cut in 0usize..30,
    ) {
        let (mut straight, mut cut_short) = (dimms(), dimms());
        let (mut clock, mut faults, mut saved) = (0, Vec::new(), Vec::new());
        for (i, (place, gap)) in places.into_iter().enumerate() {
            clock += gap;
            if i == cut {
                let rows = take_changes(&mut cut_short);
                saved.extend(rows.into_iter().filter_map(|(key, row)| Some((key, row?))));
                cut_short = dimms();
                cut_short.restore(saved.drain(..), faults.iter());
            }
            let one = see(&mut straight, place, clock);
            let other = see(&mut cut_short, place, clock);
            prop_assert_eq!(&one.opened, &other.opened);
            for update in one.updates.into_iter().flatten() {
                let fault: &mut Fault =
                    faults.iter_mut().find(|f: &&mut Fault| f.id == update.fault).unwrap();
                fault.last = update.last;
            }
            faults.extend(one.opened.iter().map(as_fault));
        }
    }
}
