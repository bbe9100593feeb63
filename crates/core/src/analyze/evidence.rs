//! What is remembered of one component between its errors.

use super::dram::{Row, RowKey};
use super::few::Few;
use super::finding::FaultUpdate;
use super::lead::Lead;
use super::mce::bank::Bank;
use super::piece::{evidence, Piece};
use super::saved::Saved;
use super::serd::Serd;
use super::tally::{Added, Tally};
use crate::decide::Threshold;
use crate::model::{
    ApicId, CacheLevel, CpuId, Evidence, Fault, Pfn, Report, SocketId, Source, Stamp, Time,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// Pieces of evidence that an open fault takes as they come: an error may be told of
/// by several sources, each of which knows what the others do not.
const AT_ONCE: usize = 4;

/// Later ones lie so far apart at least: else a storm's first moments would be all
/// that the fault tells of. Each also has the whole fault stored anew.
const APART: Duration = Duration::from_secs(1);

/// A component, under a name that a reboot or a hotplug does not change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKey {
    /// A page.
    Page(Pfn),
    /// A structure of a core, or of the cores that share a cache.
    Core {
        /// Its package.
        socket: SocketId,
        /// The core, or the first of those that share.
        core: CoreId,
        /// Which structure.
        part: Part,
    },
    /// A machine-check bank that no core is known to own.
    Bank {
        /// Its package.
        socket: SocketId,
        /// Its number.
        bank: u8,
        /// UEs are kept apart.
        uncorrected: bool,
    },
    /// Bus or interconnect of a package.
    Bus(SocketId),
    /// Memory without a known page.
    Memory {
        /// `mcN`, where the report names one.
        controller: Option<u8>,
        /// DIMM label, may be empty.
        label: String,
        /// UEs are kept apart.
        uncorrected: bool,
    },
    /// A row of DRAM.
    Row(RowKey),
}

/// What is kept under an [`EvidenceKey`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Remembered {
    /// Of a row of DRAM.
    Row(Row),
    /// Of any other component.
    Component(EvidenceState),
}

/// A core, by its first hardware thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoreId {
    /// The lowest APIC id of its threads: stable.
    Apic(ApicId),
    /// The lowest logical number, where an APIC id is not known.
    Cpu(CpuId),
}

/// A structure of a core, as far as errors of it add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The caches of a level.
    Cache(CacheLevel),
    /// The TLBs of a level.
    Tlb(CacheLevel),
    /// Anything inside.
    Internal,
    /// UEs are kept apart.
    Uncorrected,
}

impl fmt::Display for EvidenceKey {
    /// The name that fault identities are made of: never changes its form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvidenceKey::Page(pfn) => write!(f, "page/{:#x}", pfn.0),
            EvidenceKey::Core { socket, core, part } => {
                write!(f, "core/{socket}/")?;
                match core {
                    CoreId::Apic(id) => write!(f, "apic{}/", id.0)?,
                    CoreId::Cpu(id) => write!(f, "cpu{id}/")?,
                }
                match part {
                    Part::Cache(level) => write!(f, "cache/{level}"),
                    Part::Tlb(level) => write!(f, "tlb/{level}"),
                    Part::Internal => f.write_str("internal"),
                    Part::Uncorrected => f.write_str("ue"),
                }
            }
            EvidenceKey::Bank { socket, bank, uncorrected } => {
                write!(f, "bank/{socket}/{bank}/{}", outcome(*uncorrected))
            }
            EvidenceKey::Bus(socket) => write!(f, "bus/{socket}"),
            EvidenceKey::Memory { controller, label, uncorrected } => {
                match controller {
                    Some(mc) => write!(f, "memory/mc{mc}")?,
                    None => f.write_str("memory/-")?,
                }
                write!(f, "/{}/{label}", outcome(*uncorrected))
            }
            EvidenceKey::Row(row) => row.fmt(f),
        }
    }
}

impl EvidenceKey {
    /// It is named by what a change of DIMMs moves.
    pub fn is_memory(&self) -> bool {
        match self {
            EvidenceKey::Page(_) | EvidenceKey::Memory { .. } | EvidenceKey::Row(_) => true,
            EvidenceKey::Core { .. } | EvidenceKey::Bank { .. } | EvidenceKey::Bus(_) => false,
        }
    }
}

fn outcome(uncorrected: bool) -> &'static str {
    if uncorrected {
        "ue"
    } else {
        "ce"
    }
}

