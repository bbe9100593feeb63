//! Before a CPU goes it is looked at what is bound to it: the plan.

use super::settle::targets_name;
use super::steps::planned;
use super::{cpu, retry, Cause, Checks, Context, Order, Outcome, Plan};
use crate::model::{Asked, By, CpuId, Isolation, IsolationState, Survey, Target};
use std::collections::BTreeSet;

/// Tasks remembered with a line, to be put back: each some 100 bytes.
const MOST_BOUND: usize = 1024;

/// Has a survey made for `lines`, which go together.
pub(super) fn order(ctx: &Context, plan: &mut Plan, mut lines: Vec<Isolation>, cause: &Cause) {
    for line in &mut lines {
        line.asked = Some(match line.asked {
            Some(Asked::Unsure) => Asked::Replan,
            _ => Asked::Plan,
        });
    }
    plan.orders.push(Order::Survey(cpu::numbers(&lines)));
    planned(ctx, plan, lines, cause);
}

/// A survey was answered: the CPUs are held back for what it tells, or go.
pub(super) fn surveyed(ctx: &Context, cpus: &[CpuId], outcome: &Outcome) -> Plan {
    let mut plan = Plan::default();
    let planned: Vec<Isolation> = cpus
        .iter()
        .filter_map(|cpu| ctx.ledger.get(&Target::Cpu(*cpu)))
        .filter(|line| line.asked.is_some_and(Asked::is_plan))
        .cloned()
        .collect();
    // Something else began meanwhile for others that go with them, such as by an
    // answer that came late: its answer first.
    let is_busy = |cpu: &CpuId| {
        let line = ctx.ledger.get(&Target::Cpu(*cpu));
        line.is_some_and(|l| l.asked.is_some_and(|a| a.is_under_way() && !a.is_plan()))
    };
    // What an admin wanted by itself became a fault's meanwhile: with that goes
    // the whole core, and is surveyed as a whole.
    let is_part = |line: &Isolation| {
        let whole = cpu::whole_cores(ctx, &line.together);
        line.by != By::Admin && whole.iter().any(|cpu| !line.together.contains(cpu))
    };
    // Brought on line meanwhile: nobody looked at what is bound to it.
    let is_unseen = |cpu: &CpuId| {
        let online = ctx.machine.cpus.get(cpu).is_some_and(|known| known.online);
        online && !cpus.contains(cpu) && !cpu::is_isolated(ctx, *cpu)
    };
    let busy = planned.iter().flat_map(|line| &line.together).any(|c| is_busy(c) || is_unseen(c))
        || planned.iter().any(is_part);
    // Whatever becomes of them, no survey is under way any more.
    plan.isolations.extend(planned.iter().cloned().map(|mut line| {
        line.asked = line.asked.and_then(Asked::unplanned);
        if busy && line.state != IsolationState::Released {
            line.next_try = Some(ctx.now.after(Checks::SETTLE));
        }
        line
    }));
    if busy {
        return plan;
    }
    let wanted = |line: &&Isolation| {
        use IsolationState::{Failed, Observed, Refused, Wanted};
        matches!(line.state, Wanted | Failed | Refused | Observed)
    };
    let Some(line) = planned.iter().find(wanted) else { return plan };
    let set: BTreeSet<CpuId> = line.together.iter().copied().collect();
    let why = match line.state {
        IsolationState::Refused => {
            let targets: Vec<Target> = set.iter().map(|cpu| Target::Cpu(*cpu)).collect();
            retry::there_is_room(&targets_name(ctx, &targets))
        }
        _ => line.why.clone(),
    };
    let cause = Cause { by: line.by, fault: line.fault, why, urgency: line.urgency };
    cpu::take(ctx, &mut plan, &set, &cause, Some(&outcome.surveyed()));
    plan
}

/// Notes with each of `lines` which tasks lose it, beside those of an earlier
/// order that have not been put back.
pub(super) fn remember(lines: &mut [Isolation], survey: &Survey) {
    for line in lines {
        let Target::Cpu(cpu) = line.target else { continue };
        let mut bound: Vec<_> =
            survey.tasks.iter().filter(|task| task.may_run_on(cpu)).cloned().collect();
        let earlier: Vec<_> =
            line.bound.drain(..).filter(|old| !bound.iter().any(|new| new.is_same(old))).collect();
        bound.extend(earlier);
        bound.truncate(MOST_BOUND);
        line.bound = bound;
    }
}
