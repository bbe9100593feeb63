//! A simulated host, and whatever may happen to it in whatever order: the
//! guard rails hold after every step, and ledger and host agree in the end.
//!
//! The rails are checked against the host's own books, which share nothing
//! with the code under test. `PROPTEST_CASES` scales the number of histories.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::testing::{finding, machine, outcome, row, Desk};
use super::*;
use crate::analyze::Response;
use crate::model::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PAGES: u64 = 12;
const MEMORY_PAGES: usize = 6;
const PER_DAY: usize = 4;
const ROWS: u32 = 3;

#[derive(Debug, Clone)]
enum Step {
    FindPage(u64),
    /// A row of four pages; neighbours share one.
    FindRow(u32),
    /// A row that was found covers so many pages more.
    Grow(u32, u64),
    CloseRow(u32),
    FindUe(u64),
    ReportFailed(u64),
    FindCore(u32),
    AskPage(u64),
    AskCpu(u32),
    GiveBackPage(u64),
    GiveBackCpu(u32),
    Touch(u64),
    /// The oldest order is answered, in this way.
    Answer(u8),
    /// A stuck write ends after all.
    Late(u8),
    Hotplug(u32, bool),
    KernelTakes(u64),
    Unpoison(u64),
    Wait(u64),
    /// Killed and started again: each order under way had its effect or not.
    Restart(u8),
    Reboot,
}

fn step() -> impl Strategy<Value = Step> {
    let page = 0..PAGES;
    let cpu = 0u32..16;
    prop_oneof![
        4 => page.clone().prop_map(Step::FindPage),
        2 => (0..ROWS).prop_map(Step::FindRow),
        1 => (0..ROWS, 1u64..3).prop_map(|(row, more)| Step::Grow(row, more)),
        1 => (0..ROWS).prop_map(Step::CloseRow),
        1 => page.clone().prop_map(Step::FindUe),
        1 => page.clone().prop_map(Step::ReportFailed),
        4 => cpu.clone().prop_map(Step::FindCore),
        1 => page.clone().prop_map(Step::AskPage),
        2 => cpu.clone().prop_map(Step::AskCpu),
        1 => page.clone().prop_map(Step::GiveBackPage),
        1 => cpu.clone().prop_map(Step::GiveBackCpu),
        1 => page.clone().prop_map(Step::Touch),
        12 => prop_oneof![3 => 0u8..1, 2 => 1u8..24].prop_map(Step::Answer),
        1 => (0u8..24).prop_map(Step::Late),
        2 => (cpu, any::<bool>()).prop_map(|(cpu, on)| Step::Hotplug(cpu, on)),
        1 => page.clone().prop_map(Step::KernelTakes),
        1 => page.prop_map(Step::Unpoison),
        4 => prop::sample::select(vec![1, 2, 60, 300, 601, 4000, 30_000]).prop_map(Step::Wait),
        1 => any::<u8>().prop_map(Step::Restart),
        1 => Just(Step::Reboot),
    ]
}

struct Host {
    desk: Desk,
    /// Orders not answered, with when they were asked.
    queue: Vec<(Order, Stamp)>,
    /// Writes that timed out and are still in the kernel: they may yet have
    /// their effect, and hold the locks that anybody else would need for the
    /// same: mf_mutex (mm/memory-failure.c) for pages, the lock of device
    /// hotplug (drivers/base/core.c) for CPUs.
    stuck: Vec<(Order, Stamp)>,
    pages_off: BTreeSet<Pfn>,
    /// Books of what our orders did.
    our_pages: BTreeSet<Pfn>,
    pages_taken: BTreeMap<Pfn, Time>,
    our_cpus: BTreeSet<CpuId>,
    cores_taken: BTreeMap<CpuId, Time>,
    /// With an uncorrected error, as far as anybody can tell.
    ue: BTreeSet<Pfn>,
    /// Of these, given back since, which a look will tell.
    unpoisoned: BTreeSet<Pfn>,
    /// Rows that were found and not closed.
    rows: BTreeMap<u32, Fault>,
    /// What the store has of lines that are being restored.
    stored: BTreeMap<Target, Isolation>,
    restoring: Option<Restoring>,
}

