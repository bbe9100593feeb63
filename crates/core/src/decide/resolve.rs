//! An admin closes a fault: what only it held goes back into service, what it
//! still asked for is wanted no more, and the rest stays on somebody else's
//! account.

use super::cpu::whole_cores;
use super::settle::{cpus_name, targets_name};
use super::{admin, group, ue, Context, Decision, DecisionKind, Plan};
use crate::model::{
    Asked, By, Component, CpuId, Fault, FaultState, Group, Isolation, IsolationState, Target, Undo,
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What closing a fault comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Closing {
    /// Lines, orders, and the one line that is told.
    pub plan: Plan,
    /// Out of service until now, and on its way back; in ascending order.
    pub given: Vec<Target>,
    /// Out of service, and staying so; in ascending order.
    pub kept: Vec<Kept>,
}

/// Why something stays out of service when a fault is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What.
    pub target: Target,
    /// One sentence.
    pub why: String,
}

/// What follows when an admin closes `fault`; its state says as what. `open`
/// are the faults that are open: who of them covers a page or a CPU holds it.
///
/// No line names the fault afterwards, so nothing that becomes of them later
/// reopens it. An uncorrected error stays known.
pub fn closed<'f>(ctx: &Context, fault: &Fault, open: impl Iterator<Item = &'f Fault>) -> Closing {
    let holders = Holders::of(open.filter(|other| other.id != fault.id));
    let mut closing = Closing::default();
    let mut give = Vec::new();
    for old in held_by(ctx, fault) {
        let holder = holders.of_line(ctx, old);
        let line = Isolation { fault: holder.map(|other| other.id), ..old.clone() };
        match (old.state, holder) {
            (IsolationState::Isolated, _) if old.asked == Some(Asked::Give) => {
                closing.given.push(old.target);
                closing.plan.isolations.push(line);
            }
            (IsolationState::Isolated, _) => match stays(ctx, old, holder) {
                Some(why) => {
                    closing.plan.isolations.push(handed_over(old, holder));
                    closing.kept.push(Kept { target: old.target, why });
                }
                None => give.push(line),
            },
            (IsolationState::Released, _) | (_, Some(_)) => closing.plan.isolations.push(line),
            // Of its own account.
            (_, None) if ue::has_ue(old) || old.by == By::Admin => {
                closing.plan.isolations.push(line);
            }
            (_, None) => closing.plan.isolations.push(unwanted(ctx, line)),
        }
    }
    // What was on its way already, and what is now.
    closing.given.extend(give.iter().map(|line| line.target));
    closing.given.sort_unstable();
    give_back(ctx, &mut closing.plan, give);
    if let Some((group, _)) = ctx.ledger.group(fault.id) {
        closing.plan.groups.push(Group { pages: Vec::new(), ..group.clone() });
    }
    closing.plan = group::told(ctx, closing.plan);
    closing.plan.decisions.push(told(ctx, fault, &closing.given, &closing.kept));
    closing
}

/// The lines that the fault is behind: those that name it, and of the pages
/// that it covers the others too: who is behind those may be closed already.
fn held_by<'c>(ctx: &Context<'c>, fault: &Fault) -> Vec<&'c Isolation> {
    let named = ctx.ledger.of_fault(fault.id).map(|line| line.target);
    let group = ctx.ledger.group(fault.id);
    let covered = group.iter().flat_map(|(group, _)| &group.pages).map(|pfn| Target::Page(*pfn));
    let targets: BTreeSet<Target> = named.chain(covered).collect();
    targets.iter().filter_map(|target| ctx.ledger.get(target)).collect()
}

/// The line of what stays, on the account of `holder` from now on.
fn handed_over(line: &Isolation, holder: Option<&Fault>) -> Isolation {
    let fault = holder.map(|other| other.id);
    let why = match holder {
        Some(other) if line.fault != fault => other.because(),
        _ => line.why.clone(),
    };
    Isolation { fault, why, ..line.clone() }
}

/// The line of what is in service, or whose hardware is gone, and is not to be
/// taken any more. An order that is under way stays so: what it takes is given
/// back.
fn unwanted(ctx: &Context, line: Isolation) -> Isolation {
    Isolation {
        state: IsolationState::Released,
        by: By::Admin,
        since: ctx.now,
        why: "An admin closed the fault that it was to be taken for.".to_owned(),
        next_try: None,
        failures: 0,
        ..line
    }
}

/// The open faults that call for something out of service.
struct Holders<'f> {
    by_id: BTreeMap<Uuid, &'f Fault>,
    by_page: BTreeMap<Target, &'f Fault>,
    of_cpus: Vec<&'f Fault>,
}

