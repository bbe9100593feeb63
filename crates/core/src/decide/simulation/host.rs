//! The host, and the books that it keeps of what became of it.

use super::super::testing::Desk;
use super::super::*;
use super::build::Build;
use super::keepers::Keepers;
use super::rails;
use super::step::Knobs;
use super::stubborn::Stubborn;
use crate::model::*;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The host's pages: those below this number.
pub(super) const PAGES: u64 = 12;
/// A page that the processor cannot address.
pub(super) const NOWHERE: u64 = 1 << 40;
/// Rows of failing memory; each begins three pages after the one before.
pub(super) const ROWS: u32 = 3;
/// Pages, the first ones, that each are part of a huge page of its own.
pub(super) const HUGE: u64 = 3;

pub(super) struct Host {
    pub desk: Desk,
    /// Orders not answered, with when they were asked.
    pub queue: Vec<(Order, Stamp)>,
    /// Writes that timed out and are still in the kernel: they may yet have
    /// their effect, and hold the locks that anybody else would need for the
    /// same: mf_mutex (mm/memory-failure.c) for pages, the lock of device
    /// hotplug (drivers/base/core.c) for CPUs.
    pub stuck: Vec<(Order, Stamp)>,
    pub pages_off: BTreeSet<Pfn>,
    /// Books of what our orders did.
    pub our_pages: BTreeSet<Pfn>,
    /// Each page in its memory: what of other memory counts, too, is its own.
    pub pages_taken: BTreeMap<(MemoryConfigId, Pfn), Time>,
    pub our_cpus: BTreeSet<CpuId>,
    /// CPUs that a human took before an order of ours to take them was lost with
    /// the daemon: nobody can tell whose doing it was.
    pub unclear_cpus: BTreeSet<CpuId>,
    pub cores_taken: BTreeMap<CpuId, Time>,
    /// With an uncorrected error, as far as anybody can tell.
    pub ue: BTreeSet<Pfn>,
    /// With one at any time in this boot.
    pub reported: BTreeSet<Pfn>,
    /// With one at any time.
    pub had_ue: BTreeSet<Pfn>,
    /// Of those with one, given back since, which a look will tell.
    pub unpoisoned: BTreeSet<Pfn>,
    /// Cells that gave an uncorrected error at any time, and that no admin
    /// answered for since.
    pub bad_cells: BTreeSet<(MemoryConfigId, Pfn)>,
    /// Pages that errors or an admin called for, each in its memory.
    pub called_for: BTreeSet<(MemoryConfigId, Pfn)>,
    /// Pages that the kernel's policy refused to take since the daemon began,
    /// and that nothing new has called for.
    pub forbidden: BTreeSet<Pfn>,
    /// Pages that do not come off.
    pub stubborn: Stubborn,
    /// Pages that a human was told to see to.
    pub told: BTreeSet<Pfn>,
    /// Who keeps CPUs.
    pub keepers: Keepers,
    /// The memory of this boot and of those before.
    pub memory: KnownMemory,
    /// Boots so far.
    pub boots: u64,
    /// Rows that were found and not closed, each in its memory.
    pub rows: BTreeMap<(MemoryConfigId, u32), Fault>,
    /// Other faults that were found and not closed.
    pub faults: BTreeMap<Uuid, Fault>,
    /// CPUs that did not come back when they were given back.
    pub stayed_off: BTreeSet<CpuId>,
    /// CPUs that a human asked for, or brought on or off line, since they went.
    pub by_hand: BTreeSet<CpuId>,
    /// What the store has of lines that are being restored.
    pub stored: BTreeMap<Target, Isolation>,
    pub restoring: Option<Restoring>,
    /// Rails that held something back, where that is asked for.
    pub reached: Option<BTreeSet<&'static str>>,
}

impl Host {
    pub fn new(knobs: Knobs, build: Build) -> Host {
        let mut host = Host {
            desk: Desk { survey: None, ..Desk::new(knobs.policy(), build.machine()) },
            queue: Vec::new(),
            stuck: Vec::new(),
            pages_off: BTreeSet::new(),
            our_pages: BTreeSet::new(),
            pages_taken: BTreeMap::new(),
            our_cpus: BTreeSet::new(),
            unclear_cpus: BTreeSet::new(),
            cores_taken: BTreeMap::new(),
            ue: BTreeSet::new(),
            reported: BTreeSet::new(),
            had_ue: BTreeSet::new(),
            unpoisoned: BTreeSet::new(),
            bad_cells: BTreeSet::new(),
            called_for: BTreeSet::new(),
            forbidden: BTreeSet::new(),
            stubborn: Stubborn::default(),
            told: BTreeSet::new(),
            keepers: Keepers::default(),
            memory: KnownMemory::default(),
            boots: 0,
            rows: BTreeMap::new(),
            faults: BTreeMap::new(),
            stayed_off: BTreeSet::new(),
            by_hand: BTreeSet::new(),
            stored: BTreeMap::new(),
            restoring: None,
            reached: None,
        };
        host.plug_in(1);
        host
    }

