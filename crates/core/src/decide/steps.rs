//! The steps of a line that an order has not settled: held back, observed,
//! ordered, or covered by what stands already. Pages and CPUs alike.

use super::guard::Held;
use super::settle::{settle, Verdict};
use super::{Cause, Context, DecisionKind, FaultNote, Plan};
use crate::model::{Asked, By, FaultState, Isolation, IsolationState};

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
            next: String::new(),
            human: false,
            fault: FaultState::Isolated,
        },
    );
}

/// The fault covers a page that did not come off: what keeps it in service is
/// still the news, and its next try does not come any sooner.
pub(super) fn keeps_its_pace(ctx: &Context, plan: &mut Plan, line: Isolation) {
    let (state, why) = (line.state, line.why.clone());
    let (kind, fault) = match state {
        IsolationState::Refused => (DecisionKind::Refused, FaultState::Escalated),
        _ => (DecisionKind::Failed, FaultState::Open),
    };
    settle(
        ctx,
        plan,
        vec![line],
        Verdict {
            state,
            kind,
            why,
            done: "It stays in service for now, and is tried again by itself.".to_owned(),
            next: String::new(),
            human: false,
            fault,
        },
    );
}

/// The fault covers what is being taken for another one, or is tried again.
pub(super) fn being_taken(ctx: &Context, plan: &mut Plan, lines: Vec<Isolation>, cause: &Cause) {
    let Some(state) = lines.first().map(|line| line.state) else { return };
    settle(ctx, plan, lines, under_way(state, cause.why.clone(), "It is being taken already."));
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

/// First it is looked at what is bound to it. What was decided on before stays
/// as it is until the answer; of what is new, only the fault tells so far.
pub(super) fn planned(ctx: &Context, plan: &mut Plan, lines: Vec<Isolation>, cause: &Cause) {
    use IsolationState::{Failed, Observed, Refused, Wanted};
    let first = if ctx.policy.observe { Observed } else { Wanted };
    let mut new = false;
    for mut line in lines {
        line.next_try = None;
        if line.state != first && !matches!(line.state, Failed | Refused) {
            line.state = first;
            line.since = ctx.now;
        }
        if line.why.is_empty() {
            line.why.clone_from(&cause.why);
        }
        new |= line.state == first && line.failures == 0;
        plan.isolations.push(line);
    }
    if let (true, Some(fault)) = (new, cause.fault) {
        plan.faults.push(FaultNote {
            fault,
            state: FaultState::Open,
            decision: format!("What is bound to it is looked at before it goes. {}", cause.why),
            advice: None,
        });
    }
}

/// To be asked of the kernel now. What is tried again after a failure is not
/// told again: it stays as it is until the answer.
pub(super) fn order(ctx: &Context, plan: &mut Plan, lines: Vec<Isolation>, why: String) {
    let again = lines.iter().find(|line| {
        line.failures > 0 && matches!(line.state, IsolationState::Wanted | IsolationState::Failed)
    });
    let (state, why) =
        again.map_or((IsolationState::Wanted, why), |line| (line.state, line.why.clone()));
    ask(ctx, plan, lines, state, why);
}

/// To be asked of the kernel once more; until the answer it stays what it is.
pub(super) fn order_again(ctx: &Context, plan: &mut Plan, line: Isolation) {
    let (state, why) = (line.state, line.why.clone());
    ask(ctx, plan, vec![line], state, why);
}

fn ask(
    ctx: &Context,
    plan: &mut Plan,
    mut lines: Vec<Isolation>,
    state: IsolationState,
    why: String,
) {
    for line in &mut lines {
        line.next_try = None;
        line.asked = Some(match line.asked {
            Some(Asked::Unsure | Asked::Retake) => Asked::Retake,
            _ => Asked::Take,
        });
    }
    settle(ctx, plan, lines, under_way(state, why, "It is being taken out of service."));
}

/// The kernel is being asked.
fn under_way(state: IsolationState, why: String, done: &str) -> Verdict {
    Verdict {
        state,
        kind: DecisionKind::Take,
        why,
        done: done.to_owned(),
        next: "Nothing now: the outcome will be told.".to_owned(),
        human: false,
        fault: FaultState::Open,
    }
}