impl Host {
    fn new(observe: bool, nodes: u32) -> Host {
        let mut policy = Policy { observe, ..Policy::default() };
        policy.limits.memory = Amount::Count(4096 * MEMORY_PAGES as u64);
        policy.limits.pages_per_day = PER_DAY as u32;
        policy.page.hugetlb = HugetlbPolicy::KeepFree(1);
        Host {
            desk: Desk { survey: None, ..Desk::new(policy, machine(nodes, 4)) },
            queue: Vec::new(),
            stuck: Vec::new(),
            pages_off: BTreeSet::new(),
            our_pages: BTreeSet::new(),
            pages_taken: BTreeMap::new(),
            our_cpus: BTreeSet::new(),
            cores_taken: BTreeMap::new(),
            ue: BTreeSet::new(),
            unpoisoned: BTreeSet::new(),
            rows: BTreeMap::new(),
            stored: BTreeMap::new(),
            restoring: None,
        }
    }

    fn now(&self) -> Time {
        self.desk.now.at
    }

    fn is_online(&self, cpu: CpuId) -> bool {
        self.desk.machine.cpus.get(&cpu).is_some_and(|c| c.online)
    }

    /// CPUs that orders not surely answered may still take.
    fn going(&self) -> BTreeSet<CpuId> {
        self.out()
            .filter_map(|order| if let Order::TakeCpus(cpus) = order { Some(cpus) } else { None })
            .flatten()
            .copied()
            .collect()
    }

    /// Pages that may still go; those with a UE are held against no limit.
    fn pages_going(&self) -> BTreeSet<Pfn> {
        self.out()
            .filter(|order| order.is_soft_offline() || matches!(order, Order::Restore(..)))
            .flat_map(Order::pages)
            .filter(|pfn| !self.ue.contains(pfn) && !self.is_kernels(**pfn))
            .copied()
            .collect()
    }

    /// The kernel's, or lost to an uncorrected error in an earlier boot.
    fn is_kernels(&self, pfn: Pfn) -> bool {
        self.desk
            .ledger
            .get(&Target::Page(pfn))
            .is_some_and(|line| line.by == By::Kernel || line.restores && line.taken.is_none())
    }

    /// An earlier boot had it, and it has its place of the day from then.
    fn is_restored(&self, target: Target) -> bool {
        self.desk.ledger.get(&target).is_some_and(|line| line.restores)
    }

    fn out(&self) -> impl Iterator<Item = &Order> {
        self.queue.iter().chain(&self.stuck).map(|(order, _)| order)
    }

    fn is_stuck(&self, order: &Order) -> bool {
        self.stuck.iter().any(|(stuck, _)| overlap(stuck, order))
    }

    fn hotplug_is_stuck(&self) -> bool {
        self.stuck.iter().any(|(stuck, _)| !stuck.cpus().is_empty())
    }

    /// Enters a plan and checks its orders against the books.
    fn follow(&mut self, plan: Plan) {
        for line in &plan.isolations {
            let before = self.desk.ledger.get(&line.target).map(|old| old.state);
            if line.state == IsolationState::Isolated && before != Some(IsolationState::Isolated) {
                assert!(self.is_off(line.target), "listed as off and is not: {line:?}");
            }
        }
        for line in &plan.restoring {
            match line.state {
                IsolationState::Isolated => {
                    assert!(self.is_off(line.target), "restored and is not off: {line:?}");
                    self.stored.remove(&line.target);
                }
                _ => drop(self.stored.insert(line.target, self.desk.ledger[&line.target].clone())),
            }
        }
        for line in &plan.isolations {
            self.stored.remove(&line.target);
        }
        self.desk.enter(plan.clone());
        for order in plan.orders {
            let write = is_write(&order);
            assert!(!(write && self.desk.policy.observe), "observe writes: {order:?}");
            let now = self.desk.now;
            if write {
                let double =
                    self.queue.iter().find(|(out, _)| is_write(out) && overlap(out, &order));
                assert!(double.is_none(), "{order:?} beside {double:?}");
            }
            self.queue.push((order.clone(), now));
            match &order {
                Order::SoftOffline(pfn) | Order::SoftOfflineSparing(pfn, _) => {
                    self.check_page(*pfn);
                }
                Order::Restore(..) => self.check_memory(),
                Order::TakeCpus(cpus) => self.check_cpus(cpus),
                _ => {}
            }
        }
    }

    fn is_off(&self, target: Target) -> bool {
        match target {
            Target::Page(pfn) => self.pages_off.contains(&pfn),
            Target::Cpu(cpu) => !self.is_online(cpu),
        }
    }

