//! What a guard rail holds back is refused by the name of its key wherever an
//! admin looks.
#![allow(clippy::unwrap_used)]

use super::tests::{answer, cycle, row, take_all, NOW};
use super::*;
use crate::api::samples;
use crate::api::views::IsolationView;
use crate::state::Saved;
use bulkhead_core::analyze::{Finding, Response};
use bulkhead_core::decide::{Amount, Answer, HugetlbPolicy};
use bulkhead_core::model::{Cover, CoverBy, Fault, IsolationState};

const P: Pfn = Pfn(0x8000);

/// Page [`P`] fails, is refused, and list, explain and journal name `key`.
fn is_refused_by_name(cycle: &mut Cycle, key: &str) {
    let fault = samples::page_fault();
    let id = fault.id;
    cycle.core.found(Finding { fault, response: Response::TakePage(P) }, NOW);
    let (orders, mut told) = cycle.take_orders();
    for order in orders {
        // The only order that a guard rail of act's may hold back.
        assert!(matches!(order, Order::SoftOfflineSparing(P, _)), "{order:?}");
        answer(cycle, order, Answer::Spared);
        told = cycle.take_orders().1;
    }
    let page_size = cycle.core.machine.page_size;
    let line = IsolationView::of(cycle.core.books.ledger.get(&Target::Page(P)).unwrap(), page_size);
    assert_eq!(line.state, IsolationState::Refused);
    assert!(line.why.contains(key), "list: {}", line.why);
    let fault = &cycle.core.books.faults[&id];
    assert_eq!(fault.state, FaultState::Escalated);
    assert!(fault.decision.contains(key), "explain: {}", fault.decision);
    let told = told.last().unwrap();
    assert!(told.human && told.why.contains(key), "journal: {told:?}");
}

#[test]
fn the_memory_cap_as_an_amount() {
    let mut cycle = cycle(&mut Saved::default());
    cycle.core.policy.limits.memory = Amount::Count(4095);
    is_refused_by_name(&mut cycle, "limits.memory");
}

#[test]
fn the_memory_cap_as_a_share_is_at_least_4_mib() {
    let mut cycle = cycle(&mut Saved::default());
    cycle.core.policy.limits.memory = Amount::Share(0.0);
    cycle.core.policy.limits.pages_per_day = u32::MAX;
    let pages: Vec<Pfn> = (0..1024).map(Pfn).collect();
    let cover = Some(Cover { by: CoverBy::Seen, pages: pages.clone() });
    let fault = Fault { cover, id: Uuid::from_u128(1), ..row() };
    cycle.core.found(Finding { fault, response: Response::TakePages(pages) }, NOW);
    take_all(&mut cycle);
    assert_eq!(cycle.usage(NOW).memory_used, 4 << 20);
    is_refused_by_name(&mut cycle, "limits.memory");
}

#[test]
fn the_pages_of_a_day() {
    let mut cycle = cycle(&mut Saved::default());
    cycle.core.policy.limits.pages_per_day = 0;
    is_refused_by_name(&mut cycle, "limits.pages_per_day");
}

#[test]
fn huge_pages() {
    for keep in [HugetlbPolicy::Never, HugetlbPolicy::KeepFree(2)] {
        let mut cycle = cycle(&mut Saved::default());
        cycle.core.policy.page.hugetlb = keep;
        is_refused_by_name(&mut cycle, "page.hugetlb");
    }
}

#[test]
fn a_page_that_is_pinned() {
    let mut cycle = cycle(&mut Saved::default());
    let fault = samples::page_fault();
    let id = fault.id;
    cycle.core.found(Finding { fault, response: Response::TakePage(P) }, NOW);
    let (mut now, mut told) = (NOW, Vec::new());
    let state = |cycle: &Cycle| cycle.core.books.ledger.get(&Target::Page(P)).unwrap().state;
    while state(&cycle) != IsolationState::Failed {
        for order in cycle.take_orders().0 {
            let said = String::new();
            let outcome = Outcome {
                order,
                answer: Answer::Busy,
                time: now,
                asked: said.clone(),
                answered: said,
                survey: None,
                left_off: Vec::new(),
                apart: Vec::new(),
            };
            cycle.outcome(&outcome, now);
        }
        told.extend(cycle.take_orders().1);
        now = now.after(std::time::Duration::from_secs(300));
        cycle.due(now);
    }
    let page_size = cycle.core.machine.page_size;
    let line = IsolationView::of(cycle.core.books.ledger.get(&Target::Page(P)).unwrap(), page_size);
    let fault = &cycle.core.books.faults[&id];
    assert_eq!(fault.state, FaultState::Escalated);
    for text in [&line.why, &fault.decision, &told.last().unwrap().why] {
        assert!(text.contains("pinned"), "{text}");
    }
}
