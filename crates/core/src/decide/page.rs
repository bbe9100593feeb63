//! Pages: taken, and given back.

use super::budget::PageBudget;
use super::guard::{self, Held};
use super::look::kernel_took;
use super::retry::{self, not_taken};
use super::settle::{settle, targets_name, Verdict};
use super::steps::{already_off, being_taken, hold, keeps_its_pace, observe, order, order_again};
use super::ue::{ensure, has_ue, ue_sentence};
use super::{masked, Answer, Cause, Context, DecisionKind, Order, Outcome, Plan};
use crate::model::{Asked, By, FaultState, Isolation, IsolationState, Pfn, Target, Undo};

/// A fault calls for the page, by itself or among others.
pub(super) fn found(
    ctx: &Context,
    budget: &mut PageBudget,
    plan: &mut Plan,
    pfn: Pfn,
    cause: &Cause,
) {
    let target = Target::Page(pfn);
    let Some(line) = ctx.ledger.get(&target) else {
        let line = ctx.fresh(target, cause);
        take(ctx, budget, plan, line, pfn, cause.why.clone());
        return;
    };
    let with_cause = |line: &Isolation| Isolation {
        fault: cause.fault,
        urgency: line.urgency.and(cause.urgency),
        ..line.clone()
    };
    match line.state {
        IsolationState::Isolated => {
            already_off(ctx, plan, vec![with_cause(line)], cause);
            // Errors on a page that is off may be late ones, or somebody gave
            // it back unseen; but of a masked page the kernel knows nothing.
            if !ctx.machine.is_masked(pfn) {
                plan.orders.push(Order::Inspect(pfn));
            }
        }
        _ if has_ue(line) => {
            let line = Isolation { fault: line.fault.or(cause.fault), ..line.clone() };
            let state = line.state;
            settle(
                ctx,
                plan,
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
        IsolationState::Wanted => being_taken(ctx, plan, vec![with_cause(line)], cause),
        IsolationState::Failed => keeps_its_pace(ctx, plan, with_cause(line)),
        IsolationState::Refused if line.is_under_way() || retry::is_spared(line) => {
            keeps_its_pace(ctx, plan, with_cause(line));
        }
        _ => {
            let line = ctx.fresh(target, cause);
            take(ctx, budget, plan, line, pfn, cause.why.clone());
        }
    }
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
    if ctx.machine.is_masked(pfn) {
        masked::is_out(ctx, plan, line);
        return;
    }
    if !guard::page_exists(ctx.machine, pfn) {
        let held = Held {
            why: "The machine has no such address.".to_owned(),
            next: "Nothing can be taken here: look at the source of the report.".to_owned(),
            next_try: None,
        };
        let mut refused = Plan::default();
        hold(ctx, &mut refused, vec![line], held);
        // It waits for no room.
        refused.isolations.iter_mut().for_each(|line| line.failures = 1);
        plan.extend(refused);
        return;
    }
    let room = match ctx.ledger.get(&line.target) {
        // Its answer serves.
        _ if line.is_under_way() && line.may_go() => Ok(()),
        // What can take the host down is not capped.
        _ if line.unreadable => Ok(()),
        // A page that no limit bound has no room of its own.
        Some(old) if guard::is_spoken_for(ctx, old) && !old.unreadable => budget.keep(ctx, old),
        _ if line.restores => budget.take_memory(),
        _ => budget.take(ctx),
    };
    match room {
        Err(held) => hold(ctx, plan, vec![line], held),
        Ok(()) if ctx.policy.observe => observe(ctx, plan, vec![line], why),
        Ok(()) => {
            // Released and wanted again while the first order is under way:
            // its answer serves.
            let under_way = line.is_under_way();
            let free_only = line.unreadable;
            if retry::is_spared(&line) {
                order_again(ctx, plan, line);
            } else {
                order(ctx, plan, vec![line], why);
            }
            if !under_way {
                plan.orders.push(match free_only {
                    true => Order::OfflineFree(pfn),
                    false => Order::soft_offline(pfn, ctx.policy.page.hugetlb),
                });
            }
        }
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
            let line = ctx.fresh(target, &Cause::plain(By::Bulkhead, None, why));
            is_off(ctx, &mut plan, line, outcome);
        }
        return plan;
    };
    let mut line = line.clone();
    match (line.state, off) {
        // Seen off by a look since its time-out, given back by hand unseen, and
        // taken by the order that was still out: it counts from now.
        (IsolationState::Isolated, true)
            if outcome.answer == Answer::Off && line.by != By::Kernel =>
        {
            line.taken = Some(ctx.now);
            plan.isolations.push(line);
        }
        (IsolationState::Isolated, _) => {}
        (IsolationState::Released, true) if is_ours(&line, outcome) => {
            went_after_release(ctx, &mut plan, line, pfn)
        }
        (_, true) => is_off(ctx, &mut plan, line, outcome),
        // The uncorrected error came while it was soft-offlined: no more of
        // that, but another look.
        (_, false) if has_ue(&line) && !matches!(outcome.order, Order::HardOffline(_)) => {
            line.asked = retry::asked_after(&line, outcome);
            line.next_try = line.next_try.or(Some(ctx.now));
            plan.isolations.push(line);
        }
        (IsolationState::Wanted | IsolationState::Failed, false) => {
            not_taken(ctx, &mut plan, vec![line], outcome);
        }
        (IsolationState::Refused, false) if line.asked.is_some_and(Asked::is_take) => {
            not_taken(ctx, &mut plan, vec![line], outcome);
        }
        (_, false) => {
            // Released or re-decided meanwhile, and it did not go.
            line.asked = retry::asked_after(&line, outcome);
            let counts = line.state == IsolationState::Released && line.asked.is_none();
            line.restores &= !counts;
            line.unreadable &= !counts;
            plan.isolations.push(line);
        }
    }
    plan
}

/// It went by this order, or by an earlier one of unknown effect.
fn is_ours(line: &Isolation, outcome: &Outcome) -> bool {
    outcome.answer == Answer::Off || matches!(line.asked, Some(Asked::Unsure | Asked::Retake))
}

/// Read back as out of service after we asked.
fn is_off(ctx: &Context, plan: &mut Plan, mut line: Isolation, outcome: &Outcome) {
    if !is_ours(&line, outcome) {
        kernel_took(ctx, plan, line);
        return;
    }
    // What was done to an uncorrected error counts against no limit.
    if line.ue.is_some() || line.unreadable {
        line.by = By::Bulkhead;
    } else {
        line.went(ctx.now);
    }
    let why = retry::cause_of(ctx, &line);
    retry::clear(&mut line);
    settle(ctx, plan, vec![line], retry::is_out(why));
}

/// The release of a page came between the order and its effect.
pub(super) fn went_after_release(ctx: &Context, plan: &mut Plan, mut line: Isolation, pfn: Pfn) {
    line.taken = Some(ctx.now);
    retry::clear(&mut line);
    line.release = Some(Undo::NextBoot);
    let now = !ctx.policy.observe;
    if now {
        line.asked = Some(Asked::Give);
        plan.orders.push(Order::Unpoison(pfn));
    }
    settle(ctx, plan, vec![line], retry::went_after_release(now));
}

/// An order to give the page back was answered.
pub(super) fn given(ctx: &Context, pfn: Pfn, outcome: &Outcome) -> Plan {
    let mut plan = Plan::default();
    let target = Target::Page(pfn);
    let line = ctx.ledger.get(&target).filter(|line| line.state == IsolationState::Isolated);
    let Some(mut line) = line.cloned() else { return plan };
    let ue = line.ue;
    retry::clear(&mut line);
    if outcome.answer == Answer::On {
        let fault = line.fault;
        let closed = is_of_closed_fault(&line);
        retry::released(ctx, &mut plan, vec![line]);
        if closed {
            plan.decisions.clear();
        }
        if ue.is_some() {
            // Nobody looked since: somebody may have given it back before us.
            let page = targets_name(ctx, &[target]);
            let why = format!("An uncorrected error was reported while {page} was given back.");
            plan.extend(ensure(ctx, pfn, &Cause::plain(By::Kernel, fault, why)));
        }
        return plan;
    }
    if ue.is_some() {
        line.ue = ue;
        line.next_try = Some(ctx.now);
    }
    line.release = Some(Undo::NextBoot);
    let page = targets_name(ctx, &[target]);
    let reason = match outcome.answer {
        Answer::NoSuch => "the kernel offers no way to give a page back".to_owned(),
        Answer::NotAllowed => "the kernel gives no page back after a hardware error".to_owned(),
        _ => format!("the kernel did not give it back ({})", outcome.answered),
    };
    let closed = is_of_closed_fault(&line);
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
    if closed {
        plan.decisions.clear();
    }
    plan
}

/// It goes back because its fault was closed, which was told for all that the
/// fault held: a row's pages would be a hundred lines more.
fn is_of_closed_fault(line: &Isolation) -> bool {
    line.fault.is_none() && line.by == By::Bulkhead
}
