//! What should be against what is, after a (re)start.

use super::settle::{settle, targets_name, Verdict};
use super::{
    affinity, cpu, group, guard, masked, retry, Checks, Context, Decision, DecisionKind, FaultNote,
    Order, Plan,
};
use crate::model::{
    Asked, By, CpuId, FaultState, Home, Isolation, IsolationState, Pfn, Target, Undo,
};
use std::collections::BTreeSet;

/// Makes the ledger of an earlier run true.
///
/// `same_boot`: the kernel is the one the ledger was kept under. What is to be
/// taken or looked at is due at once; what was on its way back is ordered here.
///
/// No order of the earlier run is still under way: its process is gone, or the
/// store would be locked, and a process goes only when none of its threads is
/// in the kernel any more. So of a CPU it is enough to look at it.
pub fn start(ctx: &Context, checks: &mut Checks, same_boot: bool) -> Plan {
    if !same_boot {
        let mut plan = new_boot(ctx);
        affinity::forget(ctx, &mut plan);
        return plan;
    }
    let mut plan = Plan::default();
    let mut back = Vec::new();
    for line in ctx.ledger.values() {
        match line.target {
            Target::Cpu(cpu) => back.extend(resume_cpu(ctx, &mut plan, line, cpu)),
            Target::Page(_) if masked::is_certain(ctx, line) => {
                masked::is_out(ctx, &mut plan, line.clone());
            }
            Target::Page(pfn) => {
                if line.state == IsolationState::Isolated || line.asked.is_some() {
                    checks.look(pfn, ctx.now.at);
                }
                resume_page(ctx, &mut plan, line, pfn);
            }
        }
    }
    if !back.is_empty() {
        plan.orders.push(Order::GiveCpus(back));
    }
    affinity::follow(ctx, &mut plan);
    group::told(ctx, plan)
}

fn resume_page(ctx: &Context, plan: &mut Plan, line: &Isolation, pfn: Pfn) {
    let mut next = line.clone();
    match line.asked {
        // The order may have had its effect when the daemon was gone.
        Some(asked) if asked.is_take() => next.asked = Some(Asked::Unsure),
        Some(Asked::Give) if ctx.policy.observe => next.asked = None,
        Some(Asked::Give) => plan.orders.push(Order::Unpoison(pfn)),
        _ => {}
    }
    resume(ctx, plan, line, next);
}

/// What was wanted is asked again, what was held back is decided on again.
/// `next` is what has become of `line` so far.
fn resume(ctx: &Context, plan: &mut Plan, line: &Isolation, mut next: Isolation) {
    let due = match line.state {
        IsolationState::Wanted => true,
        IsolationState::Failed | IsolationState::Refused => line.next_try.is_none(),
        IsolationState::Observed => !ctx.policy.observe,
        IsolationState::Isolated | IsolationState::Stale | IsolationState::Released => false,
    };
    if due && !guard::waits_for_an_event(line) {
        next.next_try = Some(ctx.now);
    }
    if next != *line {
        plan.isolations.push(next);
    }
}

/// Answers the CPU if it is to be brought back: the order for it was lost, or
/// it is half a core that was left off line.
fn resume_cpu(ctx: &Context, plan: &mut Plan, line: &Isolation, id: CpuId) -> Option<CpuId> {
    let Some(known) = ctx.machine.cpus.get(&id) else {
        if !matches!(line.state, IsolationState::Released | IsolationState::Stale) {
            is_gone(ctx, plan, line, id);
        }
        return None;
    };
    let settled = Isolation { asked: None, ..line.clone() };
    // A look, and what is done to tasks, leaves no CPU off line.
    let asked = line.asked.filter(|asked| *asked != Asked::PutBack).and_then(Asked::unplanned);
    match (line.state, asked) {
        (IsolationState::Isolated, Some(_)) if known.online => {
            retry::released(ctx, plan, vec![settled]);
        }
        (IsolationState::Isolated, None) if known.online => retry::came_back(ctx, plan, settled),
        (IsolationState::Isolated, Some(_)) if ctx.policy.observe => plan.isolations.push(settled),
        (IsolationState::Isolated, Some(_)) => return Some(id),
        (IsolationState::Isolated, None) => {}
        (_, Some(_)) if !known.online => return left_off(ctx, plan, settled, id),
        (IsolationState::Wanted | IsolationState::Failed | IsolationState::Refused, None)
            if !known.online =>
        {
            cpu::off_by_others(ctx, plan, vec![settled], all_off(ctx, line));
        }
        _ => resume(ctx, plan, line, settled),
    }
    None
}