    fn check_page(&self, pfn: Pfn) {
        // Listed as off by a run that ended before it had seen that itself: asked
        // again, and not written to where it is off.
        let seen = self.pages_off.contains(&pfn) || self.unpoisoned.contains(&pfn);
        let again = self.is_restored(Target::Page(pfn)) && seen;
        assert!(again || !self.ue.contains(&pfn), "soft offline of {pfn:?}, which has a UE");
        self.check_memory();
        if self.is_restored(Target::Page(pfn)) {
            return;
        }
        let going = self.pages_going();
        let going: BTreeSet<Pfn> =
            going.into_iter().filter(|p| !self.is_restored(Target::Page(*p))).collect();
        let day = Duration::from_secs(24 * 3600);
        let today = self.pages_taken.iter().filter(|(_, at)| self.now().since(**at) < day);
        let today: BTreeSet<Pfn> =
            today.map(|(p, _)| p).filter(|p| !self.ue.contains(p)).chain(&going).copied().collect();
        assert!(today.len() <= PER_DAY, "pages a day: {today:?}");
    }

    fn check_memory(&self) {
        let going = self.pages_going();
        let all: BTreeSet<Pfn> =
            self.our_pages.iter().filter(|p| !self.ue.contains(p)).chain(&going).copied().collect();
        assert!(all.len() <= MEMORY_PAGES, "memory cap: {all:?}");
    }

    fn check_cpus(&self, cpus: &[CpuId]) {
        let machine = &self.desk.machine;
        let going = self.going();
        let stay: Vec<&Cpu> = machine.online().filter(|c| !going.contains(&c.id)).collect();
        assert!(!stay.is_empty(), "the last CPU");
        for cpu in cpus {
            assert!(machine.cpus[cpu].removable, "{cpu} cannot go");
            let node = machine.cpus[cpu].node;
            assert!(stay.iter().any(|c| c.node == node), "the last CPU of node {node}");
        }
        let all = self.our_cpus.union(&going).count();
        assert!(
            all <= machine.cpus.len() / 2,
            "{all} CPUs taken: {:?}, going {going:?}, for {cpus:?}",
            self.our_cpus
        );
        let by_us = cpus.iter().any(|c| self.desk.ledger[&Target::Cpu(*c)].by == By::Bulkhead);
        if by_us {
            for thread in cpus.iter().flat_map(|c| &machine.cpus[c].threads) {
                assert!(cpus.contains(thread) || !self.is_online(*thread), "half a core: {cpus:?}");
            }
            let anew = cpus.iter().any(|cpu| !self.is_restored(Target::Cpu(*cpu)));
            for (core, at) in self.cores_taken.iter().filter(|_| anew) {
                assert!(
                    cpus.iter().all(|c| machine.cpus[c].threads.contains(core))
                        || self.now().since(*at) >= Limits::CORE_INTERVAL,
                    "{cpus:?} right after {core}"
                );
            }
        }
    }

    /// Has the effect of `order`, and tells of hotplug as the kernel does.
    fn carry_out(&mut self, order: &Order) -> Answer {
        let now = self.now();
        match order {
            Order::SoftOffline(pfn) | Order::SoftOfflineSparing(pfn, _) => {
                if !self.pages_off.insert(*pfn) {
                    return Answer::WasOff;
                }
                if !self.is_kernels(*pfn) {
                    self.our_pages.insert(*pfn);
                }
                if !self.is_restored(Target::Page(*pfn)) {
                    self.pages_taken.insert(*pfn, now);
                }
                Answer::Off
            }
            Order::Restore(pages, _) => {
                for pfn in pages {
                    self.carry_out(&Order::SoftOffline(*pfn));
                }
                Answer::Off
            }
            Order::OfflineFree(pfn) | Order::HardOffline(pfn) if !self.pages_off.insert(*pfn) => {
                Answer::WasOff
            }
            Order::OfflineFree(_) | Order::HardOffline(_) => Answer::Off,
            Order::Inspect(pfn) if self.pages_off.contains(pfn) => Answer::Off,
            Order::Inspect(_) => Answer::On,
            Order::Unpoison(pfn) => {
                self.unpoison(*pfn);
                Answer::On
            }
            Order::TakeCpus(cpus) => {
                if cpus.iter().all(|c| !self.is_online(*c)) {
                    return Answer::WasOff;
                }
                let left = self.desk.machine.online().filter(|c| !cpus.contains(&c.id)).count();
                if left == 0 {
                    return Answer::Busy;
                }
                for cpu in cpus {
                    self.take_off(*cpu);
                }
                Answer::Off
            }
            Order::GiveCpus(cpus) => {
                for cpu in cpus {
                    self.put_on(*cpu);
                }
                Answer::On
            }
            Order::Survey(_) | Order::PutBack(..) => Answer::On,
        }
    }

