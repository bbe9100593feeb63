//! Faults that cover several pages, and how their pages stand.

use crate::model::{Asked, Component, Fault, Isolation, IsolationState, PageSize, Pfn};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The pages of one fault, which is contained when all of them are out of
/// service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The fault.
    pub fault: Uuid,
    /// What it is of, for people.
    pub name: String,
    /// Why its pages are to go: what was found, as a sentence.
    pub why: String,
    /// In ascending order, each once; none at all ends the group.
    pub pages: Vec<Pfn>,
}

impl Group {
    /// The group of a fault that an earlier run left: that of an open row with
    /// known pages. Wider faults are escalated, and take no pages.
    pub fn of(fault: &Fault, page_size: PageSize) -> Option<Group> {
        let is_row = matches!(fault.component, Component::Row { .. });
        let pages = &fault.cover.as_ref().filter(|_| is_row && fault.is_open())?.pages;
        Some(Group::new(fault, page_size, pages.iter().copied().collect()))
    }

    /// The group of `fault` with these pages.
    pub(crate) fn new(fault: &Fault, page_size: PageSize, pages: BTreeSet<Pfn>) -> Group {
        Group {
            fault: fault.id,
            name: fault.component.name(page_size),
            why: fault.because(),
            pages: pages.into_iter().collect(),
        }
    }
}

/// How a page of a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Out of service.
    Off,
    /// To be taken, and not tried in vain yet.
    Going,
    /// Tried in vain, and tried again.
    Trying,
    /// Held back, listed or not.
    Held,
    /// It would have been taken.
    Observed,
    /// Given back, or about to be.
    Back,
}

impl Standing {
    const ALL: usize = 6;

    /// Of the page with this line. A page of a group has none only where there
    /// was no room to list that it is held back.
    pub(crate) fn of(line: Option<&Isolation>) -> Standing {
        let Some(line) = line else { return Standing::Held };
        match line.state {
            IsolationState::Isolated if line.asked == Some(Asked::Give) => Standing::Back,
            IsolationState::Isolated => Standing::Off,
            // As was told before the reboot, until it turns out otherwise.
            IsolationState::Wanted if line.is_restoring() => Standing::Off,
            IsolationState::Wanted if line.failures == 0 => Standing::Going,
            IsolationState::Wanted | IsolationState::Failed => Standing::Trying,
            IsolationState::Refused => Standing::Held,
            IsolationState::Observed => Standing::Observed,
            IsolationState::Released | IsolationState::Stale => Standing::Back,
        }
    }
}

/// How many pages of a group stand how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standings([usize; Standing::ALL]);

impl Standings {
    /// Pages that stand so.
    pub fn count(&self, standing: Standing) -> usize {
        self.0.get(standing as usize).copied().unwrap_or(0)
    }

    /// Pages in all.
    pub fn all(&self) -> usize {
        self.0.iter().sum()
    }

    /// One more page stands so.
    pub(crate) fn add(&mut self, standing: Standing) {
        if let Some(count) = self.0.get_mut(standing as usize) {
            *count += 1;
        }
    }

    /// One page less does.
    pub(crate) fn remove(&mut self, standing: Standing) {
        if let Some(count) = self.0.get_mut(standing as usize) {
            *count = count.saturating_sub(1);
        }
    }
}

/// All groups, and the groups of each page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Groups {
    groups: BTreeMap<Uuid, (Group, Standings)>,
    by_page: BTreeSet<(Pfn, Uuid)>,
}

impl Groups {
    pub(super) fn get(&self, fault: Uuid) -> Option<&(Group, Standings)> {
        self.groups.get(&fault)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Inserts, replaces, or ends a group; `standing` tells of each page.
    pub(super) fn put(&mut self, group: Group, standing: impl Fn(Pfn) -> Standing) {
        if let Some((old, _)) = self.groups.remove(&group.fault) {
            for pfn in &old.pages {
                self.by_page.remove(&(*pfn, group.fault));
            }
        }
        if group.pages.is_empty() {
            return;
        }
        let mut standings = Standings::default();
        for pfn in &group.pages {
            self.by_page.insert((*pfn, group.fault));
            standings.add(standing(*pfn));
        }
        self.groups.insert(group.fault, (group, standings));
    }

    /// The faults whose groups hold `pfn`.
    pub(super) fn covering(&self, pfn: Pfn) -> impl Iterator<Item = Uuid> + '_ {
        self.by_page.range((pfn, Uuid::nil())..=(pfn, Uuid::max())).map(|(_, fault)| *fault)
    }

    pub(super) fn moved(&mut self, pfn: Pfn, from: Standing, to: Standing) {
        if from == to || self.groups.is_empty() {
            return;
        }
        let faults: Vec<Uuid> = self.covering(pfn).collect();
        for fault in faults {
            if let Some((_, standings)) = self.groups.get_mut(&fault) {
                standings.remove(from);
                standings.add(to);
            }
        }
    }
}
