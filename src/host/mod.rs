//! Reads the machine. Nothing here writes, and every file is under one
//! [`Root`].

pub mod boot;
pub mod clock;
pub mod collector;
pub mod cpuinfo;
pub mod dimms;
pub mod edac;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod hugetlb;
pub mod ipmi;
pub mod isolators;
pub mod kdump;
pub mod last_boot;
pub mod masked;
pub mod meminfo;
pub mod memmap;
pub mod memory_config;
pub mod mpidr;
pub mod pageflags;
pub mod processes;
pub mod root;
pub mod shutdown;
pub mod smbios;
pub mod survey;
pub mod systemd_conf;
#[cfg(test)]
mod testing;
pub mod topology;
pub mod uevents;
pub mod watchdogs;

pub use bulkhead_core::model::cpulist;
pub use pageflags::PageFlags;
pub use root::{HostError, Root};
pub use topology::machine;
pub use uevents::{Change, Uevents};
