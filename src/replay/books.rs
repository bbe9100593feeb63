//! The books of a replay: the ledger as the daemon keeps it, and the cases
//! without their evidence, since a log may open very many.

use super::Skipped;
use bulkhead_core::analyze::FaultUpdate;
use bulkhead_core::cycle::Books;
use bulkhead_core::decide::{Decision, FaultNote, RestoreStep};
use bulkhead_core::model::{
    By, Component, Cover, Fault, FaultKind, FaultState, Group, Isolation, IsolationState, Ledger,
    Pfn, Severity, Stamp, Target, Wall,
};
use hashbrown::HashMap;
use std::rc::Rc;
use uuid::Uuid;

/// Faults of single pages that are listed: at some 300 bytes each, 40 MiB.
/// Further ones are decided on all the same, and counted.
const MAX_PAGE_CASES: usize = 1 << 17;

/// Faults that may come to cover more are kept whole, at most so many, at some
/// 4 KiB each. Of one beyond it, what it covered at first is taken.
const MAX_COVERS: usize = 1 << 13;

/// The rule that ranks a DIMM by the bits of one error.
const BITS_RULE: &str = "dimm-bits";

/// A fault, without its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its name for ever; the same log finds the same case.
    pub id: Uuid,
    /// What kind of component fails.
    pub kind: FaultKind,
    /// What fails.
    pub component: Component,
    /// The rule that found it.
    pub rule: Rc<str>,
    /// How much it matters.
    pub severity: Severity,
    /// Where it stands at the end.
    pub state: FaultState,
    /// First error.
    pub first: Wall,
    /// When it fired.
    pub opened: Wall,
    /// Last error.
    pub last: Wall,
    /// Errors, each counted once.
    pub errors: u64,
    /// The part to replace, where known.
    pub fru: Option<String>,
}

/// Something that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// When.
    pub time: Wall,
    /// What.
    pub target: Target,
    /// The rule of the fault behind it; `None` where that fault found no room.
    pub rule: Option<Rc<str>>,
}

/// Something that happened during a replay.
#[derive(Debug)]
pub enum Happening<'a> {
    /// A fault fired; its summary, without a full stop.
    Fault(&'a Case, &'a str),
    /// A decision.
    Decision(&'a Decision),
}

/// Is told how a replay goes.
pub trait Watch {
    /// Something happened at `time` of the log.
    fn happened(&mut self, time: Wall, what: &Happening);

    /// A line or row was skipped.
    fn skipped(&mut self, skipped: &Skipped);

    /// So much of so much is read (bytes or rows; a total of 0 is not known).
    fn progress(&mut self, done: u64, total: u64);
}

/// The books.
pub(super) struct ReplayBooks<'w> {
    pub(super) watch: &'w mut dyn Watch,
    pub(super) ledger: Ledger,
    /// The ledger changed since this was last set to false.
    pub(super) changed: bool,
    pub(super) cases: Vec<Case>,
    by_id: HashMap<Uuid, usize>,
    covering: HashMap<Uuid, Fault>,
    rules: Vec<Rc<str>>,
    page_cases: usize,
    pub(super) unlisted: u64,
    pub(super) taken: Vec<Taken>,
    pub(super) first_fault: Option<Wall>,
    pub(super) escalated_at: Option<Wall>,
    /// The first row, bit or escalated fault.
    pub(super) first_sign: Option<Wall>,
}

impl<'w> ReplayBooks<'w> {
    /// Empty ones.
    pub(super) fn new(watch: &'w mut dyn Watch) -> Self {
        ReplayBooks {
            watch,
            ledger: Ledger::new(),
            changed: false,
            cases: Vec::new(),
            by_id: HashMap::default(),
            covering: HashMap::default(),
            rules: Vec::new(),
            page_cases: 0,
            unlisted: 0,
            taken: Vec::new(),
            first_fault: None,
            escalated_at: None,
            first_sign: None,
        }
    }

    fn case(&mut self, id: Uuid) -> Option<&mut Case> {
        self.by_id.get(&id).and_then(|at| self.cases.get_mut(*at))
    }

