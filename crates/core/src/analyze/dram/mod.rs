//! Memory errors by their place in DRAM.

pub mod map;
pub mod place;
