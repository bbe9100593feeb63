//! Pages that a limit holds back, and the room that comes free.

use super::budget::PageBudget;
use super::settle::targets_name;
use super::{page, retry, Context, Plan};
use crate::model::{Isolation, Pfn, Stamp, Target};
use std::collections::BTreeSet;

/// It waits in the ledger's queue for room. Its next try is then not its own
/// turn: it is when somebody's comes.
pub(super) fn is_queued(line: &Isolation) -> bool {
    matches!(line.target, Target::Page(_)) && line.waits_for_room()
}

/// Gives the room there is to those whose turn it is, at most `left`.
pub(super) fn fill(ctx: &Context, budget: &mut PageBudget, plan: &mut Plan, mut left: usize) {
    let mut went = BTreeSet::new();
    let mut alarms: Vec<Stamp> = Vec::new();
    for (line, pfn) in pages(ctx.ledger.waiting()) {
        if left == 0 || !budget.has_room() {
            break;
        }
        left -= 1;
        went.insert(pfn);
        if let Some(alarm) = line.next_try.filter(|next| next.at > ctx.now.at) {
            budget.alarm_passed_on();
            alarms.push(alarm);
        }
        take(ctx, budget, plan, line, pfn);
    }
    // The earliest first.
    alarms.sort_by_key(|alarm| std::cmp::Reverse(alarm.at));
    // Their alarm went off, and another one's turn it was.
    let due = ctx.ledger.due(ctx.now.at).filter(|line| is_queued(line));
    let due: Vec<_> = pages(due).filter(|(_, pfn)| !went.contains(pfn)).take(left).collect();
    for (line, pfn) in due {
        if budget.has_room() {
            return;
        }
        went.insert(pfn);
        take(ctx, budget, plan, line, pfn);
        if let Some(next) = plan.isolations.last_mut().and_then(|line| line.next_try.as_mut()) {
            *next = alarms.pop().unwrap_or(*next);
        }
    }
    // Nobody's alarm is set: a place of the day that comes free would be found
    // by the next event only.
    if budget.has_memory() && !budget.has_room() && !budget.has_alarm() {
        let first = pages(ctx.ledger.waiting()).find(|(_, pfn)| !went.contains(pfn));
        if let Some(((line, _), next)) = first.zip(budget.next_place(ctx)) {
            plan.isolations.push(Isolation { next_try: Some(next), ..line.clone() });
        }
    }
}

fn take(ctx: &Context, budget: &mut PageBudget, plan: &mut Plan, line: &Isolation, pfn: Pfn) {
    let name = targets_name(ctx, &[line.target]);
    page::take(ctx, budget, plan, line.clone(), pfn, retry::there_is_room(&name));
}

fn pages<'a>(
    lines: impl Iterator<Item = &'a Isolation>,
) -> impl Iterator<Item = (&'a Isolation, Pfn)> {
    lines.filter_map(|line| Some((line, line.target.page()?)))
}
