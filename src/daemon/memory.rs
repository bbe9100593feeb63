//! What the daemon knows, and which of it is not on disk yet.

use crate::event::{timestamp, Body, Event};
use crate::state::{Attempt, BootRow, Change, EvidenceName, Saved, SourceCount, StateError, Store};
use bulkhead_core::analyze::{FaultUpdate, MAX_OTHERS, MAX_PAGES};
use bulkhead_core::cycle::Books;
use bulkhead_core::decide::{Decision, FaultNote, RestoreStep};
use bulkhead_core::model::{
    Fault, FaultState, Group, Isolation, Ledger, MemoryConfig, MemoryConfigId, PageSize, Pfn,
    Source, Stamp, Target,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use uuid::Uuid;

/// Events and attempts kept for a store that cannot be written; the oldest go
/// first, and are counted. Faults and isolations are never dropped.
const MOST_UNSAVED: usize = 10_000;

/// Changes of evidence kept for a store that cannot be written. There are fewer
/// components with evidence at a time; what is beyond it tells of those that are
/// forgotten again, and all of it is written anew then.
const MOST_EVIDENCE: usize = 2 * (MAX_PAGES + MAX_OTHERS);

/// Everything remembered, and what of it has changed since the last commit.
#[derive(Debug)]
pub struct Memory {
    /// What is out of service, or should be. Change it by [`Memory::put`].
    pub ledger: Ledger,
    /// All cases. Change them by [`Memory::put_fault`].
    pub faults: BTreeMap<Uuid, Fault>,
    /// Errors per source since boot.
    pub counts: BTreeMap<Source, SourceCount>,
    /// The running boot.
    pub boot: BootRow,
    /// The last commit succeeded.
    pub saved: bool,
    memory: Option<MemoryConfig>,
    figures: FaultFigures,
    unsaved: Unsaved,
    /// Pages whose lines the store has as isolated, and the ledger as not there
    /// yet.
    restoring: HashSet<Pfn>,
    dropped: u64,
    /// To be told once the memory is on disk.
    told: Vec<Decision>,
    /// All evidence is asked for: see [`Memory::take_wants_evidence`].
    wants_evidence: bool,
    page_size: PageSize,
}

/// How many faults there are that no admin has closed. `status` asks often, and
/// there may be many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultFigures {
    /// All of them.
    pub open: u64,
    /// Those that a human must act on.
    pub escalated: u64,
}

#[derive(Debug, Default)]
struct Unsaved {
    isolations: BTreeSet<Target>,
    faults: BTreeSet<Uuid>,
    counts: bool,
    attempts: Vec<Attempt>,
    events: Vec<Event>,
    evidence: BTreeMap<EvidenceName, Option<String>>,
    /// Names were dropped from `evidence`: the store forgets all others of this
    /// memory configuration.
    evidence_anew: Option<MemoryConfigId>,
    cursors: BTreeMap<String, String>,
    machine: Option<String>,
    memory: Option<MemoryConfig>,
    /// The running boot's row says something new.
    boot: bool,
    ended: Option<BootRow>,
}

impl Unsaved {
    fn is_empty(&self) -> bool {
        self.isolations.is_empty()
            && self.faults.is_empty()
            && !self.counts
            && self.attempts.is_empty()
            && self.events.is_empty()
            && self.evidence.is_empty()
            && self.cursors.is_empty()
            && self.machine.is_none()
            && self.memory.is_none()
            && !self.boot
            && self.ended.is_none()
    }
}

impl Memory {
    /// What the store remembered, in the boot that is running, of a host with
    /// pages of `page_size`.
    pub fn new(saved: &mut Saved, boot: BootRow, page_size: PageSize) -> Memory {
        let counts = saved
            .counts
            .drain(..)
            .filter_map(|c| Source::ALL.into_iter().find(|s| s.name() == c.source).map(|s| (s, c)))
            .collect();
        let mut memory = Memory {
            ledger: std::mem::take(&mut saved.ledger),
            faults: BTreeMap::new(),
            counts,
            boot,
            saved: true,
            memory: None,
            figures: FaultFigures::default(),
            unsaved: Unsaved::default(),
            restoring: HashSet::new(),
            dropped: 0,
            told: Vec::new(),
            wants_evidence: false,
            page_size,
        };
        saved.faults.drain(..).for_each(|fault| memory.enter_fault(fault));
        memory
    }

    /// Inserts or replaces a fault.
    pub fn put_fault(&mut self, fault: Fault) {
        self.unsaved.faults.insert(fault.id);
        self.enter_fault(fault);
    }

    fn enter_fault(&mut self, fault: Fault) {
        let figures = &mut self.figures;
        figures.open += u64::from(fault.is_open());
        figures.escalated += u64::from(fault.state == FaultState::Escalated);
        if let Some(old) = self.faults.insert(fault.id, fault) {
            figures.open = figures.open.saturating_sub(u64::from(old.is_open()));
            let escalated = u64::from(old.state == FaultState::Escalated);
            figures.escalated = figures.escalated.saturating_sub(escalated);
        }
    }

    /// How many faults are open.
    pub fn fault_figures(&self) -> FaultFigures {
        self.figures
    }

