//! What must outlive the daemon: evidence, faults, isolations, what happened.
//!
//! One SQLite file, `bulkhead.db`, in the state directory. Rows hold the core
//! types as JSON, beside the few columns that a query needs. A [`Change`] is
//! one transaction, and durable when [`Store::commit`] returns.
//!
//! Nothing here gives up on a broken file: what cannot be used is renamed, not
//! deleted, and a [`Note`] says so.

pub mod clean_end;
mod copy;
mod error;
mod file;
mod history;
pub mod last_words;
mod schema;
mod store;
#[cfg(test)]
mod tests;

pub use error::{Note, StateError, Why};
pub use history::{EventPage, MAX_EVENTS};
pub use store::{Store, MAX_CLOSED_FAULTS};

use crate::event::Event;
use bulkhead_core::analyze::verdict::{Armed, Moment, Silence};
use bulkhead_core::model::time::Anchor;
use bulkhead_core::model::{
    Ending, Fault, Isolation, Ledger, MemoryConfig, MemoryConfigId, Stamp, Target, Time, Wall,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use uuid::Uuid;

/// Cursors whose name begins so count a file's bytes and outlive the boot; all
/// others are the kernel's and end with it.
pub const FILE_CURSOR: &str = "file:";

/// Cursors whose name begins so tell what was learned of earlier boots, and
/// outlive this one.
pub const LAST_BOOT_CURSOR: &str = "last-boot:";

/// One thing asked of the kernel, and what came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// On account of which fault; `None` when an admin asked.
    pub fault: Option<Uuid>,
    /// What it was about.
    pub target: Target,
    /// When it was asked.
    pub time: Stamp,
    /// What was written where, for people.
    pub asked: String,
    /// What came back, for people.
    pub answered: String,
}

/// What a source delivered in one boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCount {
    /// `system:name` of the tracepoint.
    pub source: String,
    /// How it reached us last: `bpf`, `tracefs` or `file`.
    pub via: String,
    /// Errors since boot, each counted once.
    pub reports: u64,
    /// Records known to be lost since boot.
    pub lost: u64,
}

/// One boot of the host during which the daemon ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRow {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// When the host came up.
    pub started: Wall,
    /// Where its CLOCK_BOOTTIME zero lies.
    pub anchor: Anchor,
    /// The last moment recorded in it.
    pub last: Stamp,
    /// What earlier boots had out of service was all tried in it. Of a row from
    /// before this was kept nothing was to be tried.
    #[serde(default = "yes")]
    pub restored: bool,
    /// CLOCK_MONOTONIC at `last`, in ns; 0 in a row from before this was kept.
    #[serde(default)]
    pub up: u64,
    /// The daemon was stopped while the system was being shut down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<Moment>,
    /// The hardware watchdog that was armed when it was last looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub armed: Option<Armed>,
    /// The watchdog's process is silent, armed as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Silence>,
    /// What ended it, as far as it was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

impl BootRow {
    /// A boot that has just been found running.
    pub fn new(boot_id: String, started: Wall, anchor: Anchor, now: Stamp) -> BootRow {
        BootRow {
            boot_id,
            started,
            anchor,
            last: now,
            restored: false,
            up: 0,
            stopping: None,
            armed: None,
            silence: None,
            ending: None,
        }
    }

    /// It was still running at `now`, `up` on CLOCK_MONOTONIC.
    pub fn reached(&mut self, now: Stamp, up: u64) {
        (self.last, self.up) = (now, up);
    }
}

fn yes() -> bool {
    true
}

/// Under which name evidence is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EvidenceName {
    /// The memory configuration it was learned in; `None` for what is not of
    /// memory.
    pub memory: Option<MemoryConfigId>,
    /// As analyze writes it.
    pub key: String,
}

