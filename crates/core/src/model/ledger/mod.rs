//! All isolations known, with figures and queues over them that a change keeps
//! true in O(log n): a host may have a hundred thousand lines, and decides on
//! each error anew.

mod aside;
mod figures;
mod group;
mod listed;
#[cfg(test)]
mod tests;
mod times;

pub use figures::PageFigures;
pub use group::{Group, Standing, Standings};
pub(crate) use times::nth;

use super::{CpuId, Isolation, IsolationState, Pfn, Target, Time};
use aside::Aside;
use figures::Figures;
use group::Groups;
use listed::{Listed, Turn};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

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
    /// 4 days' worth of places as it is, and take, by arithmetic and not
    /// measured, some 10 MiB with their faults.
    pub const MOST_SPARE: usize = 4_096;

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
        let listed = Listed::of(&line);
        let old = self.lines.remove(&target);
        let was = old.as_ref().map(Listed::of).unwrap_or_default();
        self.list(target, &was, &listed);
        self.aside.replaced(old, &line);
        self.lines.insert(target, line);
    }

    /// Changes the line of `target`, but for the target and the home, where it
    /// is. False if there is none.
    pub fn change(&mut self, target: &Target, how: impl FnOnce(&mut Isolation)) -> bool {
        let Some(line) = self.lines.get_mut(target) else { return false };
        let was = Listed::of(line);
        how(line);
        let is = Listed::of(line);
        self.list(*target, &was, &is);
        true
    }

    /// Takes the line of `target` out.
    pub fn remove(&mut self, target: &Target) -> Option<Isolation> {
        let line = self.lines.remove(target)?;
        self.list(*target, &Listed::of(&line), &Listed::default());
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
    /// room for, and says what, with the faults that they named.
    pub fn trim(&mut self) -> Vec<(Target, Option<Uuid>)> {
        self.trim_to(Self::MOST_SPARE, Self::MOST_STALE)
    }

    fn trim_to(&mut self, most_spare: usize, most_stale: usize) -> Vec<(Target, Option<Uuid>)> {
        let mut forgotten = Vec::new();
        while self.spare.len() > most_spare {
            let Some((_, _, target)) = self.spare.pop_last() else { break };
            forgotten.push((target, self.remove(&target).and_then(|line| line.fault)));
        }
        while self.stale.len() > most_stale {
            let Some((_, target)) = self.stale.pop_first() else { break };
            forgotten.push((target, self.remove(&target).and_then(|line| line.fault)));
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

    /// Keeps figures and queues true: the line of `target` was in them as
    /// `was`, and is to be as `is`.
    fn list(&mut self, target: Target, was: &Listed, is: &Listed) {
        if let Target::Page(pfn) = target {
            self.groups.moved(pfn, was.standing, is.standing);
        }
        self.figures.change(&was.share, &is.share);
        requeue(&mut self.by_next_try, target, was.next_try, is.next_try);
        requeue(&mut self.by_fault, target, was.fault, is.fault);
        requeue(&mut self.stale, target, was.stale, is.stale);
        replace(&mut self.waiting, was.waiting, is.waiting);
        replace(&mut self.spare, was.spare, is.spare);
    }
}

fn requeue<K: Ord + Copy>(
    queue: &mut BTreeSet<(K, Target)>,
    target: Target,
    was: Option<K>,
    is: Option<K>,
) {
    replace(queue, was.map(|key| (key, target)), is.map(|key| (key, target)));
}

fn replace<K: Ord>(queue: &mut BTreeSet<K>, was: Option<K>, is: Option<K>) {
    if was == is {
        return;
    }
    was.into_iter().for_each(|key| _ = queue.remove(&key));
    queue.extend(is);
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