    /// Something was asked of the kernel, and answered.
    pub fn attempted(&mut self, attempt: Attempt) {
        self.unsaved.attempts.push(attempt);
    }

    /// Something happened.
    pub fn happened(&mut self, event: Event) {
        self.unsaved.events.push(event);
    }

    /// Evidence changed; `None` forgets the name.
    pub fn evidence(&mut self, name: EvidenceName, value: Option<String>) {
        let unsaved = &mut self.unsaved;
        if unsaved.evidence_anew.is_some() && value.is_none() {
            unsaved.evidence.remove(&name);
            return;
        }
        let memory = name.memory;
        unsaved.evidence.insert(name, value);
        if unsaved.evidence.len() > MOST_EVIDENCE && unsaved.evidence_anew.is_none() {
            let mut names = unsaved.evidence.keys();
            let memory = memory.or_else(|| names.find_map(|name| name.memory));
            unsaved.evidence.retain(|_, value| value.is_some());
            unsaved.evidence_anew = Some(memory.unwrap_or_default());
            self.wants_evidence = true;
        }
    }

    /// What is not saved has grown past its bound since the last call: hand in
    /// all evidence once, and changes from then on.
    pub fn take_wants_evidence(&mut self) -> bool {
        std::mem::take(&mut self.wants_evidence)
    }

    /// The memory configuration of this boot. One of which nothing is known is
    /// none to come back to.
    pub fn memory_config(&mut self, config: MemoryConfig) {
        self.memory = Some(config).filter(|config| *config != MemoryConfig::default());
        self.unsaved.memory.clone_from(&self.memory);
    }

    /// A source was read up to `place`.
    pub fn cursor(&mut self, name: String, place: String) {
        self.unsaved.cursors.insert(name, place);
    }

    /// The totals of `source` changed.
    pub fn count(&mut self, source: Source, via: &str, errors: u64) {
        let count = self.counts.entry(source).or_insert_with(|| none_of(source));
        via.clone_into(&mut count.via);
        count.reports = count.reports.saturating_add(errors);
        self.unsaved.counts |= errors > 0;
    }

    /// So many errors of `source` are known to be lost since boot. It only
    /// grows: what was lost stays lost when the source starts anew.
    pub fn lost(&mut self, source: Source, lost: u64) {
        let count = self.counts.entry(source).or_insert_with(|| none_of(source));
        self.unsaved.counts |= lost > count.lost;
        count.lost = count.lost.max(lost);
    }

    /// The machine changed; `json` is its snapshot.
    pub fn machine(&mut self, json: String) {
        self.unsaved.machine = Some(json);
    }

    /// The running boot's row says something new: see [`Memory::boot`].
    pub fn boot_changed(&mut self) {
        self.unsaved.boot = true;
    }

    /// More is known of an earlier boot.
    pub fn ended(&mut self, boot: BootRow) {
        self.unsaved.ended = Some(boot);
    }

    /// Something is not on disk yet.
    pub fn is_dirty(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Makes everything durable that changed, and hands back the events that
    /// are now stored. After an error the same is tried again next time,
    /// together with what changed since.
    ///
    /// # Errors
    /// What the store says; [`Memory::saved`] is false until a commit succeeds.
    pub fn commit(&mut self, store: &mut Store) -> Result<Vec<Event>, StateError> {
        let result = store.ready().and_then(|()| self.write(store));
        self.saved = result.is_ok();
        match result {
            Ok(()) => Ok(std::mem::take(&mut self.unsaved).events),
            Err(error) => {
                self.dropped += drop_oldest(&mut self.unsaved.events);
                self.dropped += drop_oldest(&mut self.unsaved.attempts);
                Err(error)
            }
        }
    }

    fn write(&self, store: &mut Store) -> Result<(), StateError> {
        let changed = &self.unsaved.isolations;
        let lines: Vec<Isolation> =
            changed.iter().filter_map(|t| self.ledger.get(t)).cloned().collect();
        let removed: Vec<Target> =
            changed.iter().filter(|t| self.ledger.get(t).is_none()).copied().collect();
        let aside: Vec<Isolation> =
            changed.iter().flat_map(|t| self.ledger.aside_of(*t)).cloned().collect();
        let faults: Vec<Fault> =
            self.unsaved.faults.iter().filter_map(|id| self.faults.get(id)).cloned().collect();
        let counts: Vec<SourceCount> = self.counts.values().cloned().collect();
        let evidence: Vec<_> =
            self.unsaved.evidence.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let cursors: Vec<_> =
            self.unsaved.cursors.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        store.commit(&Change {
            ended: self.unsaved.ended.as_ref(),
            machine: self.unsaved.machine.as_deref(),
            isolations: &lines,
            removed: &removed,
            aside: &aside,
            faults: &faults,
            attempts: &self.unsaved.attempts,
            events: &self.unsaved.events,
            evidence: &evidence,
            evidence_anew: self.unsaved.evidence_anew,
            memory: self.unsaved.memory.as_ref(),
            counts: &counts,
            cursors: &cursors,
            ..Change::at(&self.boot)
        })
    }

    /// What was asked of the kernel on account of `fault`, and is not on disk.
    pub fn unsaved_attempts(&self, fault: Uuid) -> impl Iterator<Item = &Attempt> {
        self.unsaved.attempts.iter().filter(move |attempt| attempt.fault == Some(fault))
    }

    /// Everything must be written again: the store is a new one.
    pub fn mark_all(&mut self) {
        self.unsaved.isolations.extend(self.ledger.values().map(|line| line.target));
        self.restoring.clear();
        self.unsaved.isolations.extend(self.ledger.aside().map(|line| line.target));
        self.unsaved.faults.extend(self.faults.keys());
        self.unsaved.counts = true;
        self.unsaved.memory.clone_from(&self.memory);
    }

    /// What was decided since the last call.
    pub fn take_told(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.told)
    }

