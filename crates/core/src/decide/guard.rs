//! What may be taken: the limits, and the guards around CPUs.

use super::budget::PageBudget;
use super::{settle, Context, Limits};
use crate::model::{Asked, By, CpuId, Isolation, IsolationState, Machine, Pfn, Stamp, Target};
use std::collections::BTreeSet;

/// Held back, and until when.
pub(super) struct Held {
    /// Why, as a sentence.
    pub why: String,
    /// What the admin can do.
    pub next: String,
    /// When it may go; `None`: when there is room, which no clock tells.
    pub next_try: Option<Stamp>,
}

/// What the limits leave, for `status`. In mode observe the figures are what
/// would be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory taken, or being taken, by us.
    pub memory_used: u64,
    /// `limits.memory` in bytes.
    pub memory_max: u64,
    /// Pages taken, or being taken, by us in the last 24 h.
    pub pages_today: usize,
    /// `limits.pages_per_day`.
    pub pages_per_day: usize,
    /// CPUs taken, or being taken, by us.
    pub cpus_used: usize,
    /// `limits.cpus`, of those present.
    pub cpus_max: usize,
}

/// The figures of [`Usage`].
pub fn usage(ctx: &Context) -> Usage {
    let pages = PageBudget::of(ctx);
    Usage {
        memory_used: pages.memory_used,
        memory_max: pages.memory_max,
        pages_today: pages.today,
        pages_per_day: pages.per_day,
        cpus_used: ctx.ledger.cpus().filter(|line| is_ours(ctx, line)).count(),
        cpus_max: ctx.policy.limits.cpus(ctx.machine.cpus.len()),
    }
}

/// A limit or guard holds it back, and no clock tells until when.
pub(super) fn waits_for_an_event(line: &Isolation) -> bool {
    line.waits_for_room() && line.next_try.is_none()
}

/// What counts against the limits in all: what we took and is not back yet,
/// what we may be taking, and in mode observe what we would have taken.
///
/// Not what the kernel took, nor what memory_failure() should: that memory is
/// lost whatever we decide, and a burst of it must not use up the room for
/// what is still worth saving. Nor what somebody else took off line.
pub(super) fn is_ours(ctx: &Context, line: &Isolation) -> bool {
    line.by != By::Kernel
        && (is_spoken_for(ctx, line)
            || line.asked == Some(Asked::Give)
            || (line.state == IsolationState::Isolated && line.taken.is_some()))
}

/// Has its room already, and needs no other to be asked for again.
pub(super) fn is_spoken_for(ctx: &Context, line: &Isolation) -> bool {
    line.by != By::Kernel && (line.may_go() || is_observed(ctx, line))
}

pub(super) fn is_observed(ctx: &Context, line: &Isolation) -> bool {
    ctx.policy.observe && line.state == IsolationState::Observed
}

/// Whether the kernel of this machine can have such a page at all.
pub(super) fn page_exists(machine: &Machine, pfn: Pfn) -> bool {
    let bits = u32::from(machine.phys_bits.saturating_sub(machine.page_size.shift()));
    pfn.0.checked_shr(bits).unwrap_or(0) == 0
}

/// Whether the CPUs of `set` may go, of which `order` still have to.
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
    some_stay(ctx, set)?;
    within_share(ctx, set, order)?;
    if rate {
        interval_over(ctx, set)?;
    }
    Ok(())
}

fn held(why: String, next: &str) -> Held {
    Held { why, next: next.to_owned(), next_try: None }
}

fn removable(ctx: &Context, set: &BTreeSet<CpuId>) -> Result<(), Held> {
    for id in set {
        match ctx.machine.cpus.get(id) {
            None => {
                return Err(held(format!("CPU {id} is not present."), "Check the CPU's number."))
            }
            Some(cpu) if !cpu.removable => {
                return Err(held(
                    format!("CPU {id} cannot be taken off line: the kernel has no switch for it."),
                    "Move the work away and plan the replacement of the processor.",
                ))
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The last CPU stays, and so many on every NUMA node that has any.
fn some_stay(ctx: &Context, set: &BTreeSet<CpuId>) -> Result<(), Held> {
    let staying = || ctx.machine.online().filter(|c| !set.contains(&c.id) && stays(ctx, c.id));
    if staying().next().is_none() {
        return Err(held(
            "It holds the last CPU that is on line.".to_owned(),
            "Bring other CPUs on line, or move the work to another host.",
        ));
    }
    let least = usize::try_from(ctx.policy.limits.cpus_per_node).unwrap_or(usize::MAX);
    let nodes: BTreeSet<u32> =
        set.iter().filter_map(|id| ctx.machine.cpus.get(id)).map(|cpu| cpu.node).collect();
    for node in nodes {
        let left = staying().filter(|cpu| cpu.node == node).count();
        if left < least {
            return Err(held(
                format!(
                    "NUMA node {node} would be left with {left} CPUs on line, and {least} must \
                     stay (limits.cpus_per_node)."
                ),
                "Move the work off this node, and plan the replacement of the processor.",
            ));
        }
    }
    Ok(())
}

/// On line, and not about to go: what may come back is not counted on.
fn stays(ctx: &Context, cpu: CpuId) -> bool {
    ctx.ledger.get(&Target::Cpu(cpu)).is_none_or(|line| {
        line.state != IsolationState::Isolated && !line.may_go() && !is_observed(ctx, line)
    })
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
                settle::cpus_name(ctx, &set.iter().copied().collect::<Vec<_>>()),
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
            "Another core went less than {} minutes ago, and only one may in that time.",
            Limits::CORE_INTERVAL.as_secs() / 60
        ),
        next: "Look whether the whole socket is failing: it is decided on again by itself."
            .to_owned(),
        next_try: Some(ctx.now.after(wait)),
    })
}
