//! A made-up /sys and /proc for tests.

use super::Root;
use std::fs;
use tempfile::TempDir;

/// A directory that stands for `/`.
pub struct Tree {
    _dir: TempDir,
    /// It.
    pub root: Root,
}

#[allow(clippy::unwrap_used)]
impl Tree {
    /// An empty one.
    pub fn new() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        Tree { root: Root::new(dir.path()), _dir: dir }
    }

    /// Writes a file, with the directories it needs.
    pub fn write(&self, file: &str, content: &(impl AsRef<[u8]> + ?Sized)) {
        let path = self.root.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Removes a file or a directory, if it is there.
    pub fn remove(&self, what: &str) {
        let path = self.root.path(what);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}
