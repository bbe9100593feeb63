//! The cycle over what is in memory: reports and outcomes go in, the ledger and
//! the faults change, orders and sentences come out. Nothing here touches the
//! disk or the kernel, so nothing here waits.

use super::memory::Memory;
use crate::event::{timestamp, Body, Event};
use crate::state::{Attempt, StateError, Store};
use bulkhead_core::analyze::{Analyzer, Rules};
use bulkhead_core::cycle::{self, Books};
use bulkhead_core::decide::{self, Answer, Boot, Decision, Kept, Order, Outcome, Plan, Policy};
use bulkhead_core::model::{
    CpuId, FaultState, Group, Isolation, IsolationState, KnownMemory, Machine, Pfn, Report, Source,
    Stamp, Target, Time,
};
use uuid::Uuid;

/// Report lines kept of one drain. The first errors of a storm tell what it
/// is; the rest is counted, and would only fill the disk.
const MOST_REPORT_LINES: usize = 64;

/// A fault that an admin closed.
#[derive(Debug)]
pub struct Resolved {
    /// Which.
    pub fault: Uuid,
    /// What is on its way back into service.
    pub given: Vec<Target>,
    /// What stays out of it.
    pub kept: Vec<Kept>,
    /// Open faults of a part that was replaced.
    pub same_part: Vec<Uuid>,
}

/// The cycle, with what is to be logged, saved and answered of it.
pub struct Cycle {
    /// analyze and decide, over the memory.
    pub core: cycle::Cycle<Memory>,
    report_lines: usize,
    unlogged: u64,
}

impl Cycle {
    /// Takes up where an earlier run left off.
    pub fn new(memory: Memory, policy: Policy, machine: Machine, analyzer: Analyzer) -> Cycle {
        let core = cycle::Cycle::new(memory, policy, machine, analyzer);
        Cycle { core, report_lines: 0, unlogged: 0 }
    }

    /// Before all that decides: which pages stand or fall together, by the open
    /// faults of the memory that is there.
    pub fn regroup(&mut self, boot: Boot) {
        let Cycle { core: cycle::Cycle { books, machine, .. }, .. } = self;
        let same_boot = boot != Boot::New;
        let here = books.faults.values().filter(|fault| fault.is_of(machine, same_boot));
        let groups: Vec<Group> = here.filter_map(|f| Group::of(f, machine.page_size)).collect();
        for group in groups {
            self.core.books.put_group(group);
        }
    }

    /// Compares what should be with what is, after a start.
    pub fn start(&mut self, boot: Boot, now: Stamp) {
        self.core.start(boot, now);
        self.core.books.boot.restored = self.core.restoring().is_none();
        // The kernel may have taken pages while nobody looked.
        let watched: Vec<Pfn> = self.core.analyzer.watched_pages().collect();
        for pfn in watched {
            self.core.touched(pfn, now);
        }
    }

    /// Before [`Cycle::start`], at the first start in a boot: what the memory
    /// that is there now makes of what is known.
    pub fn rehome(&mut self, memory: &KnownMemory, now: Stamp) {
        let plan = decide::rehome(&self.core.context(now), memory, &self.core.books.faults);
        self.core.enter(plan, now);
    }

    /// A source reported.
    pub fn report(&mut self, report: &Report, via: &str, now: Stamp) {
        let mut observed = self.core.observe(report);
        self.memory().count(report.source, via, observed.counted);
        let undecodable = observed.undecodable.take();
        if let Some(why) = &undecodable {
            tracing::debug!(source = report.source.name(), "not used: {why}");
        }
        if self.report_lines < MOST_REPORT_LINES {
            self.report_lines += 1;
            self.memory().happened(Event::of_report(report, via, undecodable));
        } else {
            self.unlogged += 1;
        }
        let page = observed.page;
        self.core.follow(report, observed, now);
        if let Some(pfn) = page {
            self.core.touched(pfn, now);
        }
    }

    /// Something is not on disk yet.
    pub fn is_dirty(&self) -> bool {
        self.core.books.is_dirty() || self.core.analyzer.has_changes()
    }