    fn rule(&mut self, name: &str) -> Rc<str> {
        if let Some(known) = self.rules.iter().find(|rule| &***rule == name) {
            return Rc::clone(known);
        }
        let rule: Rc<str> = name.into();
        self.rules.push(Rc::clone(&rule));
        rule
    }

    fn keep(&mut self, case: Case) {
        if let Some(known) = self.case(case.id) {
            *known = case;
            return;
        }
        if case.kind == FaultKind::Page {
            if self.page_cases >= MAX_PAGE_CASES {
                self.unlisted += 1;
                return;
            }
            self.page_cases += 1;
        }
        self.by_id.insert(case.id, self.cases.len());
        self.cases.push(case);
    }
}

impl Books for ReplayBooks<'_> {
    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A replay is of one memory configuration.
    fn fault(&self, _: Uuid) -> Option<&Fault> {
        None
    }

    fn put(&mut self, line: Isolation) {
        self.changed = true;
        let before = self.ledger.get(&line.target).map(|old| old.state);
        let is_taken =
            line.state == IsolationState::Isolated && before != Some(IsolationState::Isolated);
        if is_taken && line.by == By::Bulkhead {
            let case = line.fault.and_then(|id| self.case(id));
            let rule = case.map(|case| Rc::clone(&case.rule));
            self.taken.push(Taken { time: line.since.wall, target: line.target, rule });
        }
        self.ledger.insert(line);
    }

    /// No host of a replay is rebooted, so none comes here.
    fn restoring(&mut self, pfn: Pfn, step: RestoreStep) {
        self.ledger.change(&Target::Page(pfn), |line| step.apply(line));
    }

    fn forget(&mut self, target: Target) {
        self.ledger.remove(&target);
    }

    fn put_group(&mut self, group: Group) {
        self.changed = true;
        self.ledger.put_group(group);
    }

    /// A summary tells of all faults.
    fn trim(&mut self) -> Vec<Uuid> {
        self.ledger.trim();
        Vec::new()
    }

    fn opened(&mut self, fault: Fault, now: Stamp) {
        if fault.cover.is_some() && self.covering.len() < MAX_COVERS {
            self.covering.insert(fault.id, fault.clone());
        }
        let case = Case {
            id: fault.id,
            kind: fault.kind(),
            rule: self.rule(&fault.rule.id),
            component: fault.component,
            severity: fault.severity,
            state: fault.state,
            first: fault.first.wall,
            opened: now.wall,
            last: fault.last.wall,
            errors: fault.errors,
            fru: fault.fru,
        };
        self.first_fault.get_or_insert(now.wall);
        if case.kind == FaultKind::Row || &*case.rule == BITS_RULE {
            self.first_sign.get_or_insert(now.wall);
        }
        self.watch.happened(now.wall, &Happening::Fault(&case, &fault.summary));
        self.keep(case);
    }

    fn updated(&mut self, update: FaultUpdate) -> Option<Fault> {
        if let Some(case) = self.case(update.fault) {
            case.last = update.last.wall;
            case.errors = update.errors;
        }
        let fault = self.covering.get_mut(&update.fault)?;
        if let Some(evidence) = update.evidence {
            if fault.evidence.len() < Fault::MAX_EVIDENCE {
                fault.evidence.push(*evidence);
            }
        }
        let cover: Cover = update.cover?;
        let grown = fault.cover.as_ref() != Some(&cover);
        fault.cover = Some(cover);
        grown.then(|| fault.clone())
    }

    fn noted(&mut self, note: FaultNote, now: Stamp) {
        if note.state == FaultState::Escalated {
            self.escalated_at.get_or_insert(now.wall);
            self.first_sign.get_or_insert(now.wall);
        }
        if let Some(case) = self.case(note.fault) {
            case.state = note.state;
        }
    }

    fn decided(&mut self, decision: Decision, now: Stamp) {
        self.watch.happened(now.wall, &Happening::Decision(&decision));
    }
}
