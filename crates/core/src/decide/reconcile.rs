//! What should be against what is, after a (re)start.

use super::belongs::belongs;
use super::budget::PageBudget;
use super::settle::{settle, targets_name, Verdict};
use super::{
    affinity, cpu, group, guard, masked, page, restore, restore_cpus, retry, Checks, Context,
    Decision, DecisionKind, FaultNote, Order, Plan,
};
use crate::model::{Asked, By, CpuId, FaultState, Isolation, IsolationState, Pfn, Target, Undo};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What the kernel that runs is to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// The one it was kept under.
    Same,
    /// That one, too; but the daemon ended before all that earlier boots had
    /// out of service was tried.
    Unfinished,
    /// Another: everything is in service again.
    New,
}

/// Makes the ledger of an earlier run true.
///
/// What is to be taken or looked at is due at once; what was on its way back,
/// or is to be restored after a boot, is ordered here.
///
/// No order of the earlier run is still under way: its process is gone, or the
/// store would be locked, and a process goes only when none of its threads is
/// in the kernel any more. So of a CPU it is enough to look at it.
pub fn start(ctx: &Context, checks: &mut Checks, boot: Boot) -> Plan {
    if boot == Boot::New {
        let mut plan = new_boot(ctx);
        affinity::forget(ctx, &mut plan);
        return plan;
    }
    let mut plan = Plan::default();
    let (mut back, mut restore) = (Vec::new(), Vec::new());
    for line in ctx.ledger.values() {
        match line.target {
            Target::Cpu(cpu) => back.extend(resume_cpu(ctx, &mut plan, line, cpu)),
            Target::Page(_) if masked::is_certain(ctx, line) => {
                masked::is_out(ctx, &mut plan, line.clone());
            }
            Target::Page(_) if boot == Boot::Unfinished && may_be_on(line) => {
                restore.push(line);
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
    restore::pages(ctx, &mut plan, restore, true);
    group::told(ctx, plan)
}

/// The mode is another from now on: what would have been taken is due where it
/// may go now. Orders that are out are not taken back, and end as they end.
pub fn mode_changed(ctx: &Context) -> Plan {
    let mut plan = Plan::default();
    if !ctx.policy.observe {
        let observed = ctx.ledger.values().filter(|l| l.state == IsolationState::Observed);
        let due = observed.map(|line| Isolation { next_try: Some(ctx.now), ..line.clone() });
        plan.isolations.extend(due);
    }
    affinity::follow(ctx, &mut plan);
    plan
}

/// Listed as off, by this boot or by an earlier one. Off already, it is not
/// hurt by another order.
fn may_be_on(line: &Isolation) -> bool {
    line.state == IsolationState::Isolated
        && line.asked.is_none()
        && line.release.is_none()
        && line.ue.is_none()
        && !line.unreadable
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
            cpu::off_by_others(ctx, plan, vec![settled], cpu::all_off(ctx, line));
        }
        _ => resume(ctx, plan, line, settled),
    }
    None
}

/// An order whose answer was lost took it, as far as anybody can tell.
fn left_off(ctx: &Context, plan: &mut Plan, line: Isolation, id: CpuId) -> Option<CpuId> {
    let on_its_way = Isolation { asked: Some(Asked::Give), taken: Some(ctx.now), ..line.clone() };
    if ctx.policy.observe || (line.state != IsolationState::Released && cpu::all_off(ctx, &line)) {
        let mut ours = Plan::default();
        cpu::is_ours(ctx, &mut ours, vec![line]);
        cpu::look_again(ctx, &mut ours);
        plan.extend(ours);
        return None;
    }
    if line.state == IsolationState::Released {
        settle(ctx, plan, vec![on_its_way], retry::went_after_release(true));
    } else {
        // Half a core: it comes back, and goes whole if it is still wanted.
        resume(ctx, plan, &line, on_its_way);
    }
    Some(id)
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

/// A boot gives everything back. What is surely the same hardware is taken
/// again, first of all what had failed; the rest goes on as it was.
fn new_boot(ctx: &Context) -> Plan {
    let mut plan = Plan::default();
    let mut left = Left::default();
    let (mut pages, mut failed, mut cpus) = (Vec::new(), Vec::new(), Vec::new());
    for line in ctx.ledger.values() {
        if masked::is_certain(ctx, line) {
            masked::is_out(ctx, &mut plan, line.clone());
            continue;
        }
        match line.state {
            IsolationState::Stale => continue,
            IsolationState::Released => {
                // No order outlives its boot.
                if line.asked.is_some() {
                    plan.isolations.push(Isolation { asked: None, ..line.clone() });
                }
                continue;
            }
            IsolationState::Isolated
                if line.release == Some(Undo::NextBoot) || line.asked == Some(Asked::Give) =>
            {
                plan.isolations.push(given_back(ctx, line));
                left.note(ctx, line);
                continue;
            }
            _ => {}
        }
        if let Err(why) = belongs(ctx, line) {
            plan.isolations.push(stale(ctx, line, why));
            left.stale += 1;
            left.note(ctx, line);
            continue;
        }
        let anew = Isolation { asked: None, ..line.clone() };
        match line.target {
            Target::Cpu(_) => cpus.push(anew),
            Target::Page(_) if line.unreadable || line.ue.is_some() => {
                restore::unreadable(ctx, &mut plan, anew);
            }
            Target::Page(_) if restore::is_due(line) => pages.push(line),
            Target::Page(_) if line.state == IsolationState::Failed => failed.push(anew),
            Target::Page(_) => resume(ctx, &mut plan, line, anew),
        }
    }
    failed_first(ctx, &mut plan, failed);
    restore::pages(ctx, &mut plan, pages, false);
    restore_cpus::cpus(ctx, &mut plan, cpus);
    left.tell(&mut plan);
    group::told(ctx, plan)
}

/// What could not be moved in the boot before may not be in use yet in this one.
fn failed_first(ctx: &Context, plan: &mut Plan, mut lines: Vec<Isolation>) {
    lines.sort_by_key(|line| (Reverse(line.urgency), line.since.at));
    let mut budget = PageBudget::of(ctx);
    for line in lines {
        if let Target::Page(pfn) = line.target {
            let why = line.why.clone();
            page::take(ctx, &mut budget, plan, line, pfn, why);
        }
    }
}

/// The release that waited for a boot.
fn given_back(ctx: &Context, line: &Isolation) -> Isolation {
    let name = targets_name(ctx, &[line.target]);
    let mut line = line.clone();
    retry::clear(&mut line);
    Isolation {
        state: IsolationState::Released,
        by: By::Admin,
        since: ctx.now,
        release: None,
        why: format!("The reboot that the release of {name} waited for has come."),
        ..line
    }
}

/// What a boot leaves in service, and the faults that it was taken for.
#[derive(Default)]
struct Left {
    stale: usize,
    faults: BTreeSet<Uuid>,
}

impl Left {
    fn note(&mut self, ctx: &Context, line: &Isolation) {
        self.faults.extend(line.fault);
        if let Target::Page(pfn) = line.target {
            self.faults.extend(ctx.ledger.covering(pfn));
        }
    }

    /// One line for all: a reboot is one piece of news.
    fn tell(self, plan: &mut Plan) {
        plan.faults.extend(self.faults.into_iter().map(|fault| {
            FaultNote {
                fault,
                state: FaultState::Open,
                decision:
                    "The host was rebooted: what was taken for this fault is in service again."
                        .to_owned(),
                advice: Some(
                    "Close the fault if the part was replaced; it is taken again if it fails anew."
                        .to_owned(),
                ),
            }
        }));
        if self.stale == 0 {
            return;
        }
        plan.decisions.push(Decision {
            kind: DecisionKind::Reported,
            component: "isolations of an earlier boot".to_owned(),
            target: None,
            fault: None,
            why: "Their hardware is gone, or is not surely the same as before the reboot."
                .to_owned(),
            done: format!(
                "{} isolations or requests are listed as stale, none applied.",
                self.stale
            ),
            next: "Nothing: what still fails is taken again by its errors.".to_owned(),
            human: false,
        });
    }
}
