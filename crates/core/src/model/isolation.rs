//! What is out of service, or should be.

use super::{BoundTask, CpuId, CpuIdentity, MemoryConfigId, PageSize, Pfn, Severity, Stamp, Time};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// What is taken: the unit of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// One hardware thread.
    Cpu(CpuId),
    /// One page.
    Page(Pfn),
}

impl Target {
    /// The page, if it is one.
    pub fn page(self) -> Option<Pfn> {
        match self {
            Target::Page(pfn) => Some(pfn),
            Target::Cpu(_) => None,
        }
    }

    /// The CPU, if it is one.
    pub fn cpu(self) -> Option<CpuId> {
        match self {
            Target::Cpu(cpu) => Some(cpu),
            Target::Page(_) => None,
        }
    }

    /// `kind` and `id` as in `list`: a CPU by its logical number, a page by its
    /// physical address.
    pub fn kind_and_id(self, page_size: PageSize) -> (&'static str, String) {
        match self {
            Target::Cpu(cpu) => ("cpu", cpu.to_string()),
            Target::Page(pfn) => ("page", page_size.addr(pfn).to_string()),
        }
    }
}

/// Where an isolation stands.
///
/// ```text
///             ┌──────────── retry (EBUSY) ────────────┐
///             ▼                                       │
///  decided ─▶ wanted ─── asked, read back ─▶ isolated │
///    │          │  (a CPU: first surveyed, what is bound to it)
///    │          ├────── EBUSY ─▶ wanted, next_try ────┘
///    │          ├────── EBUSY for a day ─▶ failed
///    │          ├────── EIO, time-out ─▶ failed ─── asked again hourly ─▶ isolated
///    │          └────── EOPNOTSUPP, ENXIO ─▶ refused ─── at a start ─▶ wanted
///    │          ├────── the survey tells of a guard ─▶ refused ─── surveyed again
///    ├─ a limit or guard ─▶ refused ─── when there is room ─▶ wanted
///    └─ mode observe ─▶ observed ─── at a start in mode isolate ─▶ wanted
///  the kernel took a page, somebody else a CPU (any state) ─▶ isolated
///  isolated ─▶ released (by an admin, or by hand behind our back)
///    └─ and an uncorrected error came on the page since ─▶ wanted
///  wanted | failed | refused | observed | stale ─▶ released (by an admin)
///    └─ went all the same, by an order that was out ─▶ isolated, and given back
///  released | observed | stale ─── failed anew, or asked for ─▶ decided
///  any but released ─▶ stale (its hardware is gone, or not surely the same)
///  a reboot: isolated ─▶ wanted, and at once asked; all others go on
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IsolationState {
    /// Durably decided, not yet done.
    Wanted,
    /// Read back as out of service.
    Isolated,
    /// Would have been taken, had the mode allowed it.
    Observed,
    /// Held back by policy, or by the kernel's.
    Refused,
    /// Tried, and it did not come off; the reason is in `why`.
    Failed,
    /// Its hardware is gone.
    Stale,
    /// Given back.
    Released,
}

/// On whose account it is out of service, or was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Our own decision.
    Bulkhead,
    /// The kernel's: its collector or memory_failure().
    Kernel,
    /// A human.
    Admin,
}

/// What the kernel was asked about a line and has not surely answered.
///
/// ```text
///            ask                  off, or surely not
///   nothing ─────▶ take ──────────────────────────────▶ nothing
///                   │ no answer, or one that tells nothing
///                   ▼        ask          surely not
///                 unsure ─────────▶ retake ───────────▶ unsure
///                   ▲                 │ │
///                   └── no answer ────┘ └── off ──────▶ nothing
///   nothing, unsure ── give back ──▶ give ── any answer ──▶ nothing
///   nothing ── put back ──▶ put back ── any answer ──▶ nothing
/// ```
///
/// A CPU passes through `plan` on its way from nothing to take, and through
/// `replan` from unsure to retake: what is bound to it is looked at, and nothing
/// is asked of the kernel yet. Held back then, it is where it came from.
///
/// Only the answer to an order, or a restart, ends one that is under way:
/// whatever else happens to the line meanwhile, it stays, all but `unsure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    /// To take it: the order is under way.
    Take,
    /// To take it, and nothing is under way: the answer timed out, was not
    /// confirmed, or was lost with the daemon. It may be off, or go off later.
    Unsure,
    /// To take it, once more after an order of unknown effect: under way.
    Retake,
    /// To give it back: the order is under way.
    Give,
    /// What is bound to it: the look is under way, and nothing is asked yet.
    Plan,
    /// The same after an order of unknown effect.
    Replan,
    /// To bind tasks to it again that the kernel drove off: under way.
    #[serde(rename = "put back")]
    PutBack,
}

impl Asked {
    /// An order to take it is under way.
    pub fn is_take(self) -> bool {
        matches!(self, Asked::Take | Asked::Retake)
    }

    /// What is bound to it is looked at.
    pub fn is_plan(self) -> bool {
        matches!(self, Asked::Plan | Asked::Replan)
    }

    /// What is left of it where it was only looked at.
    pub fn unplanned(self) -> Option<Asked> {
        match self {
            Asked::Plan => None,
            Asked::Replan => Some(Asked::Unsure),
            other => Some(other),
        }
    }

    /// An order, whatever for, is under way.
    pub fn is_under_way(self) -> bool {
        self != Asked::Unsure
    }
}

/// When a released page comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Undo {
    /// Only a reboot brings it back.
    #[serde(rename = "next boot")]
    NextBoot,
}

