//! The parsers of this module, as `fuzz/` calls them.

use super::{cpuinfo, cpulist, smbios, uevents};

/// A message of the kernel's about a device.
pub fn uevent(message: &[u8]) {
    let _ = uevents::parse(Some(0), message);
}

/// A text of /sys or /proc.
pub fn text(text: &str) {
    let _ = cpulist::parse(text);
    let _ = cpuinfo::parse(text);
}

/// A table of SMBIOS structures.
pub fn smbios(table: &[u8]) {
    let _ = smbios::parse(table);
}