impl<'f> Holders<'f> {
    fn of(open: impl Iterator<Item = &'f Fault>) -> Holders<'f> {
        let mut holders =
            Holders { by_id: BTreeMap::new(), by_page: BTreeMap::new(), of_cpus: Vec::new() };
        for fault in open.filter(|fault| fault.is_open()) {
            holders.by_id.insert(fault.id, fault);
            if let Component::Page { pfn } = fault.component {
                holders.by_page.insert(Target::Page(pfn), fault);
            }
            if !fault.component.cpus().is_empty() {
                holders.of_cpus.push(fault);
            }
        }
        holders
    }

    /// The one that holds `line`: of a page its own fault before a row's.
    fn of_line(&self, ctx: &Context, line: &Isolation) -> Option<&'f Fault> {
        let named = line.fault.and_then(|id| self.by_id.get(&id));
        let other = || match line.target {
            Target::Page(pfn) => self
                .by_page
                .get(&line.target)
                .or_else(|| ctx.ledger.covering(pfn).find_map(|id| self.by_id.get(&id))),
            Target::Cpu(cpu) => self.of_cpus.iter().find(|fault| calls_for(ctx, fault, cpu, line)),
        };
        named.or_else(other).copied()
    }
}

/// `fault` is of the CPU's core, or of the CPUs that went with it: one that many
/// cores share, and that took none of them, holds none.
fn calls_for(ctx: &Context, fault: &Fault, cpu: CpuId, line: &Isolation) -> bool {
    let cpus = whole_cores(ctx, fault.component.cpus());
    cpus.contains(&cpu) && cpus.iter().all(|cpu| line.together.contains(cpu))
}

/// Why what is out of service stays so; `None` if nothing but the fault held it.
fn stays(ctx: &Context, line: &Isolation, holder: Option<&Fault>) -> Option<String> {
    if let Some(other) = holder {
        let name = other.component.name(ctx.machine.page_size);
        return Some(format!("The open fault {} of {name} holds it.", other.id));
    }
    match line.by {
        By::Bulkhead => None,
        By::Kernel => Some("The kernel took it by itself: release it if it is sound.".to_owned()),
        By::Admin => Some("An admin took it: it stays until it is released.".to_owned()),
    }
}

/// Gives back what the kernel can give back; the rest waits for a reboot.
fn give_back(ctx: &Context, plan: &mut Plan, lines: Vec<Isolation>) {
    // In mode observe nothing is touched. A page with a fresh uncorrected error
    // must not come back before a reboot tests it.
    let (later, now): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| ctx.policy.observe || line.ue.is_some());
    for line in later {
        let why = if ctx.policy.observe {
            "Its fault was closed, and mode observe touches nothing: only a reboot brings it back."
        } else {
            "Its fault was closed; after an uncorrected error only a reboot brings it back."
        };
        let release = Some(Undo::NextBoot);
        let unreadable = line.ue.is_some();
        plan.isolations.push(Isolation { release, unreadable, why: why.to_owned(), ..line });
    }
    admin::give(plan, now);
}

/// One line for all: that a fault is closed is one piece of news.
fn told(ctx: &Context, fault: &Fault, given: &[Target], kept: &[Kept]) -> Decision {
    let mut done = Vec::new();
    if !given.is_empty() {
        done.push(format!("{} on the way back into service", these(ctx, given.iter())));
    }
    if !kept.is_empty() {
        let these = these(ctx, kept.iter().map(|kept| &kept.target));
        done.push(format!("{these} staying out of service"));
    }
    let word = match fault.state {
        FaultState::Repaired => "the part was repaired",
        FaultState::Replaced => "the part was replaced",
        _ => "it was no fault",
    };
    Decision {
        kind: DecisionKind::Released,
        component: fault.component.name(ctx.machine.page_size),
        target: None,
        fault: Some(fault.id),
        why: format!("An admin closed its fault: {word}."),
        done: match done.is_empty() {
            true => "Nothing was out of service for it.".to_owned(),
            false => format!("Closed, with {}.", done.join(" and ")),
        },
        next: "Nothing, unless it fails anew.".to_owned(),
        human: false,
    }
}

/// "CPUs 1,5 (one core)", "24 pages".
fn these<'t>(ctx: &Context, targets: impl Iterator<Item = &'t Target>) -> String {
    let targets: BTreeSet<Target> = targets.copied().collect();
    let is_cpu = |target: &Target| matches!(target, Target::Cpu(_));
    let (cpus, pages): (Vec<Target>, Vec<Target>) = targets.into_iter().partition(is_cpu);
    let numbers: Vec<CpuId> = cpus.iter().filter_map(|target| target.cpu()).collect();
    let names = [
        (!cpus.is_empty()).then(|| cpus_name(ctx, &numbers)),
        (!pages.is_empty()).then(|| targets_name(ctx, &pages)),
    ];
    names.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}
