//! What is remembered of one component between its errors.

use super::dram::{Row, RowKey};
use super::finding::FaultUpdate;
use super::lead::Lead;
use super::mce::bank::Bank;
use super::serd::Serd;
use super::tally::Tally;
use crate::decide::Threshold;
use crate::model::{
    ApicId, CacheLevel, CpuId, Evidence, Fault, Pfn, Report, SocketId, Source, Stamp, Time,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

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

fn outcome(uncorrected: bool) -> &'static str {
    if uncorrected {
        "ue"
    } else {
        "ce"
    }
}

/// The windows and open cases of one component: what a restarted daemon needs
/// to carry on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvidenceState {
    /// Per source, so that an error that two sources tell of counts once.
    windows: Windows,
    /// Only for pages: the errors of the last second, by who told of them.
    pub(super) tally: Tally,
    /// The first reports of the window, for the fault to come.
    pieces: Vec<Piece>,
    /// Errors in the window, each counted once; those of reports that are not
    /// kept as pieces stay in it until it is empty.
    errors: u64,
    /// The last record.
    pub(super) last: Time,
    /// Open faults. More than one for a page that had a UE after CEs, or that
    /// was given back.
    pub(super) cases: Vec<Case>,
    /// Hardware threads that go with the component, for a release by number.
    pub(super) cpus: Vec<CpuId>,
}

/// A window per source that tells of errors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Windows {
    mce_record: Serd,
    mc_event: Serd,
    memory_failure: Serd,
    log: Serd,
    /// Of all other sources, where they tell of it.
    rare: BTreeMap<Source, Serd>,
}

impl Windows {
    fn of(&mut self, source: Source) -> &mut Serd {
        match source {
            Source::MceRecord => &mut self.mce_record,
            Source::McEvent => &mut self.mc_event,
            Source::MemoryFailure => &mut self.memory_failure,
            Source::Log => &mut self.log,
            rare => self.rare.entry(rare).or_default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    first: Stamp,
    /// Errors that it added to [`EvidenceState::errors`].
    fresh: u64,
    evidence: Evidence,
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

/// What a report did to a component.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// An open fault that got more errors.
    pub update: Option<FaultUpdate>,
    /// Its rule fired.
    pub fired: Option<Fired>,
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
    /// `lead`'s rule, keeping up to `keep` reports as evidence.
    pub(super) fn take(&mut self, lead: &Lead, report: &Report, fresh: u64, keep: usize) -> Taken {
        self.last = self.last.max(report.last.at);
        self.cpus = lead.component.cpus().to_vec();
        let update = self.update_case(lead, report, fresh);
        if self.held_by_case(lead) {
            return Taken { update, fired: None };
        }
        let start = report.last.at.before(lead.threshold.window);
        self.expire(lead.threshold, report.first.at, start);
        self.errors = self.errors.saturating_add(fresh);
        let piece = Piece { first: report.first, fresh, evidence: evidence(report) };
        if lead.rule.uncorrected() {
            // An event of its own: what came before is another rule's evidence.
            let fired = Fired {
                first: report.first,
                errors: report.errors.max(1),
                evidence: vec![piece.evidence],
            };
            self.restart();
            return Taken { update, fired: Some(fired) };
        }
        if self.pieces.len() < keep {
            // Most pages never see a second one.
            self.pieces.reserve_exact(1);
            self.pieces.push(piece);
        }
        let full = self.windows.of(report.source).observe(
            lead.threshold,
            report.first.at,
            report.last.at,
            report.records,
        );
        let fired = (full || lead.rule.at_once()).then(|| self.fire(report));
        Taken { update, fired }
    }

    /// Adds to the open fault that these errors belong to, if one.
    fn update_case(&mut self, lead: &Lead, report: &Report, fresh: u64) -> Option<FaultUpdate> {
        let uncorrected = lead.rule.uncorrected();
        // CEs belong to the CE fault, or else to the UE's.
        let case = match self.cases.iter().position(|c| c.uncorrected == uncorrected) {
            Some(i) => self.cases.get_mut(i),
            None if uncorrected => None,
            None => self.cases.first_mut(),
        }?;
        case.errors = case.errors.saturating_add(fresh);
        let room = case.evidence < Fault::MAX_EVIDENCE;
        case.evidence += usize::from(room);
        Some(FaultUpdate {
            fault: case.id,
            last: report.last,
            errors: case.errors,
            evidence: room.then(|| evidence(report)),
            cover: None,
        })
    }

    /// An open fault keeps this rule from firing: the same one, or for CEs a
    /// UE's, for a page with a UE is never to be soft-offlined.
    fn held_by_case(&self, lead: &Lead) -> bool {
        let uncorrected = lead.rule.uncorrected();
        self.cases.iter().any(|c| !c.released && (c.uncorrected || !uncorrected))
    }

    /// Forgets what has left the window.
    fn expire(&mut self, threshold: Threshold, first: Time, start: Time) {
        if self.count(threshold, first) == 0 {
            self.restart();
        } else {
            let errors = &mut self.errors;
            self.pieces.retain(|piece| {
                let stays = piece.first.at >= start;
                if !stays {
                    *errors = errors.saturating_sub(piece.fresh);
                }
                stays
            });
        }
    }

    fn fire(&mut self, report: &Report) -> Fired {
        let first = self.pieces.iter().map(|p| p.first).min_by_key(|f| f.at);
        let fired = Fired {
            first: first.unwrap_or(report.first),
            errors: self.errors.max(1),
            evidence: std::mem::take(&mut self.pieces).into_iter().map(|p| p.evidence).collect(),
        };
        self.restart();
        fired
    }

    /// Empties the windows. Open faults stay.
    pub(super) fn restart(&mut self) {
        self.windows = Windows::default();
        self.pieces.clear();
        self.errors = 0;
    }

    /// The component was given back: an empty window, and its faults no longer
    /// keep it from firing.
    pub(super) fn release(&mut self) {
        self.restart();
        self.cases.iter_mut().for_each(|case| case.released = true);
    }

    /// Takes back `records` that `source` told of without a place.
    pub(super) fn withdraw(&mut self, source: Source, records: u64) {
        self.windows.of(source).withdraw(records);
    }

    /// Records in the larger source's window, seen from `now`.
    pub(super) fn count(&self, threshold: Threshold, now: Time) -> u32 {
        let Windows { mce_record, mc_event, memory_failure, log, rare } = &self.windows;
        let windows = [mce_record, mc_event, memory_failure, log].into_iter().chain(rare.values());
        windows.map(|w| w.count(threshold, now)).fold(0, u32::max)
    }
}

/// A report, compressed.
pub(super) fn evidence(report: &Report) -> Evidence {
    Evidence {
        first: report.first.wall,
        last: report.last.wall,
        records: report.records,
        errors: report.errors,
        source: report.source.name().to_owned(),
        record: report.record.clone(),
    }
}
