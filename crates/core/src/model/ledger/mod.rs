//! All isolations known, with figures and queues over them that a change keeps
//! true in O(log n): a host may have a hundred thousand lines, and decides on
//! each error anew.

mod aside;
mod figures;
mod group;
#[cfg(test)]
mod tests;
mod times;

pub use figures::PageFigures;
pub use group::{Group, Standing, Standings};
pub(crate) use times::nth;

use super::{CpuId, Isolation, IsolationState, Pfn, Target, Time, Urgency};
use aside::Aside;
use figures::Figures;
use group::Groups;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What goes first has the least: the most urgent, and of these the one that
/// has waited longest.
type Turn = (Reverse<Urgency>, Time, Target);

/// All isolations known, one per target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    lines: BTreeMap<Target, Isolation>,
    figures: Figures,
    groups: Groups,
    by_next_try: BTreeSet<(Time, Target)>,
    by_fault: BTreeSet<(Uuid, Target)>,
    waiting: BTreeSet<Turn>,
    spare: BTreeSet<Turn>,
    stale: BTreeSet<(Time, Target)>,
    aside: Aside,
    forgotten: u64,
}

impl Ledger {
    /// Pages listed at most that are in service, and that nothing is asked of
    /// the kernel for: held back by a limit or by the kernel. Beyond it, what
    /// would have its turn last is forgotten ([`Ledger::trim`]). They wait for
    /// 16 days' worth of places as it is, and take some 8 MiB.
    pub const MOST_SPARE: usize = 16_384;

    /// Lines kept at most of what is not there any more, or not surely the same
    /// hardware. Beyond it those that became so longest ago are forgotten: a
    /// host that lives for years may see many memory modules.
    pub const MOST_STALE: usize = 16_384;
    /// Lines set aside at most; those that became stale longest ago are
    /// forgotten first.
    pub const MOST_ASIDE: usize = 16_384;

    /// With no lines.
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// All lines.
    pub fn lines(&self) -> &BTreeMap<Target, Isolation> {
        &self.lines
    }

    /// The line of `target`.
    pub fn get(&self, target: &Target) -> Option<&Isolation> {
        self.lines.get(target)
    }

