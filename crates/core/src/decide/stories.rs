//! Stories: one behaviour each.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::testing::{finding, machine, Desk};
use super::*;
use crate::analyze::Response;
use crate::model::*;

const P: u64 = 0x8000;
const HOUR: u64 = 3600;

fn desk() -> Desk {
    Desk::new(Policy::default(), machine(1, 4))
}

fn observing() -> Desk {
    Desk::new(Policy { observe: true, ..Policy::default() }, machine(1, 4))
}

fn page(pfn: u64) -> Response {
    Response::TakePage(Pfn(pfn))
}

fn core(cpu: u32) -> Response {
    Response::TakeCpus(vec![CpuId(cpu)])
}

fn soft(pfn: u64) -> Order {
    Order::SoftOffline(Pfn(pfn))
}

fn take(cpus: &[u32]) -> Order {
    Order::TakeCpus(cpus.iter().copied().map(CpuId).collect())
}

fn give(cpus: &[u32]) -> Order {
    Order::GiveCpus(cpus.iter().copied().map(CpuId).collect())
}

fn state(plan: &Plan) -> Option<FaultState> {
    plan.faults.last().map(|note| note.state)
}

fn kinds(plan: &Plan) -> Vec<DecisionKind> {
    plan.decisions.iter().map(|d| d.kind).collect()
}

/// Takes core `cpu` and its sibling.
fn taken_core(desk: &mut Desk, cpu: u32) {
    let plan = desk.find(core(cpu));
    let order = plan.orders[0].clone();
    desk.answer(order, Answer::Off);
}

fn isolated_page(desk: &mut Desk, pfn: u64) {
    desk.find(page(pfn));
    desk.answer(soft(pfn), Answer::Off);
}

fn restarted(desk: &mut Desk) -> Plan {
    desk.start(Boot::Same)
}

#[test]
fn a_failing_page_is_wanted_before_it_is_asked_for_and_isolated_when_off() {
    let mut desk = desk();
    let plan = desk.find(page(P));
    assert_eq!(plan.orders, [soft(P)]);
    assert_eq!(desk.page(P).state, IsolationState::Wanted);
    assert_eq!(plan.decisions[0].component, "page 0x8000000");
    let plan = desk.answer(soft(P), Answer::Off);
    assert_eq!(kinds(&plan), [DecisionKind::Taken]);
    assert_eq!(state(&plan), Some(FaultState::Isolated));
    assert_eq!(desk.page(P).taken, Some(desk.now));
    assert_eq!(desk.page(P).why, "2 corrected errors in a test (rule rule).");
}