/// The window and open cases of one component: what a restarted daemon needs
/// to carry on. There may be very many, most of them of a single report, so
/// what few have is held apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct EvidenceState {
    /// The last record.
    pub(super) last: Time,
    /// Per source, so that an error that two sources tell of counts once.
    pub(super) window: Serd<Source>,
    /// The first reports of the window, for the fault to come.
    pub(super) pieces: Few<Piece>,
    pub(super) rest: Option<Box<Rest>>,
}

/// What few components have, or not for long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rest {
    /// Only for pages: the errors of the last second, by who told of them.
    pub tally: Tally,
    /// Errors in the window of reports that are not kept as pieces. They stay
    /// in it until it is empty.
    pub unkept: u64,
    /// Open faults. More than one for a page that had a UE after CEs, or that
    /// was given back.
    pub cases: Vec<Case>,
    /// Hardware threads that go with the component, for a release by number.
    pub cpus: Vec<CpuId>,
}

impl Rest {
    fn is_empty(&self) -> bool {
        self.tally.is_empty() && self.unkept == 0 && self.cases.is_empty() && self.cpus.is_empty()
    }
}

/// An open fault, as far as analyze has to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its id.
    pub id: Uuid,
    /// Found by an uncorrected error.
    pub uncorrected: bool,
    /// Its errors so far, each counted once.
    pub errors: u64,
    /// Pieces of evidence it holds.
    pub evidence: usize,
    /// The last record of the last of them; 0 in what was stored before this was
    /// kept.
    #[serde(default)]
    pub told: Time,
    /// It called for a core, in this kind of bank.
    pub took: Option<Took>,
    /// Its component was given back: it may fire anew.
    pub released: bool,
}

/// A core that a fault called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Took {
    /// Its package.
    pub socket: SocketId,
    /// Which core.
    pub core: CoreId,
    /// The kind of bank that reported.
    pub bank: Bank,
}

/// The evidence that a rule fired on.
#[derive(Debug)]
pub(super) struct Fired {
    pub first: Stamp,
    pub errors: u64,
    pub evidence: Vec<Evidence>,
}

impl EvidenceState {
    /// Takes a report that adds `fresh` errors nobody told of before, under
    /// `lead`'s rule, keeping up to `keep` reports as evidence. An open fault
    /// that got more errors goes to `updated`; the answer is whether the rule
    /// fired.
    pub(super) fn take(
        &mut self,
        lead: &Lead,
        report: &Report,
        fresh: u64,
        keep: usize,
        updated: &mut Vec<FaultUpdate>,
    ) -> Option<Fired> {
        self.last = self.last.max(report.last.at);
        if self.cpus() != lead.component.cpus() {
            self.change_rest(|rest| rest.cpus = lead.component.cpus().to_vec());
        }
        self.update_case(lead, report, fresh, updated);
        if self.held_by_case(lead) {
            return None;
        }
        self.expire(lead.threshold, report);
        if lead.rule.uncorrected() {
            // An event of its own: what came before is another rule's evidence.
            let fired = Fired {
                first: report.first,
                errors: report.errors.max(1),
                evidence: vec![evidence(report)],
            };
            self.restart();
            return Some(fired);
        }
        if self.pieces.len() < keep {
            self.pieces.push(Piece::of(report, fresh));
        } else if fresh > 0 {
            self.change_rest(|rest| rest.unkept = rest.unkept.saturating_add(fresh));
        }
        let full = self.window.observe_of(
            report.source,
            lead.threshold,
            report.first.at,
            report.last.at,
            report.records,
        );
        (full || lead.rule.at_once()).then(|| self.fire(report))
    }

    /// Counts the errors that `report` tells of, of which at most `creditable`
    /// may go to its source's total: only for pages.
    pub(super) fn tell(&mut self, report: &Report, creditable: u64) -> Added {
        self.last = self.last.max(report.last.at);
        let Report { source, first, last, errors, .. } = report;
        // Nobody else tells of what is in a log, or of a boot that is over.
        if *source == Source::Log || source.is_of_last_boot() {
            return Added { fresh: *errors, credit: creditable.min(*errors) };
        }
        self.change_rest(|rest| rest.tally.add(*source, first.at, last.at, *errors, creditable))
    }

    /// Open faults.
    pub(super) fn cases(&self) -> &[Case] {
        self.rest.as_ref().map_or(&[], |rest| &rest.cases)
    }

