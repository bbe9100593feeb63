//! EDAC watches the memory controllers: only it tells ranks, rows and the labels
//! of DIMMs.

use super::Check;
use crate::host::{edac, Root};
use bulkhead_core::model::{Machine, Vendor};

const NAME: &str = "edac";

pub(super) fn check(root: &Root, machine: &Machine) -> Check {
    let controllers = edac::controllers(root).unwrap_or_default();
    if !controllers.is_empty() {
        let names = controllers.iter().filter_map(|(_, dir)| {
            root.read(&format!("{dir}/mc_name")).ok().map(|name| name.trim().to_owned())
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names.dedup();
        let (n, names) = (controllers.len(), names.join(", "));
        return Check::ok(NAME, format!("memory controllers watched: {n} ({names})"));
    }
    let blind = "no memory controller is watched, so rows and DIMM labels stay unknown";
    if is_virtual(root) {
        return Check::ok(NAME, format!("{blind}: a virtual machine has none of its own"));
    }
    if root.list(GHES).is_ok_and(|names| names.iter().any(|name| name.starts_with("GHES."))) {
        let found = format!(
            "{blind}: on this host firmware sees the errors first (GHES), and EDAC leaves them to it"
        );
        let mend =
            "look in the firmware's setup for \"firmware first\" or \"eMCA\", and turn it off";
        return Check::warn(NAME, found, mend);
    }
    let drivers = match machine.vendor {
        Vendor::Intel => "modprobe -a sb_edac skx_edac i10nm_edac",
        Vendor::Amd => "modprobe amd64_edac",
        Vendor::Other => "modprobe the EDAC driver of this processor",
    };
    let mend = format!("{drivers}; dmesg | grep EDAC says why one does not bind");
    Check::warn(NAME, format!("{blind}: no EDAC driver is bound"), mend)
}

/// Sources of errors in ACPI's HEST that the kernel serves
/// (drivers/acpi/apei/ghes.c).
const GHES: &str = "sys/bus/platform/drivers/GHES";

fn is_virtual(root: &Root) -> bool {
    let text = root.read("proc/cpuinfo").unwrap_or_default();
    let flags = text.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|line| line.split_ascii_whitespace().any(|flag| flag == "hypervisor"))
}
