//! Stories of reboots: what should be is made so again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::testing::{finding, machine, outcome, restore, Desk};
use super::*;
use crate::analyze::Response;
use crate::model::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const HOUR: u64 = 3600;
const ISOLATED: IsolationState = IsolationState::Isolated;
const WANTED: IsolationState = IsolationState::Wanted;

fn desk() -> Desk {
    Desk::new(Policy::default(), machine(1, 4))
}

fn soft(pfn: u64) -> Order {
    Order::SoftOffline(Pfn(pfn))
}

fn take(cpus: &[u32]) -> Order {
    Order::TakeCpus(cpus.iter().copied().map(CpuId).collect())
}

fn isolate_pages(desk: &mut Desk, pages: impl IntoIterator<Item = u64>) {
    for pfn in pages {
        desk.find(Response::TakePage(Pfn(pfn)));
        desk.answer(soft(pfn), Answer::Off);
    }
}

fn isolate_core(desk: &mut Desk, cpu: u32) {
    let plan = desk.find(Response::TakeCpus(vec![CpuId(cpu)]));
    let order = plan.orders[0].clone();
    order.cpus().iter().for_each(|cpu| desk.set_online(cpu.0, false));
    desk.answer(order, Answer::Off);
}

fn booted(desk: &mut Desk, boot: Boot) -> Plan {
    if boot == Boot::New {
        desk.machine.cpus.values_mut().for_each(|cpu| cpu.online = true);
    }
    desk.checks = Checks::default();
    desk.start(boot)
}

fn rebooted(desk: &mut Desk) -> Plan {
    booted(desk, Boot::New)
}

#[test]
fn pages_of_an_earlier_boot_go_again_in_batches_and_nothing_is_written_of_them() {
    let mut desk = desk();
    isolate_pages(&mut desk, 0..300);
    desk.pass(60);
    let before = desk.ledger.clone();
    let plan = rebooted(&mut desk);
    assert_eq!(plan.orders, [restore(0..256), restore(256..300)]);
    assert_eq!((plan.isolations, plan.faults, plan.decisions), (vec![], vec![], vec![]));
    assert!(desk.ledger.values().all(|line| line.state == WANTED), "true, as it is now");
    assert_eq!(desk.due(), Plan::default());

    for batch in [restore(0..256), restore(256..300)] {
        let plan = desk.answer_batch(batch, &[]);
        assert_eq!((plan.isolations, plan.faults, plan.decisions), (vec![], vec![], vec![]));
    }
    assert_eq!(desk.ledger, before, "since, taken, by and why are what they were");
}

#[test]
fn the_whole_is_told_once() {
    let batches = [restore(0..256), restore(256..300)];
    let mut progress = Restoring::of(&batches).unwrap();
    let first = outcome(batches[0].clone(), Answer::Off, Stamp::default());
    assert!(!progress.answered(&first));
    assert!(!progress.answered(&first), "a late answer is no second one");
    assert_eq!((progress.tried, progress.all), (256, 300));
    let said = || String::new();
    let apart = |pfn, answer| Apart { pfn: Pfn(pfn), answer, asked: said(), answered: said() };
    let last = Outcome {
        apart: vec![apart(256, Answer::Busy), apart(257, Answer::WasOff)],
        ..outcome(batches[1].clone(), Answer::Off, Stamp::default())
    };
    assert!(progress.answered(&last));
    let plan = restored(&progress);
    assert_eq!(plan.decisions[0].done, "299 pages are out of service again, 1 did not come off.");
    assert!(Restoring::of(&[Order::Inspect(Pfn(1))]).is_none());
}

#[test]
fn restored_pages_spend_no_place_of_the_day() {
    let mut desk = desk();
    desk.policy.limits.pages_per_day = 4;
    isolate_pages(&mut desk, 0..4);
    desk.pass(25 * HOUR);
    isolate_pages(&mut desk, 4..6);
    let usage_before = usage(&desk.ctx());
    rebooted(&mut desk);
    assert_eq!(usage(&desk.ctx()), usage_before, "while they are restored");
    desk.answer_batch(restore(0..6), &[(1, Answer::Busy), (2, Answer::Unhandlable)]);
    isolate_pages(&mut desk, 10..12);
    assert_eq!(desk.find(Response::TakePage(Pfn(12))).orders, [], "only new ones count");

    // Nor do those that come off later.
    desk.pass(1);
    assert_eq!(desk.due().orders, [soft(1)]);
    desk.answer(soft(1), Answer::Off);
    desk.pass(HOUR);
    assert_eq!(desk.due().orders, [soft(2)]);
    desk.answer(soft(2), Answer::Off);
    assert_eq!(usage(&desk.ctx()).pages_today, 4);
    assert_eq!((desk.page(2).state, desk.page(2).restores), (ISOLATED, false));
}

