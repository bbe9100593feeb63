//! The limits on pages: memory in all, and pages a day.

use super::guard::Held;
use super::Context;
use crate::model::ledger::nth;
use crate::model::{Isolation, Stamp, Time};
use std::time::Duration;

/// The window of `limits.pages_per_day`.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Room for pages: what the ledger's lines leave of it, used up page by page.
pub(super) struct PageBudget {
    page_bytes: u64,
    pub(super) memory_used: u64,
    pub(super) memory_max: u64,
    pub(super) per_day: usize,
    /// Places of the last 24 h that are taken.
    pub(super) today: usize,
    /// Of these, taken by what may go at any moment.
    going: usize,
    /// Lines that wait for a place of the day.
    waiting: usize,
}

impl PageBudget {
    pub(super) fn of(ctx: &Context) -> PageBudget {
        let page_bytes = ctx.machine.page_size.bytes();
        let pages = ctx.ledger.pages();
        let ours = u64::try_from(pages.ours(ctx.policy.observe)).unwrap_or(u64::MAX);
        let (taken, observed) = pages.places(ctx.policy.observe, |at| is_over(ctx, at));
        PageBudget {
            page_bytes,
            memory_used: ours.saturating_mul(page_bytes),
            memory_max: ctx.policy.limits.memory_bytes(ctx.machine.memory_bytes),
            per_day: usize::try_from(ctx.policy.limits.pages_per_day).unwrap_or(usize::MAX),
            today: taken.len() + observed.len() + pages.going(),
            going: pages.going(),
            waiting: pages.alarms(ctx.now.at),
        }
    }

    /// There is room for one more page.
    pub(super) fn has_room(&self) -> bool {
        self.has_memory() && self.today < self.per_day
    }

    /// Somebody is to be tried when a place of the day comes free.
    pub(super) fn has_alarm(&self) -> bool {
        self.waiting > 0
    }

    /// One of those that wait for a place of the day has room now.
    pub(super) fn alarm_passed_on(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// There is room for one more page but for the day's.
    pub(super) fn has_memory(&self) -> bool {
        self.memory_used.saturating_add(self.page_bytes) <= self.memory_max
    }

    /// Takes the room for one more page, if there is any.
    pub(super) fn take(&mut self, ctx: &Context) -> Result<(), Held> {
        self.check_memory()?;
        if self.today >= self.per_day {
            return Err(self.no_place(ctx));
        }
        self.memory_used = self.memory_used.saturating_add(self.page_bytes);
        self.today += 1;
        self.going += 1;
        Ok(())
    }

    /// Takes the room for one more page that has its place of the day from an
    /// earlier boot.
    pub(super) fn take_memory(&mut self) -> Result<(), Held> {
        self.check_memory()?;
        self.memory_used = self.memory_used.saturating_add(self.page_bytes);
        Ok(())
    }

    /// Whether `line`, which has its room, may keep it: the limits may have been
    /// lowered since. If not, it is free for another, unless an order may take
    /// the page yet.
    pub(super) fn keep(&mut self, ctx: &Context, line: &Isolation) -> Result<(), Held> {
        let over_memory = self.memory_used > self.memory_max;
        // What is restored has its place of an earlier day.
        let over_day = self.today > self.per_day && !line.restores;
        if !over_memory && !over_day {
            return Ok(());
        }
        if line.asked.is_none() {
            self.memory_used = self.memory_used.saturating_sub(self.page_bytes);
            // What was taken within the day has its place for that, too.
            let stays = line.restores || line.taken.is_some_and(|at| !is_over(ctx, at.at));
            let places = usize::from(!stays);
            self.today = self.today.saturating_sub(places);
            self.going = self.going.saturating_sub(if line.may_go() { places } else { 0 });
        }
        Err(if over_memory { self.no_memory() } else { self.no_place(ctx) })
    }

    fn check_memory(&self) -> Result<(), Held> {
        match self.has_memory() {
            true => Ok(()),
            false => Err(self.no_memory()),
        }
    }

    fn no_memory(&self) -> Held {
        Held {
            why: format!(
                "The limit of {} bytes of memory (limits.memory) leaves no room for it.",
                self.memory_max
            ),
            next: "Plan the replacement of the memory module; raise limits.memory if the host can \
                   spare more."
                .to_owned(),
            next_try: None,
        }
    }

    fn no_place(&mut self, ctx: &Context) -> Held {
        Held {
            why: format!(
                "The limit of {} pages in 24 hours (limits.pages_per_day) is used up.",
                self.per_day
            ),
            next: "Look why so many pages fail at once: a module may be failing as a whole."
                .to_owned(),
            next_try: self.next_place(ctx),
        }
    }

    /// When a place comes free for one more, behind those that wait already,
    /// among which it is counted from now on: each place is free a day after it
    /// was taken, and a day after that again.
    pub(super) fn next_place(&mut self, ctx: &Context) -> Option<Stamp> {
        let rank = self.today.saturating_sub(self.per_day).saturating_add(self.waiting);
        self.waiting = self.waiting.saturating_add(1);
        let index = rank.checked_rem(self.today)?;
        let days = u32::try_from(rank / self.today).unwrap_or(u32::MAX).saturating_add(1);
        let (taken, observed) =
            ctx.ledger.pages().places(ctx.policy.observe, |at| is_over(ctx, at));
        // What may go at any moment takes its place now, later than the others.
        let place = match index < self.today.saturating_sub(self.going) {
            true => nth(taken, observed, index)?,
            false => ctx.now.at,
        };
        let free = place.after(DAY.saturating_mul(days));
        (self.per_day > 0).then(|| ctx.now.after(free.since(ctx.now.at)))
    }
}

/// A place of the day that was taken `at` is free again.
fn is_over(ctx: &Context, at: Time) -> bool {
    ctx.now.at.since(at) >= DAY
}

#[cfg(test)]
mod tests {
    use super::super::testing::{machine, Desk};
    use super::super::{Amount, Cause, Policy};
    use super::*;
    use crate::model::{By, IsolationState, Pfn, Target};
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
        let cause = Cause::plain(By::Bulkhead, None, String::new());
        let line = desk.ctx().fresh(target, &cause);
        let state = IsolationState::Isolated;
        let line = Isolation { state, taken: Some(desk.now), ..line };
        desk.ledger.insert(line);
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