    /// What of a page's takings nobody ever saw as our doing, and nobody can:
    /// memory_failure() had it since, or a boot undid it.
    fn forget_unseen_page(&mut self, pfn: Pfn) {
        let seen = self.desk.ledger.get(&Target::Page(pfn)).and_then(|line| line.taken);
        let earlier = self.pages_taken.remove(&pfn).zip(seen);
        self.pages_taken.extend(earlier.map(|(at, seen)| (pfn, at.min(seen.at))));
    }

    fn uncorrected(&mut self, pfn: Pfn) {
        self.ue.insert(pfn);
        self.unpoisoned.remove(&pfn);
    }

    fn unpoison(&mut self, pfn: Pfn) {
        if self.pages_off.remove(&pfn) {
            self.our_pages.remove(&pfn);
            self.unpoisoned.insert(pfn);
        }
    }

    fn take_off(&mut self, cpu: CpuId) {
        if self.is_online(cpu) {
            self.desk.set_online(cpu.0, false);
            self.our_cpus.insert(cpu);
            self.core_taken(cpu);
            let plan = cpu_changed(&self.desk.ctx(), cpu, false);
            self.follow(plan);
        }
    }

    /// What an earlier boot had keeps its time.
    fn core_taken(&mut self, cpu: CpuId) {
        let now = self.now();
        if self.is_restored(Target::Cpu(cpu)) {
            let then = self.desk.ledger[&Target::Cpu(cpu)].taken.map_or(now, |taken| taken.at);
            self.cores_taken.entry(cpu).or_insert(then);
        } else {
            self.cores_taken.insert(cpu, now);
        }
    }

    fn put_on(&mut self, cpu: CpuId) {
        if !self.is_online(cpu) && self.desk.machine.cpus.contains_key(&cpu) {
            self.desk.set_online(cpu.0, true);
            self.our_cpus.remove(&cpu);
            let plan = cpu_changed(&self.desk.ctx(), cpu, true);
            self.follow(plan);
        }
    }

    fn answer(&mut self, how: u8) {
        if self.queue.is_empty() {
            return;
        }
        let (order, asked) = self.queue.remove(0);
        let look = order.is_look();
        if let (Order::Survey(cpus), false) = (&order, matches!(how, 3 | 4 | 5 | 7)) {
            let survey = found_by_survey(cpus, how);
            let survey = Some(Box::new(survey));
            return self.conclude(Outcome { survey, ..outcome(order, Answer::On, asked) });
        }
        if let (Order::TakeCpus(cpus), 8) = (&order, how) {
            return self.half_done(cpus.clone(), asked);
        }
        let takes = order.is_soft_offline()
            || matches!(order, Order::OfflineFree(_) | Order::HardOffline(_));
        let off_already = takes && order.page().is_some_and(|p| self.pages_off.contains(&p));
        if let (Order::Restore(pages, _), 1..=4 | 7) = (&order, how) {
            if !self.is_stuck(&order) {
                self.answer_restore(&order, pages, how, asked);
                return;
            }
        }
        let answer = match how {
            // act does not ask beside a write that is still in the kernel.
            _ if !look && self.is_stuck(&order) => Answer::TimedOut,
            // Nor writes where it reads that the page is off, unless it did not
            // come to read: too many orders, no thread, no flags to be read.
            _ if off_already && !matches!(how, 1 | 3 | 4 | 7) => Answer::WasOff,
            1 => {
                // Of those to be given back each comes that can.
                if let Order::GiveCpus(cpus) = &order {
                    cpus.iter().take(1).for_each(|cpu| self.put_on(*cpu));
                }
                Answer::Busy
            }
            2 => Answer::Unhandlable,
            8 if matches!(order, Order::SoftOfflineSparing(..)) => Answer::Spared,
            3 => Answer::NotAllowed,
            4 => Answer::NoSuch,
            5 if !look => Answer::Unconfirmed,
            6 if !look => {
                self.stuck.push((order.clone(), asked));
                Answer::TimedOut
            }
            7 => Answer::Errno(5),
            _ => self.carry_out(&order),
        };
        self.tell(order, answer, asked);
    }

    /// The first page of a batch does not come off, the others do.
    fn answer_restore(&mut self, order: &Order, pages: &[Pfn], how: u8, asked: Stamp) {
        let (first, rest) = pages.split_first().unwrap();
        let answer = match how {
            _ if self.pages_off.contains(first) => Answer::WasOff,
            1 => Answer::Busy,
            2 => Answer::Unhandlable,
            3 => Answer::NotAllowed,
            _ => Answer::Errno(5),
        };
        self.carry_out(&Order::Restore(rest.to_vec(), HugetlbPolicy::Always));
        let (said, words) = (String::new(), format!("{answer:?}"));
        let apart = Apart { pfn: *first, answer, asked: said, answered: words };
        let outcome = Outcome { apart: vec![apart], ..outcome(order.clone(), Answer::Off, asked) };
        self.hear(&outcome);
    }

