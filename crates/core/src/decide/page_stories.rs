//! Stories of pages that do not come off: pinned, stuck, or kept by a policy.
#![allow(clippy::unwrap_used)]

use super::testing::{machine, Desk};
use super::*;
use crate::analyze::Response;
use crate::model::*;

const P: u64 = 0x8000;
const HOUR: u64 = 3600;

fn desk() -> Desk {
    let mut desk = Desk::new(Policy::default(), machine(1, 4));
    desk.find(Response::TakePage(Pfn(P)));
    desk
}

fn soft() -> Order {
    Order::SoftOffline(Pfn(P))
}

/// Waits until the page is tried again; the seconds that took.
fn next_try(desk: &mut Desk) -> u64 {
    let wait = desk.page(P).next_try.unwrap().at.since(desk.now.at).as_secs();
    desk.pass(wait);
    desk.due();
    wait
}

#[test]
fn a_page_that_is_busy_for_a_day_is_pinned_and_a_human_is_told_once() {
    let mut desk = desk();
    let (start, mut told) = (desk.now, Vec::new());
    while desk.page(P).state == IsolationState::Wanted {
        let plan = desk.answer(soft(), Answer::Busy);
        told.extend(plan.decisions);
        next_try(&mut desk);
    }
    assert_eq!(told.len(), 2, "that it is busy, and that it is pinned: {told:?}");
    assert_eq!((told[1].kind, told[1].human), (DecisionKind::Escalated, true));
    assert!(told[1].why.contains("pinned"), "{}", told[1].why);
    let hours = desk.now.at.since(start.at).as_secs() / HOUR;
    assert!((24..=25).contains(&hours), "{hours} hours");
    assert_eq!(desk.answer(soft(), Answer::Busy).decisions, []);
    assert_eq!((desk.page(P).state, next_try(&mut desk)), (IsolationState::Failed, HOUR));
}

#[test]
fn a_pinned_page_that_is_let_go_comes_off_like_any() {
    let mut desk = desk();
    while desk.page(P).state == IsolationState::Wanted {
        desk.answer(soft(), Answer::Busy);
        next_try(&mut desk);
    }
    desk.answer(soft(), Answer::Off);
    let line = desk.page(P);
    assert_eq!((line.state, line.failing_since), (IsolationState::Isolated, None));
}

#[test]
fn a_page_that_fails_for_more_than_a_day_is_stuck_and_said_to_be_once() {
    let mut desk = desk();
    let since = desk.now;
    let mut told = Vec::new();
    for hour in 0..48 {
        told.extend(desk.answer(soft(), Answer::Unhandlable).decisions);
        assert_eq!(desk.page(P).is_stuck(desk.now.at), hour > 24, "after {hour} hours");
        assert_eq!(desk.ledger.pages().stuck(desk.now.at), usize::from(hour > 24));
        next_try(&mut desk);
    }
    assert_eq!(desk.page(P).failing_since, Some(since));
    assert_eq!(told.len(), 2);
    assert!(told[1].human && told[1].next.contains("bootmask"), "{told:?}");
    desk.answer(soft(), Answer::Off);
    assert_eq!(desk.ledger.pages().stuck(desk.now.at), 0);
    assert_eq!(desk.page(P).failing_since, None);
}

#[test]
fn a_page_that_fails_in_different_ways_fails_since_the_first() {
    let mut desk = desk();
    let since = desk.now;
    for answer in [Answer::Busy, Answer::Unhandlable, Answer::TimedOut, Answer::Errno(12)] {
        desk.answer(soft(), answer);
        assert_eq!(desk.page(P).failing_since, Some(since), "{answer:?}");
        next_try(&mut desk);
    }
    desk.answer(soft(), Answer::Busy);
    let plan = release(&desk.ctx(), Target::Page(Pfn(P))).unwrap();
    desk.enter(plan);
    assert_eq!(desk.page(P).failing_since, None, "nobody wants it any more");
}

