//! Looks at pages that are due at a time and are worth no ledger line.

use super::Order;
use crate::model::{Pfn, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Pages to look at, and when.
///
/// Kept by the caller beside the ledger, in memory only: what is lost with the
/// daemon is looked at again at the page's next error, or at the next start.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    queue: BTreeSet<(Time, Pfn)>,
    pages: BTreeMap<Pfn, Check>,
}

#[derive(Debug, Clone, Copy)]
struct Check {
    at: Time,
    /// An error came since the look was planned: look once more after it.
    again: bool,
}

impl Checks {
    /// The kernel's collector and memory_failure() work from queues of their
    /// own; a second is ample for either to get to a page, and what
    /// memory_failure() is given before a page counts as missed.
    pub(super) const SETTLE: Duration = Duration::from_secs(1);

    /// Pages watched at a time, at 70 bytes each. Beyond it a look is left out:
    /// it only finds out earlier what the next start does.
    const CAPACITY: usize = 1 << 14;

    /// When the first look is due.
    pub fn next(&self) -> Option<Time> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Looks now, and once more after the kernel had its time. A storm of
    /// errors on a page costs one look a second.
    pub(super) fn touch(&mut self, pfn: Pfn, now: Time) {
        if let Some(check) = self.pages.get_mut(&pfn) {
            check.again = true;
        } else if self.pages.len() < Self::CAPACITY {
            self.put(pfn, Check { at: now, again: true });
        }
    }

    /// Looks once. Not bounded here: for pages that the ledger holds.
    pub(super) fn look(&mut self, pfn: Pfn, now: Time) {
        if !self.pages.contains_key(&pfn) {
            self.put(pfn, Check { at: now, again: false });
        }
    }

    /// At most `most` of the looks that are due.
    pub(super) fn take_due(&mut self, now: Time, most: usize) -> Vec<Order> {
        let mut orders = Vec::new();
        while orders.len() < most {
            let Some(&(at, pfn)) = self.queue.first().filter(|(at, _)| *at <= now) else { break };
            self.queue.remove(&(at, pfn));
            if self.pages.remove(&pfn).is_some_and(|check| check.again) {
                self.put(pfn, Check { at: now.after(Self::SETTLE), again: false });
            }
            orders.push(Order::Inspect(pfn));
        }
        orders
    }

    fn put(&mut self, pfn: Pfn, check: Check) {
        self.queue.insert((check.at, pfn));
        self.pages.insert(pfn, check);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_touched_page_is_looked_at_now_and_a_second_later() {
        let mut checks = Checks::default();
        checks.touch(Pfn(7), Time(5));
        assert_eq!(checks.take_due(Time(5), 10), [Order::Inspect(Pfn(7))]);
        assert_eq!(checks.next(), Some(Time(5 + SECOND)));
        assert_eq!(checks.take_due(Time(5 + SECOND), 10), [Order::Inspect(Pfn(7))]);
        assert_eq!(checks.next(), None);
    }

    #[test]
    fn a_storm_on_a_page_costs_one_look_a_second() {
        let mut checks = Checks::default();
        let mut looks = 0;
        for ms in 0..10_000 {
            let now = Time(ms * 1_000_000);
            checks.touch(Pfn(7), now);
            looks += checks.take_due(now, 10).len();
        }
        assert_eq!(looks, 10);
    }

    #[test]
    fn the_rest_of_many_looks_stays_due() {
        let mut checks = Checks::default();
        for pfn in 0..10 {
            checks.look(Pfn(pfn), Time(0));
        }
        assert_eq!(checks.take_due(Time(0), 4).len(), 4);
        assert_eq!(checks.next(), Some(Time(0)));
        assert_eq!(checks.take_due(Time(0), 100).len(), 6);
    }

    #[test]
    fn watched_pages_are_bounded() {
        let mut checks = Checks::default();
        for pfn in 0..2 * Checks::CAPACITY as u64 {
            checks.touch(Pfn(pfn), Time(0));
        }
        assert_eq!(checks.take_due(Time(0), usize::MAX).len(), Checks::CAPACITY);
    }
}
