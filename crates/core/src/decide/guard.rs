//! What counts against the limits, and what they leave.

use super::budget::PageBudget;
use super::Context;
use crate::model::{Asked, By, Isolation, IsolationState, Machine, Pfn, Stamp};

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
