//! The cycle over what is in memory: reports and outcomes go in, the ledger and
//! the faults change, orders and sentences come out. Nothing here touches the
//! disk or the kernel, so nothing here waits.

use super::memory::Memory;
use crate::event::{timestamp, Body, Event};
use crate::state::Attempt;
use bulkhead_core::analyze::{Analyzer, FaultUpdate, Finding, Observed, Rules};
use bulkhead_core::decide::{self, Checks, Context, Decision, Order, Outcome, Plan, Policy};
use bulkhead_core::model::{
    Fault, FaultState, Group, IsolationState, Machine, Record, Report, Source, Stamp, Target, Time,
};
use uuid::Uuid;

/// Report lines kept of one drain. The first errors of a storm tell what it
/// is; the rest is counted, and would only fill the disk.
const MOST_REPORT_LINES: usize = 64;

/// analyze and decide, with what they remember.
pub struct Cycle {
    /// What is remembered.
    pub memory: Memory,
    /// The numbers in force.
    pub policy: Policy,
    /// The host as last read.
    pub machine: Machine,
    analyzer: Analyzer,
    checks: Checks,
    /// To be handed to act once the memory is on disk.
    orders: Vec<Order>,
    /// To be told once the memory is on disk.
    told: Vec<Decision>,
    report_lines: usize,
    unlogged: u64,
}

impl Cycle {
    /// Takes up where an earlier run left off.
    pub fn new(memory: Memory, policy: Policy, machine: Machine, analyzer: Analyzer) -> Cycle {
        Cycle {
            memory,
            policy,
            machine,
            analyzer,
            checks: Checks::default(),
            orders: Vec::new(),
            told: Vec::new(),
            report_lines: 0,
            unlogged: 0,
        }
    }

    /// Compares what should be with what is, after a start.
    pub fn start(&mut self, same_boot: bool, now: Stamp) {
        let page_size = self.machine.page_size;
        let groups: Vec<Group> =
            self.memory.faults.values().filter_map(|f| Group::of(f, page_size)).collect();
        for group in groups {
            self.memory.put_group(group);
        }
        let ctx = context(&self.policy, &self.machine, &self.memory, now);
        let plan = decide::start(&ctx, &mut self.checks, same_boot);
        self.enter(plan, now);
        // The kernel may have taken pages while nobody looked.
        for pfn in self.analyzer.watched_pages() {
            let ctx = context(&self.policy, &self.machine, &self.memory, now);
            decide::touched(&ctx, &mut self.checks, pfn);
        }
    }

    /// A source reported.
    pub fn report(&mut self, report: &Report, via: &str, now: Stamp) {
        let Observed { counted, findings, updated, page, undecodable } =
            self.analyzer.observe(report, &self.machine);
        self.memory.count(report.source, via, counted);
        if let Some(why) = &undecodable {
            tracing::debug!(source = report.source.name(), "not used: {why}");
        }
        if self.report_lines < MOST_REPORT_LINES {
            self.report_lines += 1;
            self.memory.happened(Event::of_report(report, via, undecodable));
        } else {
            self.unlogged += 1;
        }
        for update in updated {
            self.update(update, now);
        }
        for finding in findings {
            self.found(&finding, now);
        }
        if let Record::MemoryFailure(failure) = &report.record {
            let ctx = context(&self.policy, &self.machine, &self.memory, now);
            let plan = decide::page_reported_failed(&ctx, failure);
            self.enter(plan, now);
        }
        if let Some(pfn) = page {
            let ctx = context(&self.policy, &self.machine, &self.memory, now);
            decide::touched(&ctx, &mut self.checks, pfn);
        }
    }

    /// All reports of a drain are in: what analyze changed is to be saved.
    pub fn reported(&mut self, now: Stamp) {
        self.report_lines = 0;
        for (key, state) in self.analyzer.take_changes() {
            match (
                serde_json::to_string(&key),
                state.map(|s| serde_json::to_string(&s)).transpose(),
            ) {
                (Ok(key), Ok(value)) => self.memory.evidence(key, value),
                (Err(error), _) | (_, Err(error)) => {
                    tracing::warn!("evidence that cannot be saved: {error}");
                }
            }
        }
        let unlogged = std::mem::take(&mut self.unlogged);
        if unlogged > 0 {
            let why =
                format!("{unlogged} more reports came at once: counted, and not kept one by one");
            self.source_event(Source::ALL[0].name(), "ok", why, now);
        }
    }

