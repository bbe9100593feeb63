//! Pages: taken, given back, found taken.
//!
//! A page with an uncorrected error has a line on the kernel's account from
//! the moment the error is known: it is never soft-offlined, since the copy
//! would read the poison.

use super::guard::{self, Held, PageBudget};
use super::retry::{self, not_taken};
use super::settle::{settle, targets_name, Verdict};
use super::{Answer, Cause, Checks, Context, DecisionKind, Order, Outcome, Plan, UePolicy};
use crate::model::{
    Asked, By, FaultState, Isolation, IsolationState, MemoryFailure, Pfn, Target, Undo,
};

/// A fault calls for the page.
pub(super) fn found(ctx: &Context, pfn: Pfn, cause: &Cause) -> Plan {
    let mut plan = Plan::default();
    let target = Target::Page(pfn);
    let Some(line) = ctx.ledger.get(&target) else {
        let line = ctx.fresh(target, cause);
        take(ctx, &mut PageBudget::of(ctx), &mut plan, line, pfn, cause.why.clone());
        return plan;
    };
    match line.state {
        IsolationState::Isolated => {
            let line = Isolation { fault: cause.fault, ..line.clone() };
            already_off(ctx, &mut plan, vec![line], cause);
            // Errors on a page that is off may be late ones, or somebody gave
            // it back unseen.
            plan.orders.push(Order::Inspect(pfn));
        }
        _ if has_ue(line) => {
            let line = Isolation { fault: line.fault.or(cause.fault), ..line.clone() };
            let state = line.state;
            settle(
                ctx,
                &mut plan,
                vec![line],
                Verdict {
                    state,
                    kind: DecisionKind::Refused,
                    why: ue_sentence(ctx, pfn),
                    done: "It was not soft-offlined: the copy would read the error.".to_owned(),
                    next: "See the fault of its uncorrected error.".to_owned(),
                    human: true,
                    fault: FaultState::Escalated,
                },
            );
        }
        // Being taken; a failed one at its own pace.
        IsolationState::Wanted | IsolationState::Failed => {
            let line = Isolation { fault: cause.fault, ..line.clone() };
            being_taken(ctx, &mut plan, vec![line], cause);
        }
        _ => {
            let line = ctx.fresh(target, cause);
            take(ctx, &mut PageBudget::of(ctx), &mut plan, line, pfn, cause.why.clone());
        }
    }
    plan
}

/// An uncorrected error is known on it, and it is not out of service yet.
pub(super) fn has_ue(line: &Isolation) -> bool {
    line.by == By::Kernel
        && matches!(
            line.state,
            IsolationState::Wanted
                | IsolationState::Failed
                | IsolationState::Refused
                | IsolationState::Observed
        )
}

pub(super) fn ue_sentence(ctx: &Context, pfn: Pfn) -> String {
    format!(
        "An uncorrected error is known on {}: it is memory_failure()'s to take.",
        targets_name(ctx, &[Target::Page(pfn)])
    )
}

/// The fault covers what is out of service already.
pub(super) fn already_off(ctx: &Context, plan: &mut Plan, lines: Vec<Isolation>, cause: &Cause) {
    let by_kernel = lines.iter().all(|line| line.by == By::Kernel);
    settle(
        ctx,
        plan,
        lines,
        Verdict {
            state: IsolationState::Isolated,
            kind: if by_kernel { DecisionKind::KernelTook } else { DecisionKind::Taken },
            why: cause.why.clone(),
            done: "It is out of service already.".to_owned(),
            next: "Plan the replacement of the part.".to_owned(),
            human: false,
            fault: FaultState::Isolated,
        },
    );
}

/// The fault covers what is being taken for another one, or is tried again.
pub(super) fn being_taken(ctx: &Context, plan: &mut Plan, lines: Vec<Isolation>, cause: &Cause) {
    let Some(state) = lines.first().map(|line| line.state) else { return };
    settle(
        ctx,
        plan,
        lines,
        Verdict {
            state,
            kind: DecisionKind::Take,
            why: cause.why.clone(),
            done: "It is being taken already.".to_owned(),
            next: "Nothing now: the outcome will be told.".to_owned(),
            human: false,
            fault: FaultState::Open,
        },
    );
}

