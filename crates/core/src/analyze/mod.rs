//! From reports to faults. Pure.

pub mod finding;

pub use finding::{Finding, Response};