/// What the store remembers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Saved {
    /// All isolations, of this boot and of earlier ones.
    pub ledger: Ledger,
    /// All faults, closed ones included, those last that changed last.
    pub faults: Vec<Fault>,
    /// Keys and values as analyze wrote them: see [`Store::load_evidence`].
    pub evidence: Vec<(String, String)>,
    /// The last memory configurations that the host was seen in, the last of
    /// them last.
    pub memory: Vec<(MemoryConfigId, MemoryConfig)>,
    /// Of this boot.
    pub counts: Vec<SourceCount>,
    /// Of this boot, and of any boot what is of files or of earlier boots (see
    /// [`FILE_CURSOR`], [`LAST_BOOT_CURSOR`]).
    pub cursors: HashMap<String, String>,
    /// The last moment recorded, in whichever boot.
    pub last: Option<Time>,
    /// The machine as JSON, as last committed in this boot.
    pub machine: Option<String>,
    /// The machine as JSON, as last committed in the boot before this one.
    pub machine_before: Option<String>,
    /// The row of this boot, when it was seen before.
    pub boot: Option<BootRow>,
    /// Boots known, oldest first.
    pub boots: Vec<BootRow>,
    /// What could not be read, and was left alone.
    pub notes: Vec<Note>,
}

/// An open fault got more errors, and is otherwise as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    /// Its id.
    pub fault: Uuid,
    /// Its errors, in all.
    pub errors: u64,
    /// The last of them.
    pub last: Stamp,
}

impl Growth {
    /// What it has come to.
    pub fn of(fault: &Fault) -> Growth {
        Growth { fault: fault.id, errors: fault.errors, last: fault.last }
    }
}

/// Evidence by its name, as it is to be stored; `None` forgets the name.
pub type EvidenceRows<'a> = Box<dyn Iterator<Item = (EvidenceName, Option<String>)> + 'a>;

/// Evidence that changed: told one after the other, for all of it may be large.
pub trait EvidenceChanges {
    /// All of it.
    fn rows(&self) -> EvidenceRows<'_>;
}

/// None did.
impl EvidenceChanges for () {
    fn rows(&self) -> EvidenceRows<'_> {
        Box::new(std::iter::empty())
    }
}

/// What one transaction writes. Rows are replaced by key, so passing
/// everything after a failed commit is always right, except for `attempts`
/// and `events`, which are appended: of these pass what was not committed.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    /// The running boot and the moment of this change (`last`).
    pub boot: &'a BootRow,
    /// An earlier boot of which more is known now.
    pub ended: Option<&'a BootRow>,
    /// The machine as JSON, when it changed.
    pub machine: Option<&'a str>,
    /// Ledger lines to insert or replace.
    pub isolations: &'a [Isolation],
    /// Ledger lines to forget.
    pub removed: &'a [Target],
    /// All lines that are set aside of the targets of both.
    pub aside: &'a [Isolation],
    /// Faults to insert or replace.
    pub faults: &'a [Fault],
    /// Open faults, stored before, that only grew. Those among `faults` are left
    /// out.
    pub grown: &'a [Growth],
    /// Faults to forget.
    pub forgotten: &'a [Uuid],
    /// What was asked of the kernel.
    pub attempts: &'a [Attempt],
    /// What happened, oldest first.
    pub events: &'a [Event],
    /// Names with their new values.
    pub evidence: &'a dyn EvidenceChanges,
    /// The memory configuration of this boot, when it is not known to be kept.
    pub memory: Option<&'a MemoryConfig>,
    /// Totals of this boot, not increments.
    pub counts: &'a [SourceCount],
    /// Names and places up to which sources were read.
    pub cursors: &'a [(String, String)],
}

impl<'a> Change<'a> {
    /// A change that records only that `boot.last` was reached.
    pub fn at(boot: &'a BootRow) -> Change<'a> {
        Change {
            boot,
            ended: None,
            machine: None,
            isolations: &[],
            removed: &[],
            aside: &[],
            faults: &[],
            grown: &[],
            forgotten: &[],
            attempts: &[],
            events: &[],
            evidence: &(),
            memory: None,
            counts: &[],
            cursors: &[],
        }
    }
}
