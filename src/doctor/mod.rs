//! `bulkhead doctor`: whether this host lets Bulkhead do its work, one file per
//! precondition. Reads, and changes nothing.

mod bootloader;
mod collector;
mod cpus;
mod daemon;
mod edac;
mod kernel_log;
mod memory_config;
mod memory_failure;
mod others;
mod room;
mod soft_offline;
mod stall;
mod state_dir;
mod tracing;
mod unit;

pub use daemon::Heard;

use crate::host::{self, Root};
use bulkhead_core::model::Machine;
use serde::Serialize;
use std::path::Path;

/// How a precondition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is met.
    Ok,
    /// Something is less than it could be, or nobody can tell.
    Warn,
    /// Bulkhead cannot do a part of its work.
    Fail,
}

/// One precondition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, for ever.
    pub check: &'static str,
    /// How it stands.
    pub result: Verdict,
    /// What was found, in a sentence or two.
    pub found: String,
    /// What mends it: commands or instructions, a line each. Empty where there
    /// is nothing to mend.
    pub mend: String,
    /// It could not be told: the warning is for that.
    #[serde(skip)]
    pub unknown: bool,
}

impl Check {
    fn ok(check: &'static str, found: impl Into<String>) -> Check {
        let (found, mend) = (found.into(), String::new());
        Check { check, result: Verdict::Ok, found, mend, unknown: false }
    }

    fn warn(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Check {
        Check { result: Verdict::Warn, mend: mend.into(), ..Check::ok(check, found) }
    }

    fn fail(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Check {
        Check { result: Verdict::Fail, ..Check::warn(check, found, mend) }
    }

    fn unknown(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Check {
        Check { unknown: true, ..Check::warn(check, found, mend) }
    }
}

/// What a look at something as root would tell.
const AS_ROOT: &str = "run bulkhead doctor as root";

/// All preconditions: what stops the work first, then what dims it, then the
/// chain from a stall to a dump and a reboot. `heard`
/// says what the daemon answered, `state_dir` where it keeps its state; all else
/// is under `root`.
pub fn examine(root: &Path, state_dir: &Path, heard: &Heard) -> Vec<Check> {
    let root = &Root::new(root);
    let machine = host::topology::machine(root, None).unwrap_or_else(|_| Machine::default());
    let mut checks = vec![
        daemon::check(heard),
        unit::check(root),
        state_dir::check(state_dir),
        memory_failure::check(root),
        soft_offline::check(root),
        cpus::check(&machine),
        tracing::bpf(root),
        tracing::tracefs(root),
        kernel_log::check(root),
        collector::check(root),
        others::check(root),
        edac::check(root, &machine),
        memory_config::check(&machine),
    ];
    checks.extend(stall::checks(root));
    checks
}

/// What on this host works against the daemon, a sentence each, with what ends
/// it.
pub fn conflicts(root: &Root) -> Vec<String> {
    let collector = collector::conflict(root);
    collector.into_iter().chain(others::conflicts(root)).collect()
}

#[cfg(test)]
mod tests;
