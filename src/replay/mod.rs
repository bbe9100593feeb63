//! What Bulkhead would have done about a log: the daemon's own analyze and
//! decide, run over it on a simulated clock and a made-up machine.
//!
//! ```text
//!   log ─▶ csv | events | rasdaemon ─▶ Report ─▶ Simulation ─▶ Summary
//!                                                 cycle (analyze, decide)
//!                                                 clock, machine, answers
//! ```
//!
//! No daemon, no root, no kernel: a log of another host or of last year is as
//! good as any.

mod books;
mod csv;
mod events;
mod format;
#[cfg(fuzzing)]
pub mod fuzzing;
mod machine;
mod rasdaemon;
mod simulation;
mod summary;

pub use books::{Case, Happening, Taken, Watch};
pub use format::Format;
pub use summary::Summary;

use bulkhead_core::decide::Policy;
use bulkhead_core::model::{LoggedError, Record, Report, Source, Stamp, Wall};
use simulation::Simulation;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Read at a time, bytes.
const BUFFER: usize = 1 << 16;

/// Between two calls of [`Watch::progress`], items of the log.
const PROGRESS: u64 = 1 << 14;

/// How to replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `None`: by what the file holds.
    pub format: Option<Format>,
    /// The numbers. The mode does not matter: a replay shows what mode isolate
    /// would do.
    pub policy: Policy,
    /// Memory of the made-up machine in bytes: shares in the policy are of it.
    pub memory_bytes: u64,
    /// When the memory failed. Records from this moment on are counted and not
    /// diagnosed: they would be hindsight.
    pub failed_at: Option<Wall>,
}

/// Why a log cannot be replayed: what, and what to do.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// With its errno.
        source: io::Error,
    },
    /// It says nothing of what it is.
    #[error(
        "{}: neither a database of rasdaemon's, nor CSV with the columns time_s and addr, nor \
         event JSON lines; if it is one of them, name it with --format",
        .0.display()
    )]
    UnknownFormat(PathBuf),
    /// The first line of a CSV log.
    #[error("{}: {why}", .path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is missing of it.
        why: String,
    },
    /// The database.
    #[error("{}: {source}", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rasdaemon_bindings::OpenError,
    },
}

/// What came next in a log.
enum Item {
    /// A report.
    Report,
    /// What should have been one and cannot be read.
    Skipped(Skipped),
    /// The end.
    End,
}

/// A line or row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where: `line 17`, or a table and row.
    pub place: String,
    /// What is wrong with it.
    pub why: String,
}

/// A log that is read from its beginning to its end.
trait Input {
    /// Reads on. A report is written to `report`, whatever was there: it is
    /// large, and there are millions.
    fn next(&mut self, report: &mut Report) -> io::Result<Item>;

    /// Of what [`Input::total`] says, what has been read.
    fn done(&self) -> u64;

    /// Bytes or rows in all; 0 where not known.
    fn total(&self) -> u64;

    /// To be told at the end.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Replays the log at `path`.
///
/// # Errors
/// See [`ReplayError`]. What is wrong inside a log is skipped and counted.
pub fn replay(
    path: &Path,
    options: &Options,
    watch: &mut dyn Watch,
) -> Result<Summary, ReplayError> {
    let failed = |source| ReplayError::Io { path: path.to_owned(), source };
    let mut input = open(path, options.format)?;
    let mut simulation = Simulation::new(options, watch);
    let mut report = blank();
    let mut items = 0u64;
    loop {
        match input.next(&mut report).map_err(failed)? {
            Item::Report => simulation.report(&report),
            Item::Skipped(skipped) => simulation.skipped(&skipped),
            Item::End => break,
        }
        items = items.wrapping_add(1);
        if items % PROGRESS == 0 {
            simulation.progress(input.done(), input.total());
        }
    }
    Ok(simulation.finish(input.notes()))
}

/// Reads the log at `path` and does nothing about it; the reports in it. For
/// measuring what reading alone costs.
///
/// # Errors
/// As for [`replay`].
pub fn parse(path: &Path, format: Option<Format>) -> Result<u64, ReplayError> {
    let failed = |source| ReplayError::Io { path: path.to_owned(), source };
    let mut input = open(path, format)?;
    let mut report = blank();
    let mut reports = 0;
    loop {
        match input.next(&mut report).map_err(failed)? {
            Item::Report => reports += 1,
            Item::Skipped(_) => {}
            Item::End => return Ok(reports),
        }
        std::hint::black_box(&report);
    }
}

/// A place for reports.
fn blank() -> Report {
    Report {
        source: Source::Log,
        first: Stamp::default(),
        last: Stamp::default(),
        records: 1,
        errors: 1,
        decodes: 0,
        record: Record::Logged(LoggedError::default()),
    }
}

fn open(path: &Path, format: Option<Format>) -> Result<Box<dyn Input>, ReplayError> {
    let failed = |source| ReplayError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut file = BufReader::with_capacity(BUFFER, file);
    let guessed = match format {
        Some(format) => Some(format),
        None => format::guess(&mut file).map_err(failed)?,
    };
    match guessed {
        Some(Format::Csv) => csv::open(file, size, path).map(|log| Box::new(log) as Box<dyn Input>),
        Some(Format::Bulkhead) => Ok(Box::new(events::Events::new(file, size))),
        Some(Format::Rasdaemon) => match rasdaemon::Log::open(path) {
            Ok(log) => Ok(Box::new(log)),
            Err(source) => Err(ReplayError::Database { path: path.to_owned(), source }),
        },
        None => Err(ReplayError::UnknownFormat(path.to_owned())),
    }
}
