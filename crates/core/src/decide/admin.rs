//! What an admin asks for.

use super::budget::PageBudget;
use super::{
    cpu, group, masked, page, retry, settle, ue, Cause, Context, Decision, DecisionKind, Order,
    Outcome, Plan,
};
use crate::model::{Asked, By, Isolation, IsolationState, Survey, Target, Undo};
use std::collections::BTreeSet;
use thiserror::Error;

/// Refused: the sentence says why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{why}")]
pub struct Refusal {
    /// Why, as a sentence.
    pub why: String,
}

/// An admin wants exactly this taken: of a core no more than the CPU named.
/// All limits and guards hold but the one core per 10 minutes. What is being
/// taken already: an empty plan. What is off stays so until an admin releases
/// it, whatever becomes of its fault. In mode observe the plan holds a line
/// `observed` and no order.
///
/// A CPU is surveyed first: the plan then holds the order for that and no line,
/// and its answer is for [`isolate_surveyed`].
pub fn isolate(ctx: &Context, target: Target, reason: Option<&str>) -> Result<Plan, Refusal> {
    let plan = decide(ctx, target, reason, None)?;
    match plan.orders.iter().find(|order| matches!(order, Order::Survey(_))) {
        Some(survey) => Ok(Plan { orders: vec![survey.clone()], ..Plan::default() }),
        None => Ok(plan),
    }
}

/// As [`isolate`], once the survey that it ordered was answered by `outcome`.
pub fn isolate_surveyed(
    ctx: &Context,
    target: Target,
    reason: Option<&str>,
    outcome: &Outcome,
) -> Result<Plan, Refusal> {
    decide(ctx, target, reason, Some(&outcome.surveyed()))
}

fn decide(
    ctx: &Context,
    target: Target,
    reason: Option<&str>,
    survey: Option<&Survey>,
) -> Result<Plan, Refusal> {
    let name = settle::targets_name(ctx, &[target]);
    let old = ctx.ledger.get(&target);
    let why = match reason.map(str::trim).filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("An admin asked to take {name}: {reason}"),
        None => format!("An admin asked to take {name}."),
    };
    if let Some(line) = old {
        let take = line.asked.is_some_and(|asked| asked.is_take() || asked.is_plan());
        match line.state {
            IsolationState::Isolated if line.asked != Some(Asked::Give) => {
                return Ok(stays_off(ctx, line, why))
            }
            IsolationState::Wanted | IsolationState::Failed if take => return Ok(Plan::default()),
            // Given back, or released while it was being taken.
            _ if line.is_under_way() => {
                return Err(Refusal {
                    why: format!("Another order for {name} is under way: ask again after it."),
                })
            }
            _ => {}
        }
    }
    let fault = ctx.fault_behind(target);
    let cause = Cause::plain(By::Admin, fault, why);
    let mut plan = Plan::default();
    match target {
        Target::Page(pfn) => {
            if old.is_some_and(ue::has_ue) {
                return Err(Refusal { why: ue::ue_sentence(ctx, pfn) });
            }
            let line = ctx.fresh(target, &cause);
            page::take(ctx, &mut PageBudget::of(ctx), &mut plan, line, pfn, cause.why);
        }
        Target::Cpu(id) => cpu::take(ctx, &mut plan, &BTreeSet::from([id]), &cause, survey),
    }
    // Held back: the admin is told, and nothing is kept for later. A line that
    // was held back before stays so while it is surveyed.
    let held = |line: &&Isolation| line.state == IsolationState::Refused;
    match plan.isolations.iter().find(held).filter(|_| plan.orders.is_empty()) {
        Some(line) => Err(Refusal { why: line.why.clone() }),
        None => Ok(group::told(ctx, plan)),
    }
}

