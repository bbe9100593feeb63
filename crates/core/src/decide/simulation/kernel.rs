//! What becomes of orders: act's part, and the kernel's.

use super::super::testing::outcome;
use super::super::*;
use super::host::{is_write, overlap, Host, HUGE, NOWHERE};
use crate::model::*;
use std::collections::BTreeSet;

/// Huge pages of the pool that are free after a boot.
const FREE_HUGE: usize = HUGE as usize;

impl Host {
    /// The oldest order is answered in this way, if there is one.
    pub fn answer(&mut self, how: u8) {
        if self.queue.is_empty() {
            return;
        }
        let (order, asked) = self.queue.remove(0);
        let look = order.is_look();
        let is_stuck = !look && self.is_stuck(&order);
        if let (Order::Survey(cpus), false) = (&order, matches!(how, 3 | 4 | 5 | 7)) {
            let survey = Some(Box::new(self.keepers.survey(cpus, &self.online())));
            return self.conclude(Outcome { survey, ..outcome(order, Answer::On, asked) });
        }
        if let (Order::TakeCpus(cpus), 8) = (&order, how) {
            return self.half_done(cpus.clone(), asked);
        }
        if let (Order::Restore(..), false, false) = (&order, is_stuck, matches!(how, 5 | 6)) {
            return self.restore(order, how, asked);
        }
        let takes = order.is_soft_offline()
            || matches!(order, Order::OfflineFree(_) | Order::HardOffline(_));
        let off_already = takes && order.page().is_some_and(|p| self.pages_off.contains(&p));
        let answer = match how {
            // act does not ask beside a write that is still in the kernel.
            _ if is_stuck => Answer::TimedOut,
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
            9 if matches!(order, Order::OfflineFree(_)) => Answer::InUse,
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

    /// Has the effect of `order`, and tells of hotplug as the kernel does.
    pub fn carry_out(&mut self, order: &Order) -> Answer {
        match order {
            Order::SoftOffline(pfn) => self.move_away(*pfn, HugetlbPolicy::Always),
            Order::SoftOfflineSparing(pfn, hugetlb) => self.move_away(*pfn, *hugetlb),
            Order::Restore(pages, hugetlb) => {
                pages.iter().for_each(|pfn| _ = self.move_away(*pfn, *hugetlb));
                Answer::Off
            }
            Order::OfflineFree(pfn) | Order::HardOffline(pfn) if !self.pages_off.insert(*pfn) => {
                Answer::WasOff
            }
            Order::OfflineFree(_) | Order::HardOffline(_) => Answer::Off,
            Order::Inspect(Pfn(NOWHERE)) => Answer::NoSuch,
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

    /// Soft-offlines a page: act spares what `hugetlb` keeps.
    fn move_away(&mut self, pfn: Pfn, hugetlb: HugetlbPolicy) -> Answer {
        let now = self.now();
        if self.pages_off.contains(&pfn) {
            return Answer::WasOff;
        }
        if pfn.0 < HUGE && self.is_spared(hugetlb) {
            return Answer::Spared;
        }
        if let Some(used) = self.stubborn.uses.get(&pfn) {
            return used.answer();
        }
        self.pages_off.insert(pfn);
        if !self.is_kernels(pfn) {
            self.our_pages.insert(pfn);
        }
        if !self.is_restored(Target::Page(pfn)) {
            self.pages_taken.insert((self.cells(), pfn), now);
        }
        Answer::Off
    }

    fn is_spared(&self, hugetlb: HugetlbPolicy) -> bool {
        let dissolved = self.pages_off.iter().filter(|pfn| pfn.0 < HUGE).count();
        match hugetlb {
            HugetlbPolicy::Always => false,
            HugetlbPolicy::Never => true,
            HugetlbPolicy::KeepFree(keep) => FREE_HUGE.saturating_sub(dissolved) <= keep as usize,
        }
    }

    /// The first page of a batch is answered in this way, the others as they
    /// come off.
    fn restore(&mut self, order: Order, how: u8, asked: Stamp) {
        let Order::Restore(pages, hugetlb) = &order else { return };
        let mut apart = Vec::new();
        for (i, pfn) in pages.iter().enumerate() {
            let answer = match how {
                _ if self.pages_off.contains(pfn) => Answer::WasOff,
                1 if i == 0 => Answer::Busy,
                2 if i == 0 => Answer::Unhandlable,
                3 if i == 0 => Answer::NotAllowed,
                4 | 7 if i == 0 => Answer::Errno(5),
                _ => self.move_away(*pfn, *hugetlb),
            };
            if answer != Answer::Off {
                let (asked, answered) = (String::new(), format!("{answer:?}"));
                apart.push(Apart { pfn: *pfn, answer, asked, answered });
            }
        }
        self.conclude(Outcome { apart, ..outcome(order, Answer::Off, asked) });
    }

    /// What of a page's takings nobody ever saw as our doing, and nobody can:
    /// memory_failure() had it since, or a boot undid it.
    pub fn forget_unseen_page(&mut self, pfn: Pfn) {
        let seen = self.desk.ledger.get(&Target::Page(pfn)).and_then(|line| line.taken);
        let page = (self.cells(), pfn);
        let earlier = self.pages_taken.remove(&page).zip(seen);
        self.pages_taken.extend(earlier.map(|(at, seen)| (page, at.min(seen.at))));
    }

    pub fn unpoison(&mut self, pfn: Pfn) {
        let exists = !self.desk.machine.is_masked(pfn);
        if exists && self.pages_off.remove(&pfn) {
            self.our_pages.remove(&pfn);
            self.unpoisoned.insert(pfn);
        }
    }

    pub fn take_off(&mut self, cpu: CpuId) {
        if self.is_online(cpu) {
            self.desk.set_online(cpu.0, false);
            self.our_cpus.insert(cpu);
            self.core_taken(cpu);
            let plan = cpu_changed(&self.desk.ctx(), cpu, false);
            self.follow(plan);
        }
    }

    /// What an earlier boot had keeps its time.
    pub fn core_taken(&mut self, cpu: CpuId) {
        let now = self.now();
        if self.is_restored(Target::Cpu(cpu)) {
            let then = self.desk.ledger[&Target::Cpu(cpu)].taken.map_or(now, |taken| taken.at);
            self.cores_taken.entry(cpu).or_insert(then);
        } else {
            self.cores_taken.insert(cpu, now);
        }
    }

    pub fn put_on(&mut self, cpu: CpuId) {
        if !self.is_online(cpu) && self.desk.machine.cpus.contains_key(&cpu) {
            self.desk.set_online(cpu.0, true);
            self.our_cpus.remove(&cpu);
            self.unclear_cpus.remove(&cpu);
            let plan = cpu_changed(&self.desk.ctx(), cpu, true);
            self.follow(plan);
        }
    }

    /// A stuck write returns after all. What was asked beside it was answered
    /// before that.
    pub fn late(&mut self, how: u8) {
        let Some((order, asked)) = self.stuck.pop() else { return };
        let queue = std::mem::take(&mut self.queue);
        let (beside, queue): (Vec<_>, Vec<_>) =
            queue.into_iter().partition(|(other, _)| is_write(other) && overlap(other, &order));
        self.queue = queue;
        for (other, asked) in beside {
            self.tell(other, Answer::TimedOut, asked);
        }
        match order {
            Order::Restore(..) if how % 2 == 0 => self.restore(order, how, asked),
            _ => {
                let answer = if how % 2 == 0 { self.carry_out(&order) } else { Answer::Errno(4) };
                self.tell(order, answer, asked);
            }
        }
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
        self.note(&outcome);
        let not_off = !matches!(outcome.answer, Answer::Off | Answer::WasOff);
        let plan = answered(&self.desk.ctx(), &outcome);
        if self.restoring.as_mut().is_some_and(|restoring| restoring.answered(&outcome)) {
            self.restoring = None;
        }
        // Off after an order that failed: by somebody else, who is not fought.
        let gives = plan.orders.iter().any(|order| matches!(order, Order::GiveCpus(_)));
        assert!(!(not_off && gives), "{plan:?}");
        self.follow(plan);
    }

    /// Enters an answer in the books.
    fn note(&mut self, outcome: &Outcome) {
        let order = &outcome.order;
        if matches!(order, Order::Survey(_)) {
            self.keepers.hidden = outcome.survey.is_none();
        }
        if order.is_soft_offline() || matches!(order, Order::Restore(..)) {
            let now = self.now();
            for pfn in order.pages() {
                let answer = outcome.answer_of(*pfn);
                self.stubborn.tried(*pfn, answer, now);
                if answer == Answer::NotAllowed {
                    self.forbidden.insert(*pfn);
                }
            }
        }
    }

    /// An order whose answer dies with the daemon, which sees no hotplug.
    pub fn lose(&mut self, order: &Order, effect: u8) {
        if let Order::TakeCpus(cpus) = order {
            let off: Vec<CpuId> = cpus.iter().copied().filter(|c| !self.is_online(*c)).collect();
            self.unclear_cpus.extend(off);
        }
        if effect & 1 == 0 {
            return;
        }
        // Killed half way, perhaps.
        let upto = |all: usize| if effect & 2 == 0 { all } else { 1 };
        match order {
            Order::TakeCpus(cpus) => {
                let first = cpus.iter().take(upto(cpus.len())).copied();
                let on: BTreeSet<CpuId> = first.filter(|cpu| self.is_online(*cpu)).collect();
                for cpu in on {
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
            Order::Restore(pages, hugetlb) => {
                let first = pages[..upto(pages.len())].to_vec();
                self.carry_out(&Order::Restore(first, *hugetlb));
            }
            other => {
                self.carry_out(other);
            }
        }
    }
}
