//! Stories of the plan before a core goes, of the guards around CPUs, of halves
//! and of affinities.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::testing::{machine, outcome, Desk};
use super::*;
use crate::analyze::Response;
use crate::model::*;
use std::collections::BTreeSet;

fn desk() -> Desk {
    Desk::new(Policy::default(), machine(1, 4))
}

/// A desk whose surveys the story answers itself.
fn surveying() -> Desk {
    Desk { survey: None, ..desk() }
}

fn core(cpu: u32) -> Response {
    Response::TakeCpus(vec![CpuId(cpu)])
}

fn cpus(cpus: &[u32]) -> Vec<CpuId> {
    cpus.iter().copied().map(CpuId).collect()
}

fn take(numbers: &[u32]) -> Order {
    Order::TakeCpus(cpus(numbers))
}

fn give(numbers: &[u32]) -> Order {
    Order::GiveCpus(cpus(numbers))
}

fn look(numbers: &[u32]) -> Order {
    Order::Survey(cpus(numbers))
}

fn task(tid: u32, policy: Scheduling, allowed: &str) -> BoundTask {
    let (comm, allowed) = ("clock".to_owned(), allowed.to_owned());
    BoundTask { tid, pid: tid, start: 5, comm, policy, kernel: false, allowed }
}

fn normal(tid: u32, allowed: &str) -> BoundTask {
    task(tid, Scheduling::Normal, allowed)
}

fn tasks(tasks: &[BoundTask]) -> Survey {
    Survey { tasks: tasks.to_vec(), ..Survey::default() }
}

fn kinds(plan: &Plan) -> Vec<DecisionKind> {
    plan.decisions.iter().map(|decision| decision.kind).collect()
}

#[test]
fn a_core_is_surveyed_before_it_is_asked_for() {
    let mut desk = surveying();
    let plan = desk.find(core(1));
    assert_eq!((&plan.orders[..], kinds(&plan).len()), (&[look(&[1, 5])][..], 0));
    assert_eq!(desk.cpu(1).state, IsolationState::Wanted);
    assert!(plan.faults[0].decision.contains("is looked at"), "{:?}", plan.faults);
    let plan = desk.surveyed(look(&[1, 5]), Survey::default());
    assert_eq!((&plan.orders[..], kinds(&plan)), (&[take(&[1, 5])][..], vec![DecisionKind::Take]));
    assert_eq!(desk.cpu(5).asked, Some(Asked::Take));
}

#[test]
fn a_thread_that_comes_on_line_during_the_survey_is_surveyed_too() {
    let mut desk = surveying();
    desk.set_online(5, false);
    assert_eq!(desk.find(core(1)).orders, [look(&[1])]);
    desk.set_online(5, true);
    let plan = cpu_changed(&desk.ctx(), CpuId(5), true);
    desk.enter(plan);
    let plan = desk.surveyed(look(&[1]), Survey::default());
    assert_eq!(plan.orders, [], "nobody looked at what is bound to both");
    desk.pass(1);
    assert_eq!(desk.due().orders, [look(&[1, 5])]);
}

#[test]
fn in_mode_observe_nothing_is_ever_wanted() {
    let policy = Policy { observe: true, ..Policy::default() };
    let mut desk = Desk { survey: None, ..Desk::new(policy, machine(1, 4)) };
    assert_eq!(desk.find(core(1)).orders, [look(&[1, 5])]);
    assert_eq!(desk.cpu(1).state, IsolationState::Observed);
    let plan = desk.surveyed(look(&[1, 5]), Survey::default());
    assert_eq!((plan.orders.len(), kinds(&plan)), (0, vec![DecisionKind::Observed]));
    assert_eq!((desk.cpu(1).state, desk.cpu(1).asked), (IsolationState::Observed, None));
}

#[test]
fn what_was_released_while_it_was_surveyed_stays() {
    let mut desk = surveying();
    desk.find(core(1));
    let plan = release(&desk.ctx(), Target::Cpu(CpuId(1))).unwrap();
    desk.enter(plan);
    let plan = desk.surveyed(look(&[1, 5]), Survey::default());
    assert_eq!(plan.orders, []);
    assert_eq!((desk.cpu(1).state, desk.cpu(1).asked), (IsolationState::Released, None));
}

#[test]
fn a_survey_that_a_restart_lost_is_made_again() {
    let mut desk = surveying();
    desk.find(core(1));
    desk.start(Boot::Same);
    assert_eq!(desk.cpu(1).asked, None);
    assert_eq!(desk.due().orders, [look(&[1, 5])]);
}