/// Orders the page off if the limits leave room, which an order under way has.
/// A line that failed stays so while it is tried again.
pub(super) fn take(
    ctx: &Context,
    budget: &mut PageBudget,
    plan: &mut Plan,
    line: Isolation,
    pfn: Pfn,
    why: String,
) {
    let room = if !guard::page_exists(ctx.machine, pfn) {
        Err(Held {
            why: "The machine has no such address.".to_owned(),
            next: "Nothing can be taken here: look at the source of the report.".to_owned(),
            next_try: None,
        })
    } else if ctx.ledger.get(&line.target).is_some_and(|old| guard::is_spoken_for(ctx, old)) {
        Ok(())
    } else {
        budget.take(ctx)
    };
    match room {
        Err(held) => hold(ctx, plan, vec![line], held),
        Ok(()) if ctx.policy.observe => observe(ctx, plan, vec![line], why),
        Ok(()) => {
            // Released and wanted again while the first order is under way:
            // its answer serves.
            let under_way = line.asked == Some(Asked::Take);
            order(ctx, plan, vec![line], why);
            if !under_way {
                plan.orders.push(Order::SoftOffline(pfn));
            }
        }
    }
}

/// Held back by a limit or guard.
pub(super) fn hold(ctx: &Context, plan: &mut Plan, mut lines: Vec<Isolation>, held: Held) {
    for line in &mut lines {
        line.next_try = held.next_try;
        line.failures = 0;
    }
    settle(
        ctx,
        plan,
        lines,
        Verdict {
            state: IsolationState::Refused,
            kind: DecisionKind::Refused,
            why: held.why,
            done: "Nothing was done: it stays in service.".to_owned(),
            next: held.next,
            human: true,
            fault: FaultState::Escalated,
        },
    );
}

/// Would have been taken.
pub(super) fn observe(ctx: &Context, plan: &mut Plan, mut lines: Vec<Isolation>, why: String) {
    for line in &mut lines {
        line.next_try = None;
    }
    settle(
        ctx,
        plan,
        lines,
        Verdict {
            state: IsolationState::Observed,
            kind: DecisionKind::Observed,
            why,
            done: "It would have been taken out of service; mode observe touches nothing."
                .to_owned(),
            next: "Set mode = \"isolate\" to have it taken.".to_owned(),
            human: false,
            fault: FaultState::Open,
        },
    );
}

/// To be asked of the kernel now. What is tried again after a failure is not
/// told again: it stays as it is until the answer.
pub(super) fn order(ctx: &Context, plan: &mut Plan, mut lines: Vec<Isolation>, why: String) {
    let again = lines.iter().find(|line| {
        line.failures > 0 && matches!(line.state, IsolationState::Wanted | IsolationState::Failed)
    });
    let (state, why) =
        again.map_or((IsolationState::Wanted, why), |line| (line.state, line.why.clone()));
    for line in &mut lines {
        line.next_try = None;
        line.asked =
            Some(if line.asked == Some(Asked::Unsure) { Asked::Unsure } else { Asked::Take });
    }
    settle(
        ctx,
        plan,
        lines,
        Verdict {
            state,
            kind: DecisionKind::Take,
            why,
            done: "It is being taken out of service.".to_owned(),
            next: "Nothing now: the outcome will be told.".to_owned(),
            human: false,
            fault: FaultState::Open,
        },
    );
}

