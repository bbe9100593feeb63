//! The pure part of Bulkhead.
//!
//! Reports come in, faults and plans go out. Nothing in this crate opens a
//! file, reads a clock or holds a global: time is an argument. The daemon, the
//! log replay and the policy laboratory run the very same code.

pub mod analyze;
pub mod cycle;
pub mod decide;
pub mod model;
