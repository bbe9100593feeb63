//! From faults to a plan, under the policy. Pure.
//!
//! Every function here looks at a [`Context`] and answers a [`Plan`]; the
//! caller makes the plan durable, enters it into the ledger
//! ([`Plan::record`]), carries out its orders, and hands the outcomes to
//! [`answered`]. After every event, and when [`next_due`] says so, it calls
//! [`due`]. The states a ledger line passes through are drawn at
//! [`IsolationState`](crate::model::IsolationState).

mod admin;
mod affinity;
mod belongs;
mod budget;
mod checks;
mod cpu;
mod cpu_guard;
mod fatal;
mod group;
mod guard;
mod home;
mod look;
mod masked;
mod page;
#[cfg(test)]
mod page_stories;
mod pages;
pub mod plan;
pub mod policy;
mod reconcile;
mod resolve;
#[cfg(test)]
mod resolve_stories;
mod restore;
mod restore_cpus;
#[cfg(test)]
mod restore_stories;
mod retry;
mod room;
#[cfg(test)]
mod row_stories;
mod settle;
#[cfg(test)]
mod simulation;
mod steps;
#[cfg(test)]
mod stories;
mod survey;
#[cfg(test)]
mod survey_stories;
#[cfg(test)]
mod testing;
mod ue;

pub use admin::{isolate, isolate_surveyed, release, Refusal};
pub use checks::Checks;
pub use cpu::cpu_changed;
pub use fatal::fatal_again;
pub use guard::{usage, Usage};
pub use home::{confirmed, rehome};
pub use look::touched;
pub use pages::grown;
pub use plan::{
    Answer, Apart, Decision, DecisionKind, FaultNote, Order, Outcome, Plan, RestoreStep,
};
pub use policy::{
    Amount, CpuPolicy, DedicatedPolicy, HugetlbPolicy, Limits, PagePolicy, Policy, RowPolicy,
    Threshold, UePolicy,
};
pub use reconcile::{mode_changed, start, Boot};
pub use resolve::{closed, Closing, Kept};
pub use restore::{restored, Restoring};
pub use retry::{due, next_due};
pub use ue::page_reported_failed;

use crate::analyze::{Finding, Response};
use crate::model::{By, Fault, FaultState, Isolation, IsolationState, Ledger, Machine, Severity};
use crate::model::{Stamp, Target, Urgency};
use budget::PageBudget;
use uuid::Uuid;

/// All that a decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The numbers.
    pub policy: &'a Policy,
    /// The host, as last read.
    pub machine: &'a Machine,
    /// What is, or should be, out of service.
    pub ledger: &'a Ledger,
    /// The moment of the decision.
    pub now: Stamp,
}

/// On whose account something is taken, and why.
struct Cause {
    by: By,
    fault: Option<Uuid>,
    why: String,
    urgency: Urgency,
}

impl Cause {
    /// Of no urgency of its own.
    fn plain(by: By, fault: Option<Uuid>, why: String) -> Cause {
        Cause { by, fault, why, urgency: Urgency::default() }
    }

    /// `fault`, found by errors on what is to be taken.
    fn of(fault: &Fault) -> Cause {
        Cause {
            by: By::Bulkhead,
            fault: Some(fault.id),
            why: fault.because(),
            urgency: Urgency { severity: fault.severity, seen: true },
        }
    }
}

