//! What callers see: the JSON objects of the API and of `bulkhead … --json`.
//!
//! Keys and words are a contract: they may grow, and never change.

mod boot;
mod fault;
mod isolation;
mod plan;
mod resolve;
mod status;

pub use boot::{BootView, Verdict};
pub use fault::{AttemptView, CoverView, EvidenceView, Explanation, FaultView, RuleView};
pub use isolation::{ActReply, IsolationView};
pub use plan::{InterruptView, PlanView, TaskView};
pub use resolve::ResolveReply;
pub use status::{
    CheckView, Health, IsolatedView, LimitsView, Mode, Saved, SourceState, SourceView, Status,
    SuspectView, TrackedView, Used, WatchdogView,
};

#[cfg(test)]
mod tests;