    fn hear(&mut self, outcome: &Outcome) {
        let plan = answered(&self.desk.ctx(), outcome);
        self.follow(plan);
        if self.restoring.as_mut().is_some_and(|restoring| restoring.answered(outcome)) {
            self.restoring = None;
        }
    }

    /// A stuck write returns after all. What was asked beside it was answered
    /// before that.
    fn late(&mut self, how: u8) {
        let Some((order, asked)) = self.stuck.pop() else { return };
        let queue = std::mem::take(&mut self.queue);
        let (beside, queue): (Vec<_>, Vec<_>) =
            queue.into_iter().partition(|(other, _)| is_write(other) && overlap(other, &order));
        self.queue = queue;
        for (other, asked) in beside {
            self.tell(other, Answer::TimedOut, asked);
        }
        let answer = if how % 2 == 0 { self.carry_out(&order) } else { Answer::Errno(4) };
        self.tell(order, answer, asked);
    }

    fn tell(&mut self, order: Order, answer: Answer, asked: Stamp) {
        if let (Order::Inspect(pfn) | Order::Unpoison(pfn), Answer::On) = (&order, answer) {
            // Beside an order to take it, a look does not tell.
            let beside = self.queue.iter().any(|(o, _)| is_write(o) && overlap(o, &order));
            if !beside && self.unpoisoned.remove(pfn) && self.ue.remove(pfn) {
                self.forget_unseen_page(*pfn);
            }
        }
        self.conclude(outcome(order, answer, asked));
    }

    /// Of several that were to go only the first did, and act could not bring
    /// it back.
    fn half_done(&mut self, cpus: Vec<CpuId>, asked: Stamp) {
        let first = cpus[0];
        let online = self.desk.machine.online().filter(|cpu| cpu.id != first).count();
        let stuck = self.is_stuck(&Order::TakeCpus(cpus.clone()));
        if cpus.len() < 2 || !self.is_online(first) || online == 0 || stuck {
            return self.tell(Order::TakeCpus(cpus), Answer::Busy, asked);
        }
        self.take_off(first);
        let outcome = outcome(Order::TakeCpus(cpus), Answer::Busy, asked);
        let plan = answered(&self.desk.ctx(), &Outcome { left_off: vec![first], ..outcome });
        self.follow(plan);
    }

    fn conclude(&mut self, outcome: Outcome) {
        let not_off = !matches!(outcome.answer, Answer::Off | Answer::WasOff);
        let plan = answered(&self.desk.ctx(), &outcome);
        if self.restoring.as_mut().is_some_and(|restoring| restoring.answered(&outcome)) {
            self.restoring = None;
        }
        // Off after an order that failed: by somebody else, who is not fought.
        assert!(!(not_off && gives_cpus(&plan)), "{plan:?}");
        self.follow(plan);
    }

    fn find_row(&mut self, number: u32) {
        let first = u64::from(number) * 3;
        let fault = row(number, first..first + 4);
        let response = Response::TakePages(fault.cover.as_ref().unwrap().pages.clone());
        let finding = Finding { fault: fault.clone(), response };
        self.rows.insert(number, fault);
        let plan = found(&self.desk.ctx(), &finding);
        self.follow(plan);
    }

    fn grow(&mut self, number: u32, more: u64) {
        let Some(fault) = self.rows.get_mut(&number) else { return };
        let pages = &mut fault.cover.as_mut().unwrap().pages;
        let next = pages.last().unwrap().0 + 1;
        pages.extend((next..next + more).filter(|pfn| *pfn < PAGES).map(Pfn));
        let fault = fault.clone();
        let plan = grown(&self.desk.ctx(), &fault);
        self.follow(plan);
        let (group, _) = self.desk.ledger.group(fault.id).unwrap();
        assert_eq!(Some(&group.pages), fault.cover.as_ref().map(|cover| &cover.pages));
    }

    fn close_row(&mut self, number: u32) {
        let Some(fault) = self.rows.remove(&number) else { return };
        let rows: Vec<Fault> = self.rows.values().cloned().collect();
        let closing = closed(&self.desk.ctx(), &fault, rows.iter());
        self.follow(closing.plan);
        assert!(self.desk.ledger.group(fault.id).is_none());
    }