impl Context<'_> {
    /// The fault behind the line of `target`, unless the line is of other memory:
    /// who closes that fault says nothing of what is there now.
    fn fault_behind(&self, target: Target) -> Option<Uuid> {
        let line = self.ledger.get(&target)?;
        line.fault.filter(|_| line.home == self.machine.home(target))
    }

    /// A line for `target` as if it had never been taken, but for when it was:
    /// that still counts against the limits.
    fn fresh(&self, target: Target, cause: &Cause) -> Isolation {
        let old = self.ledger.get(&target);
        let home = self.machine.home(target);
        Isolation {
            target,
            state: old.map_or(IsolationState::Wanted, |line| line.state),
            by: cause.by,
            since: old.map_or(self.now, |line| line.since),
            taken: old.and_then(|line| line.taken),
            why: String::new(),
            fault: cause.fault,
            release: None,
            next_try: None,
            failures: 0,
            failing_since: None,
            asked: old.and_then(|line| line.asked),
            ue: old.and_then(|line| line.ue),
            // Of other memory it says nothing.
            unreadable: old.is_some_and(|line| line.unreadable && line.home == home),
            together: Vec::new(),
            bound: old.map_or_else(Vec::new, |line| line.bound.clone()),
            home,
            restores: old.is_some_and(|line| line.restores && line.home == home),
            urgency: old.map_or(cause.urgency, |line| line.urgency.and(cause.urgency)),
        }
    }
}

/// What follows from a fault that just fired.
pub fn found(ctx: &Context, finding: &Finding) -> Plan {
    let fault = &finding.fault;
    let cause = Cause::of(fault);
    let plan = match &finding.response {
        Response::TakePage(pfn) => {
            let mut plan = Plan::default();
            page::found(ctx, &mut PageBudget::of(ctx), &mut plan, *pfn, &cause);
            plan
        }
        Response::TakePages(pages) => pages::found(ctx, fault, pages),
        Response::EnsureFailedPage(pfn) => ue::ensure_failed(ctx, *pfn, &cause),
        Response::TakeFreePage { pfn, home } => fatal::found(ctx, *pfn, *home, &cause),
        Response::TakeCpus(cpus) => cpu::found(ctx, cpus, &cause),
        Response::Report => told(ctx, fault, DecisionKind::Reported, FaultState::Open),
        Response::Escalate => told(ctx, fault, DecisionKind::Escalated, FaultState::Escalated),
    };
    group::told(ctx, plan)
}

/// A fault with nothing to take: say so.
fn told(ctx: &Context, fault: &Fault, kind: DecisionKind, state: FaultState) -> Plan {
    let escalated = state == FaultState::Escalated;
    let done = if escalated {
        "Nothing was taken: nothing that could be taken here would contain it."
    } else {
        "Nothing was taken: this fault is only reported."
    };
    let why = fault.because();
    Plan {
        faults: vec![FaultNote {
            fault: fault.id,
            state,
            decision: format!("{done} {why}"),
            advice: None,
        }],
        decisions: vec![Decision {
            kind,
            component: fault.component.name(ctx.machine.page_size),
            target: None,
            fault: Some(fault.id),
            why,
            done: done.to_owned(),
            next: fault.advice.clone(),
            human: escalated || fault.severity == Severity::Critical,
        }],
        ..Plan::default()
    }
}

/// What follows from an order that was answered, in time or late.
pub fn answered(ctx: &Context, outcome: &Outcome) -> Plan {
    let plan = match &outcome.order {
        Order::SoftOffline(pfn)
        | Order::SoftOfflineSparing(pfn, _)
        | Order::OfflineFree(pfn)
        | Order::HardOffline(pfn) => page::taken(ctx, *pfn, outcome),
        Order::Restore(..) => restore::answered(ctx, outcome),
        Order::Inspect(pfn) if ctx.machine.is_masked(*pfn) => Plan::default(),
        Order::Inspect(pfn) => look::looked(ctx, *pfn, outcome),
        Order::Unpoison(pfn) => page::given(ctx, *pfn, outcome),
        Order::TakeCpus(cpus) => cpu::taken(ctx, cpus, outcome),
        Order::GiveCpus(cpus) => cpu::given(ctx, cpus, outcome),
        Order::Survey(cpus) => {
            let mut plan = survey::surveyed(ctx, cpus, outcome);
            // Held back, it keeps the tasks that an earlier order drove off.
            affinity::follow(ctx, &mut plan);
            plan
        }
        Order::PutBack(cpus, _) => affinity::put_back(ctx, cpus),
    };
    group::told(ctx, plan)
}
