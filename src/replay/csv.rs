//! Decoded memory errors, one a line, as comma-separated values.
//!
//! The first line names the columns, in any order: `time_s` and `addr` must be
//! there; `type`, `socket`, `channel`, `dimm`, `rank`, `device`, `bank_group`,
//! `bank`, `row`, `column`, `retry_log` and `parity` are used where they are;
//! any other is passed over. A line is a line: no quoted field goes over two.

use super::format::BOM;
use super::{Input, Item, ReplayError, Skipped};
use crate::lines::Lines;
use bulkhead_core::model::{
    BitPattern, DimmId, DimmSpace, DramPlace, LoggedError, PhysAddr, Record, Report, Source, Stamp,
    Time, Wall,
};
use std::borrow::Cow;
use std::io::{self, BufRead};
use std::path::Path;

/// Longest line that is read, bytes, its newline included.
const MAX_LINE: usize = 1 << 16;

/// Columns of a header that are looked at.
const MAX_COLUMNS: usize = 1024;

/// Beyond this no processor can address memory: the architectural most of x86
/// (SDM vol. 3A, section 4.1.4, MAXPHYADDR) and of ARM (FEAT_LPA).
const ADDRESS_BITS: u32 = 52;

const NANOS: u64 = 1_000_000_000;

/// The columns that are used; their numbers index [`Fields`].
const COLUMNS: [&str; 14] = [
    "time_s",
    "addr",
    "type",
    "socket",
    "channel",
    "dimm",
    "rank",
    "device",
    "bank_group",
    "bank",
    "row",
    "column",
    "retry_log",
    "parity",
];

/// Of [`COLUMNS`], those without which nothing can be said.
const REQUIRED: usize = 2;

/// The values of a line, by the numbers of [`COLUMNS`]; empty where the log has
/// no such column.
type Fields<'l> = [&'l [u8]; COLUMNS.len()];

/// A log.
pub(super) struct Csv<R> {
    lines: Lines<R>,
    buffer: Vec<u8>,
    /// Per column of the file, its number in [`COLUMNS`].
    header: Vec<Option<usize>>,
    /// For lines with quotes.
    quoted: csv::ByteRecord,
    number: u64,
    done: u64,
    total: u64,
}

/// Opens a log of `total` bytes; `path` is for the error.
pub(super) fn open<R: BufRead>(file: R, total: u64, path: &Path) -> Result<Csv<R>, ReplayError> {
    let mut log = Csv {
        lines: Lines::new(file, MAX_LINE),
        buffer: Vec::new(),
        header: Vec::new(),
        quoted: csv::ByteRecord::new(),
        number: 0,
        done: 0,
        total,
    };
    match log.read_header() {
        Ok(Ok(())) => Ok(log),
        Ok(Err(why)) => Err(ReplayError::Header { path: path.to_owned(), why }),
        Err(source) => Err(ReplayError::Io { path: path.to_owned(), source }),
    }
}

impl<R: BufRead> Csv<R> {
    fn read_header(&mut self) -> io::Result<Result<(), String>> {
        let Some(read) = self.lines.read(&mut self.buffer)? else {
            return Ok(Err("it is empty: the first line must name the columns".to_owned()));
        };
        self.number = 1;
        self.done = read.length;
        let line = self.buffer.strip_prefix(BOM).unwrap_or(&self.buffer).trim_ascii_end();
        let names = line.split(|byte| *byte == b',').take(MAX_COLUMNS).map(bare);
        self.header =
            names.map(|name| COLUMNS.iter().position(|column| column.as_bytes() == name)).collect();
        for (number, name) in COLUMNS.iter().enumerate() {
            match self.header.iter().filter(|found| **found == Some(number)).count() {
                0 if number < REQUIRED => {
                    return Ok(Err(format!(
                        "its first line names no column `{name}`; time_s and addr must be there"
                    )))
                }
                0 | 1 => {}
                _ => return Ok(Err(format!("its first line names the column `{name}` twice"))),
            }
        }
        Ok(Ok(()))
    }
}

impl<R: BufRead> Input for Csv<R> {
    fn next(&mut self, report: &mut Report) -> io::Result<Item> {
        loop {
            let Some(read) = self.lines.read(&mut self.buffer)? else { return Ok(Item::End) };
            self.number += 1;
            self.done += read.length;
            let line = self.buffer.trim_ascii_end();
            if line.is_empty() {
                continue;
            }
            let found = match read.fits {
                true => read_line(line, &self.header, &mut self.quoted, report),
                false => Err(format!("longer than {MAX_LINE} bytes")),
            };
            return Ok(match found {
                Ok(()) => Item::Report,
                Err(why) => Item::Skipped(Skipped { place: format!("line {}", self.number), why }),
            });
        }
    }

    fn done(&self) -> u64 {
        self.done
    }

    fn total(&self) -> u64 {
        self.total
    }
}

/// Without the blanks and quotes around it.
pub(super) fn bare(field: &[u8]) -> &[u8] {
    let field = field.trim_ascii();
    field.strip_prefix(b"\"").and_then(|f| f.strip_suffix(b"\"")).unwrap_or(field)
}

fn read_line(
    line: &[u8],
    header: &[Option<usize>],
    quoted: &mut csv::ByteRecord,
    report: &mut Report,
) -> Result<(), String> {
    let mut fields: Fields = [b""; COLUMNS.len()];
    if memchr::memchr(b'"', line).is_some() {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
        if !reader.read_byte_record(quoted).map_err(|e| e.to_string())? {
            return Err("nothing in it can be read".to_owned());
        }
        place(quoted.iter(), header, &mut fields)?;
    } else {
        // One pass over the line: its values are a few bytes each.
        let mut start = 0;
        let ends = memchr::memchr_iter(b',', line).chain([line.len()]);
        let values = ends.filter_map(|end| line.get(std::mem::replace(&mut start, end + 1)..end));
        place(values, header, &mut fields)?;
    }
    read(&fields, report)
}

