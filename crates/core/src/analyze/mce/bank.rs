//! Whose a machine-check bank is.

use serde::{Deserialize, Serialize};

/// The owner of a bank, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bank {
    /// A core's own: the CPU that read the bank is the culprit's.
    Core(Unit),
    /// Shared: the CPU that read it is whichever polled it or owns its
    /// interrupt.
    Shared(SharedUnit),
    /// Not known for this model.
    Unknown,
}

/// A unit of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Intel IFU, AMD IF: instruction fetch and L1 instruction cache.
    InstructionFetch,
    /// Intel DCU, AMD LS: loads and stores and L1 data cache.
    DataCache,
    /// Intel DTLB.
    DataTlb,
    /// Intel MLC: the core's L2.
    MidLevelCache,
    /// AMD L2.
    L2Cache,
    /// AMD DE.
    Decode,
    /// AMD EX.
    Execution,
    /// AMD FP.
    FloatingPoint,
}

/// A unit that several cores share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SharedUnit {
    /// The last-level cache, level 3.
    LastLevelCache,
    /// A memory controller.
    MemoryController,
    /// Any other: power control, mesh, links, I/O.
    Other,
}