#[test]
fn somebody_else_takes_a_cpu_while_it_is_surveyed() {
    let mut desk = surveying();
    desk.find(core(1));
    desk.set_online(5, false);
    let plan = desk.surveyed(look(&[1, 5]), Survey::default());
    assert_eq!(plan.orders, [take(&[1])]);
    assert_eq!((desk.cpu(5).state, desk.cpu(5).by), (IsolationState::Isolated, By::Admin));
}

#[test]
fn the_only_cpu_of_a_real_time_task_stays_and_is_surveyed_every_10_minutes() {
    for policy in [Scheduling::Fifo, Scheduling::Rr, Scheduling::Deadline] {
        let mut desk = desk();
        desk.survey = Some(tasks(&[task(7, policy, "1")]));
        assert_eq!(desk.find(core(1)).orders, []);
        let line = desk.cpu(1).clone();
        assert_eq!(line.state, IsolationState::Refused);
        assert_eq!(
            line.why,
            format!(
                "clock (process 7) runs by {} and may run on nothing but CPUs 1,5 (one core) \
                 (cpu.dedicated).",
                policy.name()
            )
        );
        desk.pass(599);
        assert_eq!(desk.due(), Plan::default());
        desk.pass(1);
        assert_eq!(desk.due().decisions, [], "no news");
        assert_eq!((desk.cpu(1).since, desk.cpu(1).asked), (line.since, None));
        desk.survey = Some(Survey::default());
        desk.pass(600);
        assert_eq!(desk.due().orders, [take(&[1, 5])]);
    }
}

#[test]
fn a_cpu_of_a_cpuset_partition_stays() {
    let mut desk = desk();
    let own = |cpus| Partition { cgroup: "/own".to_owned(), isolated: false, cpus };
    let partitions = vec![own(BTreeSet::from([CpuId(5)]))];
    desk.survey = Some(Survey { partitions, ..Survey::default() });
    desk.find(core(1));
    assert!(desk.cpu(1).why.contains("cgroup /own"), "{}", desk.cpu(1).why);
    assert!(desk.cpu(1).why.ends_with("(cpu.dedicated)."), "{}", desk.cpu(1).why);
    assert_eq!(desk.find(core(2)).orders, [take(&[2, 6])]);
}

#[test]
fn what_could_not_be_looked_at_keeps_the_cpu() {
    let mut desk = surveying();
    desk.find(core(1));
    desk.answer(look(&[1, 5]), Answer::TimedOut);
    let why = &desk.cpu(1).why;
    assert!(why.contains("came to nothing") && why.ends_with("(cpu.dedicated)."), "{why}");
}

#[test]
fn by_policy_they_go_like_any_other() {
    let mut desk = surveying();
    desk.policy.cpu.dedicated = DedicatedPolicy::Proceed;
    desk.find(core(1));
    assert_eq!(desk.answer(look(&[1, 5]), Answer::TimedOut).orders, [take(&[1, 5])]);
    desk.answer(take(&[1, 5]), Answer::Off);
    desk.pass(601);
    desk.survey = Some(tasks(&[task(7, Scheduling::Fifo, "2")]));
    assert_eq!(desk.find(core(2)).orders, [take(&[2, 6])]);
}

#[test]
fn an_admin_is_refused_for_what_a_survey_tells_and_nothing_is_kept() {
    let mut desk = desk();
    desk.survey = Some(tasks(&[task(7, Scheduling::Fifo, "2")]));
    let refusal = desk.ask(Target::Cpu(CpuId(2)), None).unwrap_err();
    assert!(refusal.why.contains("(cpu.dedicated)"), "{refusal}");
    assert!(desk.ledger.is_empty());
}

#[test]
fn an_admin_may_have_what_was_held_back_before_if_nothing_holds_it_now() {
    let mut desk = desk();
    desk.survey = Some(tasks(&[task(7, Scheduling::Fifo, "2")]));
    desk.find(core(2));
    assert_eq!(desk.cpu(2).state, IsolationState::Refused);
    desk.policy.cpu.dedicated = DedicatedPolicy::Proceed;
    let plan = desk.ask(Target::Cpu(CpuId(2)), None).unwrap();
    assert_eq!(plan.orders, [take(&[2])]);
    assert_eq!(desk.cpu(2).state, IsolationState::Wanted);
}

#[test]
fn the_last_cpu_outside_isolcpus_and_nohz_full_stays() {
    let mut desk = desk();
    desk.policy.limits.cpus = Amount::Share(1.0);
    for (id, cpu) in &mut desk.machine.cpus {
        cpu.isolated = !matches!(id.0, 1 | 5);
    }
    desk.find(core(1));
    assert!(desk.cpu(1).why.contains("(guard.housekeeping)"), "{}", desk.cpu(1).why);
    assert_eq!(desk.find(core(2)).orders, [take(&[2, 6])]);
}