    /// As [`Memory::commit`].
    ///
    /// # Errors
    /// Likewise.
    pub fn commit(&mut self, store: &mut Store) -> Result<Vec<Event>, StateError> {
        let cycle::Cycle { books, analyzer, machine, .. } = &mut self.core;
        books.commit(store, analyzer, machine.memory)
    }

    /// All reports of a drain are in.
    pub fn reported(&mut self, now: Stamp) {
        self.report_lines = 0;
        let unlogged = std::mem::take(&mut self.unlogged);
        if unlogged > 0 {
            let why =
                format!("{unlogged} more reports came at once: counted, and not kept one by one");
            self.source_event(Source::ALL[0].name(), "ok", why, now);
        }
    }

    /// act answered. For CPUs, call [`Cycle::set_machine`] before.
    pub fn outcome(&mut self, outcome: &Outcome, now: Stamp) {
        if let Order::Restore(..) = &outcome.order {
            self.restored(outcome);
        }
        let target = match &outcome.order {
            Order::Inspect(_) | Order::Restore(..) => None,
            order => {
                let cpu = order.cpus().first().map(|cpu| Target::Cpu(*cpu));
                order.page().map(Target::Page).or(cpu)
            }
        };
        if let Some(target) = target {
            self.attempted(target, outcome.time, &outcome.asked, &outcome.answered);
        }
        if let (Order::PutBack(..), false) = (&outcome.order, outcome.answer == Answer::On) {
            tracing::warn!("not all tasks have their CPUs back: {}", outcome.answered);
        }
        self.core.answered(outcome, now);
        self.core.books.boot.restored = self.core.restoring().is_none();
    }

    /// Of many pages taken again after a boot only those are kept that did not
    /// come off: the others have the attempt that took them first.
    fn restored(&mut self, outcome: &Outcome) {
        for apart in &outcome.apart {
            let target = Target::Page(apart.pfn);
            self.attempted(target, outcome.time, &apart.asked, &apart.answered);
        }
    }

    fn attempted(&mut self, target: Target, time: Stamp, asked: &str, answered: &str) {
        self.core.books.attempted(Attempt {
            fault: self.core.books.ledger.get(&target).and_then(|line| line.fault),
            target,
            time,
            asked: asked.to_owned(),
            answered: answered.to_owned(),
        });
    }

    /// Somebody, perhaps we, brought a CPU on or off line.
    pub fn cpu_changed(&mut self, cpu: CpuId, online: bool, now: Stamp) {
        let ctx = self.core.context(now);
        let plan = decide::cpu_changed(&ctx, cpu, online);
        self.core.enter(plan, now);
    }

    /// What is due now, or has found room.
    pub fn due(&mut self, now: Stamp) {
        self.core.due(now);
    }

    /// When [`Cycle::due`] has something to do.
    pub fn next_due(&self) -> Option<Time> {
        self.core.next_due()
    }

    /// An admin wants `target` taken, with what its survey came to, if it was
    /// made. With `dry_run` only the plan is made, and the survey.
    pub fn isolate(
        &mut self,
        target: Target,
        reason: Option<&str>,
        surveyed: Option<&Outcome>,
        dry_run: bool,
        now: Stamp,
    ) -> Result<Plan, decide::Refusal> {
        let ctx = self.core.context(now);
        let plan = match surveyed {
            None => decide::isolate(&ctx, target, reason)?,
            Some(outcome) => decide::isolate_surveyed(&ctx, target, reason, outcome)?,
        };
        if !dry_run || plan.orders.iter().any(|order| matches!(order, Order::Survey(_))) {
            self.core.enter(plan.clone(), now);
        }
        Ok(plan)
    }

    /// An admin wants `target` back. With `dry_run` only the plan is made.
    pub fn release(
        &mut self,
        target: Target,
        dry_run: bool,
        now: Stamp,
    ) -> Result<Plan, decide::Refusal> {
        let ctx = self.core.context(now);
        let plan = decide::release(&ctx, target)?;
        if !dry_run {
            self.core.enter(plan.clone(), now);
        }
        Ok(plan)
    }

