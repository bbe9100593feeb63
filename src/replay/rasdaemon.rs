//! rasdaemon's database: its tables merged by time.

use super::{Input, Item, Skipped};
use bulkhead_core::model::{
    McEvent, MceRecord, MemoryFailure, Pfn, Record, Report, Source, Stamp, Time, Wall,
};
use rasdaemon_bindings::{
    self as bindings, Condition, Cursor, Database, Entry, OpenError, Row, RowError,
};
use std::io;
use std::path::Path;

const NANOS: i64 = 1_000_000_000;

/// A database.
pub(super) struct Log {
    database: Database,
    mce: Cursor<bindings::MceRecord>,
    mc: Cursor<bindings::McEvent>,
    failures: Cursor<bindings::MemoryFailureEvent>,
    done: u64,
    total: u64,
    notes: Vec<String>,
}

/// Tables that are read; of events in the same second the earlier one here
/// comes first: a machine check before its decode and what came of it.
const READ: [&str; 3] =
    [bindings::MceRecord::TABLE, bindings::McEvent::TABLE, bindings::MemoryFailureEvent::TABLE];

impl Log {
    pub(super) fn open(path: &Path) -> Result<Log, OpenError> {
        let database = Database::open(path)?;
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
        for table in database.tables() {
            let rows = table.rows.unwrap_or(0);
            if READ.contains(&table.name) {
                total += rows;
            } else if rows > 0 {
                let name = table.name;
                notes.push(format!("{rows} rows of {name} are not used"));
            }
        }
        Ok(Log {
            mce: database.cursor(),
            mc: database.cursor(),
            failures: database.cursor(),
            database,
            done: 0,
            total,
            notes,
        })
    }

    fn read(&mut self) -> Option<Result<Result<Report, Skipped>, RowError>> {
        let Log { database, mce, mc, failures, .. } = self;
        let heads = [at(mce.peek(database)), at(mc.peek(database)), at(failures.peek(database))];
        let (first, _) = heads
            .into_iter()
            .enumerate()
            .filter_map(|(table, at)| at.map(|at| (table, at)))
            .min_by_key(|(_, at)| *at)?;
        Some(match first {
            0 => mce.next(database)?.map(|entry| Ok(machine_check(entry))),
            1 => mc.next(database)?.map(memory_error),
            _ => failures.next(database)?.map(memory_failure),
        })
    }
}

/// When the next row of a table was written; a row that cannot be read is dealt
/// with at once.
fn at<T>(head: Option<&Result<Entry<T>, RowError>>) -> Option<i64> {
    head.map(|row| row.as_ref().map_or(i64::MIN, |entry| entry.seconds))
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

/// SYND and IPID are not in the database, and stay zero.
fn machine_check(entry: Entry<bindings::MceRecord>) -> Report {
    let row = entry.row;
    let record = MceRecord {
        status: row.status.unwrap_or(0),
        addr: row.addr.unwrap_or(0),
        misc: row.misc.unwrap_or(0),
        mcgcap: u64::from(row.mcgcap.unwrap_or(0)),
        mcgstatus: u64::from(row.mcgstatus.unwrap_or(0)),
        synd: 0,
        ipid: 0,
        ip: row.ip.unwrap_or(0),
        ppin: row.ppin.unwrap_or(0),
        time: row.walltime.unwrap_or(0),
        cpu: row.cpu.unwrap_or(0),
        cpuid: row.cpuid.unwrap_or(0),
        apicid: row.apicid.unwrap_or(0),
        socketid: row.socketid.unwrap_or(0),
        microcode: row.microcode.unwrap_or(0),
        bank: row.bank.unwrap_or(0),
        cpuvendor: row.cpuvendor.unwrap_or(0),
    };
    report(Source::MceRecord, Record::Mce(record), entry.seconds)
}

fn memory_error(entry: Entry<bindings::McEvent>) -> Result<Report, Skipped> {
    let Entry { id, seconds, row } = entry;
    let error_type = word_number(ERROR_TYPES, row.err_type.as_deref()).ok_or_else(|| {
        let found = row.err_type.unwrap_or_default();
        Skipped {
            place: format!("{} row {id}", bindings::McEvent::TABLE),
            why: format!("err_type is `{}`, which is no type of error", found.escape_debug()),
        }
    })?;
    let record = McEvent {
        error_type,
        error_count: row.err_count.unwrap_or(0),
        mc_index: row.mc.unwrap_or(0),
        top_layer: row.top_layer.unwrap_or(-1),
        middle_layer: row.middle_layer.unwrap_or(-1),
        lower_layer: row.lower_layer.unwrap_or(-1),
        address: row.address.unwrap_or(0),
        grain_bits: row.grain.unwrap_or(0),
        syndrome: row.syndrome.unwrap_or(0),
        msg: row.err_msg.unwrap_or_default(),
        label: row.label.unwrap_or_default(),
        driver_detail: row.driver_detail.unwrap_or_default(),
    };
    Ok(report(Source::McEvent, Record::MemoryController(record), seconds))
}

fn memory_failure(entry: Entry<bindings::MemoryFailureEvent>) -> Result<Report, Skipped> {
    let Entry { id, seconds, row } = entry;
    let skipped = |why: String| Skipped {
        place: format!("{} row {id}", bindings::MemoryFailureEvent::TABLE),
        why,
    };
    let pfn = row.pfn.map(Pfn).ok_or_else(|| skipped("it names no page".to_owned()))?;
    let result = word_number(RESULTS, row.action_result.as_deref()).ok_or_else(|| {
        let found = row.action_result.unwrap_or_default();
        skipped(format!("action_result is `{}`, which is no result", found.escape_debug()))
    })?;
    // Only words tell the kind of page here; nothing is decided by it.
    let record = MemoryFailure { pfn, page_type: -1, result: i32::from(result) };
    Ok(report(Source::MemoryFailure, Record::MemoryFailure(record), seconds))
}

/// The numbers of enum hw_event_mc_err_type (include/linux/edac.h) behind
/// rasdaemon's words (`ras-mc-handler.c`).
const ERROR_TYPES: &[&str] = &["Corrected", "Uncorrected", "Deferred", "Fatal", "Info"];

/// The numbers of enum mf_result (include/linux/mm.h) behind rasdaemon's words
/// (`ras-memory-failure-handler.c`).
const RESULTS: &[&str] = &["Ignored", "Failed", "Delayed", "Recovered"];

fn word_number(words: &[&str], found: Option<&str>) -> Option<u8> {
    words.iter().position(|word| Some(*word) == found).and_then(|n| u8::try_from(n).ok())
}

fn report(source: Source, record: Record, seconds: i64) -> Report {
    let wall = seconds.saturating_mul(NANOS);
    let stamp = Stamp { at: Time(u64::try_from(wall).unwrap_or(0)), wall: Wall(wall) };
    let errors = record.errors();
    Report { source, first: stamp, last: stamp, records: 1, errors, decodes: 0, record }
}
