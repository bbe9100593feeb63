//! Stories of faults that an admin closes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::testing::{finding, machine, row, Desk};
use super::*;
use crate::analyze::Response;
use crate::model::*;
use std::collections::BTreeSet;

const P: u64 = 0x8000;

fn desk() -> Desk {
    Desk::new(Policy::default(), machine(1, 8))
}

fn page(pfn: u64) -> Response {
    Response::TakePage(Pfn(pfn))
}

fn target(pfn: u64) -> Target {
    Target::Page(Pfn(pfn))
}

fn cpu(cpu: u32) -> Target {
    Target::Cpu(CpuId(cpu))
}

/// Page `pfn` fails and is taken.
fn taken_page(desk: &mut Desk, pfn: u64) -> Fault {
    desk.find(page(pfn));
    desk.answer(Order::SoftOffline(Pfn(pfn)), Answer::Off);
    finding(page(pfn)).fault
}

/// The core of `cpu` fails and is taken: CPUs `cpu` and `cpu` + 8.
fn taken_core(desk: &mut Desk, cpu: u32) -> Fault {
    let response = Response::TakeCpus(vec![CpuId(cpu)]);
    let order = desk.find(response.clone()).orders.remove(0);
    for cpu in order.cpus() {
        desk.set_online(cpu.0, false);
    }
    desk.answer(order, Answer::Off);
    finding(response).fault
}

/// Another fault of CPUs, which is only known of.
fn another_of(cpus: impl IntoIterator<Item = u32>) -> Fault {
    Fault {
        id: uuid::Uuid::from_u128(0xa07e5),
        component: Component::Tlb {
            cpus: cpus.into_iter().map(CpuId).collect(),
            level: CacheLevel::L2,
            holds: CacheKind::Generic,
        },
        ..finding(Response::Report).fault
    }
}

fn state(desk: &Desk, target: Target) -> (IsolationState, Option<Undo>, Option<uuid::Uuid>) {
    let line = &desk.ledger[&target];
    (line.state, line.release, line.fault)
}

#[test]
fn a_closed_fault_gives_its_core_back_at_once() {
    let mut desk = desk();
    let fault = taken_core(&mut desk, 1);
    let closing = desk.close(&fault, &[]);
    let cpus = vec![CpuId(1), CpuId(9)];
    assert_eq!(closing.plan.orders, [Order::GiveCpus(cpus.clone())]);
    assert_eq!((closing.given, closing.kept), (vec![cpu(1), cpu(9)], Vec::new()));
    desk.answer(Order::GiveCpus(cpus), Answer::On);
    assert_eq!(state(&desk, cpu(1)), (IsolationState::Released, None, None));
    assert_eq!(state(&desk, cpu(9)), (IsolationState::Released, None, None));
}

#[test]
fn a_page_of_a_closed_fault_waits_for_the_reboot_where_the_kernel_cannot_give_it_back() {
    let mut desk = desk();
    let fault = taken_page(&mut desk, P);
    let closing = desk.close(&fault, &[]);
    assert_eq!(closing.plan.orders, [Order::Unpoison(Pfn(P))]);
    assert_eq!(closing.given, [target(P)]);
    let plan = desk.answer(Order::Unpoison(Pfn(P)), Answer::NoSuch);
    assert_eq!((plan.decisions, plan.faults), (Vec::new(), Vec::new()), "told with the closing");
    assert_eq!(state(&desk, target(P)), (IsolationState::Isolated, Some(Undo::NextBoot), None));
    assert!(desk.page(P).why.contains("waits for a reboot"), "{}", desk.page(P).why);
    desk.start(Boot::New);
    assert_eq!(state(&desk, target(P)), (IsolationState::Released, None, None));
}

#[test]
fn a_reboot_before_the_answer_gives_back_as_well() {
    let mut desk = desk();
    let fault = taken_page(&mut desk, P);
    desk.close(&fault, &[]);
    let core = taken_core(&mut desk, 1);
    desk.close(&core, &[]);
    desk.start(Boot::New);
    for target in [target(P), cpu(1), cpu(9)] {
        assert_eq!(state(&desk, target), (IsolationState::Released, None, None));
    }
}

