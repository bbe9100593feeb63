//! The room on a file system.

use nix::errno::Errno;
use nix::sys::statfs::{statfs, FsType};
use std::path::Path;

/// A file system.
pub(super) struct Room {
    /// Of which kind it is.
    pub kind: FsType,
    /// Bytes that may be written.
    pub free: u64,
}

/// That of the file system that `place` is on.
///
/// # Errors
/// As statfs(2).
pub(super) fn of(place: &Path) -> Result<Room, Errno> {
    let stat = statfs(place)?;
    let block = u64::try_from(stat.block_size()).unwrap_or(0);
    let free = stat.blocks_available().saturating_mul(block);
    Ok(Room { kind: stat.filesystem_type(), free })
}
