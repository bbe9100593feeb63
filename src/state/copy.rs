//! A database that can only be read: on a full or read-only file system SQLite
//! can make neither its log nor the log's index, and opens nothing.

use super::error::StateError;
use super::file::{is_ours, with_suffix, Database, DATABASE};
use nix::errno::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where copies may go: file systems in memory, and whatever there is.
const PLACES: [&str; 3] = ["/run", "/dev/shm", "/tmp"];

/// Nothing larger is copied: a store within its bounds takes some 100 MiB.
const MOST_BYTES: u64 = 512 << 20;

/// A database and its log, copied to where they can be opened, until dropped.
pub(super) struct Copy {
    database: Database,
    /// Last, so that it goes when nothing in it is open any more.
    _dir: PrivateDir,
}

/// Removed when dropped, with all that is in it.
struct PrivateDir(PathBuf);

impl Copy {
    /// Of the database in `dir`; `None` if there is none.
    ///
    /// # Errors
    /// What keeps it from being read, or copied anywhere.
    pub fn of(dir: &Path) -> Result<Option<Copy>, StateError> {
        let from = dir.join(DATABASE);
        let size = match fs::metadata(&from) {
            Ok(found) => found.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StateError::io("look at", &from)(e)),
        };
        if size == 0 {
            return Ok(None);
        }
        is_ours(dir)?;
        let log = fs::metadata(with_suffix(&from, "-wal")).map_or(0, |found| found.len());
        if size.saturating_add(log) > MOST_BYTES {
            let why = io::Error::from(io::ErrorKind::FileTooLarge);
            return Err(StateError::io("copy", &from)(why));
        }
        let dir = PrivateDir::new()?;
        let to = dir.0.join(DATABASE);
        copy(&from, &to).map_err(StateError::io("copy", &from))?;
        let (log, log_to) = (with_suffix(&from, "-wal"), with_suffix(&to, "-wal"));
        match copy(&log, &log_to) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(StateError::io("copy", &log)(e));
            }
            _ => {}
        }
        let (database, _) = Database::open(&dir.0)?;
        Ok(Some(Copy { database, _dir: dir }))
    }

    /// The copy, opened.
    pub fn database(&self) -> &Database {
        &self.database
    }
}

/// With rights of its own: the original may be read-only.
fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    let mut from = File::open(from)?;
    let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut from, &mut to)
}

impl PrivateDir {
    /// That only we can look into.
    fn new() -> Result<PrivateDir, StateError> {
        let mut refused = Errno::ENOENT;
        for place in PLACES {
            match nix::unistd::mkdtemp(&Path::new(place).join("bulkhead-copy-XXXXXX")) {
                Ok(dir) => return Ok(PrivateDir(dir)),
                Err(errno) => refused = errno,
            }
        }
        Err(StateError::io("make a directory in", Path::new(PLACES[0]))(refused.into()))
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
