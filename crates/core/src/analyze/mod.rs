//! From reports to faults. Pure.
//!
//! ```text
//!  Report ─▶ reading ─▶ Lead ─▶ evidence (serd, tally) ─▶ Finding
//!            (mce)      what it    what is remembered       the fault, and what
//!                       points at  of the component         it calls for
//! ```

mod analyzer;
mod arm;
mod book;
mod carry;
mod confirm;
mod cper;
mod culprit;
mod cxl;
pub mod dram;
mod evidence;
mod few;
pub mod finding;
mod lead;
mod located;
pub mod mce;
mod part;
mod piece;
mod queues;
mod reading;
mod rules;
mod saved;
pub mod serd;
mod tally;
pub mod verdict;
mod words;

use analyzer::fault_id;

pub use analyzer::{Analyzer, Observed, MAX_OTHERS, MAX_PAGES};
pub use arm::MPIDR_AFFINITY;
pub use carry::over_a_boot;
pub use confirm::is_where_it_was;
pub use evidence::{Case, CoreId, EvidenceKey, EvidenceState, Part, Remembered, Took};
pub use finding::{FaultUpdate, Finding, Response};
pub use rules::{RuleId, Rules, MEMORY_CE};

#[cfg(test)]
mod tests;