#[test]
fn only_the_cap_in_all_binds_what_is_restored() {
    let mut desk = desk();
    isolate_pages(&mut desk, 0..6);
    desk.policy.limits.memory = Amount::Count(4 * 4096);
    desk.policy.limits.pages_per_day = 0;
    let plan = rebooted(&mut desk);
    assert_eq!(plan.orders, [restore(0..4)]);
    assert_eq!(plan.decisions.len(), 1, "told once: {:?}", plan.decisions);
    assert_eq!(plan.faults.iter().filter(|f| f.state == FaultState::Escalated).count(), 3);
    desk.answer_batch(restore(0..4), &[]);
    assert_eq!(desk.page(5).state, IsolationState::Refused);
    assert!(desk.page(5).why.contains("limits.memory"), "{}", desk.page(5).why);
}

#[test]
fn what_failed_is_tried_first_of_all() {
    let mut desk = desk();
    isolate_pages(&mut desk, 0..3);
    desk.find(Response::TakePage(Pfn(9)));
    desk.answer(soft(9), Answer::Unhandlable);
    assert_eq!(rebooted(&mut desk).orders, [soft(9), restore(0..3)]);

    // One that was off once, and then was not any more.
    desk.answer(soft(9), Answer::Off);
    desk.answer_batch(restore(0..3), &[(2, Answer::Unhandlable)]);
    let order = [2, 0, 1, 9].map(Pfn).to_vec();
    let order = Order::Restore(order, HugetlbPolicy::Always);
    assert_eq!(rebooted(&mut desk).orders, [order]);
}

#[test]
fn a_restored_page_that_is_busy_is_tried_again_and_keeps_its_time() {
    let mut desk = desk();
    isolate_pages(&mut desk, 0..2);
    let taken = desk.page(0).taken;
    desk.pass(HOUR);
    rebooted(&mut desk);
    let plan = desk.answer_batch(restore(0..2), &[(0, Answer::Busy)]);
    assert_eq!(plan.decisions.len(), 1);
    assert_eq!((desk.page(0).state, desk.page(1).state), (WANTED, ISOLATED));
    desk.pass(1);
    assert_eq!(desk.due().orders, [soft(0)]);
    desk.answer(soft(0), Answer::Off);
    assert_eq!((desk.page(0).state, desk.page(0).taken), (ISOLATED, taken));
}

#[test]
fn pages_that_the_kernel_took_are_made_to_last_as_the_kernels() {
    let mut desk = desk();
    desk.answer(Order::Inspect(Pfn(7)), Answer::Off);
    let before = desk.page(7).clone();
    assert_eq!((before.by, rebooted(&mut desk).orders), (By::Kernel, vec![restore(7..8)]));
    desk.answer_batch(restore(7..8), &[]);
    assert_eq!(*desk.page(7), before);
}

#[test]
fn a_page_whose_uncorrected_error_nobody_contained_is_kept_out_of_use_by_the_next_boot() {
    let mut desk = desk();
    desk.find(Response::EnsureFailedPage(Pfn(7)));
    rebooted(&mut desk);
    assert_eq!(desk.due().orders, [Order::OfflineFree(Pfn(7))]);
    desk.answer(Order::OfflineFree(Pfn(7)), Answer::Off);
    assert_eq!(desk.page(7).state, ISOLATED);
    rebooted(&mut desk);
    assert_eq!(desk.due().orders, [Order::OfflineFree(Pfn(7))], "and by each after it");
}

#[test]
fn a_release_that_waited_for_the_boot_is_done_and_is_not_undone() {
    let mut desk = desk();
    isolate_pages(&mut desk, 0..2);
    for pfn in 0..2 {
        let plan = release(&desk.ctx(), Target::Page(Pfn(pfn))).unwrap();
        desk.enter(plan);
    }
    desk.answer(Order::Unpoison(Pfn(0)), Answer::NoSuch);
    assert_eq!(rebooted(&mut desk).orders, [], "nor what was on its way back");
    assert_eq!(desk.page(0).state, IsolationState::Released);
    assert_eq!(desk.page(1).state, IsolationState::Released);
    assert_eq!(rebooted(&mut desk).orders, []);
}

