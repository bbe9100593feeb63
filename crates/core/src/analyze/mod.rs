//! From reports to faults. Pure.

pub mod finding;
pub mod mce;
pub mod serd;
mod tally;

pub use finding::{Finding, Response};
