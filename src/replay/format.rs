//! What kind of log a file is.

use std::io::{self, BufRead};

/// A kind of log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Event JSON lines, as `bulkhead events --json` prints them.
    Bulkhead,
    /// rasdaemon's SQLite database.
    Rasdaemon,
    /// One decoded memory error a line.
    Csv,
}

/// How every SQLite database begins (<https://www.sqlite.org/fileformat.html>,
/// section 1.3.1).
const SQLITE: &[u8] = b"SQLite format 3\0";

/// UTF-8's byte order mark.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// Looks at how `file` begins, and consumes nothing of it.
pub(super) fn guess(file: &mut impl BufRead) -> io::Result<Option<Format>> {
    let start = file.fill_buf()?;
    if start.starts_with(SQLITE) {
        return Ok(Some(Format::Rasdaemon));
    }
    let text = start.strip_prefix(BOM).unwrap_or(start).trim_ascii_start();
    if text.starts_with(b"{") {
        return Ok(Some(Format::Bulkhead));
    }
    let header = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let names: Vec<&[u8]> = header.split(|byte| *byte == b',').map(super::csv::bare).collect();
    let is_csv = names.contains(&b"time_s".as_slice()) || names.contains(&b"addr".as_slice());
    Ok(is_csv.then_some(Format::Csv))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_known_by_how_it_begins() {
        for (text, format) in [
            (b"SQLite format 3\0\x10\0".as_slice(), Some(Format::Rasdaemon)),
            (b"\n  {\"time\":", Some(Format::Bulkhead)),
            (b"\xef\xbb\xbf{}", Some(Format::Bulkhead)),
            (b"time_s,type,addr\r\n", Some(Format::Csv)),
            (b"\xef\xbb\xbf\"addr\", \"time_s\"\n1,2\n", Some(Format::Csv)),
            (b"time,address\n", None),
            (b"", None),
            (b"SQLite format 2", None),
            (b"\x7fELF", None),
        ] {
            assert_eq!(guess(&mut &*text).unwrap(), format, "{text:?}");
        }
    }
}