    /// An admin closes a fault as what `state` says. `None` if there is no such
    /// fault.
    pub fn resolve(&mut self, id: Uuid, state: FaultState, now: Stamp) -> Option<Resolved> {
        let mut fault = self.core.books.faults.get(&id)?.clone();
        fault.state = state;
        self.core.books.happened(self.core.books.fault_event(&fault, "An admin closed it.", now));
        self.core.books.put_fault(fault.clone());
        self.core.analyzer.closed(&fault, &self.core.machine);
        let open = || self.core.books.faults.values().filter(|fault| fault.is_open());
        let closing = decide::closed(&self.core.context(now), &fault, open());
        let same_part = match state {
            FaultState::Replaced => {
                self.core.analyzer.on_the_same_part(&fault, open(), &self.core.machine)
            }
            _ => Vec::new(),
        };
        let same_part = same_part.into_iter().map(|fault| fault.id).collect();
        self.core.enter(closing.plan, now);
        Some(Resolved { fault: id, given: closing.given, kept: closing.kept, same_part })
    }

    /// The configuration changed.
    pub fn set_policy(&mut self, policy: Policy) {
        self.core.analyzer.set_rules(Rules::from(&policy));
        self.core.policy = policy;
    }

    /// The policy's mode is another.
    pub fn mode_changed(&mut self, now: Stamp) {
        let plan = decide::mode_changed(&self.core.context(now));
        self.core.enter(plan, now);
    }

    /// What a source lost, or how it is, changed.
    pub fn source_event(&mut self, source: &str, state: &str, why: String, now: Stamp) {
        self.core.books.happened(Event {
            time: timestamp(now.wall),
            body: Body::Source { source: source.to_owned(), state: state.to_owned(), why },
        });
    }

    /// The host is different.
    pub fn set_machine(&mut self, machine: Machine) {
        self.core.machine = machine;
        self.save_machine();
    }

    /// The snapshot of the host is to be saved: it knows CPUs that are off line.
    pub fn save_machine(&mut self) {
        match serde_json::to_string(&self.core.machine) {
            Ok(json) => self.core.books.machine(json),
            Err(error) => tracing::warn!("the machine's snapshot cannot be saved: {error}"),
        }
    }

    /// The store begins anew: everything is to be saved again.
    pub fn save_all(&mut self) {
        self.core.books.mark_all();
        self.core.analyzer.mark_all();
        self.save_machine();
    }

    /// The daemon started or stopped.
    pub fn boot_event(&mut self, what: &str, now: Stamp) {
        let body = Body::Boot {
            boot_id: self.core.books.boot.boot_id.clone(),
            verdict: None,
            what: what.to_owned(),
        };
        self.core.books.happened(Event { time: timestamp(now.wall), body });
    }

    /// The configuration, or the store, is not what it was.
    pub fn config_event(&mut self, what: &str, now: Stamp) {
        let body = Body::Config { what: what.to_owned() };
        self.core.books.happened(Event { time: timestamp(now.wall), body });
    }

    /// Pages that are listed as taken out of the running kernel's service: those
    /// that it was booted without are not.
    pub fn pages_out(&self) -> usize {
        let ledger = &self.core.books.ledger;
        let is_out = |line: &&Isolation| line.state == IsolationState::Isolated;
        let masked = self.core.machine.masked.iter().map(|range| {
            let range = Target::Page(range.start)..Target::Page(range.end);
            ledger.lines().range(range).map(|(_, line)| line).filter(is_out).count()
        });
        ledger.count(false, IsolationState::Isolated).saturating_sub(masked.sum())
    }

    /// Figures for `status`.
    pub fn usage(&self, now: Stamp) -> decide::Usage {
        decide::usage(&self.core.context(now))
    }

    /// Orders and sentences since the last call; the memory must be on disk, or
    /// known not to get there.
    pub fn take_orders(&mut self) -> (Vec<Order>, Vec<Decision>) {
        (self.core.take_orders(), self.memory().take_told())
    }

    /// Orders or sentences wait for [`Cycle::take_orders`].
    pub fn has_orders(&self) -> bool {
        self.core.has_orders() || self.core.books.has_told()
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.core.books
    }
}

#[cfg(test)]
mod guard_tests;
#[cfg(test)]
pub(super) mod tests;
