//! The parsers of this module, as `fuzz/` calls them.

use super::mpidr::Madt;
use super::{
    cpuinfo, cpulist, ipmi, isolators, kdump, last_boot, masked, memory_config, smbios, survey,
    systemd_conf, topology, uevents,
};
use bulkhead_core::model::{Bytes, PageSize};

/// A message of the kernel's about a device.
pub fn uevent(message: &[u8]) {
    let _ = uevents::parse(Some(0), message);
}

/// A text of /sys or /proc.
pub fn text(text: &str) {
    let _ = cpulist::parse(text);
    let _ = cpuinfo::parse(text);
    let _ = memory_config::number(text);
    let _ = topology::ppin(text);
    isolators::settings_of(text);
    let _ = kdump::kdump_tools(text);
    let _ = kdump::kdump_conf(text);
    let _ = systemd_conf::last(text, "RebootWatchdogSec");
    let _ = survey::tasks::parse(1, 1, text);
    let (command_line, iomem) = text.split_once('\n').unwrap_or((text, text));
    masked::masked(command_line, iomem, PageSize::KIB_4);
}

/// What a kernel that died may have left.
pub fn last_words(text: &str) {
    last_boot::parse_anything(text);
}

/// SMBIOS structures, and a MADT.
pub fn firmware_tables(table: &[u8]) {
    let _ = smbios::parse(table);
    let _ = Madt::parse(Bytes(table.to_vec()));
}

/// The answers of a BMC that is asked for its log.
pub fn bmc_log(answers: &[u8]) {
    ipmi::read_anything(answers);
}
