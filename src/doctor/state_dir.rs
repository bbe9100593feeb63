//! The state outlives a reboot, and has room.

use super::{room, Check, AS_ROOT};
use nix::errno::Errno;
use nix::sys::statfs::{FsType, TMPFS_MAGIC};
use nix::unistd::{access, AccessFlags};
use std::path::Path;

const NAME: &str = "state";

/// The state with a full history takes some 100 MB.
const AMPLE: u64 = 128 << 20;
/// Below this a commit may fail any time.
const SCARCE: u64 = 8 << 20;

/// include/uapi/linux/magic.h; nix has no name for it.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

pub(super) fn check(dir: &Path) -> Check {
    let shown = dir.display();
    // The daemon makes the directory, and not what it is in.
    let place = match dir.parent() {
        Some(parent) if !dir.exists() => parent,
        _ => dir,
    };
    match access(place, AccessFlags::W_OK) {
        Ok(()) => {}
        Err(Errno::EACCES) => {
            let found = format!("whether {shown} can be written is unknown");
            return Check::unknown(NAME, found, AS_ROOT);
        }
        Err(errno) => {
            let found = format!("{shown} cannot be written: {}", errno.desc());
            return Check::fail(NAME, found, format!("mkdir -p {shown}, on a writable disk"));
        }
    }
    match room::of(place) {
        Ok(room) => judge(&shown.to_string(), room.kind, room.free),
        Err(errno) => {
            let found = format!("the file system of {shown} is unknown: {}", errno.desc());
            Check::unknown(NAME, found, AS_ROOT)
        }
    }
}

fn judge(dir: &str, kind: FsType, room: u64) -> Check {
    if kind == TMPFS_MAGIC || kind == RAMFS_MAGIC {
        let found = format!("{dir} is in memory: a reboot forgets every isolation");
        return Check::warn(NAME, found, "mount a disk there, or give bulkheadd --state-dir DIR");
    }
    let mib = room >> 20;
    let found = format!("{dir} has {mib} MiB of room on a file system that outlives a reboot");
    let mend = format!("make room on the file system of {dir}: df -h {dir}");
    match room {
        AMPLE.. => Check::ok(NAME, found),
        SCARCE.. => Check::warn(NAME, found, mend),
        _ => Check::fail(NAME, found, mend),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use nix::sys::statfs::EXT4_SUPER_MAGIC;

    #[test]
    fn memory_is_no_place_for_what_is_to_last() {
        for kind in [TMPFS_MAGIC, RAMFS_MAGIC] {
            assert_eq!(judge("/x", kind, 1 << 40).result, Verdict::Warn);
        }
        assert_eq!(judge("/x", EXT4_SUPER_MAGIC, 1 << 40).result, Verdict::Ok);
    }

    #[test]
    fn little_room_is_warned_of_and_none_is_a_failure() {
        for (room, result) in [(AMPLE, Verdict::Ok), (AMPLE - 1, Verdict::Warn), (0, Verdict::Fail)]
        {
            assert_eq!(judge("/x", EXT4_SUPER_MAGIC, room).result, result);
        }
    }

    #[test]
    fn a_directory_that_is_still_to_be_made_is_judged_by_what_it_is_in() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!check(&dir.path().join("bulkhead")).found.contains("cannot"));
        let nowhere = check(&dir.path().join("none/bulkhead"));
        assert_eq!((nowhere.result, nowhere.check), (Verdict::Fail, "state"));
    }
}
