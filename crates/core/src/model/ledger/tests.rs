//! The figures and queues are those of a recount, whatever came and went.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::listed::{is_spare, turn};
use super::*;
use crate::model::{Asked, By, Home, Severity, Stamp, Urgency};
use proptest::prelude::*;

prop_compose! {
    fn stamp()(at in 0u64..50) -> Stamp {
        Stamp { at: Time(at), ..Stamp::default() }
    }
}

prop_compose! {
    fn line()(
        (is_cpu, number) in (prop::bool::weighted(0.2), 0u64..12),
        state in prop::sample::select(vec![
            IsolationState::Wanted, IsolationState::Isolated, IsolationState::Observed,
            IsolationState::Refused, IsolationState::Refused, IsolationState::Failed,
            IsolationState::Stale, IsolationState::Released,
        ]),
        by in prop::sample::select(vec![By::Bulkhead, By::Bulkhead, By::Kernel, By::Admin]),
        since in stamp(),
        taken in prop::option::of(stamp()),
        next_try in prop::option::of(stamp()),
        ue in prop::option::weighted(0.1, stamp()),
        fault in prop::option::of((0u128..3).prop_map(Uuid::from_u128)),
        failures in 0u32..2,
        asked in prop::option::of(prop::sample::select(vec![
            Asked::Take, Asked::Unsure, Asked::Retake, Asked::Give,
        ])),
        seen in any::<bool>(),
        restores in prop::bool::weighted(0.2),
    ) -> Isolation {
        let target = match is_cpu {
            true => Target::Cpu(CpuId(number as u32)),
            false => Target::Page(Pfn(number)),
        };
        Isolation {
            target, state, by, since, taken, why: String::new(), fault, release: None, next_try,
            failures, failing_since: None, asked, ue, together: Vec::new(), bound: Vec::new(),
            urgency: Urgency { severity: Severity::Minor, seen },
            home: Home::Unknown,
            restores,
            unreadable: false,
        }
    }
}

fn group() -> impl Strategy<Value = Group> {
    (0u128..3, prop::collection::btree_set(0u64..12, 0..6)).prop_map(|(fault, pages)| Group {
        fault: Uuid::from_u128(fault),
        name: String::new(),
        why: String::new(),
        pages: pages.into_iter().map(Pfn).collect(),
    })
}

fn any_ledger() -> impl Strategy<Value = Ledger> {
    let change = prop_oneof![
        5 => line().prop_map(Ok),
        1 => group().prop_map(Err),
    ];
    prop::collection::vec((change, 0usize..8), 0..60).prop_map(|changes| {
        let mut ledger = Ledger::new();
        for (change, most) in changes {
            match change {
                Ok(line) => ledger.insert(line),
                Err(group) => ledger.put_group(group),
            }
            ledger.trim_to(most, most);
        }
        ledger
    })
}

