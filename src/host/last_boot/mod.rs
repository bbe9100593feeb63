//! How the boot before this one ended, where it left word of that: in the
//! platform's storage, in a crash dump, or for firmware to tell the next kernel.
//!
//! What is read here was written by a kernel in its last moments, and kept by
//! whoever found it. It may be cut off anywhere, be of another boot, or of
//! nobody's making: only a machine check or a firmware's record that is whole,
//! right before a panic for such a reason, is taken for a cause.

mod boot_log;
mod death;
mod dumps;
mod files;
mod firmware;
mod klog;
mod last_words;
mod machine_check;
mod pstore;

use super::Root;
use bulkhead_core::analyze::verdict::{Death, Dump, Reset};
use bulkhead_core::model::{Record, Source, Wall};
#[cfg(any(test, fuzzing))]
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// Records that are taken for the cause of one end, at most: a panic prints few,
/// and every one may cost a page.
const MOST: usize = 16;

/// A record of what ended the boot.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// In which kind of place it was found.
    pub source: Source,
    /// The place.
    pub path: PathBuf,
    /// When it was, by the wall clock of then; `None` if nothing tells.
    pub time: Option<Wall>,
    /// How long the kernel had been up when it died, where its log tells: with
    /// the record it makes one end unlike any other.
    pub uptime: Option<Duration>,
    /// What it says.
    pub record: Record,
}

/// All that was found.
#[derive(Debug, Default)]
pub struct LastBoot {
    /// Records, each once.
    pub traces: Vec<Trace>,
    /// Panics, each once, wherever its log was saved.
    pub deaths: Vec<Death>,
    /// Where a crash kernel saved memory, or began to.
    pub dumps: Vec<Dump>,
    /// Why the processor was reset, where it tells.
    pub reset: Option<Reset>,
    /// What could not be used, and why: sentences without a full stop.
    pub notes: Vec<String>,
}

/// Looks for the end of a boot that ended between `from` and `to`.
///
/// Costs a look at a few directories where there is nothing new. What is
/// older than `from` is passed over by the time of its file or, better, by the
/// time in the record.
pub fn read(root: &Root, from: Wall, to: Wall) -> LastBoot {
    let mut found = LastBoot::default();
    pstore::read(root, from, &mut found);
    dumps::read(root, from, &mut found);
    boot_log::read(root, &mut found);
    death::distinct(&mut found.deaths);
    found.traces = distinct(std::mem::take(&mut found.traces), from, to);
    let surplus = found.traces.len().saturating_sub(MOST);
    if surplus > 0 {
        found.traces.truncate(MOST);
        found.notes.push(format!("{surplus} more records of how the last boot ended are left out"));
    }
    found
}

/// One of each error, of those between `from` and `to`: the same text may lie in
/// several places, and what stayed in a bank is read again with another time.
fn distinct(traces: Vec<Trace>, from: Wall, to: Wall) -> Vec<Trace> {
    let mut kept: Vec<Trace> = Vec::new();
    for trace in traces {
        let of_then = trace.time.is_none_or(|time| from <= time && time <= to);
        if of_then && !kept.iter().any(|known| is_same(&known.record, &trace.record)) {
            kept.push(trace);
        }
    }
    kept
}

fn is_same(one: &Record, other: &Record) -> bool {
    match (one, other) {
        (Record::Mce(one), Record::Mce(other)) => {
            (one.bank, one.socketid, one.status, one.addr, one.misc)
                == (other.bank, other.socketid, other.status, other.addr, other.misc)
        }
        _ => one == other,
    }
}

/// The parsers of this module, over any text.
#[cfg(any(test, fuzzing))]
pub fn parse_anything(text: &str) {
    let _ = last_words::of(&klog::lines(text).collect::<Vec<_>>());
    let _ = death::of(&klog::all(text).collect::<Vec<_>>(), Path::new("/"));
    let _ = boot_log::parse(text);
    let _ = pstore::parts(text);
}

#[cfg(test)]
mod tests;
