//! One table of the database as a stream of reports.

use super::super::Skipped;
use bulkhead_core::model::{Record, Report, Source, Stamp, Time, Wall};
use rasdaemon_bindings::{Cursor, Database, Row, RowError};

const NANOS: i64 = 1_000_000_000;

/// A table that is read.
pub(super) trait Table {
    /// Its name.
    fn name(&self) -> &'static str;

    /// When its next row was written, in seconds since the Unix epoch; a row
    /// that cannot be read is dealt with at once. `None` at the end.
    fn at(&mut self, database: &Database) -> Option<i64>;

    /// The next row.
    fn next(&mut self, database: &Database) -> Option<Result<Result<Report, Skipped>, RowError>>;
}

/// What a row says, or why it says nothing.
type Convert<T> = fn(T) -> Result<Record, String>;

/// The table of rows of type `T`, whose records came from `source`.
pub(super) fn of_rows<T: Row + 'static>(
    database: &Database,
    source: Source,
    convert: Convert<T>,
) -> Box<dyn Table> {
    Box::new(Typed { cursor: database.cursor(), source, convert })
}

struct Typed<T> {
    cursor: Cursor<T>,
    source: Source,
    convert: Convert<T>,
}

impl<T: Row> Table for Typed<T> {
    fn name(&self) -> &'static str {
        T::TABLE
    }

    fn at(&mut self, database: &Database) -> Option<i64> {
        let head = self.cursor.peek(database)?;
        Some(head.as_ref().map_or(i64::MIN, |entry| entry.seconds))
    }

    fn next(&mut self, database: &Database) -> Option<Result<Result<Report, Skipped>, RowError>> {
        let row = self.cursor.next(database)?;
        Some(row.map(|entry| match (self.convert)(entry.row) {
            Ok(record) => Ok(report(self.source, record, entry.seconds)),
            Err(why) => Err(Skipped { place: format!("{} row {}", T::TABLE, entry.id), why }),
        }))
    }
}

fn report(source: Source, record: Record, seconds: i64) -> Report {
    let wall = nanos(seconds);
    let stamp = Stamp { at: Time(u64::try_from(wall).unwrap_or(0)), wall: Wall(wall) };
    let errors = record.errors();
    Report { source, first: stamp, last: stamp, records: 1, errors, decodes: 0, record }
}

/// Seconds as nanoseconds; what is beyond their range is its end.
pub(super) fn nanos(seconds: i64) -> i64 {
    seconds.saturating_mul(NANOS)
}

/// The number behind one of rasdaemon's words: its place among `words`.
pub(super) fn number(words: &[&str], column: &str, found: Option<String>) -> Result<u8, String> {
    let place = words.iter().position(|word| Some(*word) == found.as_deref());
    place.and_then(|n| u8::try_from(n).ok()).ok_or_else(|| {
        let found = found.unwrap_or_default();
        format!("{column} is `{}`, which is none of {}", found.escape_debug(), words.join(", "))
    })
}
