//! A simulated host, and whatever may happen to it in whatever order: the
//! guard rails hold after every step, and ledger and host agree in the end.
//!
//! The rails, each with its name, are in `rails`; they are checked against the
//! host's own books, which share nothing with the code under test.
//! `PROPTEST_CASES` scales the number of histories; a failing one is told as the
//! shortest list of [`Step`]s that fails the same way.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod rails;
mod step;

use super::testing::{finding, machine, outcome, row, Desk};
use super::*;
use crate::analyze::Response;
use crate::model::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use step::{knobs, story, Knobs, Step};

const PAGES: u64 = 12;
const ROWS: u32 = 3;

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
    /// CPUs that a human took before an order of ours to take them was lost with
    /// the daemon: nobody can tell whose doing it was.
    unclear_cpus: BTreeSet<CpuId>,
    cores_taken: BTreeMap<CpuId, Time>,
    /// With an uncorrected error, as far as anybody can tell.
    ue: BTreeSet<Pfn>,
    /// With one at any time.
    had_ue: BTreeSet<Pfn>,
    /// Of those with one, given back since, which a look will tell.
    unpoisoned: BTreeSet<Pfn>,
    /// Rows that were found and not closed.
    rows: BTreeMap<u32, Fault>,
    /// Other faults that were found and not closed.
    faults: BTreeMap<uuid::Uuid, Fault>,
    /// CPUs that did not come back when they were given back.
    stayed_off: BTreeSet<CpuId>,
    /// CPUs that a human asked for, or brought on or off line, since they went.
    by_hand: BTreeSet<CpuId>,
    /// What the store has of lines that are being restored.
    stored: BTreeMap<Target, Isolation>,
    restoring: Option<Restoring>,
}

impl Host {
    fn new(knobs: Knobs, nodes: u32) -> Host {
        Host {
            desk: Desk { survey: None, ..Desk::new(knobs.policy(), machine(nodes, 4)) },
            queue: Vec::new(),
            stuck: Vec::new(),
            pages_off: BTreeSet::new(),
            our_pages: BTreeSet::new(),
            pages_taken: BTreeMap::new(),
            our_cpus: BTreeSet::new(),
            unclear_cpus: BTreeSet::new(),
            cores_taken: BTreeMap::new(),
            ue: BTreeSet::new(),
            had_ue: BTreeSet::new(),
            unpoisoned: BTreeSet::new(),
            rows: BTreeMap::new(),
            faults: BTreeMap::new(),
            stayed_off: BTreeSet::new(),
            by_hand: BTreeSet::new(),
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
        for (pfn, step) in &plan.restoring {
            let target = Target::Page(*pfn);
            match step {
                RestoreStep::Off => {
                    assert!(self.is_off(target), "restored and is not off: {target:?}");
                    self.stored.remove(&target);
                }
                _ => drop(self.stored.insert(target, self.desk.ledger[&target].clone())),
            }
        }
        for line in &plan.isolations {
            self.stored.remove(&line.target);
        }
        self.desk.enter(plan.clone());
        for order in plan.orders {
            let now = self.desk.now;
            self.queue.push((order, now));
            rails::ordered(self);
        }
    }

    fn is_off(&self, target: Target) -> bool {
        match target {
            Target::Page(pfn) => self.pages_off.contains(&pfn),
            Target::Cpu(cpu) => !self.is_online(cpu),
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
                self.stayed_off.retain(|cpu| !cpus.contains(cpu));
                if cpus.len() > 1 {
                    self.by_hand.retain(|cpu| !cpus.contains(cpu));
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
        self.had_ue.insert(pfn);
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
            self.unclear_cpus.remove(&cpu);
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
        if let (Order::GiveCpus(cpus), false) = (&order, answer == Answer::On) {
            self.stayed_off.extend(cpus);
        }
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

    fn close(&mut self, which: u8) {
        let mut open = self.open();
        if open.is_empty() {
            return;
        }
        let fault = open.remove(usize::from(which) % open.len());
        self.rows.retain(|_, row| row.id != fault.id);
        self.faults.remove(&fault.id);
        let closing = closed(&self.desk.ctx(), &fault, open.iter());
        self.follow(closing.plan);
        assert!(self.desk.ledger.group(fault.id).is_none());
    }

    /// Faults that were found and not closed.
    fn open(&self) -> Vec<Fault> {
        self.rows.values().chain(self.faults.values()).cloned().collect()
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
            Step::Close(which) => self.close(which),
            Step::Reload(knobs) => self.reload(knobs),
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
                self.by_hand.insert(CpuId(c % cpus));
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
                self.unclear_cpus.clear();
                self.stayed_off.clear();
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
        if let Order::TakeCpus(cpus) = order {
            let off: Vec<CpuId> = cpus.iter().copied().filter(|c| !self.is_online(*c)).collect();
            self.unclear_cpus.extend(off);
        }
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
                    self.unclear_cpus.remove(cpu);
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
        let finding = finding(response);
        self.faults.insert(finding.fault.id, finding.fault.clone());
        let plan = found(&self.desk.ctx(), &finding);
        self.follow(plan);
    }

    fn reload(&mut self, knobs: Knobs) {
        let other_mode = knobs.observe != self.desk.policy.observe;
        self.desk.policy = knobs.policy();
        if other_mode {
            let plan = mode_changed(&self.desk.ctx());
            self.follow(plan);
        }
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
        self.by_hand.insert(cpu);
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
            // Half a core of ours is rolled back, as far as anybody can tell, and
            // nothing else.
            let given = plan.orders.iter().filter(|order| matches!(order, Order::GiveCpus(_)));
            let mut given = given.flat_map(Order::cpus);
            let ours =
                given.all(|cpu| self.our_cpus.contains(cpu) || self.unclear_cpus.contains(cpu));
            assert!(ours, "{plan:?}");
            self.follow(plan);
            let next = next_due(&self.desk.ledger, &self.desk.checks);
            if next.is_none_or(|next| next > self.now()) {
                rails::at_rest(self);
                return;
            }
        }
        panic!("due() is never done: {:#?}", self.desk.ledger);
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

    /// All is answered, and answered with yes for hours.
    fn agrees(&self) {
        for line in self.desk.ledger.values() {
            assert!(!line.asked.is_some_and(Asked::is_under_way), "all is answered, but {line:?}");
            let is_off = line.state == IsolationState::Isolated;
            let observe = self.desk.policy.observe;
            assert!(is_off || observe || line.bound.is_empty(), "never put back: {line:?}");
            match line.state {
                IsolationState::Isolated => {
                    assert!(self.is_off(line.target), "not off: {line:?}");
                }
                IsolationState::Wanted => panic!("all answers were yes, but {line:?}"),
                IsolationState::Failed => panic!("an hour and a yes later: {line:?}"),
                _ => {}
            }
        }
        rails::in_the_end(self);
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

/// A thousand histories, or as many as `PROPTEST_CASES` says, which comes before
/// what is said here.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_guard_rails_hold_whatever_happens(
        knobs in knobs(),
        nodes in 1u32..=2,
        story in story(120),
    ) {
        let mut host = Host::new(knobs, nodes);
        for step in &story.0 {
            host.take(step);
        }
        host.drain();
        // A start looks at everything anew.
        host.take(&Step::Restart(0));
        host.drain();
        host.agrees();
    }
}
