//! What can go wrong with the store, in words for the admin.

use rusqlite::ErrorCode;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another daemon runs on the directory.
    #[error(
        "the state directory {} is in use by {}: stop that one, or choose another with --state-dir",
        .dir.display(), holder(.pid)
    )]
    InUse {
        /// The state directory.
        dir: PathBuf,
        /// Who holds it, where the lock file says so.
        pid: Option<u32>,
    },
    /// The path given as state directory is something else.
    #[error("the state directory {} is not a directory: remove it, or choose another with --state-dir", .dir.display())]
    NotADirectory {
        /// What was given.
        dir: PathBuf,
    },
    /// Another user may have put anything into it.
    #[error(
        "the state directory {} is not ours alone: make sure of what is in it, then chown root {} \
         and chmod 700 {}, or choose another with --state-dir",
        .dir.display(), .dir.display(), .dir.display()
    )]
    NotOurs {
        /// The state directory.
        dir: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {op} {}: {cause}", .path.display())]
    Io {
        /// What was tried: "create", "lock".
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// With its errno.
        cause: io::Error,
    },
    /// The database's file, or its log, was removed or replaced while in use:
    /// what is written now would be lost.
    #[error("{} was removed or replaced while in use: what is committed would be lost", .path.display())]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// The directory cannot be used: there is no file to write to.
    #[error("the state directory {} cannot be used", .dir.display())]
    NotOpen {
        /// The state directory.
        dir: PathBuf,
    },
    /// The file is damaged.
    #[error("{} is damaged: cannot {op}: {cause}", .path.display())]
    Corrupt {
        /// What was tried.
        op: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        cause: rusqlite::Error,
    },
    /// SQLite failed: no space, an I/O error, a lock held by somebody else.
    #[error("cannot {op} {}: {cause}", .path.display())]
    Sql {
        /// What was tried.
        op: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        cause: rusqlite::Error,
    },
}

impl StateError {
    /// The store at hand will not recover: drop it and open the directory
    /// again, which sets a damaged file aside.
    pub fn must_reopen(&self) -> bool {
        use StateError::{Corrupt, Gone, NotOpen};
        matches!(self, Gone { .. } | Corrupt { .. } | NotOpen { .. })
    }

    /// For `map_err`: an operation of SQLite failed on `path`.
    pub(super) fn sql(op: &'static str, path: &Path) -> impl Fn(rusqlite::Error) -> StateError {
        let path = path.to_owned();
        move |cause| {
            let path = path.clone();
            match cause.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    StateError::Corrupt { op, path, cause }
                }
                _ => StateError::Sql { op, path, cause },
            }
        }
    }

    /// For `map_err`: an operation of the file system failed on `path`.
    pub(super) fn io(op: &'static str, path: &Path) -> impl Fn(io::Error) -> StateError {
        let path = path.to_owned();
        move |cause| StateError::Io { op, path: path.clone(), cause }
    }
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Why a file was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is no SQLite file, or a damaged one.
    Corrupt,
    /// It belongs to another application.
    Foreign,
    /// A newer Bulkhead wrote it.
    Newer,
    /// It could not be read when the daemon started.
    Unread,
}

impl Why {
    /// The word in the name of the file set aside.
    pub(super) fn word(self) -> &'static str {
        match self {
            Why::Corrupt => "corrupt",
            Why::Foreign => "foreign",
            Why::Newer => "newer",
            Why::Unread => "unread",
        }
    }
}

/// Something the admin should know, and that stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The database was set aside and a new one begun.
    SetAside {
        /// Why it could not be used.
        why: Why,
        /// What was found, in SQLite's or our words.
        found: String,
        /// Where it was.
        path: PathBuf,
        /// Where it is now.
        kept: PathBuf,
    },
    /// The state directory cannot be used now: nothing is kept until it can.
    NotKept {
        /// What the file system or SQLite says.
        why: String,
    },
    /// Rows that this version cannot read; they stay in the table.
    UnreadableRows {
        /// Of which table.
        table: &'static str,
        /// How many.
        rows: usize,
        /// What is wrong with the first of them.
        first: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::SetAside { why, found, path, kept } => {
                let why = match why {
                    Why::Corrupt => "is damaged",
                    Why::Foreign => "is not Bulkhead's",
                    Why::Newer => "was written by a newer Bulkhead",
                    Why::Unread => "could not be read at the start",
                };
                write!(
                    f,
                    "{} {why} ({found}): kept as {}, and a new one begun; what it remembered \
                     is not known to this daemon",
                    path.display(),
                    kept.display()
                )
            }
            Note::NotKept { why } => {
                write!(f, "{why}: goes on in memory, and tries again; make room, or mend the disk")
            }
            Note::UnreadableRows { table, rows, first } => write!(
                f,
                "{rows} unreadable {} of table {table} left alone and not used; the first: {first}",
                if *rows == 1 { "row" } else { "rows" }
            ),
        }
    }
}