    /// All lines, in order of their targets.
    pub fn values(&self) -> impl Iterator<Item = &Isolation> {
        self.lines.values()
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// There are no lines.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines of CPUs: few, on any host.
    pub fn cpus(&self) -> impl Iterator<Item = &Isolation> {
        let all = Target::Cpu(CpuId(u32::MIN))..=Target::Cpu(CpuId(u32::MAX));
        self.lines.range(all).map(|(_, line)| line)
    }

    /// Inserts a line, or puts it in the place of the target's old one. A stale
    /// one of a page in another memory configuration is set aside.
    pub fn insert(&mut self, line: Isolation) {
        let target = line.target;
        let old = self.lines.remove(&target);
        if let Some(old) = &old {
            self.unlist(old);
        }
        if let Target::Page(pfn) = target {
            self.groups.moved(pfn, Standing::of(old.as_ref()), Standing::of(Some(&line)));
        }
        self.list(&line);
        self.aside.replaced(old, &line);
        self.lines.insert(target, line);
    }

    /// Takes the line of `target` out.
    pub fn remove(&mut self, target: &Target) -> Option<Isolation> {
        let line = self.lines.remove(target)?;
        self.unlist(&line);
        if let Target::Page(pfn) = target {
            self.groups.moved(*pfn, Standing::of(Some(&line)), Standing::of(None));
        }
        Some(line)
    }

    /// Sets a stale line of a page aside, beside the page's line.
    pub fn put_aside(&mut self, line: Isolation) {
        self.aside.put(line);
    }

    /// Stale lines of pages that have a line of another memory configuration.
    pub fn aside(&self) -> impl Iterator<Item = &Isolation> {
        self.aside.lines()
    }

    /// Those of `target`.
    pub fn aside_of(&self, target: Target) -> impl Iterator<Item = &Isolation> {
        self.aside.of(target)
    }

    /// Lines of CPUs, or of pages, in `state`.
    pub fn count(&self, is_cpu: bool, state: IsolationState) -> usize {
        self.figures.count(is_cpu, state)
    }

    /// What pages use of the limits.
    pub fn pages(&self) -> &PageFigures {
        &self.figures.pages
    }

    /// When the first line is to be tried again.
    pub fn next_try(&self) -> Option<Time> {
        self.by_next_try.first().map(|(at, _)| *at)
    }

    /// The lines that are to be tried again by `now`, longest due first.
    pub fn due(&self, now: Time) -> impl Iterator<Item = &Isolation> {
        let due = self.by_next_try.iter().take_while(move |(at, _)| *at <= now);
        due.filter_map(|(_, target)| self.lines.get(target))
    }

    /// The pages that a limit holds back, first the one that goes first.
    pub fn waiting(&self) -> impl Iterator<Item = &Isolation> {
        self.waiting.iter().filter_map(|(_, _, target)| self.lines.get(target))
    }

    /// The lines that name `fault` as the one behind them.
    pub fn of_fault(&self, fault: Uuid) -> impl Iterator<Item = &Isolation> {
        // Every target lies in here: CPUs come before pages.
        let first = (fault, Target::Cpu(CpuId(u32::MIN)));
        let last = (fault, Target::Page(Pfn(u64::MAX)));
        self.by_fault.range(first..=last).filter_map(|(_, target)| self.lines.get(target))
    }

    /// Forgets what [`Ledger::MOST_SPARE`] and [`Ledger::MOST_STALE`] leave no
    /// room for, and says what.
    pub fn trim(&mut self) -> Vec<Target> {
        self.trim_to(Self::MOST_SPARE, Self::MOST_STALE)
    }

    fn trim_to(&mut self, most_spare: usize, most_stale: usize) -> Vec<Target> {
        let mut forgotten = Vec::new();
        while self.spare.len() > most_spare {
            let Some((_, _, target)) = self.spare.pop_last() else { break };
            forgotten.push(target);
            self.remove(&target);
        }
        while self.stale.len() > most_stale {
            let Some((_, target)) = self.stale.pop_first() else { break };
            forgotten.push(target);
            self.remove(&target);
        }
        forgotten.extend(std::iter::from_fn(|| self.aside.trim(Self::MOST_ASIDE)));
        self.forgotten = self.forgotten.saturating_add(forgotten.len() as u64);
        forgotten
    }

    /// Lines forgotten for want of room since this ledger was begun.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Inserts or replaces the group of a fault; without pages, ends it.
    pub fn put_group(&mut self, group: Group) {
        let lines = &self.lines;
        self.groups.put(group, |pfn| Standing::of(lines.get(&Target::Page(pfn))));
    }

    /// The group of `fault`, and how its pages stand.
    pub fn group(&self, fault: Uuid) -> Option<(&Group, &Standings)> {
        self.groups.get(fault).map(|(group, standings)| (group, standings))
    }

    /// There are groups.
    pub fn has_groups(&self) -> bool {
        !self.groups.is_empty()
    }

    /// The faults whose groups hold `pfn`.
    pub fn covering(&self, pfn: Pfn) -> impl Iterator<Item = Uuid> + '_ {
        self.groups.covering(pfn)
    }

    fn list(&mut self, line: &Isolation) {
        self.figures.add(line);
        if let Some(next) = line.next_try {
            self.by_next_try.insert((next.at, line.target));
        }
        if let Some(fault) = line.fault {
            self.by_fault.insert((fault, line.target));
        }
        if line.state == IsolationState::Stale {
            self.stale.insert((line.since.at, line.target));
        }
        if matches!(line.target, Target::Page(_)) {
            if line.waits_for_room() {
                self.waiting.insert(turn(line));
            }
            if is_spare(line) {
                self.spare.insert(turn(line));
            }
        }
    }

    fn unlist(&mut self, line: &Isolation) {
        self.figures.remove(line);
        if let Some(next) = line.next_try {
            self.by_next_try.remove(&(next.at, line.target));
        }
        if let Some(fault) = line.fault {
            self.by_fault.remove(&(fault, line.target));
        }
        self.waiting.remove(&turn(line));
        self.spare.remove(&turn(line));
        self.stale.remove(&(line.since.at, line.target));
    }
}

fn turn(line: &Isolation) -> Turn {
    (Reverse(line.urgency), line.since.at, line.target)
}

/// Nothing but the wish would be lost with the line: not an order, nor an
/// uncorrected error, nor a page that counts among the day's.
fn is_spare(line: &Isolation) -> bool {
    matches!(line.state, IsolationState::Refused | IsolationState::Failed)
        && line.asked.is_none()
        && line.ue.is_none()
        && line.taken.is_none()
}

impl FromIterator<Isolation> for Ledger {
    fn from_iter<I: IntoIterator<Item = Isolation>>(lines: I) -> Ledger {
        let mut ledger = Ledger::new();
        lines.into_iter().for_each(|line| ledger.insert(line));
        ledger
    }
}

#[cfg(test)]
impl std::ops::Index<&Target> for Ledger {
    type Output = Isolation;

    /// The line of a target that has one.
    fn index(&self, target: &Target) -> &Isolation {
        &self.lines[target]
    }
}
