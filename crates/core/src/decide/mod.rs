//! From faults to a plan, under the policy. Pure.

pub mod plan;
pub mod policy;

pub use plan::{Answer, Decision, DecisionKind, FaultNote, Order, Outcome, Plan};
pub use policy::{Amount, CpuPolicy, Limits, PagePolicy, Policy, RowPolicy, Threshold, UePolicy};