#[test]
fn a_release_while_it_is_restored_wins() {
    let mut desk = desk();
    isolate_pages(&mut desk, 0..1);
    rebooted(&mut desk);
    let plan = release(&desk.ctx(), Target::Page(Pfn(0))).unwrap();
    desk.enter(plan);
    let plan = desk.answer_batch(restore(0..1), &[]);
    assert_eq!(plan.orders, [Order::Unpoison(Pfn(0))]);
}

#[test]
fn what_waited_goes_on_waiting() {
    let mut desk = desk();
    desk.policy.limits.pages_per_day = 1;
    isolate_pages(&mut desk, 0..1);
    desk.find(Response::TakePage(Pfn(1)));
    assert_eq!(desk.page(1).state, IsolationState::Refused);
    assert_eq!(rebooted(&mut desk).orders, [restore(0..1)]);
    assert_eq!(desk.page(1).state, IsolationState::Refused);
    desk.pass(24 * HOUR);
    assert_eq!(desk.due().orders, [soft(1)]);
}

#[test]
fn in_mode_observe_nothing_is_written_and_mode_isolate_restores_it() {
    let mut desk = desk();
    isolate_pages(&mut desk, 0..2);
    desk.policy.observe = true;
    desk.policy.limits.pages_per_day = 2;
    let plan = rebooted(&mut desk);
    assert_eq!((plan.orders.len(), plan.decisions.len()), (0, 1));
    assert_eq!(desk.page(0).state, IsolationState::Observed);
    assert!(plan.faults.iter().all(|note| note.state == FaultState::Open));
    assert_eq!(usage(&desk.ctx()).pages_today, 2);
    desk.policy.observe = false;
    assert_eq!(rebooted(&mut desk).orders, [restore(0..2)]);
    desk.answer_batch(restore(0..2), &[]);
    assert_eq!(desk.page(0).state, ISOLATED);
    assert_eq!(desk.states[&desk.page(0).fault.unwrap()], FaultState::Isolated);
}

#[test]
fn after_a_change_of_memory_no_address_is_taken_again() {
    for memory in [MemoryConfigId(Uuid::from_u128(2)), MemoryConfigId::default()] {
        let mut desk = desk();
        isolate_pages(&mut desk, 0..3);
        desk.machine.memory = memory;
        let plan = rebooted(&mut desk);
        assert_eq!((plan.orders.len(), plan.decisions.len()), (0, 1), "said once");
        let stale = |line: &Isolation| line.state == IsolationState::Stale;
        assert!(desk.ledger.values().all(stale));
        assert_eq!(desk.due(), Plan::default());
    }
}

#[test]
fn where_nobody_can_tell_which_memory_it_was_nothing_is_taken_again() {
    let mut desk = desk();
    desk.machine.memory = MemoryConfigId::default();
    isolate_pages(&mut desk, 0..1);
    assert_eq!(rebooted(&mut desk).orders, []);
    assert_eq!(desk.page(0).state, IsolationState::Stale);
    assert!(desk.page(0).why.contains("nobody can tell"), "{}", desk.page(0).why);
}

#[test]
fn a_core_goes_again_whatever_its_numbers_are_now() {
    let mut desk = desk();
    isolate_core(&mut desk, 1);
    isolate_pages(&mut desk, 0..1);
    let taken = desk.cpu(1).taken;
    desk.pass(HOUR);
    // 1 and 5 are 2 and 6 now, and the other way round.
    let apic = |desk: &mut Desk, cpu, apic| {
        desk.machine.cpus.get_mut(&CpuId(cpu)).unwrap().apic = Some(ApicId(apic));
    };
    for (cpu, number) in [(1, 2), (2, 1), (5, 6), (6, 5)] {
        apic(&mut desk, cpu, number);
    }
    let plan = rebooted(&mut desk);
    assert_eq!(plan.orders, [restore(0..1), take(&[2, 6])]);
    assert!(desk.ledger.get(&Target::Cpu(CpuId(1))).is_none());
    assert_eq!(desk.cpu(2).state, WANTED);
    desk.answer(take(&[2, 6]), Answer::Off);
    assert_eq!((desk.cpu(2).state, desk.cpu(2).taken), (ISOLATED, taken));
    assert_eq!(desk.cpu(2).together, [CpuId(2), CpuId(6)]);
}

#[test]
fn several_cores_go_again_at_once_and_the_guards_hold() {
    let mut desk = desk();
    for core in [1, 2] {
        isolate_core(&mut desk, core);
        desk.pass(601);
    }
    desk.policy.limits.cpus = Amount::Count(3);
    assert_eq!(rebooted(&mut desk).orders, [take(&[1, 5])]);
    assert_eq!(desk.cpu(2).state, IsolationState::Refused);
    desk.policy.limits.cpus = Amount::Count(4);
    assert_eq!(rebooted(&mut desk).orders, [take(&[1, 5]), take(&[2, 6])]);
}