/// An order whose answer was lost took it, as far as anybody can tell.
fn left_off(ctx: &Context, plan: &mut Plan, line: Isolation, id: CpuId) -> Option<CpuId> {
    let on_its_way = Isolation { asked: Some(Asked::Give), taken: Some(ctx.now), ..line.clone() };
    if ctx.policy.observe || (line.state != IsolationState::Released && all_off(ctx, &line)) {
        cpu::is_ours(ctx, plan, vec![line]);
        return None;
    }
    if line.state == IsolationState::Released {
        settle(ctx, plan, vec![on_its_way], retry::went_after_release());
    } else {
        // Half a core: it comes back, and goes whole if it is still wanted.
        resume(ctx, plan, &line, on_its_way);
    }
    Some(id)
}

fn all_off(ctx: &Context, line: &Isolation) -> bool {
    line.together.iter().all(|c| ctx.machine.cpus.get(c).is_some_and(|cpu| !cpu.online))
}

fn is_gone(ctx: &Context, plan: &mut Plan, line: &Isolation, id: CpuId) {
    let mut line = line.clone();
    retry::clear(&mut line);
    settle(
        ctx,
        plan,
        vec![line],
        Verdict {
            state: IsolationState::Stale,
            kind: DecisionKind::Reported,
            why: format!("CPU {id} is no longer present."),
            done: "It is listed as stale: there is nothing to take or to give back.".to_owned(),
            next: "Close its fault if the processor was replaced.".to_owned(),
            human: false,
            fault: FaultState::Open,
        },
    );
}

fn stale(ctx: &Context, line: &Isolation, why: String) -> Isolation {
    let mut line = line.clone();
    retry::clear(&mut line);
    Isolation { state: IsolationState::Stale, since: ctx.now, why, ..line }
}

/// A boot gives everything back. An address of the boot before may be another
/// cell now, so nothing is taken again by it.
fn new_boot(ctx: &Context) -> Plan {
    let mut plan = Plan::default();
    let mut reopened = BTreeSet::new();
    let mut count = 0usize;
    for line in ctx.ledger.values() {
        if masked::is_certain(ctx, line) {
            masked::is_out(ctx, &mut plan, line.clone());
            continue;
        }
        let name = targets_name(ctx, &[line.target]);
        match line.state {
            IsolationState::Stale => continue,
            // Wanted by what the last boot left, before this was called.
            IsolationState::Wanted
                if line.unreadable
                    && line.ue.is_none()
                    && line.home != Home::Unknown
                    && line.home == ctx.machine.home(line.target) =>
            {
                let asked = None;
                plan.isolations.push(Isolation { asked, next_try: Some(ctx.now), ..line.clone() });
                continue;
            }
            IsolationState::Released => {
                // No order outlives its boot.
                if line.asked.is_some() {
                    plan.isolations.push(Isolation { asked: None, ..line.clone() });
                }
                continue;
            }
            IsolationState::Isolated if line.release == Some(Undo::NextBoot) => {
                let mut line = line.clone();
                retry::clear(&mut line);
                plan.isolations.push(Isolation {
                    state: IsolationState::Released,
                    by: By::Admin,
                    since: ctx.now,
                    release: None,
                    why: format!("The reboot that the release of {name} waited for has come."),
                    ..line
                });
            }
            _ => {
                let why = format!(
                    "{name} is of an earlier boot, and isolations are not applied again after a \
                     reboot yet."
                );
                plan.isolations.push(stale(ctx, line, why));
                count += 1;
            }
        }
        reopened.extend(line.fault);
        if let Target::Page(pfn) = line.target {
            reopened.extend(ctx.ledger.covering(pfn));
        }
    }
    for fault in reopened {
        plan.faults.push(FaultNote {
            fault,
            state: FaultState::Open,
            decision: "The host was rebooted: what was taken for this fault is in service again."
                .to_owned(),
            advice: Some(
                "Close the fault if the part was replaced; it is taken again if it fails anew."
                    .to_owned(),
            ),
        });
    }
    // One line for all: a reboot is one piece of news.
    if count > 0 {
        plan.decisions.push(Decision {
            kind: DecisionKind::Reported,
            component: "isolations of an earlier boot".to_owned(),
            target: None,
            fault: None,
            why: "The host was rebooted, which puts everything back into service.".to_owned(),
            done: format!("{count} isolations or requests are listed as stale, none was applied."),
            next: "Nothing: what still fails is taken again by its errors.".to_owned(),
            human: false,
        });
    }
    plan
}
