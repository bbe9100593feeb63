//! The parsers of this module, as `fuzz/` calls them.

use super::mpidr::Madt;
use super::{cpuinfo, cpulist, smbios, survey, uevents};
use bulkhead_core::model::Bytes;

/// A message of the kernel's about a device.
pub fn uevent(message: &[u8]) {
    let _ = uevents::parse(Some(0), message);
}

/// A text of /sys or /proc.
pub fn text(text: &str) {
    let _ = cpulist::parse(text);
    let _ = cpuinfo::parse(text);
    let _ = survey::tasks::parse(1, 1, text);
}

/// SMBIOS structures, and a MADT.
pub fn firmware_tables(table: &[u8]) {
    let _ = smbios::parse(table);
    let _ = Madt::parse(Bytes(table.to_vec()));
}
