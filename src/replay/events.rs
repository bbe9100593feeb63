//! Bulkhead's own event JSON lines.

use super::format::BOM;
use super::{Input, Item, Skipped};
use crate::event::{self, MAX_LINE};
use crate::lines::Lines;
use bulkhead_core::model::Report;
use std::io::{self, BufRead};

/// A log of events. Those that are no reports are passed over.
pub(super) struct Events<R> {
    lines: Lines<R>,
    buffer: Vec<u8>,
    number: u64,
    done: u64,
    total: u64,
}

impl<R: BufRead> Events<R> {
    /// `total`: its size in bytes.
    pub(super) fn new(file: R, total: u64) -> Events<R> {
        let lines = Lines::new(file, MAX_LINE);
        Events { lines, buffer: Vec::new(), number: 0, done: 0, total }
    }
}

impl<R: BufRead> Input for Events<R> {
    fn next(&mut self, report: &mut Report) -> io::Result<Item> {
        loop {
            let Some(read) = self.lines.read(&mut self.buffer)? else { return Ok(Item::End) };
            self.number += 1;
            self.done += read.length;
            let line = match self.number {
                1 => self.buffer.strip_prefix(BOM).unwrap_or(&self.buffer),
                _ => &self.buffer,
            };
            let parsed = match read.fits {
                true => event::report_in(line),
                false => Err(format!("longer than {MAX_LINE} bytes")),
            };
            let why = match parsed {
                Ok(Some(found)) => {
                    *report = found;
                    return Ok(Item::Report);
                }
                Ok(None) => continue,
                Err(why) if read.ended => why,
                Err(why) => format!("{why}; the file ends in the middle of it"),
            };
            let place = format!("line {}", self.number);
            return Ok(Item::Skipped(Skipped { place, why }));
        }
    }

    fn done(&self) -> u64 {
        self.done
    }

    fn total(&self) -> u64 {
        self.total
    }
}
