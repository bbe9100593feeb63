//! Boots of this host.

use bulkhead_core::model::Ending;
pub use bulkhead_core::model::Verdict;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One boot. The default is one of which nothing is known.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BootView {
    /// As in /proc/sys/kernel/random/boot_id.
    pub boot_id: Option<String>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended, as far as known.
    pub ended: Option<Timestamp>,
    /// What ended it.
    pub verdict: Verdict,
    /// One sentence.
    pub cause: Option<String>,
    /// The CPU at fault, where one is known.
    pub cpu: Option<u32>,
    /// How sure the verdict is, 0 to 1.
    pub confidence: Option<f64>,
    /// What the verdict rests on, a sentence each.
    pub evidence: Vec<String>,
}

impl BootView {
    /// This boot, ended so.
    pub fn of_ending(self, ending: &Ending) -> BootView {
        BootView {
            verdict: ending.verdict,
            cause: Some(ending.cause.clone()),
            cpu: ending.cpu,
            confidence: Some(f64::from(ending.percent) / 100.0),
            evidence: ending.evidence.clone(),
            ..self
        }
    }
}