    /// What was said last of each row is true of its pages.
    fn rows_stand_as_told(&self) {
        for fault in self.rows.values() {
            let pages = &fault.cover.as_ref().unwrap().pages;
            let lines: Vec<_> =
                pages.iter().map(|pfn| &self.desk.ledger[&Target::Page(*pfn)]).collect();
            let off = |line: &&Isolation| {
                line.is_restoring()
                    || line.state == IsolationState::Isolated && line.asked != Some(Asked::Give)
            };
            let expected = if lines.iter().all(off) {
                FaultState::Isolated
            } else if lines.iter().any(|line| line.state == IsolationState::Refused) {
                FaultState::Escalated
            } else {
                FaultState::Open
            };
            assert_eq!(self.desk.states[&fault.id], expected, "{lines:#?}");
        }
    }

    /// All that the next run has is the lines and the faults.
    fn reread(&mut self) {
        let mut ledger: Ledger = self.desk.ledger.values().cloned().collect();
        for fault in self.rows.values() {
            ledger.put_group(Group::of(fault, self.desk.machine.page_size).unwrap());
        }
        assert_eq!(ledger, self.desk.ledger);
        for (_, line) in std::mem::take(&mut self.stored) {
            ledger.insert(line);
        }
        self.desk.ledger = ledger;
    }

    fn restart(&mut self, boot: Boot) {
        self.reread();
        self.desk.checks = Checks::default();
        let (ctx, checks) = self.desk.split();
        let plan = start(&ctx, checks, boot);
        self.restoring = Restoring::of(&plan.orders).filter(|_| boot != Boot::Same);
        self.follow(plan);
    }

    fn take(&mut self, step: &Step) {
        let cpus = self.desk.machine.cpus.len() as u32;
        match *step {
            Step::FindPage(p) => self.find(Response::TakePage(Pfn(p))),
            Step::FindRow(number) => self.find_row(number),
            Step::Grow(number, more) => self.grow(number, more),
            Step::CloseRow(number) => self.close_row(number),
            Step::FindUe(p) => {
                self.uncorrected(Pfn(p));
                self.find(Response::EnsureFailedPage(Pfn(p)));
            }
            Step::ReportFailed(p) => {
                self.uncorrected(Pfn(p));
                let failure = MemoryFailure { pfn: Pfn(p), page_type: 0, result: 3 };
                let plan = page_reported_failed(&self.desk.ctx(), &failure);
                self.follow(plan);
            }
            Step::FindCore(c) => self.find(Response::TakeCpus(vec![CpuId(c % cpus)])),
            Step::AskPage(p) => self.ask(isolate(&self.desk.ctx(), Target::Page(Pfn(p)), None)),
            Step::AskCpu(c) => {
                let target = Target::Cpu(CpuId(c % cpus));
                let mut plan = isolate(&self.desk.ctx(), target, Some("x"));
                if let Ok([order @ Order::Survey(cpus)]) = plan.as_ref().map(|p| &p.orders[..]) {
                    let survey = Some(Box::new(found_by_survey(cpus, (c % 3) as u8)));
                    let outcome = outcome(order.clone(), Answer::On, self.desk.now);
                    let outcome = Outcome { survey, ..outcome };
                    plan = isolate_surveyed(&self.desk.ctx(), target, Some("x"), &outcome);
                }
                self.ask(plan);
            }
            Step::GiveBackPage(p) => self.ask(release(&self.desk.ctx(), Target::Page(Pfn(p)))),
            Step::GiveBackCpu(c) => {
                self.ask(release(&self.desk.ctx(), Target::Cpu(CpuId(c % cpus))));
            }
            Step::Touch(p) => {
                let (ctx, checks) = self.desk.split();
                touched(&ctx, checks, Pfn(p));
            }
            Step::Answer(how) => self.answer(how),
            Step::Late(how) => self.late(how),
            Step::Hotplug(c, online) => self.hotplug(CpuId(c % cpus), online),
            // They wait for mf_mutex as long as a write to the page has it.
            Step::KernelTakes(p) | Step::Unpoison(p)
                if self.is_stuck(&Order::SoftOffline(Pfn(p))) => {}
            Step::KernelTakes(p) => {
                self.pages_off.insert(Pfn(p));
            }
            Step::Unpoison(p) => self.unpoison(Pfn(p)),
            Step::Wait(seconds) => self.desk.pass(seconds),
            Step::Restart(effects) => {
                // A process does not end, nor let go of the store's lock, while a
                // thread of it is in the kernel: what was stuck has ended too.
                let lost: Vec<(Order, Stamp)> =
                    self.stuck.drain(..).chain(self.queue.drain(..)).collect();
                for (i, (order, _)) in lost.into_iter().enumerate() {
                    self.lose(&order, effects >> (i % 8));
                }
                self.restart(match self.restoring {
                    Some(_) => Boot::Unfinished,
                    None => Boot::Same,
                });
            }
            Step::Reboot => {
                self.queue.clear();
                self.stuck.clear();
                self.pages_off.clear();
                self.our_cpus.clear();
                self.ue.clear();
                self.unpoisoned.clear();
                self.our_pages.clear();
                for pfn in self.pages_taken.keys().copied().collect::<Vec<_>>() {
                    self.forget_unseen_page(pfn);
                }
                // Likewise a core's. A boot puts all back: what nobody saw go by
                // then has left no trace to be counted by.
                let ledger = &self.desk.ledger;
                self.cores_taken.retain(|cpu, at| {
                    let seen = ledger.get(&Target::Cpu(*cpu)).and_then(|line| line.taken);
                    *at = seen.map_or(*at, |seen| seen.at.min(*at));
                    seen.is_some()
                });
                self.desk.machine.cpus.values_mut().for_each(|c| c.online = true);
                self.restart(Boot::New);
            }
        }
        self.settle();
    }