/// Puts each of `values` where it belongs.
fn place<'l>(
    values: impl Iterator<Item = &'l [u8]>,
    header: &[Option<usize>],
    fields: &mut Fields<'l>,
) -> Result<(), String> {
    let mut found = 0;
    for value in values {
        if let Some(field) = header.get(found).and_then(|n| *n).and_then(|n| fields.get_mut(n)) {
            *field = value.trim_ascii();
        }
        found += 1;
    }
    if found != header.len() && header.len() < MAX_COLUMNS {
        let named = header.len();
        return Err(format!("it has {found} values, and the first line names {named} columns"));
    }
    Ok(())
}

fn read(fields: &Fields, report: &mut Report) -> Result<(), String> {
    let [time, addr, kind, socket, channel, slot, rank, device, group, bank, row, column, log, bits] =
        fields;
    let at = nanoseconds(time)?;
    let (uncorrected, scrub) = kind_of(kind)?;
    let place = DramPlace {
        dimm: DimmId {
            space: DimmSpace::Log,
            socket: small("socket", socket)?,
            controller: None,
            channel: small("channel", channel)?,
            slot: small("dimm", slot)?,
        },
        rank: small("rank", rank)?,
        sub_rank: None,
        bank_group: small("bank_group", group)?,
        bank: small("bank", bank)?,
        row: small("row", row)?,
        column: small("column", column)?,
        device: small("device", device)?,
        bits: pattern(log, bits)?,
    };
    let stamp = Stamp { at: Time(at), wall: Wall(i64::try_from(at).unwrap_or(i64::MAX)) };
    let addr = address(addr)?;
    report.source = Source::Log;
    (report.first, report.last) = (stamp, stamp);
    (report.records, report.errors, report.decodes) = (1, 1, 0);
    report.record = Record::Logged(LoggedError { addr, uncorrected, scrub, place });
    Ok(())
}

/// Unix time in seconds, with or without a fraction, up to the year 2262.
fn nanoseconds(text: &[u8]) -> Result<u64, String> {
    let (whole, fraction) = match memchr::memchr(b'.', text) {
        Some(dot) => (text.get(..dot), text.get(dot + 1..).unwrap_or_default()),
        None => (Some(text), b"".as_slice()),
    };
    let seconds = whole.and_then(decimal);
    let mut nanos = 0;
    let mut unit = NANOS;
    for digit in fraction {
        // What is finer than 1 ns does not matter, but must be digits.
        unit /= 10;
        match digit {
            b'0'..=b'9' => nanos += u64::from(digit - b'0') * unit,
            _ => return Err(wrong("time_s", text, "a Unix time in seconds")),
        }
    }
    seconds
        .and_then(|s| s.checked_mul(NANOS)?.checked_add(nanos))
        .filter(|at| i64::try_from(*at).is_ok())
        .ok_or_else(|| wrong("time_s", text, "a Unix time in seconds"))
}

/// Whether it is uncorrected, and whether patrol scrub found it. Where a log
/// does not say, it is a CE.
fn kind_of(text: &[u8]) -> Result<(bool, bool), String> {
    match text {
        b"" | b"CE" | b"CE.READ" => Ok((false, false)),
        b"CE.SCRUB" => Ok((false, true)),
        _ if text.starts_with(b"CE.") => Ok((false, false)),
        _ if text == b"UE" || text.starts_with(b"UE.") => Ok((true, text.ends_with(b".SCRUB"))),
        _ => Err(wrong("type", text, "CE, CE.READ, CE.SCRUB or UE…")),
    }
}

/// `None` where the log has none; zero is what decoders put there then.
fn address(text: &[u8]) -> Result<Option<PhysAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let addr = number(text).ok_or_else(|| wrong("addr", text, "an address such as 0x1f000"))?;
    if addr >> ADDRESS_BITS != 0 {
        return Err(wrong("addr", text, "an address of at most 52 bits"));
    }
    Ok((addr != 0).then_some(PhysAddr(addr)))
}

/// Intel's retry-read log: bit 0 says whether the parity word holds anything.
fn pattern(log: &[u8], bits: &[u8]) -> Result<Option<BitPattern>, String> {
    let log: Option<u32> = small("retry_log", log)?;
    let bits: Option<u32> = small("parity", bits)?;
    Ok(bits.filter(|_| log.is_some_and(|log| log & 1 == 1)).map(BitPattern))
}

fn small<T: TryFrom<u64>>(column: &str, text: &[u8]) -> Result<Option<T>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match number(text).and_then(|n| T::try_from(n).ok()) {
        Some(n) => Ok(Some(n)),
        None => Err(wrong(column, text, "a number in its range")),
    }
}

/// Decimal, or hexadecimal with `0x`.
fn number(text: &[u8]) -> Option<u64> {
    match text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X")) {
        None => decimal(text),
        Some(b"") => None,
        Some(digits) => digits.iter().try_fold(0u64, |n, digit| {
            let value = char::from(*digit).to_digit(16)?;
            n.checked_mul(16)?.checked_add(u64::from(value))
        }),
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, digit| {
        let value = digit.checked_sub(b'0').filter(|value| *value < 10)?;
        n.checked_mul(10)?.checked_add(u64::from(value))
    })
}

fn wrong(column: &str, text: &[u8], wanted: &str) -> String {
    let text: Cow<str> = String::from_utf8_lossy(text);
    let shown: String = text.chars().take(40).collect();
    format!("{column} is `{}`, which is not {wanted}", shown.escape_debug())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
