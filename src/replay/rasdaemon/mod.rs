//! rasdaemon's database: its tables merged by time.

mod cxl;
mod firmware;
mod kernel;
mod table;

use super::{Input, Item, Skipped};
use bulkhead_core::model::{Report, Source};
use rasdaemon_bindings::{Condition, Database, OpenError, RowError};
use std::io;
use std::path::Path;
use table::{of_rows, Table};

/// A database.
pub(super) struct Log {
    database: Database,
    tables: Vec<Box<dyn Table>>,
    done: u64,
    total: u64,
    notes: Vec<String>,
}

/// The tables that are read. Of events in the same second the earlier one here
/// comes first: a machine check before its decodes, and these before what came
/// of it.
fn tables(database: &Database) -> Vec<Box<dyn Table>> {
    vec![
        of_rows(database, Source::MceRecord, kernel::machine_check),
        of_rows(database, Source::ExtlogMemEvent, firmware::extlog),
        of_rows(database, Source::McEvent, kernel::memory_error),
        of_rows(database, Source::ArmEvent, firmware::arm),
        of_rows(database, Source::NonStandardEvent, firmware::non_standard),
        of_rows(database, Source::CxlDram, cxl::dram),
        of_rows(database, Source::CxlGeneralMedia, cxl::general_media),
        of_rows(database, Source::MemoryFailure, kernel::memory_failure),
    ]
}

impl Log {
    pub(super) fn open(path: &Path) -> Result<Log, OpenError> {
        let database = Database::open(path)?;
        let tables = tables(&database);
        let mut notes = Vec::new();
        match database.condition() {
            Condition::Whole => {}
            Condition::JournalLeftOut => notes.push(
                "what its journal would add or take back is left out, for it lies where SQLite \
                 cannot write"
                    .to_owned(),
            ),
            Condition::Damaged => {
                notes.push(
                    "the database is damaged or cut off, and was read as far as it goes".into(),
                );
            }
        }
        let mut total = 0;
        for found in database.tables() {
            let rows = found.rows.unwrap_or(0);
            if tables.iter().any(|table| table.name() == found.name) {
                total += rows;
            } else if rows > 0 {
                let name = found.name;
                notes.push(format!("{rows} rows of {name} are not used"));
            }
        }
        Ok(Log { database, tables, done: 0, total, notes })
    }

    fn read(&mut self) -> Option<Result<Result<Report, Skipped>, RowError>> {
        let Log { database, tables, .. } = self;
        let heads = tables.iter_mut().filter_map(|table| Some((table.at(database)?, table)));
        // The first of those that are equal.
        let (_, first) = heads.min_by_key(|(at, _)| *at)?;
        first.next(database)
    }
}

impl Input for Log {
    fn next(&mut self, report: &mut Report) -> io::Result<Item> {
        let Some(read) = self.read() else { return Ok(Item::End) };
        self.done += 1;
        Ok(match read {
            Ok(Ok(found)) => {
                *report = found;
                Item::Report
            }
            Ok(Err(skipped)) => Item::Skipped(skipped),
            Err(RowError::Bad { table, id, why }) => {
                Item::Skipped(Skipped { place: format!("{table} row {id}"), why: why.to_string() })
            }
            Err(RowError::Damaged { table, after, why }) => {
                let up_to = match after {
                    i64::MIN => "nothing of it".to_owned(),
                    row => format!("up to row {row}"),
                };
                self.notes.push(format!("{table} is damaged, and was read {up_to}: {why}"));
                Item::Skipped(Skipped { place: table.to_owned(), why })
            }
        })
    }

    fn done(&self) -> u64 {
        self.done
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

#[cfg(test)]
mod tests;
