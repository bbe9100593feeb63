//! Pages of an earlier boot that are to be out of service again.
//!
//! There may be many, and nothing that is known of them changes: they are asked
//! for many at a time, their rows in the store stand as they are, and they are
//! told all at once. Only a page that does not come off goes its own way, as
//! any other.

use super::budget::PageBudget;
use super::guard::Held;
use super::steps::{hold, observe, order};
use super::{
    page, Answer, Context, Decision, DecisionKind, FaultNote, Order, Outcome, Plan, RestoreStep,
};
use crate::model::{Asked, By, FaultState, Isolation, IsolationState, Pfn, Target};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};

/// Pages in one order: enough that the order itself costs nothing, and few
/// enough that one page the kernel does not return from keeps few others.
const BATCH: usize = 256;

/// Whether a reboot leaves `line` to be restored: it was out of service, in
/// the boot before or in an earlier one.
pub(super) fn is_due(line: &Isolation) -> bool {
    line.state == IsolationState::Isolated || line.restores
}

/// Wants a page that an uncorrected error came from in an earlier boot: it is
/// taken as soon as it is free, since moving its content may read the error. No
/// limit binds it.
pub(super) fn unreadable(ctx: &Context, plan: &mut Plan, line: Isolation) {
    let wanted = matches!(line.state, IsolationState::Wanted | IsolationState::Failed);
    plan.isolations.push(Isolation {
        state: if wanted { line.state } else { IsolationState::Wanted },
        since: if wanted { line.since } else { ctx.now },
        unreadable: true,
        ue: None,
        asked: None,
        next_try: Some(ctx.now),
        ..line
    });
}

/// Orders the pages of `lines` off again, as far as `limits.memory` goes: first
/// of all those that failed. `may_be_off`: a run of this boot had ordered them
/// already.
pub(super) fn pages(ctx: &Context, plan: &mut Plan, mut lines: Vec<&Isolation>, may_be_off: bool) {
    lines.sort_by_key(|line| {
        let (failed, kernels) = (line.state == IsolationState::Failed, line.by == By::Kernel);
        (!failed, kernels, Reverse(line.urgency), line.target)
    });
    let room = room(ctx, &lines);
    let rest = lines.split_off(room.min(lines.len()));
    if ctx.policy.observe {
        let lines: Vec<_> = lines.into_iter().map(|line| anew(line, may_be_off)).collect();
        look(plan, &lines);
        would_be(ctx, plan, lines);
    } else {
        take(ctx, plan, &lines, may_be_off);
    }
    no_room(ctx, plan, rest.into_iter().map(|line| anew(line, may_be_off)).collect());
}

/// The line as this boot begins with it.
fn anew(line: &Isolation, may_be_off: bool) -> Isolation {
    // Off already by that run's order, it is still our doing.
    let asked = may_be_off.then_some(Asked::Unsure);
    Isolation { restores: true, asked, ..line.clone() }
}

/// How many pages `limits.memory` leaves room for. What the kernel took counts
/// here, too: this time we take it, and boot by boot it could become any number.
fn room(ctx: &Context, lines: &[&Isolation]) -> usize {
    let most = ctx.policy.limits.memory_bytes(ctx.machine.memory_bytes)
        / ctx.machine.page_size.bytes().max(1);
    let held = |line: &&&Isolation| {
        let isolated = line.state == IsolationState::Isolated && line.taken.is_some();
        line.by != By::Kernel && (isolated || line.may_go())
    };
    let ours = ctx.ledger.pages().ours(ctx.policy.observe);
    let others = ours.saturating_sub(lines.iter().filter(held).count());
    usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(others)
}

fn take(ctx: &Context, plan: &mut Plan, lines: &[&Isolation], may_be_off: bool) {
    let pages: Vec<Pfn> = lines.iter().filter_map(|line| line.target.page()).collect();
    let hugetlb = ctx.policy.page.hugetlb;
    plan.orders.extend(pages.chunks(BATCH).map(|batch| Order::Restore(batch.to_vec(), hugetlb)));
    let step = if may_be_off { RestoreStep::AskAgain } else { RestoreStep::Ask };
    let is_off = |line: &&&Isolation| line.state == IsolationState::Isolated;
    plan.restoring
        .extend(lines.iter().filter(is_off).filter_map(|line| Some((line.target.page()?, step))));
    let mut others = Vec::new();
    for line in lines.iter().filter(|line| !is_off(line)) {
        let mut line = anew(line, may_be_off);
        let again = line.failures > 0
            && matches!(line.state, IsolationState::Wanted | IsolationState::Failed);
        // The store has to learn when it is off, and so does its fault.
        line.failures = line.failures.max(1);
        if again {
            let why = line.why.clone();
            order(ctx, plan, vec![line], why);
        } else {
            line.state = IsolationState::Refused;
            others.push(line);
        }
    }
    if !others.is_empty() {
        order(ctx, plan, others, "An earlier boot had it out of service.".to_owned());
    }
}

fn would_be(ctx: &Context, plan: &mut Plan, lines: Vec<Isolation>) {
    let faults = faults(ctx, &lines);
    if !lines.is_empty() {
        observe(ctx, plan, lines, "An earlier boot had it out of service.".to_owned());
    }
    plan.faults.extend(faults.into_iter().map(|fault| {
        FaultNote {
            fault,
            state: FaultState::Open,
            decision:
                "The host was rebooted, and mode observe touches nothing: what was taken for \
                   this fault is in service again."
                    .to_owned(),
            advice: None,
        }
    }));
}