    /// act answered. For CPUs, bring [`Cycle::machine`] up to date before.
    pub fn outcome(&mut self, outcome: &Outcome, now: Stamp) {
        let target = match &outcome.order {
            Order::SoftOffline(pfn) | Order::HardOffline(pfn) | Order::Unpoison(pfn) => {
                Some(Target::Page(*pfn))
            }
            Order::TakeCpus(cpus) | Order::GiveCpus(cpus) => cpus.first().map(|c| Target::Cpu(*c)),
            Order::Inspect(_) => None,
        };
        if let Some(target) = target {
            self.memory.attempted(Attempt {
                fault: self.memory.ledger.get(&target).and_then(|line| line.fault),
                target,
                time: outcome.time,
                asked: outcome.asked.clone(),
                answered: outcome.answered.clone(),
            });
        }
        let ctx = context(&self.policy, &self.machine, &self.memory, now);
        let plan = decide::answered(&ctx, outcome);
        self.enter(plan, now);
    }

    /// Somebody, perhaps we, brought a CPU on or off line.
    pub fn cpu_changed(&mut self, cpu: bulkhead_core::model::CpuId, online: bool, now: Stamp) {
        let ctx = context(&self.policy, &self.machine, &self.memory, now);
        let plan = decide::cpu_changed(&ctx, cpu, online);
        self.enter(plan, now);
    }

    /// What is due now, or has found room.
    pub fn due(&mut self, now: Stamp) {
        let ctx = context(&self.policy, &self.machine, &self.memory, now);
        let plan = decide::due(&ctx, &mut self.checks);
        self.enter(plan, now);
    }

    /// When [`Cycle::due`] has something to do.
    pub fn next_due(&self) -> Option<Time> {
        decide::next_due(&self.memory.ledger, &self.checks)
    }

