//! What should be against what is, after a (re)start.

use super::settle::{settle, targets_name};
use super::{cpu, guard, retry, Checks, Context, Decision, DecisionKind, FaultNote, Plan};
use crate::model::{Asked, By, CpuId, FaultState, Isolation, IsolationState, Target, Undo};
use std::collections::BTreeSet;

/// Makes the ledger of an earlier run true.
///
/// `same_boot`: the kernel is the one the ledger was kept under. Nothing is
/// ordered here: what is to be asked or looked at is due at once.
pub fn start(ctx: &Context, checks: &mut Checks, same_boot: bool) -> Plan {
    if !same_boot {
        return new_boot(ctx);
    }
    let mut plan = Plan::default();
    for line in ctx.ledger.values() {
        match line.target {
            Target::Cpu(cpu) => resume_cpu(ctx, &mut plan, line, cpu),
            Target::Page(pfn) => {
                if line.state == IsolationState::Isolated || line.asked.is_some() {
                    checks.look(pfn, ctx.now.at);
                }
                resume(ctx, &mut plan, line);
            }
        }
    }
    plan
}

/// What was under way is asked again, what was held back is decided on again.
fn resume(ctx: &Context, plan: &mut Plan, line: &Isolation) {
    let mut next = line.clone();
    // The order may have had its effect after the daemon was gone.
    if line.asked == Some(Asked::Take) {
        next.asked = Some(Asked::Unsure);
    }
    let due = match line.state {
        IsolationState::Wanted => true,
        IsolationState::Failed | IsolationState::Refused => line.next_try.is_none(),
        IsolationState::Observed => !ctx.policy.observe,
        IsolationState::Isolated => line.asked == Some(Asked::Give),
        IsolationState::Stale | IsolationState::Released => false,
    };
    if due && !guard::waits_for_room(line) {
        next.next_try = Some(ctx.now);
    }
    if next != *line {
        plan.isolations.push(next);
    }
}

fn resume_cpu(ctx: &Context, plan: &mut Plan, line: &Isolation, id: CpuId) {
    let Some(known) = ctx.machine.cpus.get(&id) else {
        if line.state != IsolationState::Released && line.state != IsolationState::Stale {
            let why = format!("CPU {id} is no longer present.");
            plan.isolations.push(stale(ctx, line, why));
        }
        return;
    };
    match (line.state, known.online) {
        (IsolationState::Isolated, true) => retry::came_back(ctx, plan, line.clone()),
        (IsolationState::Wanted | IsolationState::Failed | IsolationState::Refused, false)
            if line.asked.is_some() =>
        {
            // Half a set is asked again, or comes back.
            let set: BTreeSet<CpuId> = line.together.iter().copied().collect();
            let all_off = set.iter().all(|c| ctx.machine.cpus.get(c).is_some_and(|c| !c.online));
            if all_off {
                let why = retry::cause_of(ctx, line);
                let mut line = line.clone();
                line.taken = Some(ctx.now);
                retry::clear(&mut line);
                settle(ctx, plan, vec![line], retry::is_out(why));
            } else {
                resume(ctx, plan, line);
            }
        }
        (IsolationState::Released, false) if guard::may_go(line) => {
            let mut line = line.clone();
            line.taken = Some(ctx.now);
            retry::clear(&mut line);
            line.asked = Some(Asked::Give);
            line.next_try = Some(ctx.now);
            settle(ctx, plan, vec![line], retry::went_after_release());
        }
        (IsolationState::Released, true) if guard::may_go(line) => {
            plan.isolations.push(Isolation { asked: None, ..line.clone() });
        }
        (IsolationState::Wanted | IsolationState::Failed | IsolationState::Refused, false) => {
            let others_off = line
                .together
                .iter()
                .all(|c| ctx.machine.cpus.get(c).is_some_and(|cpu| !cpu.online));
            cpu::off_by_others(ctx, plan, vec![line.clone()], others_off);
        }
        _ => resume(ctx, plan, line),
    }
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
        let name = targets_name(ctx, &[line.target]);
        match line.state {
            IsolationState::Stale => continue,
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
    }
    for fault in reopened {
        plan.faults.push(FaultNote {
            fault,
            state: FaultState::Open,
            decision: "The host was rebooted: what was taken for this fault is in service again."
                .to_owned(),
            advice: "Close the fault if the part was replaced; it is taken again if it fails anew."
                .to_owned(),
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