fn pages(ledger: &Ledger) -> impl Iterator<Item = &Isolation> {
    ledger.values().filter(|line| matches!(line.target, Target::Page(_)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ledger_with_a_history_equals_one_of_its_lines_alone(ledger in any_ledger()) {
        let mut fresh: Ledger = ledger.values().cloned().collect();
        for (group, _) in (0..3).filter_map(|id| ledger.group(Uuid::from_u128(id))) {
            fresh.put_group(group.clone());
        }
        fresh.forgotten = ledger.forgotten;
        prop_assert_eq!(fresh, ledger);
    }

    #[test]
    fn what_pages_use_of_the_limits_is_what_a_recount_says(
        ledger in any_ledger(),
        observe in any::<bool>(),
        start in 0u64..50,
    ) {
        let ours = |line: &&Isolation| {
            line.by != By::Kernel
                && (line.may_go() && (!line.restores || line.taken.is_some())
                    || (observe && line.state == IsolationState::Observed)
                    || line.asked == Some(Asked::Give)
                    || (line.state == IsolationState::Isolated && line.taken.is_some()))
        };
        prop_assert_eq!(ledger.pages().ours(observe), pages(&ledger).filter(ours).count());
        let going = |line: &Isolation| line.by != By::Kernel && line.may_go() && !line.restores;
        prop_assert_eq!(ledger.pages().going(), pages(&ledger).filter(|l| going(l)).count());

        let place = |line: &Isolation| match line.state {
            IsolationState::Observed if observe && line.by != By::Kernel && !line.restores => {
                Some(line.since.at)
            }
            _ => line.taken.map(|taken| taken.at),
        };
        let mut places: Vec<Time> =
            pages(&ledger).filter(|l| !going(l)).filter_map(place).filter(|at| at.0 >= start).collect();
        places.sort_unstable();
        let (taken, observed) = ledger.pages().places(observe, |at| at.0 < start);
        let kept: Vec<Time> =
            (0..taken.len() + observed.len()).map(|n| nth(taken, observed, n).unwrap()).collect();
        prop_assert_eq!(kept, places);

        let alarm = |line: &&Isolation| {
            line.waits_for_room() && line.next_try.is_some_and(|next| next.at.0 > start)
        };
        prop_assert_eq!(ledger.pages().alarms(Time(start)), pages(&ledger).filter(alarm).count());
    }

    #[test]
    fn states_are_counted(ledger in any_ledger()) {
        for line in ledger.values() {
            let is_cpu = |line: &Isolation| matches!(line.target, Target::Cpu(_));
            let alike = |l: &&Isolation| l.state == line.state && is_cpu(l) == is_cpu(line);
            let count = ledger.values().filter(alike).count();
            prop_assert_eq!(ledger.count(is_cpu(line), line.state), count);
        }
        prop_assert!(ledger.cpus().eq(ledger.values().filter(|l| matches!(l.target, Target::Cpu(_)))));
    }

    #[test]
    fn what_is_due_and_what_belongs_to_a_fault_is_found(ledger in any_ledger(), now in 0u64..50) {
        let next = |line: &Isolation| line.next_try.map(|next| next.at);
        prop_assert_eq!(ledger.next_try(), ledger.values().filter_map(next).min());
        let due = ledger.values().filter(|l| next(l).is_some_and(|at| at.0 <= now)).count();
        prop_assert_eq!(ledger.due(Time(now)).count(), due);
        for fault in (0..3).map(Uuid::from_u128) {
            let of_fault = ledger.values().filter(|line| line.fault == Some(fault));
            prop_assert!(ledger.of_fault(fault).eq(of_fault));
        }
    }

    #[test]
    fn a_trim_forgets_only_what_nothing_but_the_wish_is_lost_with_and_the_oldest_stale(
        ledger in any_ledger(),
        most in 0usize..8,
        most_stale in 0usize..8,
    ) {
        let mut trimmed = ledger.clone();
        let forgotten = trimmed.trim_to(most, most_stale);
        prop_assert_eq!(trimmed.forgotten() - ledger.forgotten(), forgotten.len() as u64);
        prop_assert_eq!(trimmed.len() + forgotten.len(), ledger.len());
        for (target, fault) in forgotten {
            let line = &ledger[&target];
            prop_assert_eq!(fault, line.fault);
            if line.state == IsolationState::Stale {
                let kept: Vec<_> =
                    trimmed.values().filter(|l| l.state == IsolationState::Stale).collect();
                prop_assert_eq!(kept.len(), most_stale);
                prop_assert!(kept.iter().all(|kept| kept.since.at >= line.since.at));
                continue;
            }
            prop_assert!(is_spare(line), "{line:?}");
            prop_assert!(trimmed.spare.iter().all(|kept| *kept <= turn(line)));
        }
    }
}

#[test]
fn the_urgent_go_first_then_those_with_errors_then_those_that_waited_longest() {
    let page = |pfn, severity, seen, since| Isolation {
        target: Target::Page(Pfn(pfn)),
        state: IsolationState::Refused,
        by: By::Bulkhead,
        since: Stamp { at: Time(since), ..Stamp::default() },
        taken: None,
        why: String::new(),
        fault: None,
        release: None,
        next_try: None,
        failures: 0,
        failing_since: None,
        asked: None,
        ue: None,
        together: Vec::new(),
        bound: Vec::new(),
        urgency: Urgency { severity, seen },
        home: Home::Unknown,
        restores: false,
        unreadable: false,
    };
    let mut ledger: Ledger = [
        page(1, Severity::Minor, true, 1),
        page(2, Severity::Major, false, 2),
        page(3, Severity::Major, true, 4),
        page(4, Severity::Major, true, 3),
    ]
    .into_iter()
    .collect();
    let turns = |ledger: &Ledger| -> Vec<Target> { ledger.waiting().map(|l| l.target).collect() };
    let expected = [4, 3, 2, 1].map(|pfn| Target::Page(Pfn(pfn)));
    assert_eq!(turns(&ledger), expected);
    assert_eq!(ledger.trim_to(2, 0), [(expected[3], None), (expected[2], None)]);
    assert_eq!((turns(&ledger), ledger.forgotten()), (expected[..2].to_vec(), 2));
}
