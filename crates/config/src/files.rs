//! The files of a configuration, and whose they are.

use super::Problem;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The largest file that is read, bytes: a thousand times what all keys take.
const LARGEST: u64 = 1 << 20;

/// Others than owner and group may write (chmod(1)).
const OTHERS_WRITE: u32 = 0o002;

/// What `path` says.
pub(super) fn text(path: &Path) -> Result<String, Problem> {
    let unreadable = |source| Problem::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    // A device such as /dev/null is nobody's to fill.
    if meta.is_file() && is_open_to_all(&meta) {
        return Err(Problem::Writable(path.to_owned()));
    }
    let mut text = String::new();
    let read = file.take(LARGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
    if read as u64 > LARGEST {
        return Err(unreadable(io::Error::other("it is larger than 1 MiB")));
    }
    Ok(text)
}

/// `*.toml` in `dir` by name, without hidden files (editors leave some); none
/// if there is no such directory.
pub(super) fn fragments(dir: &Path) -> Result<Vec<PathBuf>, Problem> {
    let unreadable = |source| Problem::Unreadable { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(unreadable)?,
    };
    if is_open_to_all(&fs::metadata(dir).map_err(unreadable)?) {
        return Err(Problem::Writable(dir.to_owned()));
    }
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(unreadable)?.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.ends_with(b".toml") && !bytes.starts_with(b".") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}

fn is_open_to_all(meta: &Metadata) -> bool {
    meta.permissions().mode() & OTHERS_WRITE != 0
}