    /// An order whose answer dies with the daemon, which sees no hotplug.
    fn lose(&mut self, order: &Order, effect: u8) {
        if effect & 1 == 0 {
            return;
        }
        match order {
            Order::TakeCpus(cpus) => {
                // Killed half way, perhaps.
                let upto = if effect & 2 == 0 { cpus.len() } else { 1 };
                for cpu in cpus
                    .iter()
                    .take(upto)
                    .filter(|c| self.is_online(**c))
                    .copied()
                    .collect::<Vec<_>>()
                {
                    self.desk.set_online(cpu.0, false);
                    self.our_cpus.insert(cpu);
                    self.core_taken(cpu);
                }
            }
            Order::GiveCpus(cpus) => {
                for cpu in cpus {
                    self.desk.set_online(cpu.0, true);
                    self.our_cpus.remove(cpu);
                }
            }
            Order::Restore(pages, _) if effect & 2 != 0 => {
                let first = pages.iter().take(1).copied().collect();
                self.carry_out(&Order::Restore(first, HugetlbPolicy::Always));
            }
            other => {
                self.carry_out(other);
            }
        }
    }

    fn find(&mut self, response: Response) {
        let plan = found(&self.desk.ctx(), &finding(response));
        self.follow(plan);
    }

    fn ask(&mut self, answer: Result<Plan, Refusal>) {
        match answer {
            Ok(plan) => self.follow(plan),
            Err(refusal) => assert!(refusal.why.ends_with('.'), "{refusal}"),
        }
    }

    fn hotplug(&mut self, cpu: CpuId, online: bool) {
        let others = self.desk.machine.online().filter(|c| c.id != cpu).count();
        let removable = self.desk.machine.cpus[&cpu].removable;
        if !removable || (!online && others == 0) || self.hotplug_is_stuck() {
            return;
        }
        if online {
            self.put_on(cpu);
        } else if self.is_online(cpu) {
            self.desk.set_online(cpu.0, false);
            let plan = cpu_changed(&self.desk.ctx(), cpu, false);
            assert_eq!(plan.orders, [], "an admin is fought");
            self.follow(plan);
        }
    }

    /// What the daemon does after every event; it must come to rest.
    fn settle(&mut self) {
        for _ in 0..200 {
            let (ctx, checks) = self.desk.split();
            let plan = due(&ctx, checks);
            // Half a core of ours is rolled back, and nothing else.
            let given = plan.orders.iter().filter(|order| matches!(order, Order::GiveCpus(_)));
            let ours = given.flat_map(Order::cpus).all(|cpu| self.our_cpus.contains(cpu));
            assert!(ours, "{plan:?}");
            self.follow(plan);
            let next = next_due(&self.desk.ledger, &self.desk.checks);
            if next.is_none_or(|next| next > self.now()) {
                self.knows_what_is_out();
                self.rows_stand_as_told();
                return;
            }
        }
        panic!("due() is never done: {:#?}", self.desk.ledger);
    }

