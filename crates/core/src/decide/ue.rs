//! Pages with an uncorrected error: memory_failure()'s to take, and ours to
//! make sure of.
//!
//! Such a page has a line on the kernel's account from the moment the error is
//! known: it is never soft-offlined, since the copy would read the poison.

use super::settle::{capitalized, settle, targets_name, Verdict};
use super::steps::{already_off, observe, order};
use super::{group, masked, Cause, Checks, Context, DecisionKind, Order, Plan, UePolicy};
use crate::model::{Asked, By, FaultState, Isolation, IsolationState, MemoryFailure, Pfn, Target};

/// An uncorrected error is known on it, and it is not out of service yet.
pub(super) fn has_ue(line: &Isolation) -> bool {
    line.ue.is_some() && line.state != IsolationState::Isolated
}

pub(super) fn ue_sentence(ctx: &Context, pfn: Pfn) -> String {
    format!(
        "An uncorrected error is known on {}: it is memory_failure()'s to take.",
        targets_name(ctx, &[Target::Page(pfn)])
    )
}

/// The page has an uncorrected error: make sure, a second from now, that
/// memory_failure() took it. Not capped by any limit.
pub(super) fn ensure_failed(ctx: &Context, pfn: Pfn, cause: &Cause) -> Plan {
    let mut plan = Plan::default();
    let target = Target::Page(pfn);
    if ctx.machine.is_masked(pfn) {
        // A boot without the mask must not read it.
        let line = Isolation { unreadable: true, ..ctx.fresh(target, cause) };
        masked::is_out(ctx, &mut plan, line);
        return plan;
    }
    let old = ctx.ledger.get(&target);
    if let Some(line) = old.filter(|line| line.state == IsolationState::Isolated) {
        // Somebody may have given it back unseen: a look will tell, and until
        // then the line remembers the error.
        let line = Isolation {
            fault: cause.fault.or(line.fault),
            ue: Some(ctx.now),
            unreadable: true,
            next_try: line.next_try.or(Some(ctx.now.after(Checks::SETTLE))),
            ..line.clone()
        };
        if cause.fault.is_some() {
            already_off(ctx, &mut plan, vec![line], cause);
        } else {
            plan.isolations.push(line);
        }
        plan.orders.push(Order::Inspect(pfn));
        return plan;
    }
    plan.extend(ensure(ctx, pfn, cause));
    plan
}

/// The line that remembers the uncorrected error of a page in service.
pub(super) fn ensure(ctx: &Context, pfn: Pfn, cause: &Cause) -> Plan {
    let mut plan = Plan::default();
    let target = Target::Page(pfn);
    let mut line = ctx.fresh(target, &Cause { by: By::Kernel, why: String::new(), ..*cause });
    line.fault = cause.fault.or_else(|| ctx.fault_behind(target));
    line.ue = Some(ctx.now);
    line.unreadable = true;
    // The answer to giving it back may be what led here.
    line.asked = line.asked.filter(|asked| *asked != Asked::Give);
    line.next_try = Some(ctx.now.after(Checks::SETTLE));
    settle(
        ctx,
        &mut plan,
        vec![line],
        Verdict {
            state: IsolationState::Wanted,
            kind: DecisionKind::Take,
            why: cause.why.clone(),
            done: "It is memory_failure()'s to take; in a second it is made sure that it did."
                .to_owned(),
            next: "Nothing now: the outcome will be told.".to_owned(),
            human: false,
            fault: FaultState::Open,
        },
    );
    plan.orders.push(Order::Inspect(pfn));
    plan
}

/// memory_failure() reported on a page: look what became of it, now and, if it
/// is not off, in a second.
pub fn page_reported_failed(ctx: &Context, failure: &MemoryFailure) -> Plan {
    if ctx.ledger.get(&Target::Page(failure.pfn)).is_some_and(has_ue) {
        return Plan { orders: vec![Order::Inspect(failure.pfn)], ..Plan::default() };
    }
    let page = targets_name(ctx, &[Target::Page(failure.pfn)]);
    let why = format!("The kernel reported an uncorrected error on {page}.");
    group::told(ctx, ensure_failed(ctx, failure.pfn, &Cause::plain(By::Kernel, None, why)))
}

/// The second is over, and the look that tells was ordered.
pub(super) fn awaits_look(line: &Isolation) -> bool {
    has_ue(line)
        && matches!(line.state, IsolationState::Wanted | IsolationState::Failed)
        && line.next_try.is_none()
        && !line.is_under_way()
}

/// A page with an uncorrected error that memory_failure() did not take.
pub(super) fn memory_failure_missed(ctx: &Context, plan: &mut Plan, mut line: Isolation, pfn: Pfn) {
    let page = targets_name(ctx, &[line.target]);
    let why = format!("{page} has an uncorrected error, and memory_failure() did not take it.");
    let why = capitalized(why);
    match ctx.policy.page.ue {
        UePolicy::HardOffline if ctx.policy.observe => observe(ctx, plan, vec![line], why),
        UePolicy::HardOffline => {
            order(ctx, plan, vec![line], why);
            plan.orders.push(Order::HardOffline(pfn));
        }
        UePolicy::Report => {
            line.next_try = None;
            settle(
                ctx,
                plan,
                vec![line],
                Verdict {
                    state: IsolationState::Refused,
                    kind: DecisionKind::Escalated,
                    why,
                    done: "Nothing was done: page.ue = \"report\" forbids to hard-offline it."
                        .to_owned(),
                    next: "Move the work to another host and replace the memory module.".to_owned(),
                    human: true,
                    fault: FaultState::Escalated,
                },
            );
        }
    }
}
