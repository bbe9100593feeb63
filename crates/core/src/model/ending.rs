//! What ended a boot.

use serde::{Deserialize, Serialize};

/// What ended a boot, in one word.
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

impl Verdict {
    /// As `bulkhead boots` says it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Clean => "clean",
            Verdict::Panic => "panic",
            Verdict::Stall => "stall",
            Verdict::HardwareReset => "hardware reset",
            Verdict::PowerLoss => "power loss",
            Verdict::Unknown => "unknown",
            Verdict::Running => "running",
        }
    }
}

/// A verdict with what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// In one word.
    pub verdict: Verdict,
    /// The rule that found it, by its number in docs/verdict.md.
    pub rule: String,
    /// One sentence.
    pub cause: String,
    /// The CPU at fault, where one is known.
    pub cpu: Option<u32>,
    /// How sure it is, 1 to 99 in 100.
    pub percent: u8,
    /// What speaks for and against it, a sentence each.
    pub evidence: Vec<String>,
}
