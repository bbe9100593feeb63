//! CPUs of an earlier boot that are to be off line again: the same cores,
//! whatever their numbers are now.

use super::belongs::belongs;
use super::settle::targets_name;
use super::steps::{hold, observe, order};
use super::{cpu, cpu_guard, retry, survey, Cause, Context, Order, Plan};
use crate::model::{By, CpuId, Isolation, IsolationState, Ledger, Target, Urgency};
use std::collections::{BTreeMap, BTreeSet};

/// Lines under the numbers that their CPUs have now, and the numbers that
/// nothing is known of any more.
struct Moved {
    /// Each set that goes or stays together, under its new numbers.
    sets: BTreeMap<BTreeSet<CpuId>, Vec<Isolation>>,
    gone: Vec<Target>,
}

/// Decides on `lines` anew: those that are to be off line, each with the
/// hardware it belongs to. The guards hold as for any other core, but for the
/// one core per 10 minutes: they were taken before.
pub(super) fn cpus(ctx: &Context, plan: &mut Plan, lines: Vec<Isolation>) {
    let listed: BTreeSet<Target> = lines.iter().map(|line| line.target).collect();
    let Moved { sets, gone } = moved(ctx, lines);
    plan.gone.extend(gone);
    // What the guards are to count: no line under the number of another boot.
    // When each was taken counts, whatever became of it.
    let over = ctx.ledger.cpus().filter(|line| !listed.contains(&line.target));
    let over = over.chain(sets.values().flatten()).map(|line| Isolation {
        state: IsolationState::Released,
        asked: None,
        ..line.clone()
    });
    let mut known: Ledger = over.collect();
    let mut sets: Vec<(BTreeSet<CpuId>, Vec<Isolation>)> = sets.into_iter().collect();
    // What was off comes before what never was.
    sets.sort_by_key(|(_, lines)| !lines.iter().all(|line| line.restores));
    let all: BTreeSet<CpuId> =
        sets.iter().flat_map(|(_, lines)| lines).filter_map(|line| line.target.cpu()).collect();
    for (set, lines) in sets {
        let own: BTreeSet<CpuId> = lines.iter().filter_map(|line| line.target.cpu()).collect();
        let others = set.iter().any(|cpu| all.contains(cpu) && !own.contains(cpu));
        let restores = lines.iter().all(|line| line.restores);
        let (off, on): (Vec<Isolation>, Vec<Isolation>) =
            lines.into_iter().partition(|line| !is_online(ctx, line));
        let numbers: Vec<CpuId> = on.iter().filter_map(|line| line.target.cpu()).collect();
        let by_admin = on.iter().all(|line| line.by == By::Admin);
        let so_far = Context { ledger: &known, ..*ctx };
        let mut step = Plan::default();
        let held = cpu_guard::cpus(&so_far, &set, &numbers, !restores && !by_admin);
        let why = on.iter().find_map(why).unwrap_or_else(|| {
            let targets: Vec<Target> = on.iter().map(|line| line.target).collect();
            retry::there_is_room(&targets_name(ctx, &targets))
        });
        let on_is_empty = on.is_empty();
        match held {
            _ if on_is_empty => {}
            // An admin had one of its threads by itself.
            _ if others => hold(ctx, &mut step, on, cpu::after_other_order(ctx)),
            Err(held) => hold(ctx, &mut step, on, held),
            Ok(()) if !restores => {
                let first = on.first().map(|line| (line.by, line.fault, line.urgency));
                let (by, fault, urgency) =
                    first.unwrap_or((By::Bulkhead, None, Urgency::default()));
                survey::order(ctx, &mut step, on, &Cause { by, fault, why, urgency });
            }
            Ok(()) if ctx.policy.observe => observe(ctx, &mut step, on, why),
            Ok(()) => {
                order(ctx, &mut step, on, why);
                step.orders.push(Order::TakeCpus(numbers));
            }
        }
        // Off line in this boot before we were there.
        if !off.is_empty() {
            cpu::off_by_others(ctx, &mut step, off, on_is_empty);
        }
        step.isolations.iter().for_each(|line| known.insert(line.clone()));
        plan.extend(step);
    }
}

fn moved(ctx: &Context, lines: Vec<Isolation>) -> Moved {
    let old: BTreeSet<Target> = lines.iter().map(|line| line.target).collect();
    let now: BTreeMap<Target, CpuId> = lines
        .iter()
        .filter_map(|line| match belongs(ctx, line) {
            Ok(Target::Cpu(cpu)) => Some((line.target, cpu)),
            _ => None,
        })
        .collect();
    let mut sets: BTreeMap<BTreeSet<CpuId>, Vec<Isolation>> = BTreeMap::new();
    for line in lines {
        let Some(cpu) = now.get(&line.target) else { continue };
        let set = set(ctx, &line, *cpu, &now);
        let restores = line.restores || line.state == IsolationState::Isolated;
        let target = Target::Cpu(*cpu);
        sets.entry(set.clone()).or_default().push(Isolation {
            target,
            home: ctx.machine.home(target),
            together: set.into_iter().collect(),
            restores,
            asked: None,
            next_try: None,
            ..line
        });
    }
    let all: BTreeSet<CpuId> =
        sets.values().flatten().filter_map(|line| line.target.cpu()).collect();
    // A core goes whole, whichever of its threads were listed.
    for (set, lines) in &mut sets {
        let Some(first) = lines.first().cloned() else { continue };
        for cpu in set.iter().filter(|cpu| !all.contains(cpu)) {
            let target = Target::Cpu(*cpu);
            let home = ctx.machine.home(target);
            // One that was given back went by our doing all the same.
            let own = ctx.ledger.cpus().filter(|line| line.home == home);
            let taken = own.filter_map(|line| line.taken).chain(first.taken);
            let taken = taken.max_by_key(|taken| taken.at);
            lines.push(Isolation { target, home, taken, ..first.clone() });
        }
    }
    let listed: BTreeSet<Target> = sets.values().flatten().map(|line| line.target).collect();
    Moved { sets, gone: old.difference(&listed).copied().collect() }
}

/// What goes with the CPU that `line` is of: the same threads as before, and
/// their whole cores where we decided it.
fn set(
    ctx: &Context,
    line: &Isolation,
    own: CpuId,
    now: &BTreeMap<Target, CpuId>,
) -> BTreeSet<CpuId> {
    let others = line.together.iter().filter_map(|other| now.get(&Target::Cpu(*other)));
    let named: BTreeSet<CpuId> = others.copied().chain([own]).collect();
    if line.by == By::Admin && line.together.len() <= 1 {
        return named;
    }
    cpu::whole_cores(ctx, &named.into_iter().collect::<Vec<_>>())
}

fn is_online(ctx: &Context, line: &Isolation) -> bool {
    line.target.cpu().and_then(|cpu| ctx.machine.cpus.get(&cpu)).is_some_and(|cpu| cpu.online)
}

/// Why it is to be off line, where its words tell that and not what kept it on.
fn why(line: &Isolation) -> Option<String> {
    use IsolationState::{Isolated, Observed, Wanted};
    matches!(line.state, Isolated | Observed | Wanted).then(|| line.why.clone())
}
