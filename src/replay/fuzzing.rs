//! The parsers of this module, as `fuzz/` calls them.

use super::{blank, csv, format, Input, Item};
use std::path::Path;

/// A CSV log, header and all.
pub fn csv(log: &[u8]) {
    let mut start = log;
    let _ = format::guess(&mut start);
    let Ok(mut log) = csv::open(log, log.len() as u64, Path::new("fuzzing")) else { return };
    let mut report = blank();
    while !matches!(log.next(&mut report), Ok(Item::End)) {}
}
