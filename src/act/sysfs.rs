//! Writing one value to a file of the kernel's, and what an errno means there.

use bulkhead_core::decide::Answer;
use nix::errno::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Writes `value` to a file that must be there already: a file that is created
/// in place of a missing one would swallow the order.
///
/// # Errors
/// As opening or writing fails.
pub(super) fn write(path: &Path, value: &str) -> io::Result<()> {
    order(&open(path)?, value)
}

/// Opens a file that must be there already, for several orders.
///
/// # Errors
/// As opening fails.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// Writes `value` to an open file of the kernel's: one write(2), since each is
/// an order of its own to the kernel, and the place in the file is nothing to it.
///
/// # Errors
/// As writing fails.
pub(super) fn order(mut file: &File, value: &str) -> io::Result<()> {
    match file.write(value.as_bytes()) {
        Ok(n) if n == value.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(error) => Err(error),
    }
}

/// What a failed open, read or write says of the order.
pub(super) fn answer(error: &io::Error) -> Answer {
    let Some(errno) = error.raw_os_error() else {
        // The kernel did answer, and nobody understands it.
        return Answer::Unconfirmed;
    };
    match Errno::from_raw(errno) {
        Errno::EBUSY => Answer::Busy,
        Errno::EIO => Answer::Unhandlable,
        Errno::EOPNOTSUPP | Errno::EPERM | Errno::EACCES => Answer::NotAllowed,
        Errno::ENXIO | Errno::ENOENT | Errno::ENODEV => Answer::NoSuch,
        _ => Answer::Errno(errno),
    }
}

/// "EBUSY: Device or resource busy".
pub(super) fn words(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) => format!("{errno:?}: {}", errno.desc()),
        None => error.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_errno_has_its_answer() {
        for (errno, expected) in [
            (libc::EBUSY, Answer::Busy),
            (libc::EIO, Answer::Unhandlable),
            (libc::EOPNOTSUPP, Answer::NotAllowed),
            (libc::EPERM, Answer::NotAllowed),
            (libc::EACCES, Answer::NotAllowed),
            (libc::ENXIO, Answer::NoSuch),
            (libc::ENOENT, Answer::NoSuch),
            (libc::ENODEV, Answer::NoSuch),
            (libc::EINVAL, Answer::Errno(libc::EINVAL)),
        ] {
            assert_eq!(answer(&io::Error::from_raw_os_error(errno)), expected);
        }
    }

    #[test]
    fn an_errno_is_shown_by_name_and_meaning() {
        let busy = io::Error::from_raw_os_error(libc::EBUSY);
        assert_eq!(words(&busy), "EBUSY: Device or resource busy");
    }

    #[test]
    fn a_missing_file_is_not_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("online");
        assert_eq!(write(&path, "0").unwrap_err().raw_os_error(), Some(libc::ENOENT));
        assert!(!path.exists());
    }
}
