//! A dump finds room where it goes.

use super::{install_kdump, Chain, Check, MIB};
use crate::doctor::room;
use crate::host::kdump::Kdump;
use crate::host::{meminfo, Root};

const NAME: &str = "dump-room";

/// Below this not even the kernel's log has room.
const SCARCE: u64 = 64 * MIB;

pub(super) fn check(root: &Root, chain: &Chain) -> Option<Check> {
    if !chain.is_crash_loaded() && chain.kdump.is_none() {
        return None;
    }
    let Some(kdump) = &chain.kdump else {
        let found = "a crash kernel is loaded, and nothing is known to save what it finds";
        return Some(Check::warn(NAME, found, install_kdump(root)));
    };
    if let Some(elsewhere) = &kdump.elsewhere {
        return Some(Check::ok(
            NAME,
            format!("the dump goes to {elsewhere}, which is not looked at"),
        ));
    }
    // It is made when it is needed.
    let directory = root.path(&kdump.directory);
    let place = directory.ancestors().find(|place| place.exists())?;
    match room::of(place) {
        Ok(room) => Some(judge(kdump, room.free, kernel_memory(root))),
        Err(errno) => {
            let found = format!("the room in {} is unknown: {}", kdump.directory, errno.desc());
            Some(Check::unknown(NAME, found, format!("df -h {}", kdump.directory)))
        }
    }
}

/// What a dump without free pages, page cache and programs' memory has at least,
/// uncompressed: level 31 of makedumpfile(8), which both kdumps ask for.
fn kernel_memory(root: &Root) -> Option<u64> {
    let bytes = |field| meminfo::bytes(root, field);
    let left_out = ["MemFree", "Buffers", "Cached", "AnonPages"];
    let left_out = left_out.iter().try_fold(0_u64, |sum, field| sum.checked_add(bytes(field)?))?;
    Some(bytes("MemTotal")?.saturating_sub(left_out))
}

fn judge(kdump: &Kdump, free: u64, kernel: Option<u64>) -> Check {
    let (place, mib) = (&kdump.directory, free / MIB);
    let found = format!("{place} has {mib} MiB of room for a dump");
    let mend = format!(
        "make room on the file system of {place}, or set another directory in /{}",
        kdump.file
    );
    if free < SCARCE {
        return Check::fail(NAME, found, mend);
    }
    match kernel {
        Some(kernel) if free < kernel => {
            let found = format!("{found}; the kernel alone uses {} MiB now", kernel.div_ceil(MIB));
            Check::warn(NAME, found, mend)
        }
        _ => Check::ok(NAME, found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Verdict;
    use super::*;

    #[test]
    fn a_dump_needs_room_for_what_the_kernel_uses() {
        let kdump = Kdump {
            file: "etc/kdump.conf",
            directory: "/x".to_owned(),
            elsewhere: None,
            pre: None,
        };
        for (free, kernel, result) in [
            (500 * MIB, Some(500 * MIB), Verdict::Ok),
            (500 * MIB, None, Verdict::Ok),
            (499 * MIB, Some(500 * MIB), Verdict::Warn),
            (SCARCE - 1, None, Verdict::Fail),
        ] {
            let check = judge(&kdump, free, kernel);
            assert_eq!(check.result, result, "{check:?}");
        }
    }
}
