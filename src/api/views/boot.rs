//! Boots of this host.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What ended a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// An orderly shutdown.
    Clean,
    /// A kernel panic.
    Panic,
    /// The host hung.
    Stall,
    /// Reset without a panic.
    #[serde(rename = "hardware reset")]
    HardwareReset,
    /// The power failed.
    #[serde(rename = "power loss")]
    PowerLoss,
    /// Nothing says.
    #[default]
    Unknown,
    /// It has not ended.
    Running,
}

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