/// It is off already. A release that waits for a reboot is taken back; what the
/// kernel took stays the kernel's.
fn stays_off(ctx: &Context, line: &Isolation, why: String) -> Plan {
    let by = if line.by == By::Kernel { By::Kernel } else { By::Admin };
    if (line.by, line.release) == (by, None) {
        return Plan::default();
    }
    let decision = Decision {
        kind: DecisionKind::Taken,
        component: settle::targets_name(ctx, &[line.target]),
        target: Some(line.target),
        fault: line.fault,
        why: why.clone(),
        done: "It is out of service already, and stays so until it is released.".to_owned(),
        next: "Release it when it is sound.".to_owned(),
        human: false,
    };
    let line = Isolation { by, release: None, why, ..line.clone() };
    Plan { isolations: vec![line], decisions: vec![decision], ..Plan::default() }
}

/// An admin wants it back: of a core all that we took with it. What is back
/// already: an empty plan. A page with an uncorrected error that is not off yet
/// is refused.
pub fn release(ctx: &Context, target: Target) -> Result<Plan, Refusal> {
    let name = settle::targets_name(ctx, &[target]);
    let Some(named) = ctx.ledger.get(&target) else {
        return Err(Refusal { why: format!("Nothing is known of {name}: it is not isolated.") });
    };
    let mut plan = Plan::default();
    let given = named.state == IsolationState::Isolated && named.asked == Some(Asked::Give);
    if named.state == IsolationState::Released || given {
        return Ok(plan);
    }
    if let (Target::Page(pfn), true) = (target, ue::has_ue(named)) {
        // Let go, it would be forgotten, and soft-offlined at its next error.
        return Err(Refusal { why: ue::ue_sentence(ctx, pfn) });
    }
    if named.ue.is_some() {
        return Err(Refusal {
            why: format!(
                "An uncorrected error was just reported on {name}, and nobody has looked at it \
                 since: ask again after that."
            ),
        });
    }
    let (off, on): (Vec<Isolation>, Vec<Isolation>) = together(ctx, named)
        .into_iter()
        .filter(|line| line.state != IsolationState::Released)
        .partition(|line| line.state == IsolationState::Isolated);
    let off: Vec<Isolation> =
        off.into_iter().filter(|line| line.asked != Some(Asked::Give)).collect();
    if !on.is_empty() {
        retry::released(ctx, &mut plan, on);
    }
    if off.is_empty() {
        return Ok(group::told(ctx, plan));
    }
    if matches!(target, Target::Page(pfn) if ctx.machine.is_masked(pfn)) {
        off.into_iter().for_each(|line| masked::released(ctx, &mut plan, line));
        return Ok(group::told(ctx, plan));
    }
    if ctx.policy.observe {
        return Err(Refusal {
            why: format!("Mode observe touches nothing: {name} cannot be brought back."),
        });
    }
    give(&mut plan, off);
    Ok(group::told(ctx, plan))
}

/// The line, and of its core those that we hold: what somebody else took off
/// line is theirs to bring back.
fn together(ctx: &Context, named: &Isolation) -> Vec<Isolation> {
    let siblings = named
        .together
        .iter()
        .map(|cpu| Target::Cpu(*cpu))
        .filter(|target| *target != named.target)
        .filter_map(|target| ctx.ledger.get(&target))
        .filter(|line| line.together.len() > 1)
        .filter(|line| line.state != IsolationState::Isolated || line.taken.is_some());
    let mut lines: Vec<Isolation> = siblings.chain([named]).cloned().collect();
    lines.sort_by_key(|line| line.target);
    lines
}

/// Orders `lines` back into service. Should a reboot come before the answer, it
/// does what was asked for.
pub(super) fn give(plan: &mut Plan, mut lines: Vec<Isolation>) {
    let mut cpus = Vec::new();
    for line in &mut lines {
        line.asked = Some(Asked::Give);
        line.release = Some(Undo::NextBoot);
        line.next_try = None;
        // Who wants it back answers for it, until its next error.
        line.unreadable = false;
        match line.target {
            Target::Page(pfn) => plan.orders.push(Order::Unpoison(pfn)),
            Target::Cpu(cpu) => cpus.push(cpu),
        }
    }
    if !cpus.is_empty() {
        plan.orders.push(Order::GiveCpus(cpus));
    }
    plan.isolations.extend(lines);
}