#[test]
fn a_core_that_does_not_come_back_is_given_back_by_the_reboot() {
    let mut desk = desk();
    let fault = taken_core(&mut desk, 1);
    let order = desk.close(&fault, &[]).plan.orders.remove(0);
    let plan = desk.answer(order, Answer::Busy);
    assert_eq!(plan.decisions[0].kind, DecisionKind::Failed);
    for n in [1, 9] {
        assert_eq!(state(&desk, cpu(n)).1, Some(Undo::NextBoot));
        desk.set_online(n, true);
    }
    let (ctx, checks) = desk.split();
    let plan = start(&ctx, checks, Boot::New);
    assert_eq!(plan.orders, [], "nobody holds it");
    desk.enter(plan);
    assert_eq!(state(&desk, cpu(1)), (IsolationState::Released, None, None));
}

#[test]
fn closing_a_row_is_told_once_for_all_its_pages() {
    let mut desk = desk();
    let fault = row(1, 0..24);
    let orders = desk.find_row(&fault).orders;
    orders.into_iter().for_each(|order| drop(desk.answer(order, Answer::Off)));
    let closing = desk.close(&fault, &[]);
    assert_eq!((closing.plan.decisions.len(), closing.plan.orders.len()), (1, 24));
    assert!(closing.plan.decisions[0].done.contains("24 pages"), "{:?}", closing.plan.decisions);
    for order in closing.plan.orders {
        assert_eq!(desk.answer(order, Answer::NoSuch).decisions, []);
    }
}

#[test]
fn a_page_stays_while_its_own_fault_or_its_row_holds_it() {
    for own_first in [true, false] {
        let mut desk = desk();
        let (row, own) = (row(1, P..P + 2), finding(page(P)).fault);
        desk.find_row(&row);
        (P..P + 2).for_each(|pfn| drop(desk.answer(Order::SoftOffline(Pfn(pfn)), Answer::Off)));
        desk.find(page(P));
        let (first, second) = if own_first { (&own, &row) } else { (&row, &own) };
        let closing = desk.close(first, &[second]);
        assert_eq!(closing.kept.len(), 1, "{closing:?}");
        assert_eq!(closing.kept[0].target, target(P));
        assert!(closing.kept[0].why.contains(&second.id.to_string()), "{closing:?}");
        assert_eq!(state(&desk, target(P)), (IsolationState::Isolated, None, Some(second.id)));
        let closing = desk.close(second, &[]);
        assert!(closing.given.contains(&target(P)) && closing.kept.is_empty(), "{closing:?}");
    }
}

#[test]
fn a_core_stays_while_another_fault_of_it_is_open() {
    let mut desk = desk();
    let (fault, other) = (taken_core(&mut desk, 1), another_of([1, 9]));
    let closing = desk.close(&fault, &[&other]);
    assert_eq!((closing.plan.orders, closing.kept.len()), (Vec::new(), 2));
    assert_eq!(state(&desk, cpu(9)), (IsolationState::Isolated, None, Some(other.id)));
    let closing = desk.close(&other, &[]);
    assert_eq!(closing.given, [cpu(1), cpu(9)]);
}

#[test]
fn a_fault_of_a_cache_that_many_cores_share_holds_none_of_them() {
    let mut desk = desk();
    let (fault, shared) = (taken_core(&mut desk, 1), another_of(0..16));
    assert_eq!(desk.close(&fault, &[&shared]).given, [cpu(1), cpu(9)]);
}

#[test]
fn a_page_that_the_kernel_took_stays() {
    let mut desk = desk();
    desk.find(page(P));
    desk.answer(Order::SoftOffline(Pfn(P)), Answer::WasOff);
    assert_eq!(desk.page(P).by, By::Kernel);
    let closing = desk.close(&finding(page(P)).fault, &[]);
    assert_eq!((closing.plan.orders, closing.given), (Vec::new(), Vec::new()));
    assert!(closing.kept[0].why.contains("kernel"), "{:?}", closing.kept);
    assert_eq!(state(&desk, target(P)), (IsolationState::Isolated, None, None));
}

