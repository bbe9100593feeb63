//! What a reboot makes of isolations and faults of memory: whether the memory
//! that they are of is still behind its addresses.
//!
//! With interleaving, one DIMM or one setting of firmware's moves every address
//! to another cell. So what was decided in another memory configuration is not
//! applied, and comes back with it.

use super::budget::PageBudget;
use super::settle::targets_name;
use super::{group, page, restore, retry, Context, Decision, DecisionKind, FaultNote, Plan};
use crate::model::{
    Asked, Component, Fault, FaultState, Home, Isolation, IsolationState, KnownMemory,
    MemoryConfigId, Pfn, Target, Undo,
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// At the first start in a boot, before all else: makes lines of memory that is
/// not there stale, and wants those again whose hardware is back.
pub fn rehome(ctx: &Context, memory: &KnownMemory, faults: &BTreeMap<Uuid, Fault>) -> Plan {
    let mut plan = Plan::default();
    let stands = |line: &&Isolation| match line.fault {
        Some(fault) => faults.get(&fault).is_some_and(Fault::is_open),
        None => true,
    };
    for line in ctx.ledger.values() {
        if let Some(why) = gone(ctx, memory, line) {
            plan.isolations.push(stale(ctx, line, why));
        }
    }
    let stale = plan.isolations.len();
    let listed = ctx.ledger.values().filter(|line| line.state == IsolationState::Stale);
    let is_back = |line: &&Isolation| ctx.machine.has(line.home) == Some(true);
    for line in listed.chain(ctx.ledger.aside()).filter(is_back).filter(stands) {
        plan.isolations.push(wanted_again(ctx, line));
    }
    let back = plan.isolations.get(stale..).unwrap_or_default();
    let (pages, named): (BTreeSet<Option<Pfn>>, BTreeSet<Option<Uuid>>) =
        back.iter().map(|line| (line.target.page(), line.fault)).unzip();
    let back = back.len();
    let goes_on = |fault: &Fault| {
        let mut covered = fault.cover.iter().flat_map(|cover| &cover.pages);
        named.contains(&Some(fault.id)) || covered.any(|pfn| pages.contains(&Some(*pfn)))
    };
    let noted = faults.values().filter_map(|fault| note(ctx, memory, fault, goes_on(fault)));
    plan.faults.extend(noted);
    plan.decisions.extend(news(ctx, memory, stale, back));
    plan
}

/// Why `line` is not to be applied to what is behind its address now.
fn gone(ctx: &Context, memory: &KnownMemory, line: &Isolation) -> Option<String> {
    let is_going_back = line.release == Some(Undo::NextBoot) || line.asked == Some(Asked::Give);
    let is_settled = matches!(line.state, IsolationState::Stale | IsolationState::Released);
    // A CPU's number is looked up by its identity when it is taken again.
    if is_settled || is_going_back || !matches!(line.target, Target::Page(_)) {
        return None;
    }
    let has = ctx.machine.has(line.home);
    if has == Some(true) {
        return None;
    }
    let name = targets_name(ctx, &[line.target]);
    match (line.home, has) {
        (Home::Memory(home), _) => Some(format!(
            "The memory is not what it was when {name} was isolated, so it may be another cell \
             now: {}.",
            memory.changes_since(home)
        )),
        _ => Some(format!(
            "Which memory {name} was of is not known: firmware did not tell, so it may be another \
             cell now."
        )),
    }
}

fn stale(ctx: &Context, line: &Isolation, why: String) -> Isolation {
    // What was out of service is so again when its memory is back.
    let restores = restore::is_due(line);
    let mut line = line.clone();
    retry::clear(&mut line);
    Isolation { state: IsolationState::Stale, since: ctx.now, why, restores, ..line }
}

fn wanted_again(ctx: &Context, line: &Isolation) -> Isolation {
    let why = match line.target {
        Target::Page(_) => "The memory that it failed in is back.",
        Target::Cpu(_) => "The processor core that failed is back.",
    };
    // What was out of service has its place of the day from then; what of it
    // reads as such is not before it is taken again.
    let restores = match line.target {
        Target::Page(_) => line.restores,
        Target::Cpu(_) => line.taken.is_some(),
    };
    Isolation {
        state: IsolationState::Wanted,
        since: ctx.now,
        why: why.to_owned(),
        restores,
        failures: u32::from(restores),
        ..line.clone()
    }
}

/// What becomes of a fault of memory when the memory changed. `goes_on`: pages
/// of it are wanted again, be it after a boot that could not read the memory.
fn note(ctx: &Context, memory: &KnownMemory, fault: &Fault, goes_on: bool) -> Option<FaultNote> {
    if !fault.is_open() || !fault.component.is_memory() {
        return None;
    }
    let here = fault.is_of(ctx.machine, false);
    let was_here = memory.last().is_some_and(|last| fault.home == Home::Memory(last));
    let (decision, advice) = match (here, fault.home) {
        (true, _) if was_here && !goes_on => return None,
        (true, _) => ("The memory that it is of is back: it goes on.".to_owned(), None),
        (false, home) => {
            let changes = match home {
                Home::Memory(home) => memory.changes_since(home),
                _ => "firmware did not tell which memory it was".to_owned(),
            };
            let decision = format!(
                "It is of memory that is not there any more: {changes}. It takes nothing, and no \
                 error adds to it, until that memory is back."
            );
            let advice = "Close the fault as replaced if its part is gone for good.".to_owned();
            (decision, Some(advice))
        }
    };
    // What held its pages back is asked anew, since they are wanted again.
    let takes_pages = matches!(fault.component, Component::Page { .. } | Component::Row { .. });
    let state = match fault.state {
        FaultState::Escalated if !(here && takes_pages) => FaultState::Escalated,
        _ => FaultState::Open,
    };
    Some(FaultNote { fault: fault.id, state, decision, advice })
}

/// One line for all: a change is one piece of news.
fn news(ctx: &Context, memory: &KnownMemory, stale: usize, back: usize) -> Option<Decision> {
    let now = ctx.machine.memory;
    let changed = memory.last().filter(|last| *last != now);
    let why = match changed {
        _ if now == MemoryConfigId::default() && (stale > 0 || changed.is_some()) => {
            "The memory's configuration cannot be read: firmware shows no SMBIOS table and no \
             memory map."
                .to_owned()
        }
        Some(last) => format!(
            "The memory is not what it was at the last boot: {}.",
            memory.changes_since(last)
        ),
        None if stale > 0 => {
            "Which memory some pages were of is not known: firmware did not tell.".to_owned()
        }
        None => return None,
    };
    let isolations = |n: usize| format!("{n} {}", if n == 1 { "isolation" } else { "isolations" });
    Some(Decision {
        kind: DecisionKind::Reported,
        component: "memory configuration".to_owned(),
        target: None,
        fault: None,
        why,
        done: format!(
            "{} of pages not applied and listed as stale, {} wanted again.",
            isolations(stale),
            isolations(back)
        ),
        next: "Nothing, if the change was meant: stale ones come back with the memory they are of."
            .to_owned(),
        human: false,
    })
}

/// The platform's decoder says that a page is the same cells as when its stale
/// line was decided on: it is taken, as by a fault that just fired.
pub fn confirmed(ctx: &Context, pfn: Pfn) -> Plan {
    let mut plan = Plan::default();
    let Some(line) = ctx.ledger.get(&Target::Page(pfn)) else { return plan };
    if line.state != IsolationState::Stale {
        return plan;
    }
    let name = targets_name(ctx, &[line.target]);
    let why = format!(
        "The memory changed, but by the memory controller's decoding {name} still is where it \
         was, in the same module."
    );
    let line = Isolation { home: ctx.machine.home(line.target), ..line.clone() };
    page::take(ctx, &mut PageBudget::of(ctx), &mut plan, line, pfn, why);
    group::told(ctx, plan)
}

#[cfg(test)]
mod tests;