    /// An admin wants `target` taken. With `dry_run` only the plan is made.
    pub fn isolate(
        &mut self,
        target: Target,
        reason: Option<&str>,
        dry_run: bool,
        now: Stamp,
    ) -> Result<Plan, decide::Refusal> {
        let ctx = context(&self.policy, &self.machine, &self.memory, now);
        let plan = decide::isolate(&ctx, target, reason)?;
        if !dry_run {
            self.enter(plan.clone(), now);
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
        let ctx = context(&self.policy, &self.machine, &self.memory, now);
        let plan = decide::release(&ctx, target)?;
        if !dry_run {
            self.enter(plan.clone(), now);
        }
        Ok(plan)
    }

    /// An admin closes a fault. `None` if there is no such fault.
    pub fn resolve(&mut self, id: Uuid, state: FaultState, now: Stamp) -> Option<&Fault> {
        let mut fault = self.memory.faults.get(&id)?.clone();
        fault.state = state;
        self.analyzer.closed(&fault);
        self.memory.happened(self.fault_event(&fault, "An admin closed it.", now));
        self.memory.put_fault(fault);
        let ctx = context(&self.policy, &self.machine, &self.memory, now);
        let plan = decide::closed(&ctx, id);
        self.enter(plan, now);
        self.memory.faults.get(&id)
    }

    /// The configuration changed.
    pub fn set_policy(&mut self, policy: Policy) {
        self.analyzer.set_rules(Rules::from(&policy));
        self.policy = policy;
    }

    /// What a source lost, or how it is, changed.
    pub fn source_event(&mut self, source: &str, state: &str, why: String, now: Stamp) {
        self.memory.happened(Event {
            time: timestamp(now.wall),
            body: Body::Source { source: source.to_owned(), state: state.to_owned(), why },
        });
    }

    /// The host is different.
    pub fn set_machine(&mut self, machine: Machine) {
        self.machine = machine;
        self.save_machine();
    }

    /// The snapshot of the host is to be saved: it knows CPUs that are off line.
    pub fn save_machine(&mut self) {
        match serde_json::to_string(&self.machine) {
            Ok(json) => self.memory.machine(json),
            Err(error) => tracing::warn!("the machine's snapshot cannot be saved: {error}"),
        }
    }

    /// The store begins anew: everything is to be saved again.
    pub fn save_all(&mut self, now: Stamp) {
        self.memory.mark_all();
        self.analyzer.mark_all();
        self.save_machine();
        self.reported(now);
    }

    /// The daemon started or stopped.
    pub fn boot_event(&mut self, what: &str, now: Stamp) {
        let body = Body::Boot { boot_id: self.memory.boot.boot_id.clone(), what: what.to_owned() };
        self.memory.happened(Event { time: timestamp(now.wall), body });
    }

    /// The configuration, or the store, is not what it was.
    pub fn config_event(&mut self, what: &str, now: Stamp) {
        let body = Body::Config { what: what.to_owned() };
        self.memory.happened(Event { time: timestamp(now.wall), body });
    }

    /// Figures for `status`.
    pub fn usage(&self, now: Stamp) -> decide::Usage {
        decide::usage(&context(&self.policy, &self.machine, &self.memory, now))
    }

    /// Components with evidence, and those whose evidence was given up.
    pub fn evidence(&self) -> (usize, u64) {
        (self.analyzer.tracked(), self.analyzer.evictions())
    }

    /// Orders and sentences since the last call; the memory must be on disk, or
    /// known not to get there.
    pub fn take_orders(&mut self) -> (Vec<Order>, Vec<Decision>) {
        (std::mem::take(&mut self.orders), std::mem::take(&mut self.told))
    }

    /// Orders wait for [`Cycle::take_orders`].
    pub fn has_orders(&self) -> bool {
        !self.orders.is_empty() || !self.told.is_empty()
    }

    fn found(&mut self, finding: &Finding, now: Stamp) {
        let fault = finding.fault.clone();
        self.memory.happened(self.fault_event(&fault, &fault.decision, now));
        self.memory.put_fault(fault);
        let ctx = context(&self.policy, &self.machine, &self.memory, now);
        let plan = decide::found(&ctx, finding);
        self.enter(plan, now);
    }

    fn update(&mut self, update: FaultUpdate, now: Stamp) {
        let Some(mut fault) = self.memory.faults.get(&update.fault).cloned() else { return };
        fault.last = update.last;
        fault.errors = update.errors;
        if let Some(evidence) = update.evidence {
            if fault.evidence.len() < Fault::MAX_EVIDENCE {
                fault.evidence.push(evidence);
            }
        }
        let grown = update.cover.is_some() && update.cover != fault.cover;
        if !grown {
            self.memory.put_fault(fault);
            return;
        }
        fault.cover = update.cover;
        let plan = decide::grown(&context(&self.policy, &self.machine, &self.memory, now), &fault);
        self.memory.put_fault(fault);
        self.enter(plan, now);
    }

    /// Enters a plan into memory: lines first, then what becomes of the faults,
    /// then what is told.
    fn enter(&mut self, plan: Plan, now: Stamp) {
        for line in plan.isolations {
            let before = self.memory.ledger.get(&line.target).map(|old| old.state);
            let is_back = matches!(line.state, IsolationState::Released | IsolationState::Stale);
            // Whoever brought it back, an old fault must not take it again, and
            // new errors must be able to.
            if is_back && before != Some(line.state) || line.release.is_some() {
                self.analyzer.release(&line.target);
            }
            self.memory.put(line);
        }
        for group in plan.groups {
            self.memory.put_group(group);
        }
        self.memory.trim();
        for note in plan.faults {
            let Some(mut fault) = self.memory.faults.get(&note.fault).cloned() else { continue };
            if !fault.is_open() {
                // What an admin closed is not reopened by what it once took.
                continue;
            }
            let changed = fault.state != note.state;
            fault.state = note.state;
            fault.decision = note.decision;
            if let Some(advice) = note.advice {
                fault.advice = advice;
            }
            if changed {
                self.memory.happened(self.fault_event(&fault, &fault.decision, now));
            }
            self.memory.put_fault(fault);
        }
        for mut decision in plan.decisions {
            if let Some(fault) = decision.fault.and_then(|id| self.memory.faults.get(&id)) {
                if decision.next.is_empty() {
                    decision.next.clone_from(&fault.advice);
                }
            }
            let line = decision.target.and_then(|t| self.memory.ledger.get(&t));
            let (kind, id) = decision
                .target
                .map(|t| t.kind_and_id(self.machine.page_size))
                .map_or((None, None), |(kind, id)| (Some(kind.to_owned()), Some(id)));
            self.memory.happened(Event {
                time: timestamp(now.wall),
                body: Body::Isolation {
                    kind,
                    id,
                    state: line.map(|l| l.state),
                    decision: decision.kind,
                    fault: decision.fault,
                    why: decision.why.clone(),
                    done: decision.done.clone(),
                },
            });
            self.told.push(decision);
        }
        self.orders.extend(plan.orders);
    }

    fn fault_event(&self, fault: &Fault, why: &str, now: Stamp) -> Event {
        Event {
            time: timestamp(now.wall),
            body: Body::Fault {
                fault: fault.id,
                component: fault.component.name(self.machine.page_size),
                rule: fault.rule.id.clone(),
                state: fault.state.name().to_owned(),
                severity: fault.severity,
                why: why.to_owned(),
            },
        }
    }
}

fn context<'a>(
    policy: &'a Policy,
    machine: &'a Machine,
    memory: &'a Memory,
    now: Stamp,
) -> Context<'a> {
    Context { policy, machine, ledger: &memory.ledger, now }
}

#[cfg(test)]
mod tests;