/// The page has an uncorrected error: make sure, a second from now, that
/// memory_failure() took it. Not capped by any limit.
pub(super) fn ensure_failed(ctx: &Context, pfn: Pfn, cause: &Cause) -> Plan {
    let mut plan = Plan::default();
    let target = Target::Page(pfn);
    let old = ctx.ledger.get(&target);
    if let Some(line) = old.filter(|line| line.state == IsolationState::Isolated) {
        // Somebody may have given it back unseen: its next look will tell, and
        // until then the line remembers the error by its next try.
        let next_try = line.next_try.or(Some(ctx.now.after(Checks::SETTLE)));
        let line = Isolation { fault: cause.fault.or(line.fault), next_try, ..line.clone() };
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
fn ensure(ctx: &Context, pfn: Pfn, cause: &Cause) -> Plan {
    let mut plan = Plan::default();
    let target = Target::Page(pfn);
    let old = ctx.ledger.get(&target);
    let mut line = ctx.fresh(target, &Cause { by: By::Kernel, why: String::new(), ..*cause });
    line.fault = cause.fault.or_else(|| old.and_then(|line| line.fault));
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
    ensure_failed(ctx, failure.pfn, &Cause { by: By::Kernel, fault: None, why })
}

/// A page had a corrected error: the kernel's own collector may have taken it,
/// at once or from its queue.
pub fn touched(ctx: &Context, checks: &mut Checks, pfn: Pfn) {
    // The answer to an order under way tells more than a look beside it.
    let asked = ctx.ledger.get(&Target::Page(pfn)).is_some_and(|l| l.asked == Some(Asked::Take));
    if !asked {
        checks.touch(pfn, ctx.now.at);
    }
}

/// An order to take the page was answered.
pub(super) fn taken(ctx: &Context, pfn: Pfn, outcome: &Outcome) -> Plan {
    let mut plan = Plan::default();
    let target = Target::Page(pfn);
    let off = matches!(outcome.answer, Answer::Off | Answer::WasOff);
    let Some(line) = ctx.ledger.get(&target) else {
        // A late answer on a line that is gone: what is off is listed.
        if off {
            let why = String::new();
            let line = ctx.fresh(target, &Cause { by: By::Bulkhead, fault: None, why });
            is_off(ctx, &mut plan, line, outcome);
        }
        return plan;
    };
    let mut line = line.clone();
    match (line.state, off) {
        // Seen off by a look, given back by hand unseen, and taken by the order
        // that was still out: it counts from now.
        (IsolationState::Isolated, true)
            if outcome.answer == Answer::Off && line.by != By::Kernel =>
        {
            line.taken = Some(ctx.now);
            plan.isolations.push(line);
        }
        (IsolationState::Isolated, _) => {}
        (IsolationState::Released, true) => went_after_release(ctx, &mut plan, line, pfn),
        (_, true) => is_off(ctx, &mut plan, line, outcome),
        // The uncorrected error came while it was soft-offlined: no more of
        // that, but another look.
        (_, false) if has_ue(&line) && matches!(outcome.order, Order::SoftOffline(_)) => {
            line.asked = retry::asked_after(&line, outcome.answer);
            line.next_try = line.next_try.or(Some(ctx.now));
            plan.isolations.push(line);
        }
        (IsolationState::Wanted | IsolationState::Failed, false) => {
            not_taken(ctx, &mut plan, vec![line], outcome);
        }
        (_, false) => {
            // Released or re-decided meanwhile, and it did not go.
            line.asked = retry::asked_after(&line, outcome.answer);
            plan.isolations.push(line);
        }
    }
    plan
}

/// Read back as out of service after we asked.
fn is_off(ctx: &Context, plan: &mut Plan, mut line: Isolation, outcome: &Outcome) {
    let ours = outcome.answer == Answer::Off || line.asked == Some(Asked::Unsure);
    if !ours {
        kernel_took(ctx, plan, line);
        return;
    }
    // What was done to an uncorrected error counts against no limit.
    if line.by == By::Kernel {
        line.by = By::Bulkhead;
    } else {
        line.taken = Some(ctx.now);
    }
    let why = retry::cause_of(ctx, &line);
    retry::clear(&mut line);
    settle(ctx, plan, vec![line], retry::is_out(why));
}

/// The release of a page came between the order and its effect.
fn went_after_release(ctx: &Context, plan: &mut Plan, mut line: Isolation, pfn: Pfn) {
    line.taken = Some(ctx.now);
    retry::clear(&mut line);
    line.asked = Some(Asked::Give);
    settle(ctx, plan, vec![line], retry::went_after_release());
    plan.orders.push(Order::Unpoison(pfn));
}

/// Out of service by the kernel's own doing.
fn kernel_took(ctx: &Context, plan: &mut Plan, mut line: Isolation) {
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

/// A look at the page was answered.
pub(super) fn looked(ctx: &Context, pfn: Pfn, outcome: &Outcome) -> Plan {
    let mut plan = Plan::default();
    let target = Target::Page(pfn);
    let Some(line) = ctx.ledger.get(&target) else {
        if matches!(outcome.answer, Answer::Off | Answer::WasOff) {
            let why = String::new();
            let line = ctx.fresh(target, &Cause { by: By::Kernel, fault: None, why });
            kernel_took(ctx, &mut plan, line);
        }
        return plan;
    };
    // A look from before the line's last change tells nothing of after it: the
    // looks run beside the writes.
    if outcome.time.at < line.since.at {
        return plan;
    }
    let line = line.clone();
    match outcome.answer {
        Answer::Off | Answer::WasOff => seen_off(ctx, &mut plan, line, pfn),
        Answer::On => seen_on(ctx, &mut plan, line, pfn),
        _ if awaits_look(&line) => not_taken(ctx, &mut plan, vec![line], outcome),
        _ => {}
    }
    plan
}

fn seen_off(ctx: &Context, plan: &mut Plan, mut line: Isolation, pfn: Pfn) {
    match (line.state, line.asked) {
        (IsolationState::Isolated, None) if line.next_try.is_some() => {
            line.next_try = None;
            plan.isolations.push(line);
        }
        (IsolationState::Isolated, _) | (_, Some(Asked::Take | Asked::Give)) => {}
        (IsolationState::Released, Some(Asked::Unsure)) => {
            went_after_release(ctx, plan, line, pfn);
        }
        (_, Some(Asked::Unsure)) if line.by != By::Kernel => {
            line.taken = Some(ctx.now);
            let why = retry::cause_of(ctx, &line);
            retry::clear(&mut line);
            settle(ctx, plan, vec![line], retry::is_out(why));
        }
        _ => kernel_took(ctx, plan, line),
    }
}

fn seen_on(ctx: &Context, plan: &mut Plan, line: Isolation, pfn: Pfn) {
    if line.state == IsolationState::Isolated {
        // While it is being given back, that order's answer tells.
        if line.asked.is_some() {
            return;
        }
        let ue = line.next_try.is_some();
        retry::came_back(ctx, plan, line);
        if ue {
            // Back by hand, and with an uncorrected error since.
            let page = targets_name(ctx, &[Target::Page(pfn)]);
            let fault = ctx.ledger.get(&Target::Page(pfn)).and_then(|line| line.fault);
            let why = format!("An uncorrected error came after {page} was brought back.");
            plan.extend(ensure(ctx, pfn, &Cause { by: By::Kernel, fault, why }));
        }
    } else if awaits_look(&line) {
        memory_failure_missed(ctx, plan, line, pfn);
    }
}

/// The second is over, and the look that tells was ordered.
fn awaits_look(line: &Isolation) -> bool {
    line.by == By::Kernel
        && matches!(line.state, IsolationState::Wanted | IsolationState::Failed)
        && line.next_try.is_none()
        && line.asked != Some(Asked::Take)
}

/// A page with an uncorrected error that memory_failure() did not take.
fn memory_failure_missed(ctx: &Context, plan: &mut Plan, mut line: Isolation, pfn: Pfn) {
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

/// Sentences begin with a capital; names of components do not.
fn capitalized(mut sentence: String) -> String {
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    sentence
}

/// An order to give the page back was answered.
pub(super) fn given(ctx: &Context, pfn: Pfn, outcome: &Outcome) -> Plan {
    let mut plan = Plan::default();
    let target = Target::Page(pfn);
    let line = ctx.ledger.get(&target).filter(|line| line.state == IsolationState::Isolated);
    let Some(mut line) = line.cloned() else { return plan };
    retry::clear(&mut line);
    if outcome.answer == Answer::On {
        retry::released(ctx, &mut plan, vec![line]);
        return plan;
    }
    line.release = Some(Undo::NextBoot);
    let page = targets_name(ctx, &[target]);
    let reason = match outcome.answer {
        Answer::NoSuch => "the kernel offers no way to give a page back".to_owned(),
        Answer::NotAllowed => "the kernel gives no page back after a hardware error".to_owned(),
        _ => format!("the kernel did not give it back ({})", outcome.answered),
    };
    settle(
        ctx,
        &mut plan,
        vec![line],
        Verdict {
            state: IsolationState::Isolated,
            kind: DecisionKind::Released,
            why: format!("The release of {page} waits for a reboot: {reason}."),
            done: "It stays out of service until then.".to_owned(),
            next: "Only a reboot brings it back.".to_owned(),
            human: false,
            fault: FaultState::Isolated,
        },
    );
    plan
}