    pub fn now(&self) -> Time {
        self.desk.now.at
    }

    /// The memory that is there.
    pub fn cells(&self) -> MemoryConfigId {
        self.desk.machine.memory
    }

    pub fn is_online(&self, cpu: CpuId) -> bool {
        self.desk.machine.cpus.get(&cpu).is_some_and(|c| c.online)
    }

    pub fn online(&self) -> BTreeSet<CpuId> {
        self.desk.machine.online().map(|cpu| cpu.id).collect()
    }

    /// CPUs that orders not surely answered may still take.
    pub fn going(&self) -> BTreeSet<CpuId> {
        self.out()
            .filter_map(|order| if let Order::TakeCpus(cpus) = order { Some(cpus) } else { None })
            .flatten()
            .copied()
            .collect()
    }

    /// Pages that may still go; those with a UE are held against no limit.
    pub fn pages_going(&self) -> BTreeSet<Pfn> {
        self.out()
            .filter(|order| order.is_soft_offline() || matches!(order, Order::Restore(..)))
            .flat_map(Order::pages)
            .filter(|pfn| !self.ue.contains(pfn) && !self.is_kernels(**pfn))
            .copied()
            .collect()
    }

    /// The kernel's, or lost to an uncorrected error in an earlier boot.
    pub fn is_kernels(&self, pfn: Pfn) -> bool {
        self.desk
            .ledger
            .get(&Target::Page(pfn))
            .is_some_and(|line| line.by == By::Kernel || line.restores && line.taken.is_none())
    }

    /// An earlier boot had it, and it has its place of the day from then.
    pub fn is_restored(&self, target: Target) -> bool {
        self.desk.ledger.get(&target).is_some_and(|line| line.restores)
    }

    fn out(&self) -> impl Iterator<Item = &Order> {
        self.queue.iter().chain(&self.stuck).map(|(order, _)| order)
    }

    pub fn is_stuck(&self, order: &Order) -> bool {
        self.stuck.iter().any(|(stuck, _)| overlap(stuck, order))
    }

    pub fn hotplug_is_stuck(&self) -> bool {
        self.stuck.iter().any(|(stuck, _)| !stuck.cpus().is_empty())
    }

    pub fn is_off(&self, target: Target) -> bool {
        match target {
            Target::Page(pfn) => self.pages_off.contains(&pfn),
            Target::Cpu(cpu) => !self.is_online(cpu),
        }
    }

    /// Rows that were found in the memory that is there, and not closed.
    pub fn rows_here(&self) -> impl Iterator<Item = &Fault> {
        let here = self.cells();
        self.rows.iter().filter(move |((memory, _), _)| *memory == here).map(|(_, row)| row)
    }

    /// Faults that were found and not closed.
    pub fn open(&self) -> Vec<Fault> {
        let open = self.rows.values().chain(self.faults.values());
        let state = |fault: &Fault| self.desk.states.get(&fault.id).copied();
        open.map(|fault| Fault { state: state(fault).unwrap_or(fault.state), ..fault.clone() })
            .collect()
    }

    /// Enters a plan and checks its orders against the books.
    pub fn follow(&mut self, plan: Plan) {
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
            if let (Target::Page(pfn), IsolationState::Refused) = (line.target, line.state) {
                // Where another took its room, its tries begin anew.
                self.stubborn.tries.remove(&pfn);
            }
        }
        let escalated = plan.decisions.iter().filter(|d| d.kind == DecisionKind::Escalated);
        self.told.extend(escalated.filter_map(|decision| decision.target?.page()));
        self.desk.enter(plan.clone());
        rails::held_back(self, &plan);
        for order in plan.orders {
            let now = self.desk.now;
            self.queue.push((order, now));
            rails::ordered(self);
        }
    }
}

pub(super) fn is_write(order: &Order) -> bool {
    !order.is_look()
}

/// About the same page or CPU.
pub(super) fn overlap(a: &Order, b: &Order) -> bool {
    a.pages().iter().any(|page| b.pages().contains(page))
        || a.cpus().iter().any(|cpu| b.cpus().contains(cpu))
}
