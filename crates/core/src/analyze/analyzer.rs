//! The engine: reports in, findings out, evidence kept between them.

mod closing;

use super::book::Book;
use super::dram::Sighting;
use super::evidence::{Case, EvidenceKey, EvidenceState, Fired, Remembered, Took};
use super::few::Few;
use super::finding::{FaultUpdate, Finding, Response};
use super::lead::Lead;
use super::located::Located;
use super::part;
use super::reading;
use super::rules::{RuleId, Rules, MEMORY_CE};
use super::words;
use crate::decide::Threshold;
use crate::model::{Fault, FaultState, Machine, Pfn, Record, Report, Source, Target, Time};
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

/// Pages with evidence, at most. A host that has more in the window of a page has
/// lost whole DIMMs, and goes on with the most suspicious of them. By arithmetic,
/// not measured, they take some 12 MiB at most: 3 for the pages, 8 for their
/// reports, 1 for who told of what in the last second.
pub const MAX_PAGES: usize = 32_768;

/// Bytes of reports kept per page on average, at most. A machine check takes 200.
/// Where an EDAC driver describes each of them at some length, a page takes 650:
/// there is room for 13,000 then.
const PAGE_BYTES: usize = 256;

/// Other components with evidence, at most. Cores have a few each; the rest is
/// named by what records say, which may be anything.
pub const MAX_OTHERS: usize = 4_096;

/// As [`PAGE_BYTES`]: they keep up to [`Fault::MAX_EVIDENCE`] reports, but few
/// are near their threshold.
const OTHER_BYTES: usize = 1_024;

/// Reports kept as evidence of a page before its rule fires. A page goes at its
/// second error, and there may be many pages.
const PAGE_EVIDENCE: usize = 2;

/// The name space of fault identities; never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x6b1f_9b0e_52c7_4d0e_9a35_0c8e_71d4_2f6a);

/// Finds faults in reports. Pure: time comes with the reports.
#[derive(Debug)]
pub struct Analyzer {
    rules: Rules,
    located: Located,
    pages: Book<Pfn>,
    others: Book<EvidenceKey>,
    /// Open faults, by what they are about.
    cases: BTreeMap<Uuid, EvidenceKey>,
}

/// What a report came to.
#[derive(Debug, Default)]
pub struct Observed {
    /// Errors to add to the total of the report's source, so that the sources'
    /// totals sum to the errors, each counted once.
    pub counted: u64,
    /// They were corrected.
    pub corrected: bool,
    /// Faults that just fired.
    pub findings: Vec<Finding>,
    /// Open faults that got more errors.
    pub updated: Vec<FaultUpdate>,
    /// The page that the report has a usable address of: worth a look, since
    /// the kernel may have taken it.
    pub page: Option<Pfn>,
    /// What could not be used of the report, and why: one sentence without a
    /// full stop. It is kept raw, never guessed at.
    pub undecodable: Option<String>,
}

impl Analyzer {
    /// With no evidence, and room for [`MAX_PAGES`].
    pub fn new(rules: Rules) -> Analyzer {
        Analyzer::with_capacity(rules, MAX_PAGES)
    }

    /// With no evidence, and room for that of `pages` pages, 1 to 2^32 - 1. A
    /// page takes some 200 bytes if it has one report of a log, 360 on average
    /// at most.
    pub fn with_capacity(rules: Rules, pages: usize) -> Analyzer {
        Analyzer {
            rules,
            located: Located::default(),
            pages: Book::new(pages, PAGE_BYTES),
            others: Book::new(MAX_OTHERS, OTHER_BYTES),
            cases: BTreeMap::new(),
        }
    }