#[test]
fn a_busy_page_is_tried_again_after_1_s_doubling_to_5_min_and_told_once() {
    let mut desk = desk();
    desk.find(page(P));
    let mut told = 0;
    let mut waits = Vec::new();
    for _ in 0..11 {
        told += desk.answer(soft(P), Answer::Busy).decisions.len();
        let wait = desk.page(P).next_try.unwrap().at.since(desk.now.at).as_secs();
        waits.push(wait);
        assert_eq!(desk.due().orders, []);
        desk.pass(wait);
        assert_eq!(desk.due().orders, [soft(P)]);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert_eq!(told, 1);
    assert_eq!(desk.page(P).state, IsolationState::Wanted);
}

#[test]
fn an_unmovable_page_fails_and_is_tried_hourly_without_new_messages() {
    let mut desk = desk();
    desk.find(page(P));
    let plan = desk.answer(soft(P), Answer::Unhandlable);
    assert_eq!(state(&plan), Some(FaultState::Open));
    let since = desk.page(P).since;
    for _ in 0..3 {
        assert_eq!(desk.page(P).state, IsolationState::Failed);
        desk.pass(HOUR - 1);
        assert_eq!(desk.due().orders, []);
        desk.pass(1);
        let plan = desk.due();
        assert_eq!((plan.orders.len(), plan.decisions.len()), (1, 0));
        assert_eq!(desk.answer(soft(P), Answer::Unhandlable).decisions, []);
    }
    assert_eq!(desk.page(P).since, since);
}

#[test]
fn the_kernels_policy_refuses_a_page_until_the_next_start() {
    let mut desk = desk();
    desk.find(page(P));
    let plan = desk.answer(soft(P), Answer::NotAllowed);
    assert_eq!(state(&plan), Some(FaultState::Escalated));
    assert!(plan.decisions[0].human);
    assert_eq!(desk.page(P).state, IsolationState::Refused);
    desk.pass(100 * HOUR);
    assert_eq!(desk.due().orders, []);
    desk.start(Boot::Same);
    assert_eq!(desk.due().orders, [soft(P)]);
}

#[test]
fn a_page_that_was_off_before_we_asked_is_the_kernels() {
    let mut desk = desk();
    desk.find(page(P));
    let plan = desk.answer(soft(P), Answer::WasOff);
    assert_eq!(kinds(&plan), [DecisionKind::KernelTook]);
    assert_eq!((desk.page(P).by, desk.page(P).taken), (By::Kernel, None));
    assert_eq!(usage(&desk.ctx()).memory_used, 0);
}

#[test]
fn a_page_that_a_timed_out_write_took_is_ours() {
    let mut desk = desk();
    desk.find(page(P));
    desk.answer(soft(P), Answer::TimedOut);
    assert_eq!(desk.page(P).state, IsolationState::Failed);
    assert_eq!(usage(&desk.ctx()).memory_used, 4096, "it may go yet");
    desk.pass(HOUR);
    desk.due();
    desk.answer(soft(P), Answer::WasOff);
    assert_eq!((desk.page(P).by, desk.page(P).taken), (By::Bulkhead, Some(desk.now)));
}

#[test]
fn a_late_answer_is_believed() {
    let mut desk = desk();
    desk.find(page(P));
    desk.answer(soft(P), Answer::TimedOut);
    desk.answer(soft(P), Answer::Off);
    assert_eq!(desk.page(P).state, IsolationState::Isolated);
}

#[test]
fn an_address_beyond_the_machine_is_refused() {
    let mut desk = desk();
    let plan = desk.find(page(1 << 34));
    assert_eq!(plan.orders, []);
    assert_eq!(desk.page(1 << 34).state, IsolationState::Refused);
}

#[test]
fn the_memory_limit_refuses_by_name_and_a_release_makes_room() {
    let mut desk = desk();
    desk.policy.limits.memory = Amount::Count(4096);
    isolated_page(&mut desk, P);
    let plan = desk.find(page(P + 1));
    assert_eq!((plan.orders.len(), state(&plan)), (0, Some(FaultState::Escalated)));
    let line = desk.page(P + 1);
    assert!(line.why.contains("4096") && line.why.contains("limits.memory"), "{}", line.why);
    assert_eq!(line.next_try, None);
    assert_eq!(desk.due(), Plan::default());

    let plan = release(&desk.ctx(), Target::Page(Pfn(P))).unwrap();
    desk.enter(plan);
    desk.answer(Order::Unpoison(Pfn(P)), Answer::On);
    let plan = desk.due();
    assert_eq!(plan.orders, [soft(P + 1)]);
    assert_eq!(desk.due(), Plan::default());
}

#[test]
fn the_days_pages_free_their_places_one_by_one() {
    let mut desk = desk();
    desk.policy.limits.pages_per_day = 2;
    isolated_page(&mut desk, 1);
    desk.pass(HOUR);
    isolated_page(&mut desk, 2);
    let full = desk.now.at;
    for pfn in 3..6 {
        desk.find(page(pfn));
        assert_eq!(desk.page(pfn).state, IsolationState::Refused);
        assert!(desk.page(pfn).why.contains("limits.pages_per_day"));
    }
    let hours = |pfn| desk.page(pfn).next_try.unwrap().at.since(full).as_secs() / HOUR;
    assert_eq!([hours(3), hours(4), hours(5)], [23, 24, 47]);
    desk.pass(23 * HOUR);
    assert_eq!(desk.due().orders, [soft(3)]);
}

#[test]
fn a_released_page_still_counts_among_the_days() {
    let mut desk = desk();
    isolated_page(&mut desk, P);
    let plan = release(&desk.ctx(), Target::Page(Pfn(P))).unwrap();
    desk.enter(plan);
    desk.answer(Order::Unpoison(Pfn(P)), Answer::On);
    let usage = usage(&desk.ctx());
    assert_eq!((usage.pages_today, usage.memory_used), (1, 0));
}

#[test]
fn observe_writes_nothing_and_keeps_to_the_limits() {
    let mut desk = observing();
    desk.policy.limits.pages_per_day = 1;
    let plan = desk.find(page(P));
    assert_eq!(plan.orders, []);
    assert_eq!(kinds(&plan), [DecisionKind::Observed]);
    assert_eq!(desk.page(P).state, IsolationState::Observed);
    desk.find(page(P + 1));
    assert_eq!(desk.page(P + 1).state, IsolationState::Refused);
    assert_eq!(desk.find(core(1)).orders, []);
    assert_eq!(desk.cpu(5).state, IsolationState::Observed);
}

#[test]
fn what_was_observed_goes_when_the_daemon_starts_in_earnest() {
    let mut desk = observing();
    desk.find(page(P));
    desk.policy.observe = false;
    desk.start(Boot::Same);
    assert_eq!(desk.due().orders, [soft(P)]);
}

#[test]
fn an_uncorrected_error_waits_a_second_for_memory_failure_then_hard_offlines() {
    let mut desk = desk();
    desk.policy.limits.memory = Amount::Count(0);
    let look = Order::Inspect(Pfn(P));
    let plan = desk.find(Response::EnsureFailedPage(Pfn(P)));
    assert_eq!(plan.orders, std::slice::from_ref(&look));
    assert_eq!(desk.answer(look.clone(), Answer::On), Plan::default(), "too early to tell");
    desk.pass(1);
    assert_eq!(desk.due().orders, std::slice::from_ref(&look));
    assert_eq!(desk.answer(look, Answer::On).orders, [Order::HardOffline(Pfn(P))]);
    desk.answer(Order::HardOffline(Pfn(P)), Answer::Off);
    assert_eq!((desk.page(P).state, desk.page(P).by), (IsolationState::Isolated, By::Bulkhead));
    assert_eq!(usage(&desk.ctx()).memory_used, 0, "capped by no limit");
}

#[test]
fn a_page_that_memory_failure_took_is_listed_as_the_kernels() {
    let mut desk = desk();
    let failure = MemoryFailure { pfn: Pfn(P), page_type: 0, result: 3 };
    let plan = page_reported_failed(&desk.ctx(), &failure);
    assert_eq!(plan.orders, [Order::Inspect(Pfn(P))]);
    desk.enter(plan);
    desk.answer(Order::Inspect(Pfn(P)), Answer::Off);
    assert_eq!((desk.page(P).state, desk.page(P).by), (IsolationState::Isolated, By::Kernel));
}

#[test]
fn where_the_policy_says_report_a_human_is_told_of_the_uncorrected_error() {
    let mut desk = desk();
    desk.policy.page.ue = UePolicy::Report;
    desk.find(Response::EnsureFailedPage(Pfn(P)));
    desk.pass(1);
    desk.due();
    let plan = desk.answer(Order::Inspect(Pfn(P)), Answer::On);
    assert_eq!((plan.orders.len(), kinds(&plan)), (0, vec![DecisionKind::Escalated]));
    assert!(plan.decisions[0].human);
}

#[test]
fn a_page_with_an_uncorrected_error_is_never_soft_offlined() {
    let mut desk = desk();
    desk.find(Response::EnsureFailedPage(Pfn(P)));
    assert_eq!(kinds(&desk.find(page(P))), [DecisionKind::Refused]);
    assert!(isolate(&desk.ctx(), Target::Page(Pfn(P)), None).is_err());
    assert!(release(&desk.ctx(), Target::Page(Pfn(P))).is_err(), "it would be forgotten");
    assert!(!desk.due().orders.contains(&soft(P)));
}

#[test]
fn a_page_that_the_kernels_collector_took_is_found_when_it_is_touched() {
    let mut desk = desk();
    let (ctx, checks) = desk.split();
    touched(&ctx, checks, Pfn(P));
    assert_eq!(desk.due().orders, [Order::Inspect(Pfn(P))]);
    assert_eq!(desk.answer(Order::Inspect(Pfn(P)), Answer::On), Plan::default());
    assert!(next_due(&desk.ledger, &desk.checks).is_some());
    desk.pass(1);
    assert_eq!(desk.due().orders, [Order::Inspect(Pfn(P))]);
    let plan = desk.answer(Order::Inspect(Pfn(P)), Answer::Off);
    assert_eq!(kinds(&plan), [DecisionKind::KernelTook]);
    assert_eq!(next_due(&desk.ledger, &desk.checks), None);
}

#[test]
fn a_look_from_before_the_page_went_tells_nothing() {
    let mut desk = desk();
    let before = desk.now;
    desk.pass(1);
    isolated_page(&mut desk, P);
    let old = testing::outcome(Order::Inspect(Pfn(P)), Answer::On, before);
    assert_eq!(answered(&desk.ctx(), &old), Plan::default());
    let plan = desk.answer(Order::Inspect(Pfn(P)), Answer::On);
    assert_eq!(kinds(&plan), [DecisionKind::BroughtBack]);
    assert_eq!(state(&plan), Some(FaultState::Open));
}

#[test]
fn a_failing_core_goes_whole_though_only_one_thread_was_named() {
    let mut desk = desk();
    let plan = desk.find(core(1));
    assert_eq!(plan.orders, [take(&[1, 5])]);
    assert_eq!(plan.decisions[0].component, "CPUs 1,5 (one core)");
    desk.answer(take(&[1, 5]), Answer::Off);
    assert_eq!(desk.cpu(1).state, IsolationState::Isolated);
    assert_eq!(desk.cpu(5).together, [CpuId(1), CpuId(5)]);
    assert_eq!(usage(&desk.ctx()).cpus_used, 2);
}

#[test]
fn the_core_of_a_cpu_that_cannot_go_is_refused_whole() {
    let mut desk = desk();
    let plan = desk.find(core(4));
    assert_eq!(plan.orders, []);
    assert_eq!(desk.cpu(4).state, IsolationState::Refused);
    assert!(desk.cpu(4).why.contains("CPU 0 cannot"), "{}", desk.cpu(4).why);
    assert!(plan.decisions[0].human);
}

#[test]
fn the_last_cpu_stays() {
    let mut desk = desk();
    desk.policy.limits.cpus = Amount::Share(1.0);
    desk.policy.limits.cpus_per_node = 0;
    for cpu in [0, 2, 3, 4, 6, 7] {
        desk.set_online(cpu, false);
    }
    assert_eq!(desk.find(core(1)).orders, []);
    assert!(desk.cpu(1).why.contains("last CPU"), "{}", desk.cpu(1).why);
}

#[test]
fn a_cpu_stays_on_every_node() {
    let mut desk = Desk::new(Policy::default(), machine(2, 2));
    desk.set_online(2, false);
    desk.set_online(6, false);
    assert_eq!(desk.find(core(3)).orders, []);
    assert!(desk.cpu(3).why.contains("limits.cpus_per_node"), "{}", desk.cpu(3).why);
}

#[test]
fn no_more_cpus_go_than_the_limit_says() {
    let mut desk = desk();
    desk.policy.limits.cpus = Amount::Count(3);
    taken_core(&mut desk, 1);
    desk.pass(601);
    assert_eq!(desk.find(core(2)).orders, []);
    assert!(desk.cpu(2).why.contains("limits.cpus"), "{}", desk.cpu(2).why);
    assert_eq!(desk.cpu(2).next_try, None);

    let plan = release(&desk.ctx(), Target::Cpu(CpuId(1))).unwrap();
    desk.enter(plan);
    desk.answer(give(&[1, 5]), Answer::On);
    assert_eq!(desk.due().orders, [take(&[2, 6])], "room was made");
}

#[test]
fn a_second_core_waits_until_10_minutes_after_the_first() {
    let mut desk = desk();
    taken_core(&mut desk, 1);
    desk.pass(60);
    let plan = desk.find(core(2));
    assert_eq!((plan.orders.len(), state(&plan)), (0, Some(FaultState::Escalated)));
    assert_eq!(desk.cpu(2).next_try.unwrap().at.since(desk.now.at).as_secs(), 540);
    desk.pass(539);
    assert_eq!(desk.due(), Plan::default());
    desk.pass(1);
    assert_eq!(desk.due().orders, [take(&[2, 6])]);
}

#[test]
fn an_admin_does_not_wait_10_minutes_and_gets_exactly_the_cpu_named() {
    let mut desk = desk();
    taken_core(&mut desk, 1);
    let plan = desk.ask(Target::Cpu(CpuId(2)), Some("noise")).unwrap();
    assert_eq!(plan.orders, [take(&[2])]);
    desk.enter(plan);
    assert_eq!((desk.cpu(2).by, desk.cpu(2).together.len()), (By::Admin, 1));
    assert!(desk.cpu(2).why.contains("noise"));
}

#[test]
fn what_an_admin_may_not_have_is_refused_and_not_remembered() {
    let mut desk = desk();
    let refusal = isolate(&desk.ctx(), Target::Cpu(CpuId(0)), None).unwrap_err();
    assert!(refusal.to_string().contains("CPU 0 cannot"), "{refusal}");
    assert!(isolate(&desk.ctx(), Target::Cpu(CpuId(99)), None).is_err());
    desk.policy.limits.pages_per_day = 0;
    assert!(isolate(&desk.ctx(), Target::Page(Pfn(P)), None).is_err());
}

#[test]
fn a_place_given_under_higher_limits_is_not_kept_under_lower_ones() {
    let mut desk = desk();
    desk.find(page(P));
    desk.find(page(P + 1));
    desk.answer(soft(P), Answer::Busy);
    desk.answer(soft(P + 1), Answer::Busy);
    desk.policy.limits.pages_per_day = 1;
    desk.pass(5);
    assert_eq!(desk.due().orders, [soft(P + 1)]);
    assert_eq!(desk.page(P).state, IsolationState::Refused);
}

#[test]
fn a_page_of_unknown_state_that_lost_its_place_is_asked_for_when_it_has_it_again() {
    let mut desk = desk();
    desk.find(page(P));
    desk.find(page(P + 1));
    desk.answer(soft(P), Answer::Off);
    desk.answer(soft(P + 1), Answer::TimedOut);
    desk.policy.limits.pages_per_day = 1;
    desk.pass(HOUR);
    desk.due();
    assert_eq!(desk.page(P + 1).state, IsolationState::Refused);
    desk.pass(72 * HOUR);
    assert_eq!(desk.due().orders, [soft(P + 1)]);
    assert_eq!(desk.page(P + 1).asked, Some(Asked::Retake));
}

#[test]
fn what_was_released_while_it_was_taken_stays_off_in_mode_observe() {
    let mut desk = desk();
    desk.find(page(P));
    let plan = release(&desk.ctx(), Target::Page(Pfn(P))).unwrap();
    desk.enter(plan);
    desk.policy.observe = true;
    assert_eq!(desk.answer(soft(P), Answer::Off).orders, []);
    assert_eq!(desk.page(P).release, Some(Undo::NextBoot));
}

#[test]
fn what_was_observed_goes_when_the_mode_is_changed() {
    let mut desk = observing();
    desk.find(page(P));
    desk.policy.observe = false;
    let plan = mode_changed(&desk.ctx());
    desk.enter(plan);
    assert_eq!(desk.due().orders, [soft(P)]);
}

#[test]
fn what_is_off_already_needs_no_order_and_is_the_admins_from_then_on() {
    let mut desk = desk();
    isolated_page(&mut desk, P);
    let plan = isolate(&desk.ctx(), Target::Page(Pfn(P)), None).unwrap();
    assert_eq!(plan.orders, []);
    desk.enter(plan);
    assert_eq!(desk.page(P).by, By::Admin);
    assert_eq!(isolate(&desk.ctx(), Target::Page(Pfn(P)), None), Ok(Plan::default()));
}

#[test]
fn a_thread_that_somebody_else_took_off_line_is_listed_and_left_alone() {
    let mut desk = desk();
    desk.set_online(5, false);
    assert_eq!(desk.find(core(1)).orders, [take(&[1])]);
    assert_eq!((desk.cpu(5).state, desk.cpu(5).by), (IsolationState::Isolated, By::Admin));
    desk.answer(take(&[1]), Answer::Off);
    let plan = release(&desk.ctx(), Target::Cpu(CpuId(1))).unwrap();
    assert_eq!(plan.orders, [give(&[1])], "theirs to bring back");
}

#[test]
fn a_busy_core_is_wanted_whole_and_tried_again_whole() {
    let mut desk = desk();
    desk.find(core(1));
    desk.answer(take(&[1, 5]), Answer::Busy);
    assert_eq!([desk.cpu(1).state, desk.cpu(5).state], [IsolationState::Wanted; 2]);
    desk.pass(1);
    assert_eq!(desk.due().orders, [take(&[1, 5])]);
}

#[test]
fn our_own_hotplug_is_not_misread() {
    let mut desk = desk();
    desk.find(core(1));
    assert_eq!(cpu_changed(&desk.ctx(), CpuId(1), false), Plan::default());
    assert_eq!(cpu_changed(&desk.ctx(), CpuId(1), true), Plan::default(), "rolled back");
    desk.answer(take(&[1, 5]), Answer::Off);
    let plan = release(&desk.ctx(), Target::Cpu(CpuId(5))).unwrap();
    assert_eq!(plan.orders, [give(&[1, 5])]);
    desk.enter(plan);
    assert_eq!(cpu_changed(&desk.ctx(), CpuId(1), true), Plan::default());
    let plan = desk.answer(give(&[1, 5]), Answer::On);
    assert_eq!(
        (kinds(&plan), state(&plan)),
        (vec![DecisionKind::Released], Some(FaultState::Open))
    );
}

#[test]
fn a_cpu_brought_back_by_hand_is_not_fought_and_its_sibling_stays() {
    let mut desk = desk();
    taken_core(&mut desk, 1);
    desk.set_online(1, true);
    let plan = cpu_changed(&desk.ctx(), CpuId(1), true);
    desk.enter(plan.clone());
    assert_eq!(kinds(&plan), [DecisionKind::BroughtBack]);
    assert_eq!((desk.cpu(1).state, desk.cpu(1).by), (IsolationState::Released, By::Admin));
    assert_eq!(desk.cpu(5).state, IsolationState::Isolated);
    desk.pass(100 * HOUR);
    assert_eq!(desk.due(), Plan::default());
}

#[test]
fn a_cpu_brought_back_by_hand_while_our_own_release_fails_is_released() {
    let mut desk = desk();
    taken_core(&mut desk, 1);
    desk.set_online(1, false);
    desk.set_online(5, false);
    let plan = release(&desk.ctx(), Target::Cpu(CpuId(1))).unwrap();
    desk.enter(plan);
    desk.set_online(1, true);
    let plan = cpu_changed(&desk.ctx(), CpuId(1), true);
    desk.enter(plan);
    desk.answer(give(&[1, 5]), Answer::Busy);
    assert_eq!(desk.cpu(1).state, IsolationState::Released);
    assert_eq!(desk.cpu(5).state, IsolationState::Isolated);
}

#[test]
fn a_page_that_only_a_reboot_brings_back_stays_isolated_until_then() {
    let mut desk = desk();
    isolated_page(&mut desk, P);
    let plan = release(&desk.ctx(), Target::Page(Pfn(P))).unwrap();
    desk.enter(plan);
    let plan = desk.answer(Order::Unpoison(Pfn(P)), Answer::NoSuch);
    assert_eq!(kinds(&plan), [DecisionKind::Released]);
    assert!(plan.decisions[0].next.contains("reboot"));
    let line = desk.page(P);
    assert_eq!((line.state, line.release), (IsolationState::Isolated, Some(Undo::NextBoot)));
    desk.start(Boot::New);
    assert_eq!(desk.page(P).state, IsolationState::Released);
}

#[test]
fn a_release_during_the_take_wins_whatever_the_answer() {
    for (answer, orders) in
        [(Answer::Off, vec![Order::Unpoison(Pfn(P))]), (Answer::Busy, Vec::new())]
    {
        let mut desk = desk();
        desk.find(page(P));
        let plan = release(&desk.ctx(), Target::Page(Pfn(P))).unwrap();
        assert_eq!(plan.orders, []);
        desk.enter(plan);
        assert_eq!(desk.answer(soft(P), answer).orders, orders);
        desk.pass(2 * HOUR);
        assert!(!desk.due().orders.contains(&soft(P)));
    }
}

#[test]
fn releasing_what_is_not_known_is_refused() {
    assert!(release(&desk().ctx(), Target::Page(Pfn(P))).is_err());
}

#[test]
fn a_closed_fault_asks_for_nothing_more() {
    let mut desk = desk();
    desk.find(page(P));
    desk.answer(soft(P), Answer::Unhandlable);
    let plan = desk.close(&finding(page(P)).fault, &[]).plan;
    assert_eq!(plan.faults, [], "and is not reopened");
    desk.pass(2 * HOUR);
    assert_eq!(desk.due(), Plan::default());
}

#[test]
fn a_restart_asks_again_and_looks_at_what_is_listed() {
    let mut desk = desk();
    isolated_page(&mut desk, P);
    desk.find(page(P + 1));
    taken_core(&mut desk, 1);
    desk.set_online(5, true);
    desk.set_online(1, false);
    desk.start(Boot::Same);
    assert_eq!(desk.cpu(5).state, IsolationState::Released);
    assert_eq!(desk.cpu(1).state, IsolationState::Isolated);
    let orders = desk.due().orders;
    assert!(orders.contains(&Order::Inspect(Pfn(P))) && orders.contains(&soft(P + 1)));
    desk.answer(soft(P + 1), Answer::WasOff);
    assert_eq!(desk.page(P + 1).by, By::Bulkhead, "our order had its effect");
}

#[test]
fn a_core_that_went_while_the_daemon_was_killed_is_isolated_and_ours() {
    let mut desk = desk();
    desk.find(core(1));
    desk.set_online(1, false);
    desk.set_online(5, false);
    desk.start(Boot::Same);
    assert_eq!((desk.cpu(1).state, desk.cpu(1).by), (IsolationState::Isolated, By::Bulkhead));
    assert_eq!(usage(&desk.ctx()).cpus_used, 2);
}

#[test]
fn half_a_core_left_by_a_kill_comes_back_and_then_goes_whole() {
    let mut desk = desk();
    desk.find(core(1));
    desk.set_online(1, false);
    let plan = restarted(&mut desk);
    assert_eq!(plan.orders, [give(&[1])]);
    assert_eq!(desk.due().orders, [], "one order after the other");
    desk.set_online(1, true);
    desk.answer(give(&[1]), Answer::On);
    desk.pass(1);
    assert_eq!(desk.due().orders, [take(&[1, 5])]);
}

#[test]
fn half_a_core_that_does_not_come_back_is_listed() {
    let mut desk = desk();
    desk.find(core(1));
    desk.set_online(1, false);
    restarted(&mut desk);
    desk.answer(give(&[1]), Answer::Busy);
    assert_eq!((desk.cpu(1).state, desk.cpu(1).by), (IsolationState::Isolated, By::Bulkhead));
    assert_eq!(desk.cpu(5).state, IsolationState::Wanted);
}

#[test]
fn a_thread_that_a_human_took_while_our_order_failed_is_left_alone() {
    let mut desk = desk();
    desk.find(core(1));
    desk.set_online(5, false);
    assert_eq!(cpu_changed(&desk.ctx(), CpuId(5), false), Plan::default(), "it may be our doing");
    let plan = desk.answer(take(&[1, 5]), Answer::Busy);
    assert_eq!(plan.orders, []);
    assert_eq!((desk.cpu(5).state, desk.cpu(5).by), (IsolationState::Isolated, By::Admin));
    assert_eq!(desk.cpu(1).state, IsolationState::Wanted);
    desk.pass(1);
    assert_eq!(desk.due().orders, [take(&[1])]);
}

#[test]
fn an_admins_order_is_not_touched_by_a_fault_of_its_core() {
    let mut desk = desk();
    let plan = desk.ask(Target::Cpu(CpuId(4)), None).unwrap();
    desk.enter(plan);
    desk.find(core(4));
    assert_eq!(desk.cpu(0).state, IsolationState::Refused);
    assert_eq!((desk.cpu(4).by, desk.cpu(4).together.len()), (By::Admin, 1));
    desk.set_online(4, false);
    restarted(&mut desk);
    assert_eq!((desk.cpu(4).state, desk.cpu(4).by), (IsolationState::Isolated, By::Admin));
}

#[test]
fn a_released_order_is_not_wanted_again_with_a_core_that_cannot_go() {
    let mut desk = desk();
    let plan = desk.ask(Target::Cpu(CpuId(4)), None).unwrap();
    desk.enter(plan);
    let plan = release(&desk.ctx(), Target::Cpu(CpuId(4))).unwrap();
    desk.enter(plan);
    desk.find(core(4));
    assert_eq!(desk.answer(take(&[4]), Answer::Off).orders, [give(&[4])]);
}

#[test]
fn what_others_took_before_us_is_not_given_back_by_a_release_meanwhile() {
    let mut desk = desk();
    desk.find(page(P));
    desk.find(core(1));
    for target in [Target::Page(Pfn(P)), Target::Cpu(CpuId(1))] {
        let plan = release(&desk.ctx(), target).unwrap();
        desk.enter(plan);
    }
    assert_eq!(desk.answer(soft(P), Answer::WasOff).orders, []);
    assert_eq!((desk.page(P).state, desk.page(P).by), (IsolationState::Isolated, By::Kernel));
    assert_eq!(desk.answer(take(&[1, 5]), Answer::WasOff).orders, []);
    assert_eq!((desk.cpu(5).state, desk.cpu(5).by), (IsolationState::Isolated, By::Admin));
}

#[test]
fn a_late_answer_counts_a_core_from_when_it_went() {
    let mut desk = desk();
    taken_core(&mut desk, 1);
    desk.pass(60);
    desk.answer(take(&[1, 5]), Answer::Off);
    assert_eq!(desk.cpu(1).taken, Some(desk.now));
}

#[test]
fn a_cpu_that_is_gone_at_a_start_is_stale_and_told() {
    let mut desk = desk();
    taken_core(&mut desk, 1);
    desk.set_online(1, false);
    desk.machine.cpus.remove(&CpuId(5));
    let plan = restarted(&mut desk);
    assert_eq!(kinds(&plan), [DecisionKind::Reported]);
    assert!(plan.decisions[0].why.contains("CPU 5 is no longer present"));
    assert_eq!(desk.cpu(5).state, IsolationState::Stale);
    assert_eq!(desk.cpu(1).state, IsolationState::Isolated);
}

#[test]
fn a_release_that_a_restart_cut_short_is_ordered_again() {
    let mut desk = desk();
    isolated_page(&mut desk, P);
    taken_core(&mut desk, 1);
    desk.set_online(1, false);
    desk.set_online(5, false);
    for target in [Target::Page(Pfn(P)), Target::Cpu(CpuId(1))] {
        let plan = release(&desk.ctx(), target).unwrap();
        desk.enter(plan);
    }
    // One thread was back before the end.
    desk.set_online(1, true);
    let plan = restarted(&mut desk);
    assert_eq!(plan.orders, [Order::Unpoison(Pfn(P)), give(&[5])]);
    assert_eq!(desk.cpu(1).state, IsolationState::Released);
}

#[test]
fn a_look_beside_an_order_under_way_tells_nothing() {
    let mut desk = desk();
    desk.find(page(P));
    assert_eq!(desk.answer(Order::Inspect(Pfn(P)), Answer::Off), Plan::default());
    desk.answer(soft(P), Answer::Off);
    assert_eq!(desk.page(P).by, By::Bulkhead);
}

#[test]
fn an_uncorrected_error_on_a_page_listed_as_off_is_looked_into_before_a_release() {
    let mut desk = desk();
    isolated_page(&mut desk, P);
    desk.pass(10);
    let before = desk.now;
    desk.pass(1);
    let failure = MemoryFailure { pfn: Pfn(P), page_type: 0, result: 3 };
    let plan = page_reported_failed(&desk.ctx(), &failure);
    assert_eq!(plan.orders, [Order::Inspect(Pfn(P))]);
    desk.enter(plan);
    assert!(release(&desk.ctx(), Target::Page(Pfn(P))).is_err());
    let old = testing::outcome(Order::Inspect(Pfn(P)), Answer::Off, before);
    assert_eq!(answered(&desk.ctx(), &old), Plan::default(), "from before the error");
    desk.answer(Order::Inspect(Pfn(P)), Answer::On);
    assert_eq!((desk.page(P).state, desk.page(P).by), (IsolationState::Wanted, By::Kernel));
    assert_eq!(kinds(&desk.find(page(P))), [DecisionKind::Refused], "never soft-offlined");
}

#[test]
fn one_call_orders_a_bounded_number_and_the_rest_is_due_at_once() {
    let mut desk = desk();
    for pfn in 0..1000 {
        desk.find(page(pfn));
        desk.answer(soft(pfn), Answer::Busy);
    }
    desk.pass(1);
    assert_eq!(desk.due().orders.len(), 256);
    assert!(next_due(&desk.ledger, &desk.checks).unwrap() <= desk.now.at);
    let rest: usize = (0..3).map(|_| desk.due().orders.len()).sum();
    assert_eq!(rest, 744);
}

#[test]
fn a_fault_with_nothing_to_take_is_reported_and_one_beyond_us_escalated() {
    let plan = desk().find(Response::Report);
    assert_eq!((kinds(&plan), plan.decisions[0].human), (vec![DecisionKind::Reported], false));
    let plan = desk().find(Response::Escalate);
    assert_eq!((state(&plan), plan.decisions[0].human), (Some(FaultState::Escalated), true));
}
