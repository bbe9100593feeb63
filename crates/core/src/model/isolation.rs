//! What is out of service, or should be.

use super::{CpuId, Pfn, Stamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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

/// Where an isolation stands.
///
/// ```text
///             ┌────────── retry (EBUSY, EIO) ─────────┐
///             ▼                                       │
///  decided ─▶ wanted ─── asked, read back ─▶ isolated │
///    │          ├────── EBUSY ─▶ wanted, next_try ────┤
///    │          ├────── EIO, time-out ─▶ failed ──────┘
///    │          └────── EOPNOTSUPP, ENXIO ─▶ refused
///    ├─ a limit or guard ─▶ refused (again when it may be)
///    └─ mode observe ─▶ observed
///  isolated ─▶ released (by an admin, or by hand behind our back)
///  isolated ─▶ stale (its hardware is gone)
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

/// When a released page comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Undo {
    /// Only a reboot brings it back.
    #[serde(rename = "next boot")]
    NextBoot,
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
    /// When it was first confirmed off by our own doing; counts against the
    /// pages a day and the one core per 10 minutes. Restores keep the old value.
    pub taken: Option<Stamp>,
    /// One sentence for people.
    pub why: String,
    /// The fault behind it.
    pub fault: Option<Uuid>,
    /// Set when a release waits for a reboot.
    pub release: Option<Undo>,
    /// When it is tried again by itself.
    pub next_try: Option<Stamp>,
    /// Attempts that failed in a row.
    pub failures: u32,
    /// CPUs that go or stay together with this one, itself included; empty for
    /// pages.
    pub together: Vec<CpuId>,
}

/// All isolations known, one per target.
pub type Ledger = BTreeMap<Target, Isolation>;
