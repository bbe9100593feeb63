//! Files that somebody else left: only root's, and never more than so much.

use super::Root;
use bulkhead_core::model::Wall;
use nix::unistd::geteuid;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes that are read of a file: the end tells. A saved log has at most the
/// kernel's log buffer (log_buf_len, 2 MiB on large hosts) and a front a line.
const TAIL: u64 = 4 << 20;

/// Entries of a directory that are looked at, so that one full of them does not
/// hold up the start.
const ENTRIES: usize = 4096;

/// A file, or a directory.
pub struct Entry {
    pub name: String,
    pub path: PathBuf,
    pub changed: Wall,
}

/// What is in a directory, the newest first, and if it is `of_root`: /var/crash
/// may be open to all. A directory that is not there has nothing.
pub fn entries(path: &Path, want: impl Fn(&Metadata) -> bool) -> Vec<Entry> {
    let Ok(listed) = fs::read_dir(path) else { return Vec::new() };
    let mut found: Vec<Entry> = listed
        .take(ENTRIES)
        .filter_map(Result::ok)
        .filter_map(|entry| {
            // Of the entry itself: a link leads anywhere.
            let data = entry.metadata().ok().filter(|data| is_roots(data) && want(data))?;
            let name = entry.file_name().into_string().ok()?;
            Some(Entry { path: entry.path(), name, changed: changed(&data) })
        })
        .collect();
    found.sort_by(|a, b| b.changed.0.cmp(&a.changed.0).then_with(|| b.name.cmp(&a.name)));
    found
}

/// Nobody else may have written it; under `--root` nobody but who runs us.
fn is_roots(data: &Metadata) -> bool {
    let owner = data.uid() == 0 || data.uid() == geteuid().as_raw();
    // Write permission of group or others; a sticky directory's entries are
    // checked for themselves.
    owner && data.mode() & 0o022 == 0
}

fn changed(data: &Metadata) -> Wall {
    Wall(data.mtime().saturating_mul(1_000_000_000).saturating_add(data.mtime_nsec()))
}

/// The end of a text; bytes that are not UTF-8 are replaced.
pub fn tail(path: &Path) -> io::Result<String> {
    // Neither waits nor follows, whatever has taken the file's place.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let data = file.metadata()?;
    if !data.is_file() || !is_roots(&data) {
        return Err(io::Error::other("it is no file of root's alone"));
    }
    // A file of pstore may not say how long it is, nor be moved in.
    if data.len() > TAIL {
        file.seek(SeekFrom::Start(data.len() - TAIL))?;
    }
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The path under `root`, for people without it.
pub fn shown(root: &Root, path: &Path) -> PathBuf {
    path.strip_prefix(root.path(""))
        .map_or_else(|_| path.to_owned(), |rest| Path::new("/").join(rest))
}