#[test]
fn a_cpu_of_a_cgroups_own_is_none_for_housekeeping() {
    let mut desk = desk();
    desk.policy.cpu.dedicated = DedicatedPolicy::Proceed;
    let cpus = [0, 2, 3, 4, 6, 7].into_iter().map(CpuId).collect();
    let partitions = vec![Partition { cgroup: "/own".to_owned(), isolated: true, cpus }];
    desk.survey = Some(Survey { partitions, ..Survey::default() });
    desk.find(core(1));
    assert!(desk.cpu(1).why.contains("(guard.housekeeping)"), "{}", desk.cpu(1).why);
    assert!(desk.cpu(1).next_try.is_some(), "no event tells");
}

#[test]
fn a_cpu_stays_in_every_socket() {
    let mut desk = Desk::new(Policy::default(), machine(2, 2));
    desk.policy.limits.cpus_per_node = 0;
    desk.policy.limits.cpus_per_socket = 3;
    desk.find(core(3));
    let why = &desk.cpu(3).why;
    assert!(why.starts_with("Socket 1 would be left with 2 CPUs"), "{why}");
    assert!(why.contains("(limits.cpus_per_socket)"), "{why}");
}

#[test]
fn a_node_without_memory_needs_none() {
    let mut desk = Desk::new(Policy::default(), machine(2, 2));
    desk.policy.limits.cpus_per_socket = 0;
    for cpu in [2, 6] {
        desk.set_online(cpu, false);
    }
    desk.machine.memoryless_nodes = BTreeSet::from([1]);
    assert_eq!(desk.find(core(3)).orders, [take(&[3, 7])]);
}

#[test]
fn tasks_are_bound_again_once_all_their_cpus_are_back() {
    let mut desk = desk();
    let (both, one) = (normal(7, "1,5"), normal(8, "5"));
    desk.survey = Some(tasks(&[both.clone(), one.clone()]));
    desk.find(core(1));
    assert_eq!((desk.cpu(1).bound.len(), desk.cpu(5).bound.len()), (1, 2));
    desk.answer(take(&[1, 5]), Answer::Off);
    for cpu in [1, 5] {
        desk.set_online(cpu, false);
    }
    assert_eq!(desk.start(Boot::Same).orders, [], "they are still off");
    let plan = release(&desk.ctx(), Target::Cpu(CpuId(1))).unwrap();
    desk.enter(plan);
    let plan = desk.answer(give(&[1, 5]), Answer::On);
    let back = Order::PutBack(cpus(&[1, 5]), vec![both, one]);
    assert_eq!(plan.orders, std::slice::from_ref(&back));
    assert_eq!(desk.cpu(1).asked, Some(Asked::PutBack));
    desk.answer(back, Answer::On);
    assert_eq!((desk.cpu(1).asked, desk.cpu(5).bound.len()), (None, 0));
}

#[test]
fn tasks_are_bound_again_when_a_restart_came_between_or_somebody_brought_the_cpu_back() {
    let mut desk = desk();
    desk.survey = Some(tasks(&[normal(7, "5")]));
    desk.find(core(1));
    desk.answer(take(&[1, 5]), Answer::Off);
    for cpu in [1, 5] {
        desk.set_online(cpu, false);
    }
    desk.set_online(5, true);
    let plan = cpu_changed(&desk.ctx(), CpuId(5), true);
    let back = Order::PutBack(cpus(&[5]), vec![normal(7, "5")]);
    assert_eq!(desk.enter(plan).orders, std::slice::from_ref(&back));
    assert_eq!(desk.start(Boot::Same).orders, [back]);
}

#[test]
fn a_boot_has_ended_all_tasks() {
    let mut desk = desk();
    desk.survey = Some(tasks(&[normal(7, "5")]));
    desk.find(core(1));
    desk.answer(take(&[1, 5]), Answer::Off);
    desk.start(Boot::New);
    assert!(desk.ledger.values().all(|line| line.bound.is_empty()));
}

#[test]
fn tasks_of_cpus_that_did_not_go_after_all_are_bound_again() {
    let mut desk = desk();
    desk.survey = Some(tasks(&[normal(7, "1")]));
    desk.find(core(1));
    let plan = desk.answer(take(&[1, 5]), Answer::Busy);
    assert_eq!(plan.orders, [Order::PutBack(cpus(&[1]), vec![normal(7, "1")])]);
}

