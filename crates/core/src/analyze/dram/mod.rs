//! Errors in DRAM: where they lie.

pub mod place;
