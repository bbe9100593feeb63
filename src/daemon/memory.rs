//! What the daemon knows, and which of it is not on disk yet.

use super::closed::Closed;
use crate::event::{timestamp, Body, Event};
use crate::state::{
    Attempt, BootRow, Change, EvidenceChanges, EvidenceName, EvidenceRows, Growth, Saved,
    SourceCount, StateError, Store,
};
use bulkhead_core::analyze::{Analyzer, EvidenceKey, FaultUpdate, Remembered};
use bulkhead_core::cycle::Books;
use bulkhead_core::decide::{Decision, FaultNote, RestoreStep};
use bulkhead_core::model::{
    Component, Fault, FaultState, Group, Isolation, Ledger, MemoryConfig, MemoryConfigId, PageSize,
    Pfn, Source, Stamp, Target,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use uuid::Uuid;

/// Events, and attempts, kept for a store that cannot be written, at up to 1 KiB
/// each; the oldest go first, and are counted. Faults and isolations are never
/// dropped.
const MOST_UNSAVED: usize = 4_096;

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
    closed: Closed,
    unsaved: Unsaved,
    /// Pages whose lines the store has as isolated, and the ledger as not there
    /// yet.
    restoring: HashSet<Pfn>,
    dropped: u64,
    /// To be told once the memory is on disk.
    told: Vec<Decision>,
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

impl FaultFigures {
    /// `fault` is not one of them any more.
    fn leave(&mut self, fault: &Fault) {
        self.open = self.open.saturating_sub(u64::from(fault.is_open()));
        let escalated = u64::from(fault.state == FaultState::Escalated);
        self.escalated = self.escalated.saturating_sub(escalated);
    }
}

#[derive(Debug, Default)]
struct Unsaved {
    isolations: BTreeSet<Target>,
    faults: BTreeSet<Uuid>,
    /// Faults of which only the figures changed: in a storm many, at each drain.
    grown: BTreeSet<Uuid>,
    counts: bool,
    attempts: Vec<Attempt>,
    events: Vec<Event>,
    /// Evidence in the store that is of no use any more, and that analyze never
    /// took up.
    forgotten: Vec<EvidenceName>,
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
            && self.grown.is_empty()
            && !self.counts
            && self.attempts.is_empty()
            && self.events.is_empty()
            && self.forgotten.is_empty()
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
            closed: Closed::default(),
            unsaved: Unsaved::default(),
            restoring: HashSet::new(),
            dropped: 0,
            told: Vec::new(),
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
        let closed = (!fault.is_open()).then_some(fault.id);
        if let Some(old) = self.faults.insert(fault.id, fault) {
            self.figures.leave(&old);
        }
        // The store drops these by itself.
        if let Some(oldest) = closed.and_then(|id| self.closed.enter(id)) {
            if self.faults.get(&oldest).is_some_and(|fault| !fault.is_open()) {
                self.faults.remove(&oldest);
            }
        }
    }

    /// The line of a page that named `fault` is forgotten: so is the fault, if
    /// it was of that page alone.
    fn forget_fault(&mut self, fault: Uuid) -> bool {
        let is_of_page =
            |fault: &Fault| fault.is_open() && matches!(fault.component, Component::Page { .. });
        if self.ledger.of_fault(fault).next().is_some()
            || !self.fault(fault).is_some_and(is_of_page)
        {
            return false;
        }
        if let Some(old) = self.faults.remove(&fault) {
            self.figures.leave(&old);
        }
        self.unsaved.faults.insert(fault);
        true
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

    /// Evidence in the store is of no use any more.
    pub fn forget_evidence(&mut self, name: EvidenceName) {
        self.unsaved.forgotten.push(name);
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

    /// Something is not on disk yet, beside evidence.
    pub fn is_dirty(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Makes everything durable that changed, what `analyzer` remembers of the
    /// memory configuration `here` with it, and hands back the events that are
    /// now stored. After an error the same is tried again next time, together
    /// with what changed since.
    ///
    /// # Errors
    /// What the store says; [`Memory::saved`] is false until a commit succeeds.
    pub fn commit(
        &mut self,
        store: &mut Store,
        analyzer: &mut Analyzer,
        here: MemoryConfigId,
    ) -> Result<Vec<Event>, StateError> {
        let result = store.ready().and_then(|()| self.write(store, analyzer, here));
        self.saved = result.is_ok();
        match result {
            Ok(()) => {
                analyzer.kept();
                Ok(std::mem::take(&mut self.unsaved).events)
            }
            Err(error) => {
                self.dropped += drop_oldest(&mut self.unsaved.events);
                self.dropped += drop_oldest(&mut self.unsaved.attempts);
                Err(error)
            }
        }
    }

    fn write(
        &self,
        store: &mut Store,
        analyzer: &Analyzer,
        here: MemoryConfigId,
    ) -> Result<(), StateError> {
        let changed = &self.unsaved.isolations;
        let lines: Vec<Isolation> =
            changed.iter().filter_map(|t| self.ledger.get(t)).cloned().collect();
        let removed: Vec<Target> =
            changed.iter().filter(|t| self.ledger.get(t).is_none()).copied().collect();
        let aside: Vec<Isolation> =
            changed.iter().flat_map(|t| self.ledger.aside_of(*t)).cloned().collect();
        let faults: Vec<Fault> =
            self.unsaved.faults.iter().filter_map(|id| self.faults.get(id)).cloned().collect();
        let only_grown = self.unsaved.grown.difference(&self.unsaved.faults);
        let grown: Vec<Growth> =
            only_grown.filter_map(|id| self.faults.get(id)).map(Growth::of).collect();
        let forgotten: Vec<Uuid> = self
            .unsaved
            .faults
            .iter()
            .filter(|id| !self.faults.contains_key(id))
            .copied()
            .collect();
        let counts: Vec<SourceCount> = self.counts.values().cloned().collect();
        let cursors: Vec<_> =
            self.unsaved.cursors.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let evidence = Changes { analyzer, here, forgotten: &self.unsaved.forgotten };
        store.commit(&Change {
            ended: self.unsaved.ended.as_ref(),
            machine: self.unsaved.machine.as_deref(),
            isolations: &lines,
            removed: &removed,
            aside: &aside,
            faults: &faults,
            grown: &grown,
            forgotten: &forgotten,
            attempts: &self.unsaved.attempts,
            events: &self.unsaved.events,
            evidence: &evidence,
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

    fn trim(&mut self) -> Vec<Uuid> {
        let mut faults = Vec::new();
        for (target, fault) in self.ledger.trim() {
            self.unsaved.isolations.insert(target);
            faults.extend(fault.filter(|fault| self.forget_fault(*fault)));
        }
        faults
    }

    fn opened(&mut self, fault: Fault, now: Stamp) {
        self.happened(self.fault_event(&fault, &fault.decision, now));
        self.put_fault(fault);
    }

    fn updated(&mut self, update: FaultUpdate) -> Option<Fault> {
        // Neither open nor closed by this: the figures of all faults stay.
        let fault = self.faults.get_mut(&update.fault)?;
        fault.last = update.last;
        fault.errors = update.errors;
        let room = fault.evidence.len() < Fault::MAX_EVIDENCE;
        let evidence = update.evidence.filter(|_| room);
        let covers_more = update.cover.is_some() && update.cover != fault.cover;
        // The store keeps no figures beside a closed fault.
        if evidence.is_some() || covers_more || !fault.is_open() {
            self.unsaved.faults.insert(fault.id);
        } else {
            self.unsaved.grown.insert(fault.id);
        }
        fault.evidence.extend(evidence.map(|evidence| *evidence));
        if covers_more {
            fault.cover = update.cover;
        }
        covers_more.then(|| fault.clone())
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

/// What is to be stored of evidence.
struct Changes<'a> {
    analyzer: &'a Analyzer,
    here: MemoryConfigId,
    forgotten: &'a [EvidenceName],
}

impl EvidenceChanges for Changes<'_> {
    fn rows(&self) -> EvidenceRows<'_> {
        let forgotten = self.forgotten.iter().map(|name| (name.clone(), None));
        let changes = self.analyzer.changes();
        Box::new(forgotten.chain(changes.filter_map(|(k, v)| saved(k, v, self.here))))
    }
}

/// Evidence as the store keeps it; `None`, with a line in the log, where it
/// cannot be written.
fn saved(
    key: EvidenceKey,
    state: Option<Remembered>,
    here: MemoryConfigId,
) -> Option<(EvidenceName, Option<String>)> {
    let memory = key.is_memory().then_some(here);
    let value = state.map(|state| serde_json::to_string(&state)).transpose();
    match serde_json::to_string(&key).and_then(|key| Ok((key, value?))) {
        Ok((key, value)) => Some((EvidenceName { memory, key }, value)),
        Err(error) => {
            tracing::warn!("evidence that cannot be saved: {error}");
            None
        }
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
