//! The rows of a table, a page at a time: a database may be larger than memory.

use super::database::Database;
use super::tables::Row;
use super::value::{Columns, ValueError, TIME};
use std::collections::{BTreeSet, VecDeque};
use std::marker::PhantomData;
use thiserror::Error;

/// Rows read at a time.
const PAGE: usize = 512;

/// Why a row cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RowError {
    /// This row holds what it cannot; the next one may be good.
    #[error("{table} row {id}: {why}")]
    Bad {
        /// Its table.
        table: &'static str,
        /// Its number.
        id: i64,
        /// Which value.
        why: ValueError,
    },
    /// The file is damaged, or cannot be read: no more rows of this table.
    #[error("{table}: cannot be read beyond row {after}: {why}")]
    Damaged {
        /// The table.
        table: &'static str,
        /// The last row that was read; `i64::MIN` stands for none.
        after: i64,
        /// What SQLite says.
        why: String,
    },
}

/// A row, and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    /// Its number in its table.
    pub id: i64,
    /// Its `timestamp`, in seconds since the Unix epoch.
    pub seconds: i64,
    /// The rest of it.
    pub row: T,
}

/// A place in a table.
#[derive(Debug)]
pub struct Cursor<T> {
    /// Empty where there is no such table.
    sql: String,
    last: i64,
    page: VecDeque<Result<Entry<T>, RowError>>,
    ended: bool,
    row: PhantomData<T>,
}

impl<T: Row> Cursor<T> {
    pub(crate) fn new(columns: Option<&BTreeSet<String>>) -> Cursor<T> {
        let sql = columns.map(|has| {
            let select: Vec<String> = std::iter::once(&"timestamp")
                .chain(T::COLUMNS)
                .map(|name| if has.contains(*name) { format!("\"{name}\"") } else { "NULL".into() })
                .collect();
            let (select, table) = (select.join(", "), T::TABLE);
            format!("SELECT rowid, {select} FROM {table} WHERE rowid > ?1 ORDER BY rowid LIMIT ?2")
        });
        Cursor {
            ended: sql.is_none(),
            sql: sql.unwrap_or_default(),
            last: i64::MIN,
            page: VecDeque::new(),
            row: PhantomData,
        }
    }

    /// The next row, in the order they were written; `None` at the end.
    pub fn next(&mut self, database: &Database) -> Option<Result<Entry<T>, RowError>> {
        self.fill(database);
        self.page.pop_front()
    }

    /// What [`Cursor::next`] would give.
    pub fn peek(&mut self, database: &Database) -> Option<&Result<Entry<T>, RowError>> {
        self.fill(database);
        self.page.front()
    }

    fn fill(&mut self, database: &Database) {
        if !self.page.is_empty() || self.ended {
            return;
        }
        if let Err(error) = self.read_page(database) {
            self.ended = true;
            let why = error.to_string();
            self.page.push_back(Err(RowError::Damaged { table: T::TABLE, after: self.last, why }));
        }
    }

    fn read_page(&mut self, database: &Database) -> rusqlite::Result<()> {
        let mut select = database.connection().prepare(&self.sql)?;
        let mut rows = select.query((self.last, PAGE as i64))?;
        let mut read = 0;
        while let Some(row) = rows.next()? {
            self.last = row.get(0)?;
            read += 1;
            self.page.push_back(entry::<T>(row, self.last));
        }
        self.ended = read < PAGE;
        Ok(())
    }
}

/// Where `timestamp` stands among the columns selected after the row number.
const TIMESTAMP: &[&str] = &["timestamp"];

fn entry<T: Row>(row: &rusqlite::Row, id: i64) -> Result<Entry<T>, RowError> {
    let bad = |why| RowError::Bad { table: T::TABLE, id, why };
    let times = Columns::new(row, TIMESTAMP, 1);
    let seconds = times.seconds("timestamp").map_err(bad)?;
    let seconds = seconds.ok_or_else(|| bad(times.wrong("timestamp", TIME)))?;
    let row = T::read(&Columns::new(row, T::COLUMNS, 2)).map_err(bad)?;
    Ok(Entry { id, seconds, row })
}