    /// Hardware threads that go with the component.
    pub(super) fn cpus(&self) -> &[CpuId] {
        self.rest.as_ref().map_or(&[], |rest| &rest.cpus)
    }

    /// Who told of what in the last second is remembered.
    pub(super) fn has_tally(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| !rest.tally.is_empty())
    }

    /// Forgets who told of what if that cannot matter at `now` or later.
    pub(super) fn forget_tally(&mut self, now: Time) {
        if self.rest.as_ref().is_some_and(|rest| rest.tally.is_past(now)) {
            self.change_rest(|rest| rest.tally = Tally::default());
        }
    }

    /// Changes what few have; room for it is made and given back as needed.
    pub(super) fn change_rest<R>(&mut self, change: impl FnOnce(&mut Rest) -> R) -> R {
        let mut rest = self.rest.take().unwrap_or_default();
        let result = change(&mut rest);
        self.rest = (!rest.is_empty()).then_some(rest);
        result
    }

    /// Errors in the window, each counted once.
    pub(super) fn errors(&self) -> u64 {
        let unkept = self.rest.as_ref().map_or(0, |rest| rest.unkept);
        self.pieces.iter().fold(unkept, |n, piece| n.saturating_add(piece.fresh()))
    }

    /// Adds to the open fault that these errors belong to, if one.
    fn update_case(
        &mut self,
        lead: &Lead,
        report: &Report,
        fresh: u64,
        updated: &mut Vec<FaultUpdate>,
    ) {
        let Some(Rest { cases, .. }) = self.rest.as_deref_mut() else { return };
        let uncorrected = lead.rule.uncorrected();
        // CEs belong to the CE fault, or else to the UE's.
        let case = match cases.iter().position(|c| c.uncorrected == uncorrected) {
            Some(i) => cases.get_mut(i),
            None if uncorrected => None,
            None => cases.first_mut(),
        };
        let Some(case) = case else { return };
        case.errors = case.errors.saturating_add(fresh);
        let apart = case.evidence < AT_ONCE || report.last.at.since(case.told) >= APART;
        let room = case.evidence < Fault::MAX_EVIDENCE && apart;
        if room {
            case.evidence += 1;
            case.told = report.last.at;
        }
        updated.reserve_exact(1);
        updated.push(FaultUpdate {
            fault: case.id,
            last: report.last,
            errors: case.errors,
            evidence: room.then(|| Box::new(evidence(report))),
            cover: None,
        });
    }

    /// An open fault keeps this rule from firing: the same one, or for CEs a
    /// UE's, for a page with a UE is never to be soft-offlined.
    fn held_by_case(&self, lead: &Lead) -> bool {
        let uncorrected = lead.rule.uncorrected();
        self.cases().iter().any(|c| !c.released && (c.uncorrected || !uncorrected))
    }

    /// Forgets what has left the window when `report` comes.
    fn expire(&mut self, threshold: Threshold, report: &Report) {
        if self.count(threshold, report.first.at) == 0 {
            self.restart();
        } else {
            let start = report.last.at.before(threshold.window);
            self.pieces.retain_mut(|piece| piece.first().at >= start);
        }
    }

    fn fire(&mut self, report: &Report) -> Fired {
        let first = self.pieces.iter().map(Piece::first).min_by_key(|f| f.at);
        let errors = self.errors().max(1);
        let evidence = self.pieces.iter().cloned().map(Piece::into_evidence).collect();
        self.restart();
        Fired { first: first.unwrap_or(report.first), errors, evidence }
    }

    /// Empties the window. Open faults stay.
    pub(super) fn restart(&mut self) {
        self.window.clear();
        self.pieces.clear();
        if self.rest.as_ref().is_some_and(|rest| rest.unkept > 0) {
            self.change_rest(|rest| rest.unkept = 0);
        }
    }

    /// The component was given back: an empty window, and its faults no longer
    /// keep it from firing.
    pub(super) fn release(&mut self) {
        self.restart();
        self.change_rest(|rest| rest.cases.iter_mut().for_each(|case| case.released = true));
    }

    /// Takes back `records` that `source` told of without a place.
    pub(super) fn withdraw(&mut self, source: Source, records: u64) {
        self.window.withdraw(source, records);
    }

    /// Records in the larger source's window, seen from `now`.
    pub(super) fn count(&self, threshold: Threshold, now: Time) -> u32 {
        self.window.count(threshold, now)
    }
}