    /// New numbers, which hold from the next report on. Evidence stays; a
    /// threshold that was raised counts on from the records it had needed.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Takes a report.
    pub fn observe(&mut self, report: &Report, machine: &Machine) -> Observed {
        let mut out = Observed::default();
        if report.records == 0 {
            out.undecodable = Some(format!("a report of {} stands for no record", report.source));
            return out;
        }
        // Kept where it is: a lead is large, and this is done for every report.
        let reading = reading::read(report.source, &report.record, machine, &self.rules);
        let (page, lead) = (reading.page, reading.lead.as_ref());
        out.page = page;
        out.corrected = lead.is_some_and(|lead| !lead.rule.uncorrected());
        out.counted = creditable(report);
        if report.source == Source::McEvent && report.decodes > 0 {
            self.withdraw_placeless(report);
        }
        if let Some(place) = reading.place.as_ref().filter(|_| out.corrected) {
            let seen = Sighting { place, page, addr: reading.addr, report };
            self.located.observe(&seen, &self.rules, machine, &mut out);
        }
        let fired = match (page, lead) {
            (Some(pfn), lead) => self.page_erred(pfn, lead, report, &mut out),
            (None, Some(lead)) => self.change(&lead.key, |state| {
                state.take(lead, report, report.errors, Fault::MAX_EVIDENCE, &mut out.updated)
            }),
            (None, None) => None,
        };
        if let Some(fired) = fired {
            if let Some(lead) = reading.lead {
                out.findings.push(self.open(lead, fired, report, machine));
            }
        }
        out.undecodable = reading.unusable;
        let horizon = self.rules.longest_window();
        self.pages.expire(report.last.at, horizon);
        self.others.expire(report.last.at, horizon);
        out
    }

    /// The component was given back: its window restarts, and its open faults
    /// no longer keep it from firing. Should it fire, that is a new fault; the
    /// old one stays as it is and keeps counting until then.
    pub fn release(&mut self, target: &Target) {
        let keys: Vec<EvidenceKey> = match target {
            Target::Page(pfn) => vec![EvidenceKey::Page(*pfn)],
            Target::Cpu(cpu) => self
                .others
                .iter()
                .filter(|(_, state)| state.cpus().contains(cpu))
                .map(|(key, _)| key.clone())
                .collect(),
        };
        for key in keys {
            if self.get(&key).is_some() {
                self.change(&key, EvidenceState::release);
            }
        }
    }

