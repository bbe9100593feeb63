//! Opening, without ever writing.

use super::cursor::Cursor;
use super::tables::{Row, TABLES};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;
use thiserror::Error;

/// A running rasdaemon holds its locks for the time of one insert.
const BUSY: Duration = Duration::from_secs(5);

/// Why a file cannot be read as rasdaemon's database.
#[derive(Debug, Error)]
pub enum OpenError {
    /// SQLite says so.
    #[error("cannot read it as an SQLite database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// It is a database of something else.
    #[error(
        "it is an SQLite database, but not rasdaemon's: it has none of the tables {}",
        TABLES.join(", ")
    )]
    Foreign,
}

/// A table and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its rows; `None` where they cannot be counted, for the file is damaged.
    pub rows: Option<u64>,
}

/// An open database.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    /// Table → its columns.
    columns: BTreeMap<&'static str, BTreeSet<String>>,
    condition: Condition,
}

/// How much of a database can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// All of it.
    Whole,
    /// What a journal beside the file would add or undo is left out: SQLite
    /// cannot write where it lies.
    JournalLeftOut,
    /// The file is damaged or cut off: its rows up to there.
    Damaged,
}

impl Database {
    /// Opens `path` read-only. A rasdaemon that runs may go on writing to it;
    /// each page of rows is as it was when it was read.
    ///
    /// What cannot be had in whole is read as it lies there, where that is
    /// possible: see [`Database::condition`].
    ///
    /// # Errors
    /// It cannot be read, or is no database of rasdaemon's.
    pub fn open(path: &Path) -> Result<Database, OpenError> {
        let whole = Database::with(path, Condition::Whole);
        let Err(OpenError::Sqlite(error)) = &whole else { return whole };
        match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => {
                Database::with(path, Condition::JournalLeftOut)
            }
            Some(ErrorCode::DatabaseCorrupt) => Database::with(path, Condition::Damaged),
            _ => whole,
        }
    }

    fn with(path: &Path, condition: Condition) -> Result<Database, OpenError> {
        let how = match condition {
            Condition::Whole | Condition::Damaged => "mode=ro",
            Condition::JournalLeftOut => "mode=ro&immutable=1",
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(uri(path, how), flags)?;
        connection.busy_timeout(BUSY)?;
        if condition == Condition::Damaged {
            // Without it a file shorter than its first page says is refused as
            // a whole (`lockBtree` in SQLite's btree.c).
            connection.pragma_update(None, "writable_schema", true)?;
        }
        let mut columns = BTreeMap::new();
        for name in TABLES {
            let mut pragma = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
            let found: BTreeSet<String> =
                pragma.query_map([name], |row| row.get(0))?.collect::<Result<_, _>>()?;
            if !found.is_empty() {
                columns.insert(*name, found);
            }
        }
        if columns.is_empty() {
            return Err(OpenError::Foreign);
        }
        Ok(Database { connection, columns, condition })
    }

    /// How much of it can be had.
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// The tables it has, in the order of [`TABLES`].
    pub fn tables(&self) -> Vec<Table> {
        let tables = TABLES.iter().filter(|name| self.columns.contains_key(*name));
        tables.map(|name| Table { name, rows: self.count(name) }).collect()
    }

    /// The rows of `T`'s table from the first; none if there is no such table.
    pub fn cursor<T: Row>(&self) -> Cursor<T> {
        Cursor::new(self.columns.get(T::TABLE))
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    fn count(&self, table: &str) -> Option<u64> {
        let count = |row: &rusqlite::Row| row.get::<_, i64>(0);
        let sql = format!("SELECT count(*) FROM {table}");
        self.connection.query_row(&sql, [], count).ok().and_then(|n| u64::try_from(n).ok())
    }
}

/// `file:` and the path with what a URI gives another meaning escaped
/// (<https://www.sqlite.org/uri.html>).
fn uri(path: &Path, how: &str) -> OsString {
    let mut uri = b"file:".to_vec();
    // A relative path must not be taken for a host name: `//` begins one.
    if path.is_relative() {
        uri.extend(b"./");
    }
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'?' | b'#' | b'%' => uri.extend(format!("%{byte:02x}").bytes()),
            other => uri.push(*other),
        }
    }
    uri.extend(format!("?{how}").bytes());
    OsString::from_vec(uri)
}
