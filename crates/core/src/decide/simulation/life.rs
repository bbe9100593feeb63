//! What happens to a host, step by step.

use super::super::testing::{finding, outcome, row};
use super::super::*;
use super::host::{Host, NOWHERE, PAGES};
use super::rails;
use super::step::{Knobs, Step};
use super::stubborn::Use;
use crate::analyze::{Finding, Response};
use crate::model::*;
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

impl Host {
    pub fn take(&mut self, step: &Step) {
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
                self.call_for([Pfn(p)]);
                let failure = MemoryFailure { pfn: Pfn(p), page_type: 0, result: 3 };
                let plan = page_reported_failed(&self.desk.ctx(), &failure);
                self.follow(plan);
            }
            Step::FindCore(c) => self.find(Response::TakeCpus(vec![self.number(c)])),
            Step::AskPage(p) => {
                self.call_for([Pfn(p)]);
                let plan = isolate(&self.desk.ctx(), Target::Page(Pfn(p)), None);
                self.asked(Target::Page(Pfn(p)), plan);
            }
            Step::AskCpu(c) => self.ask_cpu(self.number(c)),
            Step::GiveBackPage(p) => self.give_back_page(Pfn(p)),
            Step::GiveBackCpu(c) => {
                let target = Target::Cpu(self.number(c));
                let plan = release(&self.desk.ctx(), target);
                self.asked(target, plan);
            }
            Step::Touch(p) => {
                let (ctx, checks) = self.desk.split();
                touched(&ctx, checks, Pfn(p));
            }
            Step::Confirm(p) => {
                self.call_for([Pfn(p)]);
                let plan = confirmed(&self.desk.ctx(), Pfn(p));
                self.follow(plan);
            }
            Step::Answer(how) => self.answer(how),
            Step::Late(how) => self.late(how),
            Step::Hotplug(c, online) => self.hotplug(self.number(c), online),
            Step::LeaveCore(c) => {
                let cpu = self.desk.machine.cpus.get(&self.number(c));
                let stay = cpu.map_or_else(BTreeSet::new, |cpu| cpu.threads.clone());
                for cpu in self.online().difference(&stay) {
                    self.hotplug(*cpu, false);
                }
            }
            Step::Partition(bits) => {
                let is_in = |cpu: &CpuId| bits >> cpu.0 & 1 != 0;
                let cpus = self.desk.machine.cpus.keys().copied().filter(is_in).collect();
                self.keepers.partition(cpus);
            }
            Step::RealTime(c, core, kind) => {
                if let Some(cpu) = self.desk.machine.cpus.get(&self.number(c)) {
                    let one = || BTreeSet::from([cpu.id]);
                    self.keepers.run(if core { cpu.threads.clone() } else { one() }, kind);
                }
            }
            Step::LetGo => self.keepers = Default::default(),
            // They wait for mf_mutex as long as a write to the page has it.
            Step::KernelTakes(p) | Step::Unpoison(p)
                if self.is_stuck(&Order::SoftOffline(Pfn(p))) || p == NOWHERE => {}
            Step::KernelTakes(p) => {
                self.call_for([Pfn(p)]);
                self.pages_off.insert(Pfn(p));
            }
            Step::Unpoison(p) => self.unpoison(Pfn(p)),
            Step::Stick(p, used) => self.stick(Pfn(p), used),
            Step::Wait(seconds) => self.desk.pass(seconds),
            Step::LiveOn => self.live_on(),
            Step::Restart(effects) => self.restart(effects),
            Step::Reboot(setup) => self.reboot(setup),
        }
        self.settle();
    }

    /// One of the host's CPUs, or the number of one that it does not have.
    fn number(&self, cpu: u32) -> CpuId {
        CpuId(cpu % (self.desk.machine.cpus.len() as u32 + 1))
    }

    /// The same failure of the same memory is the same fault.
    pub fn name(&self, fault: &mut Fault) {
        let memory = match fault.component.is_memory() {
            true if self.cells() == MemoryConfigId::default() => Uuid::from_u128(self.boots.into()),
            true => self.cells().0,
            false => Uuid::nil(),
        };
        fault.id = Uuid::new_v5(&memory, fault.id.as_bytes());
        fault.home = self.desk.machine.home_of(&fault.component);
    }

    /// Something new calls for these pages.
    fn call_for(&mut self, pages: impl IntoIterator<Item = Pfn>) {
        let cells = self.cells();
        for pfn in pages {
            self.called_for.insert((cells, pfn));
            self.forbidden.remove(&pfn);
            self.stubborn.tries.remove(&pfn);
        }
    }

    fn find(&mut self, response: Response) {
        if let Response::TakePage(pfn) | Response::EnsureFailedPage(pfn) = &response {
            self.call_for([*pfn]);
        }
        let mut finding = finding(response);
        self.name(&mut finding.fault);
        self.faults.insert(finding.fault.id, finding.fault.clone());
        let plan = found(&self.desk.ctx(), &finding);
        self.follow(plan);
    }

    fn find_row(&mut self, number: u32) {
        let first = u64::from(number) * 3;
        let mut fault = row(number, first..first + 4);
        self.name(&mut fault);
        let pages = fault.cover.as_ref().unwrap().pages.clone();
        self.call_for(pages.iter().copied());
        let finding = Finding { fault: fault.clone(), response: Response::TakePages(pages) };
        self.rows.insert((self.cells(), number), fault);
        let plan = found(&self.desk.ctx(), &finding);
        self.follow(plan);
    }

    fn grow(&mut self, number: u32, more: u64) {
        let cells = self.cells();
        let Some(fault) = self.rows.get_mut(&(cells, number)) else { return };
        let pages = &mut fault.cover.as_mut().unwrap().pages;
        let next = pages.last().unwrap().0 + 1;
        pages.extend((next..next + more).filter(|pfn| *pfn < PAGES).map(Pfn));
        let fault = fault.clone();
        self.call_for((next..next + more).map(Pfn));
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
        let covered = fault.cover.iter().flat_map(|cover| &cover.pages);
        let own = if let Component::Page { pfn } = fault.component { Some(pfn) } else { None };
        let pages: BTreeSet<Pfn> = covered.copied().chain(own).collect();
        // Only what is of this memory is still in the books.
        if fault.home == self.desk.machine.memory_home() {
            self.bad_cells.retain(|(_, pfn)| !pages.contains(pfn));
        }
        let closing = closed(&self.desk.ctx(), &fault, open.iter());
        self.follow(closing.plan);
        assert!(self.desk.ledger.group(fault.id).is_none());
    }

    fn uncorrected(&mut self, pfn: Pfn) {
        self.ue.insert(pfn);
        self.bad_cells.insert((self.cells(), pfn));
        self.reported.insert(pfn);
        self.had_ue.insert(pfn);
        self.unpoisoned.remove(&pfn);
    }

    fn ask_cpu(&mut self, cpu: CpuId) {
        let target = Target::Cpu(cpu);
        self.by_hand.insert(cpu);
        let mut plan = isolate(&self.desk.ctx(), target, Some("x"));
        if let Ok([order @ Order::Survey(cpus)]) = plan.as_ref().map(|p| &p.orders[..]) {
            self.keepers.hidden = false;
            let survey = Some(Box::new(self.keepers.survey(cpus, &self.online())));
            let outcome = outcome(order.clone(), Answer::On, self.desk.now);
            let outcome = Outcome { survey, ..outcome };
            plan = isolate_surveyed(&self.desk.ctx(), target, Some("x"), &outcome);
        }
        self.asked(target, plan);
    }

    fn give_back_page(&mut self, pfn: Pfn) {
        let target = Target::Page(pfn);
        let plan = release(&self.desk.ctx(), target);
        // Whichever memory the line was of, an admin answers for the address.
        if plan.is_ok() {
            self.bad_cells.retain(|(_, bad)| *bad != pfn);
        }
        self.asked(target, plan);
    }

    /// An admin's request was decided on.
    fn asked(&mut self, target: Target, answer: Result<Plan, Refusal>) {
        match answer {
            Ok(plan) => self.follow(plan),
            Err(refusal) => {
                assert!(refusal.why.ends_with('.'), "{refusal}");
                rails::refused(self, target, &refusal.why);
            }
        }
    }

    fn reload(&mut self, knobs: Knobs) {
        let other_mode = knobs.observe != self.desk.policy.observe;
        self.desk.policy = knobs.policy();
        self.stubborn.tries.clear();
        if other_mode {
            let plan = mode_changed(&self.desk.ctx());
            self.follow(plan);
        }
    }

    fn hotplug(&mut self, cpu: CpuId, online: bool) {
        let others = self.desk.machine.online().filter(|c| c.id != cpu).count();
        let removable = self.desk.machine.cpus.get(&cpu).is_some_and(|known| known.removable);
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

    fn stick(&mut self, pfn: Pfn, used: Use) {
        self.stubborn.uses.insert(pfn, used);
        self.find(Response::TakePage(pfn));
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

    fn answer_all(&mut self) {
        while !self.queue.is_empty() {
            self.answer(0);
            self.settle();
        }
    }

    fn live_on(&mut self) {
        let end = self.now().after(Duration::from_secs(26 * 3600));
        loop {
            self.answer_all();
            let next = next_due(&self.desk.ledger, &self.desk.checks);
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.desk.now = self.desk.now.after(next.since(self.now()));
            self.settle();
        }
        self.desk.now = self.desk.now.after(end.since(self.now()));
    }

    /// Everything is answered as it should be, for as long as it takes.
    pub fn drain(&mut self) {
        self.stubborn.uses.clear();
        while !self.stuck.is_empty() {
            self.late(0);
        }
        for _ in 0..40 {
            self.answer_all();
            self.desk.pass(3601);
            self.settle();
        }
        while !self.queue.is_empty() {
            self.answer(0);
        }
    }

    /// All is answered, and answered with yes for hours.
    pub fn agrees(&self) {
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
