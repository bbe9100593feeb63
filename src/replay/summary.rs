//! What a replay came to.

use super::books::{Case, Taken};
use bulkhead_core::model::Wall;

/// The figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Reports that were diagnosed.
    pub reports: u64,
    /// Lines or rows that could not be read.
    pub skipped: u64,
    /// Reports from `--failed-at` on: counted, and not diagnosed.
    pub after_failure: u64,
    /// Reports older than one before them.
    pub out_of_order: u64,
    /// Reports of which something could not be used.
    pub undecodable: u64,
    /// Time of the first and the last report that was diagnosed.
    pub span: Option<(Wall, Wall)>,
    /// All faults, in the order they fired.
    pub faults: Vec<Case>,
    /// Faults of single pages that found no room in `faults`.
    pub unlisted: u64,
    /// What was taken on Bulkhead's account, in that order.
    pub isolations: Vec<Taken>,
    /// Pages among them.
    pub pages: u64,
    /// CEs on pages that were out of service already.
    pub ces_after: u64,
    /// When the first fault fired.
    pub first_fault: Option<Wall>,
    /// When a fault first escalated.
    pub escalated_at: Option<Wall>,
    /// From the first row, bit or escalated fault to the failure, s.
    pub lead_s: Option<u64>,
    /// Components whose evidence was given up for want of room.
    pub evictions: u64,
    /// About the log as a whole; sentences.
    pub notes: Vec<String>,
}
