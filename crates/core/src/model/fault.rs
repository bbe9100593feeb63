//! A case: this component fails, by this rule, on this evidence.

use super::{Component, Home, Machine, Pfn, Record, Source, Stamp, Wall};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The kinds that the API names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// One page.
    Page,
    /// A core by its internal errors.
    Cpu,
    /// A cache, a core's own or a shared one.
    Cache,
    /// A translation look-aside buffer.
    Tlb,
    /// Bus or interconnect.
    Bus,
    /// A structure of the socket that no core owns.
    Shared,
    /// A row of a DIMM.
    Row,
    /// A column of a DIMM's bank.
    Column,
    /// A bank of a DIMM.
    Bank,
    /// A rank of a DIMM, or a device of it.
    Rank,
    /// A DIMM as a whole.
    Dimm,
    /// Memory without a known page.
    Memory,
}

/// How much a human should care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Contained, or needs no hurry.
    Minor,
    /// Needs a repair to be planned.
    Major,
    /// Needs a human now.
    Critical,
}

/// Where the case stands.
///
/// ```text
///            isolated ───────────────┐
///  open ──┬─▶ (all of it taken)      ├─▶ repaired | replaced | acquitted
///         └─▶ escalated (a human must act)┘        (by an admin)
/// ```
///
/// A component that is released while its fault stands reopens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultState {
    /// Diagnosed, and nothing has been taken (yet).
    Open,
    /// What the fault covers is out of service.
    Isolated,
    /// Cannot be contained here: a human must act.
    Escalated,
    /// An admin says it was repaired.
    Repaired,
    /// An admin says it was replaced.
    Replaced,
    /// An admin says it was no fault.
    Acquitted,
}

impl FaultState {
    /// The word that `faults` shows.
    pub fn name(self) -> &'static str {
        match self {
            FaultState::Open => "open",
            FaultState::Isolated => "isolated",
            FaultState::Escalated => "escalated",
            FaultState::Repaired => "repaired",
            FaultState::Replaced => "replaced",
            FaultState::Acquitted => "acquitted",
        }
    }
}

/// The rule that fired, with the numbers it fired on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Stable name, such as `page-ce` or `cpu-cache`.
    pub id: String,
    /// Names and values with units, such as `("errors", "2")`,
    /// `("window", "24h")`.
    pub numbers: Vec<(String, String)>,
}

/// One piece of evidence: a report, compressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// First record it stands for.
    pub first: Wall,
    /// Last record it stands for.
    pub last: Wall,
    /// Records it stands for.
    pub records: u64,
    /// Errors it stands for.
    pub errors: u64,
    /// Who said so.
    pub source: Source,
    /// The raw record.
    pub record: Record,
}

/// How the pages that a fault covers are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CoverBy {
    /// By the exact inverse of the platform's address mapping, which its own
    /// decoding of many errors confirmed.
    Exact,
    /// By what this host's own errors taught of its address mapping.
    Learned,
    /// Only the pages that errors were seen on.
    Seen,
}

/// The pages that a fault is known to cover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cover {
    /// How they are known.
    pub by: CoverBy,
    /// In ascending order.
    pub pages: Vec<Pfn>,
}

/// A case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its name for ever: UUID v5 of component, rule and first record, so a
    /// replay of the same log finds the same case.
    pub id: Uuid,
    /// What fails.
    pub component: Component,
    /// The hardware it is of: a place in memory is another in another
    /// configuration.
    #[serde(default)]
    pub home: Home,
    /// By which rule it was found.
    pub rule: Rule,
    /// How much it matters.
    pub severity: Severity,
    /// Where it stands.
    pub state: FaultState,
    /// When it fired.
    pub opened: Stamp,
    /// First error.
    pub first: Stamp,
    /// Last error so far.
    pub last: Stamp,
    /// Errors so far, each counted once.
    pub errors: u64,
    /// The part to replace, where known.
    pub fru: Option<String>,
    /// The pages it covers, where it is not a page's own and they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cover: Option<Cover>,
    /// The first pieces of evidence, at most [`Fault::MAX_EVIDENCE`], oldest
    /// first; later errors only count.
    pub evidence: Vec<Evidence>,
    /// What was found, without a full stop: "2 corrected errors in page
    /// 0x8000000 within 24h".
    pub summary: String,
    /// One sentence: what was decided and why.
    pub decision: String,
    /// One sentence: what the admin should do.
    pub advice: String,
}

impl Fault {
    /// Pieces of evidence kept with a fault.
    pub const MAX_EVIDENCE: usize = 16;

    /// Why it calls for something, as a sentence.
    pub(crate) fn because(&self) -> String {
        format!("{} (rule {}).", self.summary, self.rule.id)
    }

    /// The kind that the API names.
    pub fn kind(&self) -> FaultKind {
        match self.component {
            Component::Page { .. } => FaultKind::Page,
            Component::Cpu { .. } => FaultKind::Cpu,
            Component::Cache { .. } => FaultKind::Cache,
            Component::Tlb { .. } => FaultKind::Tlb,
            Component::Bus { .. } => FaultKind::Bus,
            Component::Shared { .. } => FaultKind::Shared,
            Component::Row { .. } => FaultKind::Row,
            Component::Column { .. } => FaultKind::Column,
            Component::Bank { .. } => FaultKind::Bank,
            Component::Rank { .. } => FaultKind::Rank,
            Component::Dimm { .. } => FaultKind::Dimm,
            Component::Memory { .. } => FaultKind::Memory,
        }
    }

    /// It is of hardware that this host has; what nobody can tell of memory is
    /// so until a reboot.
    pub fn is_of(&self, machine: &Machine, same_boot: bool) -> bool {
        machine.has(self.home).unwrap_or(same_boot || !self.component.is_memory())
    }

    /// Still a fault: not closed by an admin.
    pub fn is_open(&self) -> bool {
        matches!(self.state, FaultState::Open | FaultState::Isolated | FaultState::Escalated)
    }
}
