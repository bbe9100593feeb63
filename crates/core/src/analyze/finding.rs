//! What analyze hands to decide.

use crate::model::{Cover, CpuId, Evidence, Fault, Home, Pfn, Stamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a fault calls for, before any policy on how much may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Take this page.
    TakePage(Pfn),
    /// Take these pages, each for itself: what the limits hold back of them
    /// does not keep the others.
    TakePages(Vec<Pfn>),
    /// The page has an uncorrected error: memory_failure()'s to take; make sure
    /// that it did.
    EnsureFailedPage(Pfn),
    /// The page had an uncorrected error in an earlier boot: take it while it
    /// is free, if it is still the same memory.
    TakeFreePage {
        /// The page.
        pfn: Pfn,
        /// The memory that the error was in.
        home: Home,
    },
    /// Take these hardware threads, all or none.
    TakeCpus(Vec<CpuId>),
    /// Nothing can or should be taken: tell.
    Report,
    /// Nothing that could be taken would contain it: a human must act.
    Escalate,
}

/// A fault that just fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The case, as opened.
    pub fault: Fault,
    /// What it calls for.
    pub response: Response,
}

/// More errors of an open fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultUpdate {
    /// Which.
    pub fault: Uuid,
    /// Its last error.
    pub last: Stamp,
    /// Its errors so far, each counted once: the whole figure, not a step.
    pub errors: u64,
    /// A piece of evidence to append, while it holds fewer than
    /// [`Fault::MAX_EVIDENCE`]. Boxed: most updates have none, and there is one
    /// for nearly every report.
    pub evidence: Option<Box<Evidence>>,
    /// The fault covers more than it did: all that it covers now.
    pub cover: Option<Cover>,
}
