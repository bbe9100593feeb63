//! The crash kernel has the memory that it needs.

use super::{Chain, Check, MIB};
use crate::doctor::bootloader;
use crate::host::Root;

const NAME: &str = "crash-memory";

const GIB: u64 = 1 << 30;

/// Memory of the host, and what its crash kernel should have: the defaults of
/// kdump-utils for x86_64 (kdump-lib.sh, kdump_get_arch_recommend_crashkernel).
/// An initramfs with everything in it, or a driver that allocates much, needs
/// more.
const WANTED: [(u64, u64); 3] = [(64 * GIB, 512 * MIB), (4 * GIB, 256 * MIB), (0, 192 * MIB)];

pub(super) fn check(root: &Root, chain: &Chain) -> Option<Check> {
    let memory = chain.memory?;
    let has = chain.crash_bytes;
    if has == 0 {
        return None;
    }
    // What is reserved is no part of what the kernel calls its memory.
    let all = memory.saturating_add(has);
    let wanted = WANTED.iter().find(|(from, _)| all >= *from).map_or(0, |(_, wanted)| *wanted);
    let found = format!("{} MiB are reserved for the crash kernel", has / MIB);
    if has >= wanted {
        return Some(Check::ok(NAME, found));
    }
    let found = format!(
        "{found}; on a host of {} GiB it may run out of memory below {} MiB",
        all.div_ceil(GIB),
        wanted / MIB
    );
    let parameter = format!("crashkernel={}M", wanted / MIB);
    Some(Check::warn(NAME, found, bootloader::add(root, "zz-bulkhead-crashkernel", &parameter)))
}