#[test]
fn a_page_of_a_huge_page_is_refused_by_name_and_tried_hourly_without_new_messages() {
    let mut desk = Desk::new(Policy::default(), machine(1, 4));
    let keep = HugetlbPolicy::KeepFree(2);
    desk.policy.page.hugetlb = keep;
    let order = Order::SoftOfflineSparing(Pfn(P), keep);
    assert_eq!(desk.find(Response::TakePage(Pfn(P))).orders, vec![order.clone()]);
    let plan = desk.answer(order.clone(), Answer::Spared);
    assert_eq!(plan.decisions[0].kind, DecisionKind::Refused);
    assert!(plan.decisions[0].human);
    let line = desk.page(P);
    assert_eq!(line.state, IsolationState::Refused);
    assert!(line.why.contains("page.hugetlb") && line.why.contains('2'), "{}", line.why);
    assert_eq!(desk.states.values().next(), Some(&FaultState::Escalated));
    for _ in 0..3 {
        // More errors do not hurry it.
        assert_eq!(desk.find(Response::TakePage(Pfn(P))).orders, []);
        let plan = desk.answer(Order::Inspect(Pfn(P)), Answer::On);
        assert_eq!(plan, Plan::default());
        desk.pass(HOUR);
        let plan = desk.due();
        assert_eq!((plan.orders, plan.decisions), (vec![order.clone()], vec![]));
        assert_eq!(desk.page(P).state, IsolationState::Refused);
        assert_eq!(desk.answer(order.clone(), Answer::Spared).decisions, []);
    }
    desk.pass(HOUR);
    desk.due();
    desk.answer(order, Answer::Off);
    assert_eq!(desk.page(P).state, IsolationState::Isolated);
}

#[test]
fn a_spared_page_under_way_keeps_its_place_among_the_days() {
    let mut desk = Desk::new(Policy::default(), machine(1, 4));
    desk.policy.page.hugetlb = HugetlbPolicy::Never;
    desk.policy.limits.pages_per_day = 1;
    desk.find(Response::TakePage(Pfn(P)));
    let order = Order::SoftOfflineSparing(Pfn(P), HugetlbPolicy::Never);
    desk.answer(order.clone(), Answer::Spared);
    desk.pass(HOUR);
    assert_eq!(desk.due().orders, [order]);
    assert_eq!(usage(&desk.ctx()).pages_today, 1);
    assert_eq!(desk.find(Response::TakePage(Pfn(P + 1))).orders, []);
}

#[test]
fn a_page_that_is_waited_for_until_it_is_free_is_stuck_and_not_pinned() {
    let mut desk = desk();
    let line = Isolation { unreadable: true, ..desk.page(P).clone() };
    desk.ledger.insert(line);
    for _ in 0..400 {
        desk.answer(Order::OfflineFree(Pfn(P)), Answer::Busy);
        next_try(&mut desk);
    }
    assert_eq!(desk.page(P).state, IsolationState::Wanted);
    assert!(desk.page(P).is_stuck(desk.now.at));
    assert_eq!(desk.ledger.pages().stuck(desk.now.at), 1);
}

#[test]
fn a_page_that_a_lowered_limit_stops_keeps_the_place_of_its_first_going() {
    let mut desk = Desk::new(Policy::default(), machine(1, 4));
    desk.find(Response::TakePage(Pfn(2)));
    desk.answer(Order::SoftOffline(Pfn(2)), Answer::Off);
    let plan = release(&desk.ctx(), Target::Page(Pfn(2))).unwrap();
    desk.enter(plan);
    desk.answer(Order::Unpoison(Pfn(2)), Answer::On);
    for pfn in [2, 3] {
        desk.find(Response::TakePage(Pfn(pfn)));
        desk.answer(Order::SoftOffline(Pfn(pfn)), Answer::Busy);
    }
    desk.policy.limits.pages_per_day = 1;
    desk.pass(1);
    assert_eq!(desk.due().orders, []);
}

#[test]
fn an_error_after_a_release_is_remembered_by_the_boot_that_the_release_waits_for() {
    let mut desk = Desk::new(Policy::default(), machine(1, 4));
    desk.find(Response::TakePage(Pfn(7)));
    desk.answer(Order::SoftOffline(Pfn(7)), Answer::Off);
    let plan = release(&desk.ctx(), Target::Page(Pfn(7))).unwrap();
    desk.enter(plan);
    desk.find(Response::EnsureFailedPage(Pfn(7)));
    desk.start(Boot::New);
    assert_eq!(desk.page(7).state, IsolationState::Released);
    let plan = desk.find(Response::TakePage(Pfn(7)));
    assert_eq!(plan.orders, [Order::OfflineFree(Pfn(7))], "moving it would read the cell");
}
