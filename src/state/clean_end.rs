//! The mark of an orderly end: a small file in the state directory, written as
//! late in a shutdown as that can be, while the daemon is gone.
//!
//! It is written over in its place, so that a disk that is full by then does not
//! make a clean end look like a power failure. It holds a line for this boot and
//! one for the boot before, which nobody has to read before it is written.

use bulkhead_core::analyze::verdict::Moment;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

const FILE: &str = "clean-end";

/// Bytes of a line, filled up with spaces; a boot id and two numbers have 130.
const LINE: usize = 256;

/// Bytes of the file: less than a sector, which a disk writes whole or not.
const SIZE: usize = 2 * LINE;

/// A boot, and its end if that was clean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    boot_id: String,
    clean: Option<Moment>,
    /// The daemon ran in it: its end is somebody's to judge.
    ran: bool,
}

/// The boot `boot_id` runs: an end that was marked in it, as before a soft
/// reboot, is none.
///
/// # Errors
/// When the file can neither be written over nor made.
pub fn begin(dir: &Path, boot_id: &str) -> io::Result<()> {
    put(dir, boot_id, None, true)
}

/// The boot `boot_id` ends in order, now.
///
/// # Errors
/// As [`begin`].
pub fn mark(dir: &Path, boot_id: &str, now: Moment) -> io::Result<()> {
    let ran = read(dir).iter().any(|mark| mark.boot_id == boot_id && mark.ran);
    put(dir, boot_id, Some(now), ran)
}

/// When the boot `boot_id` ended in order, if it is the last or the one before
/// and did.
pub fn of(dir: &Path, boot_id: &str) -> Option<Moment> {
    read(dir).into_iter().find(|mark| mark.boot_id == boot_id)?.clean
}

fn put(dir: &Path, boot_id: &str, clean: Option<Moment>, ran: bool) -> io::Result<()> {
    let before = read(dir).into_iter().find(|mark| mark.boot_id != boot_id && mark.ran);
    let this = Mark { boot_id: boot_id.to_owned(), clean, ran };
    let mut bytes = Vec::with_capacity(SIZE);
    for mark in [Some(this), before] {
        let mut line = mark.map(|mark| serde_json::to_vec(&mark)).transpose()?.unwrap_or_default();
        if line.len() >= LINE {
            return Err(io::Error::other("the boot id is none"));
        }
        line.resize(LINE - 1, b' ');
        line.push(b'\n');
        bytes.extend(line);
    }
    write(&dir.join(FILE), &bytes)
}

/// This boot's first. What is not to be read is not there.
fn read(dir: &Path) -> Vec<Mark> {
    let mut bytes = Vec::new();
    let read =
        File::open(dir.join(FILE)).and_then(|file| file.take(SIZE as u64).read_to_end(&mut bytes));
    if read.is_err() {
        return Vec::new();
    }
    bytes.split(|byte| *byte == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect()
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let there = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path);
    if let Ok(file) = there {
        if file.metadata().is_ok_and(|found| found.is_file() && found.len() == bytes.len() as u64) {
            file.write_all_at(bytes, 0)?;
            return file.sync_data();
        }
    }
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bulkhead_core::model::Wall;
    use std::os::unix::fs::MetadataExt;

    const ONE: &str = "11111111-2222-4333-8444-555555555555";
    const TWO: &str = "22222222-2222-4333-8444-555555555555";
    const NOW: Moment = Moment { up: 77, wall: Wall(1_790_000_000) };

    #[test]
    fn a_mark_is_of_its_boot_and_known_in_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of(dir.path(), ONE), None);
        begin(dir.path(), ONE).unwrap();
        assert_eq!(of(dir.path(), ONE), None);
        mark(dir.path(), ONE, NOW).unwrap();
        assert_eq!(of(dir.path(), ONE), Some(NOW));
        begin(dir.path(), TWO).unwrap();
        assert_eq!((of(dir.path(), ONE), of(dir.path(), TWO)), (Some(NOW), None));
    }

    #[test]
    fn a_boot_that_goes_on_has_not_ended() {
        let dir = tempfile::tempdir().unwrap();
        begin(dir.path(), ONE).unwrap();
        begin(dir.path(), TWO).unwrap();
        mark(dir.path(), TWO, NOW).unwrap();
        begin(dir.path(), TWO).unwrap();
        assert_eq!(of(dir.path(), TWO), None);
    }

    #[test]
    fn boots_without_the_daemon_do_not_push_out_the_last_one_with_it() {
        let dir = tempfile::tempdir().unwrap();
        begin(dir.path(), ONE).unwrap();
        mark(dir.path(), ONE, NOW).unwrap();
        for other in ["b", "c", "d"] {
            mark(dir.path(), other, NOW).unwrap();
        }
        begin(dir.path(), TWO).unwrap();
        assert_eq!(of(dir.path(), ONE), Some(NOW));
    }

    #[test]
    fn it_is_written_over_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        begin(dir.path(), ONE).unwrap();
        let file = || fs::metadata(dir.path().join(FILE)).unwrap();
        let before = (file().ino(), file().len());
        mark(dir.path(), ONE, NOW).unwrap();
        assert_eq!((file().ino(), file().len()), before);
    }

    #[test]
    fn a_file_that_is_none_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        for odd in ["", "{}\n", "\u{1}".repeat(512).as_str()] {
            fs::write(dir.path().join(FILE), odd).unwrap();
            assert_eq!(of(dir.path(), ONE), None);
            mark(dir.path(), ONE, NOW).unwrap();
            assert_eq!(of(dir.path(), ONE), Some(NOW));
        }
        assert!(mark(dir.path(), &"x".repeat(300), NOW).is_err());
    }
}
