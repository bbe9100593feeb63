//! How a decision is entered: ledger lines, the fault behind them, and the one
//! line that tells the admin.

use super::{Context, Decision, DecisionKind, FaultNote, Plan};
use crate::model::component::CpuSet;
use crate::model::{Asked, CpuId, FaultState, Isolation, IsolationState, Target};

/// Where lines come to, and the words for it.
pub(super) struct Verdict {
    pub state: IsolationState,
    pub kind: DecisionKind,
    pub why: String,
    pub done: String,
    pub next: String,
    pub human: bool,
    pub fault: FaultState,
}

/// Enters `lines`, which go or stay together, with what `verdict` says of
/// them; `since` moves only where the state does. What the admin already knows
/// is not told again, so a retry that fails the same way every hour is one
/// message.
pub(super) fn settle(ctx: &Context, plan: &mut Plan, lines: Vec<Isolation>, verdict: Verdict) {
    let targets: Vec<Target> = lines.iter().map(|line| line.target).collect();
    let fault = lines.iter().find_map(|line| line.fault);
    let mut news = false;
    for mut line in lines {
        if line.state != verdict.state {
            line.state = verdict.state;
            line.since = ctx.now;
        }
        line.why.clone_from(&verdict.why);
        news |= ctx.ledger.get(&line.target).is_none_or(|old| told_differs(old, &line));
        plan.isolations.push(line);
    }
    if !news {
        return;
    }
    if let Some(fault) = fault {
        plan.faults.push(FaultNote {
            fault,
            state: verdict.fault,
            decision: format!("{} {}", verdict.done, verdict.why),
            // That something is under way does not change what is to be done in the end.
            advice: (verdict.kind != DecisionKind::Take && !verdict.next.is_empty())
                .then(|| verdict.next.clone()),
        });
    }
    plan.decisions.push(Decision {
        kind: verdict.kind,
        component: targets_name(ctx, &targets),
        target: targets.first().copied(),
        fault,
        why: verdict.why,
        done: verdict.done,
        next: verdict.next,
        human: verdict.human,
    });
}

fn told_differs(old: &Isolation, new: &Isolation) -> bool {
    (old.state, old.by, old.fault, old.release, &old.why)
        != (new.state, new.by, new.fault, new.release, &new.why)
        || is_untold(old)
}

/// New, and so far only looked at.
fn is_untold(line: &Isolation) -> bool {
    line.asked.is_some_and(Asked::is_plan)
        && matches!(line.state, IsolationState::Wanted | IsolationState::Observed)
        && line.failures == 0
}

/// `page 0x8000000`, `24 pages`, `CPU 3` or `CPUs 1,3 (one core)`.
pub(super) fn targets_name(ctx: &Context, targets: &[Target]) -> String {
    if let [Target::Page(pfn)] = targets {
        return format!("page {}", ctx.machine.page_size.addr(*pfn));
    }
    if matches!(targets, [Target::Page(_), ..]) {
        return format!("{} pages", targets.len());
    }
    let cpus: Vec<CpuId> = targets.iter().filter_map(|target| target.cpu()).collect();
    cpus_name(ctx, &cpus)
}

/// `CPU 3`, or `CPUs 1,3 (one core)`.
pub(super) fn cpus_name(ctx: &Context, cpus: &[CpuId]) -> String {
    let one_core = cpus.len() > 1
        && cpus.first().and_then(|first| ctx.machine.cpus.get(first)).is_some_and(|first| {
            first.threads.len() == cpus.len() && cpus.iter().all(|c| first.threads.contains(c))
        });
    format!("{}{}", CpuSet(cpus), if one_core { " (one core)" } else { "" })
}

/// Sentences begin with a capital; names of components do not.
pub(super) fn capitalized(mut sentence: String) -> String {
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    sentence
}
