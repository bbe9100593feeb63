//! Tasks that were bound to a CPU alone are bound to it again once it is back.
//!
//! The kernel lets such a task run elsewhere when its CPU goes
//! (select_fallback_rq() in kernel/sched/core.c). Newer ones remember what the
//! task had asked for (user_cpus_ptr, since 6.2) and put it back by themselves,
//! older ones do not.

use super::{Context, Order, Plan};
use crate::model::{Asked, BoundTask, CpuId, Isolation, IsolationState, Target};
use std::collections::BTreeMap;

/// With `plan` entered: orders back what is due to CPUs that are in service,
/// and for which nothing else is under way.
pub(super) fn follow(ctx: &Context, plan: &mut Plan) {
    if ctx.policy.observe {
        return;
    }
    let mut cpus = Vec::new();
    let mut tasks: Vec<BoundTask> = Vec::new();
    for mut line in lines(ctx, plan) {
        let Target::Cpu(cpu) = line.target else { continue };
        let is_back = !matches!(line.state, IsolationState::Isolated | IsolationState::Stale);
        if line.bound.is_empty() || line.asked.is_some() || !is_back {
            continue;
        }
        cpus.push(cpu);
        for task in &line.bound {
            if !tasks.iter().any(|other| other.is_same(task)) {
                tasks.push(task.clone());
            }
        }
        line.asked = Some(Asked::PutBack);
        plan.isolations.push(line);
    }
    if !cpus.is_empty() {
        plan.orders.push(Order::PutBack(cpus, tasks));
    }
}

/// The order was answered. What could not be put back is told with it; whoever
/// changed a task meanwhile is not fought.
pub(super) fn put_back(ctx: &Context, cpus: &[CpuId]) -> Plan {
    let mut plan = Plan::default();
    let lines = cpus.iter().filter_map(|cpu| ctx.ledger.get(&Target::Cpu(*cpu)));
    for line in lines.filter(|line| line.asked == Some(Asked::PutBack)) {
        plan.isolations.push(Isolation { asked: None, bound: Vec::new(), ..line.clone() });
    }
    plan
}

/// With `plan` entered: a boot has ended all tasks.
pub(super) fn forget(ctx: &Context, plan: &mut Plan) {
    for line in lines(ctx, plan) {
        if !line.bound.is_empty() {
            plan.isolations.push(Isolation { bound: Vec::new(), ..line });
        }
    }
}

/// The lines of CPUs as they are with `plan` entered.
fn lines(ctx: &Context, plan: &Plan) -> Vec<Isolation> {
    let planned = plan.isolations.iter().filter(|line| matches!(line.target, Target::Cpu(_)));
    let all: BTreeMap<Target, &Isolation> =
        ctx.ledger.cpus().chain(planned).map(|line| (line.target, line)).collect();
    all.into_values().cloned().collect()
}