    /// Takes up where an earlier run left off: its rows, as
    /// [`Analyzer::changes`] told of them, and the faults.
    ///
    /// Where the two differ the faults are right, since they are saved first: a
    /// row's case that is not open is dropped with its windows; an open fault
    /// that no row knows is found again by its evidence.
    pub fn restore<'f>(
        &mut self,
        rows: impl Iterator<Item = (EvidenceKey, Remembered)>,
        faults: impl Iterator<Item = &'f Fault>,
        machine: &Machine,
    ) {
        let (located, others): (Vec<&Fault>, Vec<&Fault>) =
            faults.partition(|fault| Located::owns(fault));
        let mut open: BTreeMap<Uuid, &Fault> =
            others.into_iter().filter(|f| f.is_open()).map(|f| (f.id, f)).collect();
        let mut dram_rows = Vec::new();
        let mut components = Vec::new();
        for (key, remembered) in rows {
            match (key, remembered) {
                (EvidenceKey::Row(row), Remembered::Row(state)) => dram_rows.push((row, state)),
                // A row's is of no use under another's name.
                (EvidenceKey::Row(_), _) | (_, Remembered::Row(_)) => {}
                (key, Remembered::Component(state)) => components.push((key, state)),
            }
        }
        // As they would have come: what is touched last is worth most.
        components.sort_by_key(|(_, state)| state.last);
        for (key, mut state) in components {
            let before = state.cases().len();
            state.change_rest(|rest| {
                rest.cases.retain_mut(|case| match open.remove(&case.id) {
                    Some(fault) => {
                        case.errors = case.errors.max(fault.errors);
                        case.evidence = fault.evidence.len();
                        true
                    }
                    None => false,
                });
            });
            if state.cases().len() < before {
                state.restart();
            }
            self.cases.extend(state.cases().iter().map(|case| (case.id, key.clone())));
            let threshold = self.threshold(&key);
            let evicted = match &key {
                EvidenceKey::Page(pfn) => self.pages.restore(pfn, threshold, state),
                key => self.others.restore(key, threshold, state),
            };
            self.forget_cases(evicted);
        }
        for fault in open.into_values() {
            self.reopen(fault, machine);
        }
        self.located.restore(dram_rows.into_iter(), located.into_iter());
    }

    /// What changed since the last [`Analyzer::kept`]: a row's new content, or
    /// `None` where it is gone. Each is made when its turn comes, for there may
    /// be many.
    pub fn changes(&self) -> impl Iterator<Item = (EvidenceKey, Option<Remembered>)> + '_ {
        let pages = self.pages.changes().map(|(pfn, state)| (EvidenceKey::Page(*pfn), state));
        let others = self.others.changes().map(|(key, state)| (key.clone(), state));
        let components =
            pages.chain(others).map(|(k, v)| (k, v.cloned().map(Remembered::Component)));
        let rows = self.located.changes();
        components.chain(rows.map(|(k, v)| (EvidenceKey::Row(k), v.cloned().map(Remembered::Row))))
    }

    /// There are [`Analyzer::changes`].
    pub fn has_changes(&self) -> bool {
        self.pages.has_changes() || self.others.has_changes() || self.located.has_changes()
    }

    /// All that [`Analyzer::changes`] tells is kept: the next change of it, and
    /// its end, are to be told again.
    pub fn kept(&mut self) {
        self.pages.kept();
        self.others.kept();
        self.located.kept();
    }

    /// Tells nothing of what changed up to now: for one who saves nothing.
    pub fn forget_changes(&mut self) {
        self.pages.forget_changes();
        self.others.forget_changes();
        self.located.forget_changes();
    }

    /// [`Analyzer::changes`] is to tell of all rows: where they were kept is
    /// lost.
    pub fn mark_all(&mut self) {
        self.pages.mark_all();
        self.others.mark_all();
        self.located.mark_all();
    }

    /// Pages with evidence.
    pub fn watched_pages(&self) -> impl Iterator<Item = Pfn> + '_ {
        self.pages.iter().map(|(pfn, _)| *pfn)
    }

    /// Components with evidence.
    pub fn tracked(&self) -> usize {
        self.pages.len() + self.others.len() + self.located.rows()
    }

    /// Components whose evidence was given up for want of room.
    pub fn evictions(&self) -> u64 {
        self.pages.evictions() + self.others.evictions() + self.located.evictions()
    }

    /// Reports whose place in DRAM and address contradicted what was known of
    /// either: they count for their page alone.
    pub fn doubtful(&self) -> u64 {
        self.located.doubtful()
    }

    /// A report of a page, which may be of errors that another source told of.
    fn page_erred(
        &mut self,
        pfn: Pfn,
        lead: Option<&Lead>,
        report: &Report,
        out: &mut Observed,
    ) -> Option<Fired> {
        let creditable = out.counted;
        self.change_page(pfn, |state| {
            let added = state.tell(report, creditable);
            out.counted = added.credit;
            state.take(lead?, report, added.fresh, PAGE_EVIDENCE, &mut out.updated)
        })
    }

    /// Opens the fault that just fired.
    fn open(
        &mut self,
        mut lead: Lead,
        fired: Fired,
        report: &Report,
        machine: &Machine,
    ) -> Finding {
        lead.fru = lead.fru.or_else(|| part::named_by(&report.record, machine));
        let response = match lead.took {
            Some(took) if self.is_cascade(&took) => Response::Escalate,
            _ => lead.response.clone(),
        };
        let took = lead.took.filter(|_| matches!(response, Response::TakeCpus(_)));
        let summary = words::summary(&lead, fired.errors, machine);
        let fault = Fault {
            id: fault_id(&lead.key, lead.rule, fired.first.at),
            home: machine.home_of(&lead.component),
            component: lead.component.clone(),
            rule: lead.rule.with(lead.threshold),
            severity: lead.severity(),
            state: FaultState::Open,
            opened: report.last,
            first: fired.first,
            last: report.last,
            errors: fired.errors,
            fru: lead.fru.clone(),
            cover: None,
            decision: words::decision(&summary, &lead, &response),
            advice: words::advice(&lead, &response),
            summary,
            evidence: fired.evidence,
        };
        let case = Case {
            id: fault.id,
            uncorrected: lead.rule.uncorrected(),
            errors: fault.errors,
            evidence: fault.evidence.len(),
            told: report.last.at,
            took,
            released: false,
        };
        self.add_case(&lead.key, case);
        Finding { fault, response }
    }

    /// Puts `case` in the place of those that a release had unlocked.
    fn add_case(&mut self, key: &EvidenceKey, case: Case) {
        let id = case.id;
        let replaced = self.change(key, |state| {
            state.change_rest(|rest| {
                let (replaced, kept) = std::mem::take(&mut rest.cases)
                    .into_iter()
                    .partition::<Vec<_>, _>(|old| old.id == id || old.released);
                rest.cases = kept;
                rest.cases.push(case);
                replaced
            })
        });
        for old in replaced {
            self.cases.remove(&old.id);
        }
        self.cases.insert(id, key.clone());
    }

    /// An open fault of another core of the socket already called for that
    /// core, by the same kind of bank: it may be the socket that fails, and
    /// taking one core after another would blame them all.
    fn is_cascade(&self, took: &Took) -> bool {
        self.others.iter().flat_map(|(_, state)| state.cases()).filter_map(|case| case.took).any(
            |earlier| {
                earlier.socket == took.socket
                    && earlier.bank == took.bank
                    && earlier.core != took.core
            },
        )
    }

    /// A decoded error has a place after all: it leaves the count of those
    /// without one, where the machine check behind it had put it.
    fn withdraw_placeless(&mut self, report: &Report) {
        let uncorrected = match &report.record {
            Record::MemoryController(event) => event.error_type != 0,
            _ => return,
        };
        let key = EvidenceKey::Memory { controller: None, label: String::new(), uncorrected };
        if self.get(&key).is_some() {
            self.change(&key, |state| state.withdraw(Source::MceRecord, report.decodes));
        }
    }

    /// Finds an open fault's place by its first piece of evidence.
    fn reopen(&mut self, fault: &Fault, machine: &Machine) {
        let Some(first) = fault.evidence.first() else { return };
        let Some(lead) = reading::read(first.source, &first.record, machine, &self.rules).lead
        else {
            return;
        };
        let case = Case {
            id: fault.id,
            uncorrected: RuleId::by_name(&fault.rule.id).is_some_and(RuleId::uncorrected),
            errors: fault.errors,
            evidence: fault.evidence.len(),
            told: fault.last.at,
            took: lead.took.filter(|_| fault.state != FaultState::Escalated),
            released: false,
        };
        self.add_case(&lead.key, case);
    }

    /// Changes a row; in a full book a new one may cost another its place.
    fn change<R>(&mut self, key: &EvidenceKey, change: impl FnOnce(&mut EvidenceState) -> R) -> R {
        if let EvidenceKey::Page(pfn) = key {
            return self.change_page(*pfn, change);
        }
        let (result, evicted) = self.others.change(key, self.threshold(key), change);
        self.forget_cases(evicted);
        result
    }

    fn change_page<R>(&mut self, pfn: Pfn, change: impl FnOnce(&mut EvidenceState) -> R) -> R {
        let (result, evicted) = self.pages.change(&pfn, self.rules.page, change);
        self.forget_cases(evicted);
        result
    }

    /// By whose window a row's worth is judged.
    fn threshold(&self, key: &EvidenceKey) -> Threshold {
        match key {
            EvidenceKey::Page(_) => self.rules.page,
            EvidenceKey::Memory { .. } => MEMORY_CE,
            _ => Threshold { errors: self.rules.cpu.errors, window: self.rules.cpu.window },
        }
    }

    fn forget_cases(&mut self, evicted: Few<EvidenceState>) {
        for case in evicted.iter().flat_map(EvidenceState::cases) {
            self.cases.remove(&case.id);
        }
    }

    fn get(&self, key: &EvidenceKey) -> Option<&EvidenceState> {
        match key {
            EvidenceKey::Page(pfn) => self.pages.get(pfn),
            key => self.others.get(key),
        }
    }
}

/// The errors that may be credited to the report's source: those whose machine
/// check it merely decodes were credited there.
fn creditable(report: &Report) -> u64 {
    let decodes = report.decodes.min(report.records);
    let own = u128::from(report.records - decodes);
    let share = u128::from(report.errors) * own / u128::from(report.records.max(1));
    u64::try_from(share).unwrap_or(report.errors)
}

/// The same log finds the same fault: its name is made of the component's, the
/// rule and the moment of the first record.
pub(super) fn fault_id(component: &dyn fmt::Display, rule: RuleId, first: Time) -> Uuid {
    let name = format!("{component}|{}|{}", rule.name(), first.0);
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}
