//! Pages looked at: found taken by the kernel, given back by hand, or as listed.

use super::retry::{self, not_taken};
use super::settle::{settle, targets_name, Verdict};
use super::{page, ue, Answer, Cause, Checks, Context, DecisionKind, Outcome, Plan};
use crate::model::{Asked, By, FaultState, Isolation, IsolationState, Pfn, Target};

/// A page had a corrected error: the kernel's own collector may have taken it,
/// at once or from its queue.
pub fn touched(ctx: &Context, checks: &mut Checks, pfn: Pfn) {
    // The answer to an order under way tells more than a look beside it.
    let asked =
        ctx.ledger.get(&Target::Page(pfn)).is_some_and(|l| l.asked.is_some_and(Asked::is_take));
    if !asked && !ctx.machine.is_masked(pfn) {
        checks.touch(pfn, ctx.now.at);
    }
}

/// A look at the page was answered.
pub(super) fn looked(ctx: &Context, pfn: Pfn, outcome: &Outcome) -> Plan {
    let mut plan = Plan::default();
    let target = Target::Page(pfn);
    let Some(line) = ctx.ledger.get(&target) else {
        if matches!(outcome.answer, Answer::Off | Answer::WasOff) {
            let why = String::new();
            let line = ctx.fresh(target, &Cause::plain(By::Kernel, None, why));
            kernel_took(ctx, &mut plan, line);
        }
        return plan;
    };
    // A look from before the line's last change tells nothing of after it: the
    // looks run beside the writes. Nor does one beside an order under way, whose
    // own answer tells.
    let changed = line.ue.map_or(line.since.at, |ue| ue.at.max(line.since.at));
    if outcome.time.at < changed || line.is_under_way() {
        return plan;
    }
    let line = line.clone();
    match outcome.answer {
        Answer::Off | Answer::WasOff => seen_off(ctx, &mut plan, line, pfn),
        Answer::On => seen_on(ctx, &mut plan, line, pfn),
        _ if ue::awaits_look(&line) => not_taken(ctx, &mut plan, vec![line], outcome),
        _ => {}
    }
    plan
}

fn seen_off(ctx: &Context, plan: &mut Plan, mut line: Isolation, pfn: Pfn) {
    let unsure = line.asked == Some(Asked::Unsure);
    match line.state {
        IsolationState::Isolated if line.ue.is_some() => {
            plan.isolations.push(Isolation { ue: None, next_try: None, ..line });
        }
        IsolationState::Isolated => {}
        IsolationState::Released if unsure => page::went_after_release(ctx, plan, line, pfn),
        _ if unsure && line.ue.is_none() => {
            line.went(ctx.now);
            let why = retry::cause_of(ctx, &line);
            retry::clear(&mut line);
            settle(ctx, plan, vec![line], retry::is_out(why));
        }
        _ => kernel_took(ctx, plan, line),
    }
}

fn seen_on(ctx: &Context, plan: &mut Plan, line: Isolation, pfn: Pfn) {
    if line.state == IsolationState::Isolated {
        let (had_ue, fault) = (line.ue.is_some(), line.fault);
        retry::came_back(ctx, plan, line);
        if had_ue {
            // Back by hand, and with an uncorrected error since.
            let page = targets_name(ctx, &[Target::Page(pfn)]);
            let why = format!("An uncorrected error came after {page} was brought back.");
            plan.extend(ue::ensure(ctx, pfn, &Cause::plain(By::Kernel, fault, why)));
        }
    } else if ue::awaits_look(&line) {
        ue::memory_failure_missed(ctx, plan, line, pfn);
    }
}

/// Out of service by the kernel's own doing.
pub(super) fn kernel_took(ctx: &Context, plan: &mut Plan, mut line: Isolation) {
    line.by = By::Kernel;
    retry::clear(&mut line);
    let page = targets_name(ctx, &[line.target]);
    settle(
        ctx,
        plan,
        vec![line],
        Verdict {
            state: IsolationState::Isolated,
            kind: DecisionKind::KernelTook,
            why: format!("The kernel took {page} out of service by itself."),
            done: "It is listed as the kernel's.".to_owned(),
            next: "Plan the replacement of the memory module if its errors go on.".to_owned(),
            human: false,
            fault: FaultState::Isolated,
        },
    );
}
