//! The parsers of this module, as `fuzz/` calls them.

use super::{blank, csv, format, Format, Input, Item};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A CSV log, header and all.
pub fn csv(log: &[u8]) {
    let mut start = log;
    let _ = format::guess(&mut start);
    let Ok(mut log) = csv::open(log, log.len() as u64, Path::new("fuzzing")) else { return };
    let mut report = blank();
    while !matches!(log.next(&mut report), Ok(Item::End)) {}
}

/// A file that claims to be a database of rasdaemon's.
pub fn rasdaemon(file: &[u8]) {
    let Ok(path) = write(file) else { return };
    let _ = super::parse(&path, Some(Format::Rasdaemon));
}

/// SQLite reads files alone; this one is written over and over, by each
/// process its own, in memory.
fn write(file: &[u8]) -> io::Result<PathBuf> {
    let path = PathBuf::from(format!("/dev/shm/bulkhead-fuzz-{}", std::process::id()));
    fs::write(&path, file)?;
    Ok(path)
}