/// CPU 1 went, CPU 5 did not, and CPU 1 could not be brought back.
fn half_done() -> Desk {
    let mut desk = desk();
    desk.find(core(1));
    desk.set_online(1, false);
    let half = outcome(take(&[1, 5]), Answer::Busy, desk.now);
    let plan = answered(&desk.ctx(), &Outcome { left_off: cpus(&[1]), ..half });
    assert_eq!(desk.enter(plan).orders, [give(&[1])]);
    desk
}

#[test]
fn a_half_done_core_is_brought_back_and_then_goes_whole() {
    let mut desk = half_done();
    assert_eq!((desk.cpu(1).state, desk.cpu(1).by), (IsolationState::Failed, By::Bulkhead));
    assert_eq!(usage(&desk.ctx()).cpus_used, 2, "half is off, half may go");
    desk.set_online(1, true);
    desk.answer(give(&[1]), Answer::On);
    desk.pass(1);
    assert_eq!(desk.due().orders, [take(&[1, 5])]);
}

#[test]
fn a_half_that_does_not_come_back_is_listed_and_the_rest_follows() {
    let mut desk = half_done();
    desk.answer(give(&[1]), Answer::Busy);
    assert_eq!((desk.cpu(1).state, desk.cpu(1).by), (IsolationState::Isolated, By::Bulkhead));
    desk.pass(1);
    assert_eq!(desk.due().orders, [take(&[5])]);
    let plan = desk.answer(take(&[5]), Answer::Off);
    assert_eq!(plan.faults.last().unwrap().state, FaultState::Isolated);
}

#[test]
fn a_half_whose_rest_may_not_follow_is_brought_back_as_soon_as_it_can_be() {
    let mut desk = half_done();
    desk.answer(give(&[1]), Answer::Busy);
    desk.survey = Some(tasks(&[task(7, Scheduling::Fifo, "5")]));
    desk.pass(1);
    desk.due();
    assert_eq!(desk.cpu(5).state, IsolationState::Refused);
    desk.pass(300);
    assert_eq!(desk.due().orders, [give(&[1])]);
    desk.set_online(1, true);
    desk.answer(give(&[1]), Answer::On);
    desk.pass(300);
    desk.due();
    assert_eq!(desk.cpu(1).state, IsolationState::Refused, "with its sibling");
    assert_eq!(desk.cpu(1).by, By::Bulkhead);
}

#[test]
fn tasks_of_a_core_that_is_held_back_at_last_are_put_back() {
    let mut desk = surveying();
    desk.find(core(1));
    desk.surveyed(look(&[1, 5]), tasks(&[normal(7, "1")]));
    desk.policy.observe = true;
    desk.start(Boot::Same);
    assert_eq!(desk.due().orders, [look(&[1, 5])]);
    desk.policy.observe = false;
    let plan = mode_changed(&desk.ctx());
    desk.enter(plan);
    desk.policy.limits.cpus = Amount::Count(0);
    let plan = desk.surveyed(look(&[1, 5]), Survey::default());
    assert_eq!(plan.orders, [Order::PutBack(cpus(&[1]), vec![normal(7, "1")])]);
}

#[test]
fn half_a_core_whose_other_half_somebody_else_took_is_left_off() {
    for observe in [false, true] {
        let mut desk = desk();
        let plan = desk.find(core(1));
        assert_eq!(plan.orders, [take(&[1, 5])]);
        desk.policy.observe = observe;
        desk.set_online(5, false);
        desk.set_online(1, false);
        let busy = outcome(take(&[1, 5]), Answer::Busy, desk.now);
        let plan = answered(&desk.ctx(), &Outcome { left_off: cpus(&[1]), ..busy });
        assert_eq!(plan.orders, []);
        desk.enter(plan);
        assert_eq!((desk.cpu(1).state, desk.cpu(1).by), (IsolationState::Isolated, By::Bulkhead));
        assert_eq!((desk.cpu(5).state, desk.cpu(5).by), (IsolationState::Isolated, By::Admin));
    }
}

#[test]
fn half_a_core_that_mode_observe_left_off_comes_back_after_it() {
    let mut desk = desk();
    desk.find(core(1));
    desk.policy.observe = true;
    desk.set_online(1, false);
    desk.start(Boot::Same);
    assert_eq!(desk.cpu(1).state, IsolationState::Isolated);
    for _ in 0..3 {
        desk.pass(300);
        assert_eq!(desk.due().orders, []);
    }
    desk.policy.observe = false;
    desk.policy.limits.cpus = Amount::Count(0);
    let plan = mode_changed(&desk.ctx());
    desk.enter(plan);
    let mut orders = Vec::new();
    for _ in 0..3 {
        desk.pass(300);
        orders.extend(desk.due().orders);
    }
    assert_eq!(orders, [give(&[1])]);
}
