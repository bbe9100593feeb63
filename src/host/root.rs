//! The one prefix that every path of the host goes under.

use std::fs::{DirEntry, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where /sys and /proc are: `/`, or what `--root` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

/// Something of the host that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {cause}", path.display())]
pub struct HostError {
    /// What was tried: "read", "open", …
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// How it failed. Part of the message, and so not a `source()`.
    pub cause: io::Error,
}

/// The longest file that is read whole, in bytes. The longest there is,
/// /proc/cpuinfo, has some 1.5 KiB a CPU; under `--root` a path may be anything.
const MOST: u64 = 16 << 20;

impl Root {
    /// Everything under `prefix`.
    pub fn new(prefix: impl Into<PathBuf>) -> Root {
        Root(prefix.into())
    }

    /// The path of `relative`, such as `sys/devices/system/cpu/online`.
    pub fn path(&self, relative: &str) -> PathBuf {
        // join() would drop the prefix for an absolute path.
        self.0.join(relative.trim_start_matches('/'))
    }

    /// The text of a file. Bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// When it cannot be opened or read, or is longer than 16 MiB.
    pub fn read(&self, relative: &str) -> Result<String, HostError> {
        let bytes = self.read_bytes(relative)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into()))
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// As [`Root::read`].
    pub fn read_bytes(&self, relative: &str) -> Result<Vec<u8>, HostError> {
        let path = self.path(relative);
        match read_whole(&path) {
            Ok(bytes) => Ok(bytes),
            Err(cause) => Err(HostError { operation: "read", path, cause }),
        }
    }

    /// Names in a directory, as far as they are UTF-8; sorted. A directory that
    /// is not there has none: what sysfs does not have it leaves out.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn list(&self, relative: &str) -> Result<Vec<String>, HostError> {
        self.entries(relative, |_| true)
    }

    /// Names of the directories in a directory, as [`Root::list`].
    ///
    /// # Errors
    /// As [`Root::list`].
    pub fn directories(&self, relative: &str) -> Result<Vec<String>, HostError> {
        self.entries(relative, |entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    }

    fn entries(
        &self,
        relative: &str,
        wanted: impl Fn(&DirEntry) -> bool,
    ) -> Result<Vec<String>, HostError> {
        let path = self.path(relative);
        let names = std::fs::read_dir(&path).and_then(|entries| {
            entries
                .filter(|entry| entry.as_ref().map_or(true, &wanted))
                .filter_map(|entry| entry.map(|e| e.file_name().into_string().ok()).transpose())
                .collect::<io::Result<Vec<_>>>()
        });
        match names {
            Ok(mut names) => {
                names.sort();
                Ok(names)
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(cause) => Err(HostError { operation: "list", path, cause }),
        }
    }
}

impl Default for Root {
    /// The host itself.
    fn default() -> Root {
        Root::new("/")
    }
}

impl HostError {
    /// The errno, unless the failure was not the kernel's (unexpected content).
    pub fn errno(&self) -> Option<i32> {
        self.cause.raw_os_error()
    }

    /// A file that could be read, and does not hold what it should.
    pub(crate) fn unexpected(path: PathBuf, what: &str) -> HostError {
        let cause = io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        HostError { operation: "understand", path, cause }
    }
}

fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)? as u64 > MOST {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_path_stays_under_the_prefix() {
        let root = Root::new("/tmp/other");
        assert_eq!(root.path("/sys/kernel"), Path::new("/tmp/other/sys/kernel"));
        assert_eq!(Root::default().path("sys/kernel"), Path::new("/sys/kernel"));
    }

    #[test]
    fn an_error_names_the_operation_the_path_and_the_errno() {
        let dir = tempfile::tempdir().unwrap();
        let error = Root::new(dir.path()).read("proc/nothing").unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENOENT));
        let said = error.to_string();
        assert!(said.starts_with("cannot read ") && said.contains("proc/nothing"), "{said}");
        assert!(said.contains("os error 2"), "{said}");
    }

    #[test]
    fn a_file_without_end_is_an_error_and_not_the_end_of_the_daemon() {
        let error = Root::default().read("dev/zero").unwrap_err();
        assert_eq!(error.errno(), Some(libc::EFBIG));
    }

    #[test]
    fn bytes_that_are_no_text_do_not_hide_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"a\xffb").unwrap();
        assert_eq!(Root::new(dir.path()).read("f").unwrap(), "a\u{fffd}b");
    }
}