#[test]
fn a_core_that_nobody_can_tell_is_stale() {
    let mut desk = desk();
    desk.machine.cpus.values_mut().for_each(|cpu| cpu.apic = None);
    isolate_core(&mut desk, 1);
    assert_eq!(rebooted(&mut desk).orders, []);
    assert_eq!(desk.cpu(1).state, IsolationState::Stale);
    assert!(desk.cpu(1).why.contains("no identity"), "{}", desk.cpu(1).why);
}

#[test]
fn a_core_that_is_gone_is_stale() {
    let mut desk = desk();
    isolate_core(&mut desk, 1);
    for cpu in [1, 5] {
        desk.machine.cpus.remove(&CpuId(cpu));
    }
    assert_eq!(rebooted(&mut desk).orders, []);
    assert_eq!(desk.cpu(1).state, IsolationState::Stale);
}

#[test]
fn a_batch_that_hangs_is_looked_at_and_what_is_off_is_isolated() {
    let mut desk = desk();
    isolate_pages(&mut desk, 0..2);
    let taken = desk.page(0).taken;
    rebooted(&mut desk);
    desk.pass(60);
    let plan = desk.answer(restore(0..2), Answer::TimedOut);
    assert_eq!(plan.orders, [0, 1].map(|pfn| Order::Inspect(Pfn(pfn))));
    desk.answer(Order::Inspect(Pfn(0)), Answer::Off);
    desk.answer(Order::Inspect(Pfn(1)), Answer::On);
    assert_eq!((desk.page(0).state, desk.page(0).taken), (ISOLATED, taken));
    assert_eq!(desk.page(1).state, IsolationState::Failed);
    // It returned after all.
    desk.answer_batch(restore(0..2), &[]);
    assert_eq!((desk.page(0).taken, desk.page(1).state), (taken, ISOLATED));
}

/// A host whose daemon and power may go at any time. Of the ledger only what
/// was saved outlives that: what the plan calls restoring is in memory alone.
struct Host {
    desk: Desk,
    /// What is saved otherwise than the ledger has it.
    saved: BTreeMap<Target, Isolation>,
    queue: Vec<Order>,
    off: BTreeSet<Pfn>,
    restoring: Option<Restoring>,
}

#[derive(Debug, Clone)]
enum Step {
    /// The oldest order is answered; every page of it comes off but this one.
    Answer(u64, Answer),
    /// Killed, with so many pages of the oldest order done.
    Kill(u64),
    PowerCut(u64),
    Find(u64),
    Wait(u64),
}

impl Host {
    fn follow(&mut self, plan: Plan) {
        for (pfn, step) in &plan.restoring {
            let target = Target::Page(*pfn);
            if *step == RestoreStep::Off {
                assert!(self.off.contains(pfn), "{pfn:?}");
                self.saved.remove(&target);
            } else {
                self.saved.insert(target, self.desk.ledger[&target].clone());
            }
        }
        for line in &plan.isolations {
            self.saved.remove(&line.target);
        }
        self.queue.extend(plan.orders.iter().cloned());
        self.desk.enter(plan);
        for line in self.desk.ledger.values().filter(|line| line.state == ISOLATED) {
            assert!(self.off.contains(&pfn(line)), "listed as off: {line:?}");
        }
    }

    fn start(&mut self, boot: Boot) {
        self.queue.clear();
        for (_, line) in std::mem::take(&mut self.saved) {
            self.desk.ledger.insert(line);
        }
        self.desk.checks = Checks::default();
        let (ctx, checks) = self.desk.split();
        let plan = start(&ctx, checks, boot);
        self.restoring = Restoring::of(&plan.orders).filter(|_| boot != Boot::Same);
        self.follow_start(plan);
    }

    /// Between a boot and its first plan nothing listed as off is so.
    fn follow_start(&mut self, plan: Plan) {
        let off = std::mem::take(&mut self.off);
        self.off = (0..64).map(Pfn).collect();
        self.follow(plan);
        self.off = off;
        for line in self.desk.ledger.values().filter(|line| line.state == ISOLATED) {
            assert!(self.off.contains(&pfn(line)), "{line:?}");
        }
    }

    fn half_done(&mut self, done: u64) {
        let Some(order) = self.queue.first().filter(|order| order.is_take()) else { return };
        let done = usize::try_from(done).unwrap();
        self.off.extend(order.pages().iter().take(done).copied());
    }

