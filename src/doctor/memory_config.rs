//! Firmware tells which memory is behind the addresses: without that nobody
//! knows whether a page of an earlier boot is still the same cell.

use super::{Check, AS_ROOT};
use bulkhead_core::model::{Machine, MemoryConfigId};

const NAME: &str = "memory-config";

pub(super) fn check(machine: &Machine) -> Check {
    if machine.memory != MemoryConfigId::default() {
        return Check::ok(NAME, "firmware tells which memory is behind the addresses");
    }
    let found = "which memory is behind the addresses cannot be read (SMBIOS, BIOS version, \
                 /sys/firmware/memmap)";
    Check::unknown(NAME, found, AS_ROOT)
}
