//! The state of the host and of the daemon.

use super::BootView;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How the host is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nothing is out of service and no fault is open.
    Ok,
    /// Something is out of service, or a fault is open: contained.
    Degraded,
    /// A human must look.
    Faulted,
}

/// What the daemon may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Take failing components out of service.
    Isolate,
    /// Decide and record, touch nothing.
    Observe,
}

/// Whether what is known would survive a crash of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Saved {
    /// It is on disk.
    #[serde(rename = "saved")]
    Saved,
    /// The last write to disk failed.
    #[serde(rename = "not saved")]
    NotSaved,
}

/// How a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// It reports, and nothing was lost.
    Ok,
    /// This kernel does not have it.
    Absent,
    /// It is there and cannot be read.
    Failed,
    /// It reports, and some reports were lost.
    Lossy,
}

/// `status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of this object: 1.
    pub schema: u32,
    /// In one word; see [`Status::assess`].
    pub health: Health,
    /// What the daemon may do.
    pub mode: Mode,
    /// As in /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// Release of the running kernel.
    pub kernel: String,
    /// When the daemon started.
    pub started: Timestamp,
    /// Whether what is known is on disk.
    pub state: Saved,
    /// What is out of service.
    pub isolated: IsolatedView,
    /// Isolations wanted and not yet done.
    pub pending: u64,
    /// Isolations that did not come off.
    pub failed: u64,
    /// Of these, pages that have not come off for more than a day.
    #[serde(default)]
    pub stuck: u64,
    /// Isolations held back.
    pub refused: u64,
    /// Of what was held back, how much found no room to be listed since the
    /// daemon started.
    #[serde(default)]
    pub unlisted: u64,
    /// Faults that no admin has closed.
    pub open_faults: u64,
    /// Those of them that a human must act on.
    pub escalated: u64,
    /// Where reports come from.
    pub sources: Vec<SourceView>,
    /// Cross-checks of the sources.
    pub checks: Vec<CheckView>,
    /// What errors have been seen of, below a fault or with one.
    #[serde(default)]
    pub evidence: TrackedView,
    /// What may still be taken.
    pub limits: LimitsView,
    /// The watchdog process.
    pub watchdog: WatchdogView,
    /// How the boot before this one ended.
    pub last_boot: BootView,
    /// What on this host works against the daemon, a sentence each.
    pub conflicts: Vec<String>,
}

/// What is out of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolatedView {
    /// Hardware threads.
    pub cpus: u64,
    /// Pages.
    pub pages: u64,
    /// Those pages, in bytes.
    pub memory_bytes: u64,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceView {
    /// `system:name`.
    pub name: String,
    /// How it reaches the daemon: `bpf`, `tracefs` or `file`.
    pub via: String,
    /// How it is.
    pub state: SourceState,
    /// Errors since boot, each counted once over all sources.
    pub reports: u64,
    /// Errors known to be missing from that.
    pub lost: u64,
    /// One sentence on what is not well; empty if nothing is.
    pub why: String,
}

/// A cross-check of the sources against another count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// Which.
    pub name: String,
    /// By how many errors the counts differ.
    pub differs: u64,
}

/// Evidence in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedView {
    /// Components with evidence.
    pub tracked: u64,
    /// Components whose evidence was given up for want of room, since the
    /// daemon started.
    pub evicted: u64,
    /// Reports since the daemon started whose place in DRAM and address
    /// contradict what was known of either: they count for their page alone.
    #[serde(default)]
    pub doubtful: u64,
}

/// An amount in use and the most that may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// In use.
    pub used: u64,
    /// At most.
    pub max: u64,
}

/// What may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsView {
    /// Memory in all, in bytes.
    pub memory_bytes: Used,
    /// Pages in the last 24 hours.
    pub pages_today: Used,
    /// Hardware threads.
    pub cpus: Used,
}

/// The watchdog process. The default is none that was ever heard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchdogView {
    /// `not running`, `starting`, `armed` (it feeds the hardware), `systemd` (it
    /// hangs on systemd, which does), `watching` (it feeds nothing), `silent`.
    pub state: String,
    /// Its process.
    pub pid: Option<u32>,
    /// What is fed, such as `watchdog0`.
    pub device: Option<String>,
    /// What that calls itself.
    pub identity: Option<String>,
    /// Unfed for so many seconds it resets the host.
    pub timeout_s: Option<u32>,
    /// So many seconds before that it raises the alarm.
    pub pretimeout_s: Option<u32>,
    /// How long a CPU may be silent.
    pub cpu_limit_s: Option<u32>,
    /// How long ago the hardware was fed.
    pub fed_ms: Option<u64>,
    /// CPUs that are probed.
    pub cpus: u32,
    /// CPUs that are silent, the longest first.
    pub suspects: Vec<SuspectView>,
    /// So many more.
    pub more_suspects: u32,
    /// The check that fails, so that nothing is fed any more.
    pub failing: Option<String>,
    /// When it was last heard, if that is longer ago than it should be.
    pub silent_since: Option<Timestamp>,
}

/// A CPU that is silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspectView {
    /// Its logical number.
    pub cpu: u32,
    /// `fifo`: it does not run the highest real-time priority; `other`: it
    /// leaves ordinary tasks no time.
    pub probe: String,
    /// For how long.
    pub silent_ms: u64,
}

impl WatchdogView {
    /// None is heard.
    pub fn not_running() -> WatchdogView {
        WatchdogView { state: "not running".to_owned(), ..WatchdogView::default() }
    }
}

impl Status {
    /// The schema of today.
    pub const SCHEMA: u32 = 1;

    /// The health that the other figures add up to: faulted when something
    /// failed, was refused or escalated, when a source failed or is lossy, or
    /// when the state is not saved; degraded when anything is isolated or any
    /// fault is open.
    pub fn assess(&self) -> Health {
        let blind = |s: &SourceView| matches!(s.state, SourceState::Failed | SourceState::Lossy);
        let faulted = self.failed > 0
            || self.refused > 0
            || self.escalated > 0
            || self.state == Saved::NotSaved
            || self.sources.iter().any(blind);
        if faulted {
            Health::Faulted
        } else if self.isolated.cpus > 0 || self.isolated.pages > 0 || self.open_faults > 0 {
            Health::Degraded
        } else {
            Health::Ok
        }
    }
}