    fn answer(&mut self, but: u64, how: Answer) {
        if self.queue.is_empty() {
            return;
        }
        let order = self.queue.remove(0);
        let mut apart = Vec::new();
        let mut answer = Answer::Off;
        for page in order.pages().iter().filter(|_| order.is_take()) {
            if *page == Pfn(but) && !self.off.contains(page) {
                let (asked, answered) = (String::new(), String::new());
                apart.push(Apart { pfn: *page, answer: how, asked, answered });
            } else {
                self.off.insert(*page);
            }
        }
        match &order {
            Order::Restore(..) => {}
            Order::Inspect(pfn) if !self.off.contains(pfn) => answer = Answer::On,
            _ => answer = apart.pop().map_or(Answer::Off, |apart| apart.answer),
        }
        let outcome = Outcome { apart, ..outcome(order, answer, self.desk.now) };
        let plan = answered(&self.desk.ctx(), &outcome);
        if self.restoring.as_mut().is_some_and(|restoring| restoring.answered(&outcome)) {
            self.restoring = None;
        }
        self.follow(plan);
    }

    fn due(&mut self) {
        let (ctx, checks) = self.desk.split();
        let plan = due(&ctx, checks);
        self.follow(plan);
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Answer(but, how) => self.answer(but, how),
            Step::Kill(done) => {
                self.half_done(done);
                let restored = self.restoring.is_none();
                self.start(if restored { Boot::Same } else { Boot::Unfinished });
            }
            Step::PowerCut(done) => {
                self.half_done(done);
                self.off.clear();
                self.start(Boot::New);
            }
            Step::Find(pfn) => {
                let plan = found(&self.desk.ctx(), &finding(Response::TakePage(Pfn(pfn))));
                self.follow(plan);
            }
            Step::Wait(seconds) => self.desk.pass(seconds),
        }
        self.due();
    }
}

fn pfn(line: &Isolation) -> Pfn {
    match line.target {
        Target::Page(pfn) => pfn,
        Target::Cpu(_) => panic!("{line:?}"),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop::sample::select(vec![Answer::Busy, Answer::Unhandlable, Answer::Errno(5)]);
    prop_oneof![
        4 => (0u64..20, how).prop_map(|(but, how)| Step::Answer(but, how)),
        1 => (0u64..12).prop_map(Step::Kill),
        1 => (0u64..12).prop_map(Step::PowerCut),
        1 => (0u64..20).prop_map(Step::Find),
        1 => prop::sample::select(vec![1, 300, 3600]).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_kill_and_no_power_cut_at_any_point_loses_an_isolation(
        pages in 1u64..12,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut desk = desk();
        isolate_pages(&mut desk, 0..pages);
        let taken: Vec<_> = (0..pages).map(|pfn| desk.page(pfn).taken).collect();
        let off = (0..pages).map(Pfn).collect();
        let (saved, queue, restoring) = (BTreeMap::new(), Vec::new(), None);
        let mut host = Host { desk, saved, queue, off, restoring };
        for step in &steps {
            host.take(step);
        }
        for _ in 0..4 {
            while !host.queue.is_empty() {
                host.take(&Step::Answer(u64::MAX, Answer::Off));
            }
            host.take(&Step::Wait(3601));
        }
        for pfn in 0..pages {
            let line = host.desk.page(pfn);
            prop_assert_eq!((line.state, line.taken), (ISOLATED, taken[pfn as usize]));
        }
        prop_assert_eq!(host.saved, BTreeMap::new());
    }
}

#[test]
fn what_a_run_before_may_have_restored_stays_ours_until_it_is_seen() {
    for observe in [false, true] {
        let mut desk = desk();
        isolate_pages(&mut desk, [7]);
        let stored = desk.ledger.clone();
        rebooted(&mut desk);
        // Killed before the answer: the store has the line as it was.
        desk.ledger = stored;
        desk.policy.observe = observe;
        booted(&mut desk, Boot::Unfinished);
        if !observe {
            desk.answer_batch(restore(7..8), &[(7, Answer::Busy)]);
        }
        assert_eq!(desk.page(7).asked, Some(Asked::Unsure));
        assert_eq!(usage(&desk.ctx()).memory_used, 4096);
        desk.pass(1);
        desk.answer(Order::Inspect(Pfn(7)), Answer::Off);
        assert_eq!((desk.page(7).state, desk.page(7).by), (ISOLATED, By::Bulkhead));
    }
}