    /// The ledger says of each order whether it is under way, and of no other.
    fn knows_what_is_out(&self) {
        for line in self.desk.ledger.values() {
            let mut orders = self.queue.iter().map(|(order, _)| order);
            let out = match line.target {
                Target::Page(p) => orders.find_map(|order| match order {
                    Order::SoftOffline(q)
                    | Order::SoftOfflineSparing(q, _)
                    | Order::OfflineFree(q)
                    | Order::HardOffline(q) => (*q == p).then_some(false),
                    Order::Restore(pages, _) => pages.contains(&p).then_some(false),
                    Order::Unpoison(q) => (*q == p).then_some(true),
                    _ => None,
                }),
                Target::Cpu(c) => {
                    let (looks, writes): (Vec<_>, Vec<_>) = orders
                        .filter(|order| order.cpus().contains(&c))
                        .partition(|order| order.is_look());
                    let known = line.asked.filter(|asked| asked.is_under_way());
                    let order = writes.first();
                    let same = match order {
                        None if known.is_some_and(Asked::is_plan) => !looks.is_empty(),
                        // A late answer may have come before that of a look.
                        None => known.is_none(),
                        Some(Order::TakeCpus(_)) => known.is_some_and(Asked::is_take),
                        Some(Order::PutBack(..)) => known == Some(Asked::PutBack),
                        Some(_) => known == Some(Asked::Give),
                    };
                    assert!(same, "{order:?} is out, but {line:?}");
                    known.map(|asked| asked == Asked::Give)
                }
            };
            let known = line.asked.filter(|asked| asked.is_under_way());
            assert_eq!(known.map(|asked| asked == Asked::Give), out, "{line:?}");
            let over = matches!(line.state, IsolationState::Released | IsolationState::Stale);
            assert!(!(over && line.ue.is_some()), "an error nobody waits for: {line:?}");
            let isolated = line.state == IsolationState::Isolated;
            assert!(!(isolated && line.may_go()), "off, and to be taken: {line:?}");
        }
    }

    /// Everything is answered as it should be, for as long as it takes.
    fn drain(&mut self) {
        while !self.stuck.is_empty() {
            self.late(0);
        }
        for _ in 0..40 {
            while !self.queue.is_empty() {
                self.answer(0);
                self.settle();
            }
            self.desk.pass(3601);
            self.settle();
        }
        while !self.queue.is_empty() {
            self.answer(0);
        }
    }

    fn agrees(&self) {
        for line in self.desk.ledger.values() {
            assert!(!line.asked.is_some_and(Asked::is_under_way), "all is answered, but {line:?}");
            let is_off = line.state == IsolationState::Isolated;
            assert!(is_off || line.bound.is_empty(), "never put back: {line:?}");
            match line.state {
                IsolationState::Isolated => {
                    assert!(self.is_off(line.target), "not off: {line:?}");
                }
                IsolationState::Wanted => panic!("all answers were yes, but {line:?}"),
                IsolationState::Failed => panic!("an hour and a yes later: {line:?}"),
                _ => {}
            }
        }
        // No core is half taken by us, unless a human had a hand in it.
        for cpu in &self.our_cpus {
            let line = &self.desk.ledger[&Target::Cpu(*cpu)];
            assert_eq!(line.state, IsolationState::Isolated, "ours and not listed: {line:?}");
        }
    }
}

fn gives_cpus(plan: &Plan) -> bool {
    plan.orders.iter().any(|order| matches!(order, Order::GiveCpus(_)))
}

/// What a survey of `cpus` finds, of the kind `how`.
fn found_by_survey(cpus: &[CpuId], how: u8) -> Survey {
    let task = BoundTask {
        tid: 7,
        pid: 7,
        start: 1,
        comm: "clock".into(),
        policy: if how == 1 { Scheduling::Fifo } else { Scheduling::Normal },
        kernel: false,
        allowed: cpus[0].to_string(),
    };
    let cgroup = "/own".to_owned();
    let own = Partition { cgroup, isolated: true, cpus: cpus.iter().copied().collect() };
    let partitions = if how == 2 { vec![own] } else { Vec::new() };
    Survey { tasks: vec![task], partitions, ..Survey::default() }
}

fn is_write(order: &Order) -> bool {
    !order.is_look()
}

/// About the same page or CPU.
fn overlap(a: &Order, b: &Order) -> bool {
    a.pages().iter().any(|page| b.pages().contains(page))
        || a.cpus().iter().any(|cpu| b.cpus().contains(cpu))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_guard_rails_hold_whatever_happens(
        observe in prop::bool::weighted(0.2),
        nodes in 1u32..=2,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut host = Host::new(observe, nodes);
        for step in &steps {
            host.take(step);
        }
        host.drain();
        // A start looks at everything anew.
        host.take(&Step::Restart(0));
        host.drain();
        host.agrees();
    }
}
