//! A crash kernel is loaded: a panic becomes a dump.

use super::{install_kdump, Chain, Check};
use crate::doctor::bootloader;
use crate::host::Root;

const NAME: &str = "crash-kernel";

/// Enough up to some 64 GiB; `crash-memory` says what this host needs.
const PARAMETER: &str = "crashkernel=256M";

pub(super) fn check(root: &Root, chain: &Chain) -> Check {
    if chain.is_crash_loaded() {
        return Check::ok(NAME, "a crash kernel is loaded: a panic becomes a dump");
    }
    if chain.crash_loaded.is_none() {
        let found = "this kernel cannot start a crash kernel: a panic leaves no dump";
        return Check::warn(NAME, found, "boot a kernel with CONFIG_CRASH_DUMP and CONFIG_KEXEC");
    }
    let install = match &chain.kdump {
        Some(kdump) if kdump.is_debian() => "kdump-config load; kdump-config show tells why not",
        Some(_) => "systemctl enable --now kdump; systemctl status kdump tells why not",
        None => install_kdump(root),
    };
    if chain.crash_bytes == 0 {
        let found = "no memory is reserved for a crash kernel: a panic leaves no dump";
        let reserve = bootloader::add(root, "bulkhead-crashkernel", PARAMETER);
        let mend = if chain.kdump.is_none() { format!("{install}\n{reserve}") } else { reserve };
        return Check::warn(NAME, found, mend);
    }
    let found = "memory is reserved for a crash kernel, and none is loaded: a panic leaves no dump";
    if chain.kdump.is_some() {
        return Check::fail(NAME, found, install);
    }
    Check::warn(NAME, found, install)
}
