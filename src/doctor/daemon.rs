//! The daemon runs, and what it knows is on disk.

use super::{Check, AS_ROOT};

const NAME: &str = "daemon";

/// What came of asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It answered.
    Answer {
        /// What it knows is on disk.
        saved: bool,
        /// It touches nothing.
        observes: bool,
    },
    /// It did not; a sentence says why.
    Nothing(String),
    /// We may not ask it.
    Forbidden(String),
}

pub(super) fn check(heard: &Heard) -> Check {
    match heard {
        Heard::Answer { saved: false, .. } => Check::fail(
            NAME,
            "it runs, and what it knows cannot be saved",
            "make room, or mend the disk: journalctl -u bulkhead tells what is wrong",
        ),
        Heard::Answer { observes: true, .. } => {
            Check::ok(NAME, "it runs in mode observe: decisions are recorded, nothing is touched")
        }
        Heard::Answer { .. } => Check::ok(NAME, "it runs, and what it knows is on disk"),
        Heard::Nothing(why) => {
            Check::fail(NAME, format!("it does not answer: {why}"), "systemctl start bulkhead")
        }
        Heard::Forbidden(why) => Check::unknown(NAME, why.clone(), AS_ROOT),
    }
}