/// Has those looked at that may be off.
fn look(plan: &mut Plan, lines: &[Isolation]) {
    let unsure = lines.iter().filter(|line| line.asked == Some(Asked::Unsure));
    plan.orders.extend(unsure.filter_map(|line| line.target.page()).map(Order::Inspect));
}

/// Told once for all. What may be off counts until a look has told.
fn no_room(ctx: &Context, plan: &mut Plan, lines: Vec<Isolation>) {
    if lines.is_empty() {
        return;
    }
    look(plan, &lines);
    let faults = faults(ctx, &lines);
    let mut full = PageBudget::of(ctx);
    full.memory_used = full.memory_max;
    let Err(held) = full.take_memory() else { return };
    let Held { why, .. } = &held;
    plan.faults.extend(faults.into_iter().map(|fault| FaultNote {
        fault,
        state: FaultState::Escalated,
        decision: format!("What was taken for it before the reboot is in service again. {why}"),
        advice: None,
    }));
    hold(ctx, plan, lines, held);
}

/// The faults behind `lines`, and those whose rows they lie in.
fn faults(ctx: &Context, lines: &[Isolation]) -> BTreeSet<uuid::Uuid> {
    let pages = lines.iter().filter_map(|line| line.target.page());
    let rows = pages.flat_map(|pfn| ctx.ledger.covering(pfn));
    lines.iter().filter_map(|line| line.fault).chain(rows).collect()
}

/// A batch was answered.
pub(super) fn answered(ctx: &Context, outcome: &Outcome) -> Plan {
    let mut plan = Plan::default();
    for pfn in outcome.order.pages().iter().copied() {
        let line = ctx.ledger.get(&Target::Page(pfn));
        let answer = outcome.answer_of(pfn);
        match line {
            Some(line) if is_off(answer) && line.is_restoring() && line.ue.is_none() => {
                plan.restoring.push((pfn, RestoreStep::Off));
            }
            // Seen off since the batch timed out.
            Some(line) if line.state == IsolationState::Isolated => {}
            _ => {
                plan.extend(page::taken(ctx, pfn, &outcome.single(pfn)));
                if answer == Answer::TimedOut {
                    // One of the batch keeps the others waiting: what is off
                    // by now is to be known at once.
                    plan.orders.push(Order::Inspect(pfn));
                }
            }
        }
    }
    plan
}

/// How far the restoring after a boot has come. Kept by the caller between the
/// start and the answer to the last order of it.
#[derive(Debug, Clone, Default)]
pub struct Restoring {
    waiting: HashSet<Order>,
    /// Pages to be restored in all.
    pub all: usize,
    /// Of these, pages that were tried.
    pub tried: usize,
    /// Of these, pages that did not come off.
    pub not_off: usize,
}

impl Restoring {
    /// What `orders`, of the plan that a new boot began with, are to restore.
    /// `None` if that is nothing.
    pub fn of(orders: &[Order]) -> Option<Restoring> {
        let waiting: HashSet<Order> = orders.iter().filter(|o| o.is_take()).cloned().collect();
        let all = waiting.iter().map(restored_pages).sum();
        (!waiting.is_empty()).then_some(Restoring { waiting, all, tried: 0, not_off: 0 })
    }

    /// An order was answered. True if it was the last.
    pub fn answered(&mut self, outcome: &Outcome) -> bool {
        if !self.waiting.remove(&outcome.order) {
            return false;
        }
        let pages = restored_pages(&outcome.order);
        self.tried = self.tried.saturating_add(pages);
        let apart = outcome.apart.iter().filter(|apart| !is_off(apart.answer)).count();
        let not_off = if is_off(outcome.answer) { apart.min(pages) } else { pages };
        self.not_off = self.not_off.saturating_add(not_off);
        self.waiting.is_empty()
    }
}

fn is_off(answer: Answer) -> bool {
    matches!(answer, Answer::Off | Answer::WasOff)
}

fn restored_pages(order: &Order) -> usize {
    if let Order::Restore(pages, _) = order {
        pages.len()
    } else {
        0
    }
}

/// All that is to be said of the pages that `restoring` is done with: each that
/// did not come off was told by itself.
pub fn restored(restoring: &Restoring) -> Plan {
    let mut plan = Plan::default();
    let off = restoring.tried.saturating_sub(restoring.not_off);
    if restoring.all == 0 {
        return plan;
    }
    let (pages, are) = if off == 1 { ("page", "is") } else { ("pages", "are") };
    let rest = match restoring.not_off {
        0 => String::new(),
        not => format!(", {not} did not come off"),
    };
    plan.decisions.push(Decision {
        kind: DecisionKind::Taken,
        component: "pages of an earlier boot".to_owned(),
        target: None,
        fault: None,
        why: "The host was rebooted, which puts everything back into service.".to_owned(),
        done: format!("{off} {pages} {are} out of service again{rest}."),
        next: match restoring.not_off {
            0 => "Nothing.".to_owned(),
            _ => "Nothing now: what did not come off is tried again by itself.".to_owned(),
        },
        human: false,
    });
    plan
}