    /// Something waits for [`Memory::take_told`].
    pub fn has_told(&self) -> bool {
        !self.told.is_empty()
    }

    /// The event of what became of `fault`.
    pub fn fault_event(&self, fault: &Fault, why: &str, now: Stamp) -> Event {
        Event {
            time: timestamp(now.wall),
            body: Body::Fault {
                fault: fault.id,
                component: fault.component.name(self.page_size),
                rule: fault.rule.id.clone(),
                state: fault.state.name().to_owned(),
                severity: fault.severity,
                why: why.to_owned(),
            },
        }
    }

    /// Events and attempts that found no room while the store could not be
    /// written, since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

impl Books for Memory {
    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn fault(&self, id: Uuid) -> Option<&Fault> {
        self.faults.get(&id)
    }

    fn put(&mut self, line: Isolation) {
        self.unsaved.isolations.insert(line.target);
        if let Some(pfn) = line.target.page() {
            self.restoring.remove(&pfn);
        }
        self.ledger.insert(line);
    }

    fn restoring(&mut self, pfn: Pfn, step: RestoreStep) {
        let target = Target::Page(pfn);
        self.ledger.change(&target, |line| step.apply(line));
        if step != RestoreStep::Off {
            self.restoring.insert(pfn);
        } else if !self.restoring.remove(&pfn) {
            // It was written on its way, and the store is to know how it ended.
            self.unsaved.isolations.insert(target);
        }
    }

    fn forget(&mut self, target: Target) {
        self.unsaved.isolations.insert(target);
        self.ledger.remove(&target);
    }

    /// It follows from the fault, and is not saved by itself.
    fn put_group(&mut self, group: Group) {
        self.ledger.put_group(group);
    }

    fn trim(&mut self) {
        self.unsaved.isolations.extend(self.ledger.trim());
    }

    fn opened(&mut self, fault: Fault, now: Stamp) {
        self.happened(self.fault_event(&fault, &fault.decision, now));
        self.put_fault(fault);
    }

    fn updated(&mut self, update: FaultUpdate) -> Option<Fault> {
        let mut fault = self.faults.get(&update.fault)?.clone();
        fault.last = update.last;
        fault.errors = update.errors;
        if let Some(evidence) = update.evidence {
            if fault.evidence.len() < Fault::MAX_EVIDENCE {
                fault.evidence.push(evidence);
            }
        }
        let grown = update.cover.is_some() && update.cover != fault.cover;
        if grown {
            fault.cover = update.cover;
        }
        let now_covers = grown.then(|| fault.clone());
        self.put_fault(fault);
        now_covers
    }

    fn noted(&mut self, note: FaultNote, now: Stamp) {
        let Some(mut fault) = self.faults.get(&note.fault).cloned() else { return };
        if !fault.is_open() {
            // What an admin closed is not reopened by what it once took.
            return;
        }
        let changed = fault.state != note.state;
        fault.state = note.state;
        fault.decision = note.decision;
        if let Some(advice) = note.advice {
            fault.advice = advice;
        }
        if changed {
            self.happened(self.fault_event(&fault, &fault.decision, now));
        }
        self.put_fault(fault);
    }

    fn decided(&mut self, mut decision: Decision, now: Stamp) {
        if let Some(fault) = decision.fault.and_then(|id| self.faults.get(&id)) {
            if decision.next.is_empty() {
                decision.next.clone_from(&fault.advice);
            }
        }
        let line = decision.target.and_then(|t| self.ledger.get(&t));
        let (kind, id) = decision
            .target
            .map(|t| t.kind_and_id(self.page_size))
            .map_or((None, None), |(kind, id)| (Some(kind.to_owned()), Some(id)));
        self.happened(Event {
            time: timestamp(now.wall),
            body: Body::Isolation {
                kind,
                id,
                state: line.map(|l| l.state),
                decision: decision.kind,
                fault: decision.fault,
                why: decision.why.clone(),
                done: decision.done.clone(),
            },
        });
        self.told.push(decision);
    }
}

fn none_of(source: Source) -> SourceCount {
    SourceCount { source: source.name().to_owned(), via: String::new(), reports: 0, lost: 0 }
}

fn drop_oldest<T>(kept: &mut Vec<T>) -> u64 {
    let surplus = kept.len().saturating_sub(MOST_UNSAVED);
    kept.drain(..surplus);
    surplus as u64
}
