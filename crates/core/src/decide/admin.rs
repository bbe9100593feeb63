//! What an admin asks for.

use super::budget::PageBudget;
use super::{cpu, group, masked, page, retry, settle, ue, Cause, Context, Order, Plan};
use crate::model::{Asked, By, Group, Isolation, IsolationState, Target};
use std::collections::BTreeSet;
use thiserror::Error;
use uuid::Uuid;

/// Refused: the sentence says why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{why}")]
pub struct Refusal {
    /// Why, as a sentence.
    pub why: String,
}

/// An admin wants exactly this taken: of a core no more than the CPU named.
/// All limits and guards hold but the one core per 10 minutes. What is off, or
/// being taken, already: an empty plan. In mode observe the plan holds a line
/// `observed` and no order.
pub fn isolate(ctx: &Context, target: Target, reason: Option<&str>) -> Result<Plan, Refusal> {
    let name = settle::targets_name(ctx, &[target]);
    let old = ctx.ledger.get(&target);
    if let Some(line) = old {
        let take = line.asked.is_some_and(Asked::is_take);
        match line.state {
            IsolationState::Isolated if line.asked != Some(Asked::Give) => {
                return Ok(Plan::default())
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
    let why = match reason.map(str::trim).filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("An admin asked to take {name}: {reason}"),
        None => format!("An admin asked to take {name}."),
    };
    let fault = old.and_then(|line| line.fault);
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
        Target::Cpu(id) => cpu::take(ctx, &mut plan, &BTreeSet::from([id]), &cause),
    }
    // Held back: the admin is told, and nothing is kept for later.
    match plan.isolations.iter().find(|line| line.state == IsolationState::Refused) {
        Some(line) => Err(Refusal { why: line.why.clone() }),
        None => Ok(group::told(ctx, plan)),
    }
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

fn give(plan: &mut Plan, mut lines: Vec<Isolation>) {
    let mut cpus = Vec::new();
    for line in &mut lines {
        line.asked = Some(Asked::Give);
        line.next_try = None;
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

/// An admin closed a fault: what it still asked for is no longer wanted, unless
/// another open fault covers it. What is out of service stays so until it is
/// released, and an uncorrected error stays known.
pub fn closed(ctx: &Context, fault: Uuid) -> Plan {
    let mut plan = Plan::default();
    if let Some((group, _)) = ctx.ledger.group(fault) {
        plan.groups.push(Group { pages: Vec::new(), ..group.clone() });
    }
    let asked_for = ctx.ledger.of_fault(fault).filter(|line| {
        let open = !matches!(
            line.state,
            IsolationState::Isolated | IsolationState::Released | IsolationState::Stale
        );
        open && !ue::has_ue(line)
    });
    let (theirs, nobodys): (Vec<_>, Vec<_>) = asked_for
        .map(|line| (line, other_group(ctx, line, fault)))
        // The fault is closed, and released lines would reopen it.
        .map(|(line, other)| Isolation { fault: other, ..line.clone() })
        .partition(|line| line.fault.is_some());
    plan.isolations.extend(theirs);
    if !nobodys.is_empty() {
        retry::released(ctx, &mut plan, nobodys);
    }
    group::told(ctx, plan)
}

/// Another fault that covers the page of `line`.
fn other_group(ctx: &Context, line: &Isolation, fault: Uuid) -> Option<Uuid> {
    match line.target {
        Target::Page(pfn) => ctx.ledger.covering(pfn).find(|other| *other != fault),
        Target::Cpu(_) => None,
    }
}