#[test]
fn what_an_admin_asked_for_stays_until_an_admin_releases_it() {
    let mut desk = desk();
    let fault = taken_page(&mut desk, P);
    let core = taken_core(&mut desk, 1);
    for target in [target(P), cpu(1)] {
        let plan = isolate(&desk.ctx(), target, Some("on order")).unwrap();
        desk.enter(plan);
    }
    assert_eq!(desk.close(&fault, &[]).given, []);
    assert_eq!(desk.close(&core, &[]).given, [cpu(9)], "it asked for that CPU alone");
    let plan = release(&desk.ctx(), target(P)).unwrap();
    assert_eq!(plan.orders, [Order::Unpoison(Pfn(P))]);
}

#[test]
fn an_admin_who_wants_it_out_takes_back_the_release_that_waits_for_a_reboot() {
    let mut desk = desk();
    let fault = taken_page(&mut desk, P);
    desk.close(&fault, &[]);
    desk.answer(Order::Unpoison(Pfn(P)), Answer::NoSuch);
    let plan = isolate(&desk.ctx(), target(P), None).unwrap();
    desk.enter(plan);
    assert_eq!(state(&desk, target(P)), (IsolationState::Isolated, None, None));
}

#[test]
fn mode_observe_touches_nothing_and_leaves_it_to_the_reboot() {
    let mut desk = desk();
    let (fault, core) = (taken_page(&mut desk, P), taken_core(&mut desk, 1));
    desk.policy.observe = true;
    let plans = [desk.close(&fault, &[]).plan, desk.close(&core, &[]).plan];
    assert!(plans.iter().all(|plan| plan.orders.is_empty()), "{plans:?}");
    for target in [target(P), cpu(1), cpu(9)] {
        assert_eq!(state(&desk, target), (IsolationState::Isolated, Some(Undo::NextBoot), None));
    }
}

#[test]
fn a_page_that_goes_after_its_fault_was_closed_is_given_back() {
    let mut desk = desk();
    desk.find(page(P));
    let closing = desk.close(&finding(page(P)).fault, &[]);
    assert_eq!((closing.plan.orders, closing.given), (Vec::new(), Vec::new()));
    assert_eq!(state(&desk, target(P)).0, IsolationState::Released);
    let plan = desk.answer(Order::SoftOffline(Pfn(P)), Answer::Off);
    assert_eq!(plan.orders, [Order::Unpoison(Pfn(P))]);
}

#[test]
fn a_page_with_an_uncorrected_error_stays_memory_failures() {
    let mut desk = desk();
    let response = Response::EnsureFailedPage(Pfn(P));
    desk.find(response.clone());
    desk.close(&finding(response).fault, &[]);
    assert_eq!(state(&desk, target(P)), (IsolationState::Wanted, None, None));
    assert!(desk.page(P).ue.is_some());
}

#[test]
fn what_is_stale_does_not_come_back_out_of_a_closed_fault() {
    let mut desk = desk();
    let fault = taken_page(&mut desk, P);
    let stale = Isolation { state: IsolationState::Stale, ..desk.page(P).clone() };
    desk.ledger.insert(stale);
    assert_eq!(desk.close(&fault, &[]).given, []);
    assert_eq!(state(&desk, target(P)), (IsolationState::Released, None, None));
}

#[test]
fn no_line_names_a_closed_fault() {
    let mut desk = desk();
    let faults: Vec<Fault> = vec![
        taken_page(&mut desk, P),
        taken_core(&mut desk, 1),
        finding(page(P + 1)).fault,
        finding(Response::EnsureFailedPage(Pfn(P + 2))).fault,
    ];
    desk.find(page(P + 1));
    desk.find(Response::EnsureFailedPage(Pfn(P + 2)));
    faults.iter().for_each(|fault| drop(desk.close(fault, &[])));
    let named: BTreeSet<_> = desk.ledger.values().filter_map(|line| line.fault).collect();
    assert_eq!(named, BTreeSet::new());
}
