//! The guards around CPUs. Each has a name, which its sentence ends with:
//! docs/guards.md lists them.

use super::guard::{is_observed, is_ours, Held};
use super::settle::cpus_name;
use super::{Context, DedicatedPolicy, Limits};
use crate::model::{Cpu, CpuId, IsolationState, Partition, Survey, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a survey holds back is surveyed again so often: no event tells when a
/// task or a cgroup lets go of a CPU.
const RESURVEY: Duration = Duration::from_secs(600);

/// Whether the CPUs of `set` may go, of which `order` still have to, as far as
/// the limits and the host's make-up tell.
///
/// `rate`: one core per [`Limits::CORE_INTERVAL`] holds for what we decide, not
/// for what an admin asks for.
pub(super) fn cpus(
    ctx: &Context,
    set: &BTreeSet<CpuId>,
    order: &[CpuId],
    rate: bool,
) -> Result<(), Held> {
    removable(ctx, set)?;
    one_stays(ctx, set)?;
    housekeeping_stays(ctx, set, &[])?;
    some_stay_in_each(
        ctx,
        set,
        |cpu| cpu.node,
        |node| !ctx.machine.memoryless_nodes.contains(&node),
        ("NUMA node", "limits.cpus_per_node", ctx.policy.limits.cpus_per_node),
    )?;
    some_stay_in_each(
        ctx,
        set,
        |cpu| cpu.socket.0,
        |_| true,
        ("Socket", "limits.cpus_per_socket", ctx.policy.limits.cpus_per_socket),
    )?;
    within_share(ctx, set, order)?;
    if rate {
        interval_over(ctx, set)?;
    }
    Ok(())
}

/// Whether the CPUs of `order`, of `set`, may go as far as `survey` tells.
pub(super) fn surveyed(
    ctx: &Context,
    set: &BTreeSet<CpuId>,
    order: &[CpuId],
    survey: &Survey,
) -> Result<(), Held> {
    let allowed = housekeeping_stays(ctx, set, &survey.partitions)
        .and_then(|()| not_dedicated(ctx, order, survey));
    allowed.map_err(|held| Held { next_try: Some(ctx.now.after(RESURVEY)), ..held })
}

fn held(why: String, next: &str) -> Held {
    Held { why, next: next.to_owned(), next_try: None }
}

fn removable(ctx: &Context, set: &BTreeSet<CpuId>) -> Result<(), Held> {
    for id in set {
        match ctx.machine.cpus.get(id) {
            None => {
                return Err(held(
                    format!("CPU {id} is not present (guard.present)."),
                    "Check the CPU's number.",
                ))
            }
            Some(cpu) if !cpu.removable => {
                return Err(held(
                    format!(
                        "CPU {id} cannot be taken off line: the kernel has no switch for it \
                         (guard.switch)."
                    ),
                    "Move the work away and plan the replacement of the processor.",
                ))
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// On line without those of `set`, and not about to go: what may come back is
/// not counted on.
fn staying<'a>(ctx: &'a Context, set: &'a BTreeSet<CpuId>) -> impl Iterator<Item = &'a Cpu> {
    let stays = |cpu: CpuId| {
        ctx.ledger.get(&Target::Cpu(cpu)).is_none_or(|line| {
            line.state != IsolationState::Isolated && !line.may_go() && !is_observed(ctx, line)
        })
    };
    ctx.machine.online().filter(move |cpu| !set.contains(&cpu.id) && stays(cpu.id))
}

fn one_stays(ctx: &Context, set: &BTreeSet<CpuId>) -> Result<(), Held> {
    if staying(ctx, set).next().is_none() {
        return Err(held(
            "It holds the last CPU that is on line (guard.last-cpu).".to_owned(),
            "Bring other CPUs on line, or move the work to another host.",
        ));
    }
    Ok(())
}

/// A CPU stays that is there for everybody: kept neither by the kernel's command
/// line nor by a cgroup for somebody's own.
fn housekeeping_stays(
    ctx: &Context,
    set: &BTreeSet<CpuId>,
    partitions: &[Partition],
) -> Result<(), Held> {
    let is_kept = |cpu: &Cpu| cpu.isolated || partitions.iter().any(|p| p.cpus.contains(&cpu.id));
    if staying(ctx, set).all(is_kept) {
        return Err(held(
            "It holds the last CPU for housekeeping: all others on line are in isolcpus, \
             nohz_full or a cpuset partition (guard.housekeeping)."
                .to_owned(),
            "Give CPUs back to general work (kernel command line, cpuset.cpus.partition), or move \
             the work to another host.",
        ));
    }
    Ok(())
}

/// So many stay in each part of the host that `set` has CPUs of.
fn some_stay_in_each(
    ctx: &Context,
    set: &BTreeSet<CpuId>,
    part_of: impl Fn(&Cpu) -> u32,
    counts: impl Fn(u32) -> bool,
    (part, limit, least): (&str, &str, u32),
) -> Result<(), Held> {
    let least = usize::try_from(least).unwrap_or(usize::MAX);
    let mut left: BTreeMap<u32, usize> = set
        .iter()
        .filter_map(|id| ctx.machine.cpus.get(id))
        .map(|cpu| (part_of(cpu), 0))
        .filter(|(number, _)| counts(*number))
        .collect();
    for cpu in staying(ctx, set) {
        if let Some(count) = left.get_mut(&part_of(cpu)) {
            *count += 1;
        }
    }
    match left.into_iter().find(|(_, left)| *left < least) {
        None => Ok(()),
        Some((number, left)) => Err(held(
            format!(
                "{part} {number} would be left with {left} CPUs on line, and {least} must stay \
                 ({limit})."
            ),
            "Move the work off this processor, and plan its replacement.",
        )),
    }
}

fn within_share(ctx: &Context, set: &BTreeSet<CpuId>, order: &[CpuId]) -> Result<(), Held> {
    let max = ctx.policy.limits.cpus(ctx.machine.cpus.len());
    // Those of the set that are ours already stay counted, those ordered come
    // on top: each once.
    let used = ctx
        .ledger
        .cpus()
        .filter(|line| is_ours(ctx, line))
        .filter(|line| matches!(line.target, Target::Cpu(cpu) if !order.contains(&cpu)))
        .count();
    if used.saturating_add(order.len()) > max {
        return Err(held(
            format!(
                "Taking {} would make {} CPUs taken, and {max} may be (limits.cpus).",
                cpus_name(ctx, &set.iter().copied().collect::<Vec<_>>()),
                used + order.len()
            ),
            "Plan the replacement of the processor: so many failing cores may share a cause.",
        ));
    }
    Ok(())
}

fn interval_over(ctx: &Context, set: &BTreeSet<CpuId>) -> Result<(), Held> {
    let last = ctx
        .ledger
        .cpus()
        .filter(|line| matches!(line.target, Target::Cpu(cpu) if !set.contains(&cpu)))
        .filter_map(|line| {
            if line.may_go() {
                Some(ctx.now.at)
            } else if is_observed(ctx, line) {
                Some(line.since.at)
            } else {
                line.taken.map(|taken| taken.at)
            }
        })
        .max();
    let Some(last) = last else { return Ok(()) };
    let passed = ctx.now.at.since(last);
    let Some(wait) = Limits::CORE_INTERVAL.checked_sub(passed).filter(|wait| !wait.is_zero())
    else {
        return Ok(());
    };
    Err(Held {
        why: format!(
            "Another core went less than {} minutes ago, and only one may in that time \
             (guard.core-interval).",
            Limits::CORE_INTERVAL.as_secs() / 60
        ),
        next: "Look whether the whole socket is failing: it is decided on again by itself."
            .to_owned(),
        next_try: Some(ctx.now.after(wait)),
    })
}

/// Nobody keeps these CPUs for himself, as far as can be told.
fn not_dedicated(ctx: &Context, order: &[CpuId], survey: &Survey) -> Result<(), Held> {
    if ctx.policy.cpu.dedicated == DedicatedPolicy::Proceed {
        return Ok(());
    }
    let name = cpus_name(ctx, order);
    let owns = |partition: &&Partition| order.iter().any(|cpu| partition.cpus.contains(cpu));
    if let Some(partition) = survey.partitions.iter().find(owns) {
        return Err(held(
            format!(
                "The cpuset partition of cgroup {} has CPUs of {name} to itself (cpu.dedicated).",
                partition.cgroup
            ),
            "Take the CPU out of the partition, or set cpu.dedicated = \"proceed\".",
        ));
    }
    if let Some(task) = survey.tasks.iter().find(|task| task.is_real_time()) {
        return Err(held(
            format!(
                "{} runs by {} and may run on nothing but {name} (cpu.dedicated).",
                task.name(),
                task.policy.name()
            ),
            "Let the task run on other CPUs too, or set cpu.dedicated = \"proceed\".",
        ));
    }
    if let Some(unknown) = survey.unknown.first() {
        return Err(held(
            format!("Nobody can tell what needs {name}: {unknown} (cpu.dedicated)."),
            "Mend what keeps Bulkhead from looking, or set cpu.dedicated = \"proceed\".",
        ));
    }
    Ok(())
}