/// How soon something should go when there is not room for all: the most
/// urgent is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Urgency {
    /// Of the gravest fault behind it.
    pub severity: Severity,
    /// Errors were seen on it; without that it only lies where more are to be
    /// expected.
    pub seen: bool,
}

impl Urgency {
    /// Of what both call for.
    pub fn and(self, other: Urgency) -> Urgency {
        Urgency { severity: self.severity.max(other.severity), seen: self.seen || other.seen }
    }
}

impl Default for Urgency {
    /// Of a line from before urgency was kept: of a page, or a core, with
    /// errors of its own.
    fn default() -> Self {
        Urgency { severity: Severity::Minor, seen: true }
    }
}

/// The hardware that a line, or a fault, is of: after a change of DIMMs its address is
/// another cell, and after any reboot its number may be another core.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Home {
    /// Nobody can tell: firmware does not say, or it is from before homes were
    /// kept.
    #[default]
    Unknown,
    /// A page's: the memory configuration.
    Memory(MemoryConfigId),
    /// A CPU's: the hardware thread.
    Thread(CpuIdentity),
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// What.
    pub target: Target,
    /// Where it stands.
    pub state: IsolationState,
    /// On whose account.
    pub by: By,
    /// When it came into this state.
    pub since: Stamp,
    /// When it was last confirmed off by our own doing; counts against the
    /// pages a day and the one core per 10 minutes. Restores keep the old value.
    /// None for what others took, and for pages with an uncorrected error,
    /// which no limit binds.
    pub taken: Option<Stamp>,
    /// One sentence for people.
    pub why: String,
    /// The fault behind it.
    pub fault: Option<Uuid>,
    /// Set when a release waits for a reboot.
    pub release: Option<Undo>,
    /// When it is tried again by itself.
    pub next_try: Option<Stamp>,
    /// Attempts that failed in a row; zero for what a limit or guard holds
    /// back.
    pub failures: u32,
    /// Since when the kernel has not taken this page, try by try; `None` once it
    /// did, and for CPUs.
    #[serde(default)]
    pub failing_since: Option<Stamp>,
    /// What was asked of the kernel and not surely answered: tells our own
    /// doing from that of others.
    #[serde(default)]
    pub asked: Option<Asked>,
    /// When an uncorrected error was last reported on this page, until a look
    /// shows it out of service. In service, it is memory_failure()'s and never
    /// soft-offlined; listed as isolated, it may have come back unseen.
    #[serde(default)]
    pub ue: Option<Stamp>,
    /// An uncorrected error came from this page of this memory, in this boot or
    /// an earlier one. Unless `ue` makes it memory_failure()'s, it is taken while
    /// it is free: moving its content would read it.
    #[serde(default)]
    pub unreadable: bool,
    /// CPUs that go or stay together with this one, itself included; empty for
    /// pages.
    pub together: Vec<CpuId>,
    /// Tasks that were bound to CPUs that went with it, this one among them, and
    /// to no other: their affinity is put back when it is on line again.
    #[serde(default)]
    pub bound: Vec<BoundTask>,
    /// How soon it should go when there is not room for all.
    #[serde(default)]
    pub urgency: Urgency,
    /// The hardware it is of, as of when it was last decided on.
    #[serde(default)]
    pub home: Home,
    /// An earlier boot had it out of service, and it is to be so again: it
    /// spends no place of the day, and `taken` stays what it was.
    #[serde(default)]
    pub restores: bool,
}

impl Isolation {
    /// Who fails for longer waits for no lucky moment any more. Most of what the
    /// kernel cannot move goes with the process it is for, and few processes
    /// that do not run for good run longer.
    pub const STUCK_AFTER: Duration = Duration::from_secs(24 * 3600);

    /// A page that has failed to come off for more than a day, so that only the
    /// next boot is likely to keep it out.
    pub fn is_stuck(&self, now: Time) -> bool {
        self.is_failing() && self.fails_for_long(now)
    }

    /// It is to come off, and did not yet.
    pub(crate) fn is_failing(&self) -> bool {
        matches!(self.state, IsolationState::Wanted | IsolationState::Failed)
            && self.failing_since.is_some()
    }

    /// As [`Isolation::is_stuck`], but for the state.
    pub(crate) fn fails_for_long(&self, now: Time) -> bool {
        self.failing_since.is_some_and(|since| now.since(since.at) > Self::STUCK_AFTER)
    }

    /// An order to take it may have an effect yet, or is about to go out.
    pub fn may_go(&self) -> bool {
        self.state == IsolationState::Wanted
            || self
                .asked
                .is_some_and(|asked| asked.is_take() || asked.is_plan() || asked == Asked::Unsure)
    }

    /// An order for it is out.
    pub fn is_under_way(&self) -> bool {
        self.asked.is_some_and(Asked::is_under_way)
    }

    /// Nothing but the reboot came between it and being out of service, as the
    /// store has it: it is on its way back there.
    pub fn is_restoring(&self) -> bool {
        self.restores && self.state == IsolationState::Wanted && self.failures == 0
    }

    /// Off by our own doing since `now`; a restore keeps when that was first,
    /// and on whose account.
    pub(crate) fn went(&mut self, now: Stamp) {
        if !self.restores {
            self.taken = Some(now);
        }
    }

    /// A limit or guard holds it back, whether or not a clock tells until when.
    pub fn waits_for_room(&self) -> bool {
        self.state == IsolationState::Refused && self.failures == 0 && self.by != By::Kernel
    }
}
