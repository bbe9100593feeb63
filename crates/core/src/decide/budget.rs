//! The limits on pages: memory in all, and pages a day.

use super::guard::{is_cpu, is_observed, is_ours, may_go, Held};
use super::Context;
use crate::model::{By, IsolationState, Time};
use std::time::Duration;

/// The window of `limits.pages_per_day`.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Room for pages, counted once and then used up page by page.
pub(super) struct PageBudget {
    page_bytes: u64,
    pub(super) memory_used: u64,
    pub(super) memory_max: u64,
    pub(super) per_day: usize,
    /// When each place of the last 24 h was taken, oldest first.
    pub(super) slots: Vec<Time>,
    /// Lines that wait for a place of the day.
    waiting: usize,
}

impl PageBudget {
    pub(super) fn of(ctx: &Context) -> PageBudget {
        let mut budget = PageBudget {
            page_bytes: ctx.machine.page_size.bytes(),
            memory_used: 0,
            memory_max: ctx.policy.limits.memory_bytes(ctx.machine.memory_bytes),
            per_day: usize::try_from(ctx.policy.limits.pages_per_day).unwrap_or(usize::MAX),
            slots: Vec::new(),
            waiting: 0,
        };
        for line in ctx.ledger.values().filter(|line| !is_cpu(line)) {
            if is_ours(ctx, line) {
                budget.memory_used = budget.memory_used.saturating_add(budget.page_bytes);
            }
            let slot = if line.by != By::Kernel && may_go(line) {
                Some(ctx.now.at)
            } else if is_observed(ctx, line) {
                Some(line.since.at)
            } else {
                line.taken.map(|taken| taken.at)
            };
            budget.slots.extend(slot.filter(|at| ctx.now.at.since(*at) < DAY));
            if line.state == IsolationState::Refused
                && line.next_try.is_some_and(|next| next.at > ctx.now.at)
            {
                budget.waiting += 1;
            }
        }
        budget.slots.sort_unstable();
        budget
    }

    /// Takes the room for one more page, if there is any.
    pub(super) fn take(&mut self, ctx: &Context) -> Result<(), Held> {
        if self.memory_used.saturating_add(self.page_bytes) > self.memory_max {
            return Err(Held {
                why: format!(
                    "The limit of {} bytes of memory (limits.memory) leaves no room for it.",
                    self.memory_max
                ),
                next: "Plan the replacement of the memory module; raise limits.memory if the host \
                       can spare more."
                    .to_owned(),
                next_try: None,
            });
        }
        if self.slots.len() >= self.per_day {
            let next_try = self.next_place().map(|at| ctx.now.after(at.since(ctx.now.at)));
            self.waiting += 1;
            return Err(Held {
                why: format!(
                    "The limit of {} pages in 24 hours (limits.pages_per_day) is used up.",
                    self.per_day
                ),
                next: "Look why so many pages fail at once: a module may be failing as a whole."
                    .to_owned(),
                next_try,
            });
        }
        self.memory_used = self.memory_used.saturating_add(self.page_bytes);
        self.slots.push(ctx.now.at);
        Ok(())
    }

    /// When a place comes free for one more, behind those that wait already:
    /// each place is free a day after it was taken, and a day after that again.
    fn next_place(&self) -> Option<Time> {
        let rank = (self.slots.len() - self.per_day.min(self.slots.len())) + self.waiting;
        let index = rank.checked_rem(self.slots.len())?;
        let days = u32::try_from(rank / self.slots.len()).unwrap_or(u32::MAX).saturating_add(1);
        (self.per_day > 0).then_some(self.slots.get(index)?.after(DAY.saturating_mul(days)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{machine, Desk};
    use super::super::{Amount, Cause, Policy};
    use super::*;
    use crate::model::{Isolation, Pfn, Target};
    use proptest::prelude::*;

    const PAGE: u64 = 4096;

    fn desk(memory_pages: u64, per_day: u32) -> Desk {
        let mut policy = Policy::default();
        policy.limits.memory = Amount::Count(memory_pages * PAGE);
        policy.limits.pages_per_day = per_day;
        Desk::new(policy, machine(1, 1))
    }

    /// Enters page `pfn` as taken by us now.
    fn enter(desk: &mut Desk, pfn: u64) {
        let target = Target::Page(Pfn(pfn));
        let cause = Cause { by: By::Bulkhead, fault: None, why: String::new() };
        let line = desk.ctx().fresh(target, &cause);
        let state = IsolationState::Isolated;
        let line = Isolation { state, taken: Some(desk.now), ..line };
        desk.ledger.insert(target, line);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn exactly_so_many_pages_go_in_any_24_hours(
            per_day in 0u32..6,
            waits in prop::collection::vec(0u64..40_000, 1..60),
        ) {
            let mut desk = desk(1000, per_day);
            let mut went: Vec<Time> = Vec::new();
            for (pfn, wait) in (0u64..).zip(waits) {
                desk.pass(wait);
                let now = desk.now.at;
                let today = went.iter().filter(|at| now.since(**at) < DAY).count();
                let room = PageBudget::of(&desk.ctx()).take(&desk.ctx());
                prop_assert_eq!(room.is_ok(), today < per_day as usize);
                match room {
                    Ok(()) => {
                        enter(&mut desk, pfn);
                        went.push(now);
                    }
                    Err(held) => {
                        prop_assert_eq!(held.next_try.is_some(), per_day > 0);
                        let Some(next) = held.next_try else { continue };
                        prop_assert!(next.at > now);
                        let just_before = next.at.since(now).as_secs() - 1;
                        desk.pass(just_before);
                        prop_assert!(PageBudget::of(&desk.ctx()).take(&desk.ctx()).is_err());
                        desk.pass(1);
                        prop_assert!(PageBudget::of(&desk.ctx()).take(&desk.ctx()).is_ok());
                    }
                }
            }
        }

        #[test]
        fn one_budget_gives_no_more_than_there_is(
            memory in 0u64..12,
            per_day in 0u32..12,
            before in 0u64..12,
            asked in 0usize..20,
        ) {
            let mut desk = desk(memory, per_day);
            (0..before).for_each(|pfn| enter(&mut desk, pfn));
            let ctx = desk.ctx();
            let mut budget = PageBudget::of(&ctx);
            let given = (0..asked).filter(|_| budget.take(&ctx).is_ok()).count();
            let room = memory.min(u64::from(per_day)).saturating_sub(before);
            prop_assert_eq!(given, asked.min(room as usize));
        }
    }
}
