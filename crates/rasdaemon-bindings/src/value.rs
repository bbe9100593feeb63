//! Single values: SQLite holds any type in any column.

use super::time::unix_seconds;
use rusqlite::types::ValueRef;
use rusqlite::Row;
use thiserror::Error;

/// The longest blob that is read. A trace event has room in one page of the ring
/// buffer, and the largest pages of today's kernels are of 64 KiB.
const MAX_BYTES: usize = 1 << 16;

/// What a time should have been.
pub(crate) const TIME: &str = "a time such as 2024-01-02 03:04:05 +0100";

/// A value that its column cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{column} is {found}, which is not {wanted}")]
pub struct ValueError {
    /// The column's name.
    pub column: &'static str,
    /// What stands there, shortened.
    pub found: String,
    /// What would be right.
    pub wanted: &'static str,
}

/// The values of one row, by the columns' names.
#[derive(Debug)]
pub struct Columns<'r> {
    row: &'r Row<'r>,
    names: &'static [&'static str],
    /// Where the first of them stands in the row.
    from: usize,
}

impl<'r> Columns<'r> {
    /// `row` was selected in the order of `names`, the first of them at `from`.
    pub(crate) fn new(row: &'r Row<'r>, names: &'static [&'static str], from: usize) -> Self {
        Columns { row, names, from }
    }

    /// An unsigned 64-bit word. rasdaemon binds it as SQLite's signed integer,
    /// so the upper half of the range is stored negative; a dump that was
    /// loaded again may have it as text, decimal or `0x…`.
    ///
    /// # Errors
    /// It is neither.
    pub fn word(&self, column: &'static str) -> Result<Option<u64>, ValueError> {
        match self.value(column) {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(n) => Ok(Some(n as u64)),
            ValueRef::Text(text) => match word_of_text(text) {
                Some(word) => Ok(Some(word)),
                None => Err(self.wrong(column, "a 64-bit number")),
            },
            _ => Err(self.wrong(column, "a 64-bit number")),
        }
    }

    /// An integer of `T`'s range. rasdaemon binds most of them as 32-bit signed
    /// ones: see [`Columns::word32`] for those that are unsigned in the kernel.
    ///
    /// # Errors
    /// It is another, or none.
    pub fn int<T: TryFrom<i64>>(&self, column: &'static str) -> Result<Option<T>, ValueError> {
        let number = match self.value(column) {
            ValueRef::Null => return Ok(None),
            ValueRef::Integer(n) => Some(n),
            ValueRef::Text(text) => std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()),
            _ => None,
        };
        match number.and_then(|n| T::try_from(n).ok()) {
            Some(n) => Ok(Some(n)),
            None => Err(self.wrong(column, "a number in its range")),
        }
    }

    /// An unsigned 32-bit word that was bound as a signed one.
    ///
    /// # Errors
    /// It is no 32-bit number.
    pub fn word32(&self, column: &'static str) -> Result<Option<u32>, ValueError> {
        let Some(n) = self.int::<i64>(column)? else { return Ok(None) };
        match u32::try_from(n).or_else(|_| i32::try_from(n).map(|n| n as u32)) {
            Ok(word) => Ok(Some(word)),
            Err(_) => Err(self.wrong(column, "a 32-bit number")),
        }
    }

    /// An unsigned byte that was bound as a signed one.
    ///
    /// # Errors
    /// It is no 8-bit number.
    pub fn word8(&self, column: &'static str) -> Result<Option<u8>, ValueError> {
        let Some(n) = self.int::<i64>(column)? else { return Ok(None) };
        match u8::try_from(n).or_else(|_| i8::try_from(n).map(|n| n as u8)) {
            Ok(byte) => Ok(Some(byte)),
            Err(_) => Err(self.wrong(column, "an 8-bit number")),
        }
    }

    /// Bytes, 64 KiB at most. rasdaemon binds some without their length
    /// ([`Columns::guid`]), and SQLite keeps those as text.
    ///
    /// # Errors
    /// It is a number, or longer.
    pub fn bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, ValueError> {
        match self.value(column) {
            ValueRef::Null => Ok(None),
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) if bytes.len() <= MAX_BYTES => {
                Ok(Some(bytes.to_vec()))
            }
            _ => Err(self.wrong(column, "a blob of at most 64 KiB")),
        }
    }

    /// A GUID in the kernel's order (`guid_t`, its first three groups
    /// little-endian).
    ///
    /// `sec_type` is bound with a length of -1 (`ras-record.c`), and SQLite looks
    /// for the end of it by itself, as of UTF-16 text: at the first two bytes of
    /// zero at an even place, which may be within the GUID or beyond it. What was
    /// beyond is passed over; of a GUID that was cut only the two zeros are
    /// known, so one that lacks more is `None`.
    ///
    /// # Errors
    /// It is a number, or absurdly long.
    pub fn guid(&self, column: &'static str) -> Result<Option<[u8; 16]>, ValueError> {
        let bytes = self.bytes(column)?;
        Ok(bytes.and_then(|mut bytes| {
            bytes.extend([0; 2]);
            bytes.get(..16)?.try_into().ok()
        }))
    }

    /// A time, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// It is none of rasdaemon's form.
    pub fn seconds(&self, column: &'static str) -> Result<Option<i64>, ValueError> {
        let wrong = || self.wrong(column, TIME);
        match self.value(column) {
            ValueRef::Null => Ok(None),
            ValueRef::Text(text) => {
                let text = std::str::from_utf8(text).map_err(|_| wrong())?;
                unix_seconds(text).map(Some).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }

    /// Text; what is not UTF-8 in it is replaced, for it comes from firmware.
    ///
    /// # Errors
    /// It is a number or a blob.
    pub fn text(&self, column: &'static str) -> Result<Option<String>, ValueError> {
        match self.value(column) {
            ValueRef::Null => Ok(None),
            ValueRef::Text(text) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
            _ => Err(self.wrong(column, "text")),
        }
    }

    fn value(&self, column: &'static str) -> ValueRef<'_> {
        let index = self.names.iter().position(|name| *name == column);
        index.and_then(|i| self.row.get_ref(self.from + i).ok()).unwrap_or(ValueRef::Null)
    }

    pub(crate) fn wrong(&self, column: &'static str, wanted: &'static str) -> ValueError {
        let found = match self.value(column) {
            ValueRef::Null => "missing".to_owned(),
            ValueRef::Integer(n) => n.to_string(),
            ValueRef::Real(x) => x.to_string(),
            ValueRef::Text(text) => shown(&String::from_utf8_lossy(text)),
            ValueRef::Blob(bytes) => format!("a blob of {} bytes", bytes.len()),
        };
        ValueError { column, found, wanted }
    }
}

/// As an error quotes it: short, and harmless to a terminal.
fn shown(text: &str) -> String {
    format!("`{}`", text.chars().take(40).collect::<String>().escape_debug())
}

/// `0x…`, or decimal of either sign.
fn word_of_text(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse::<u64>().ok().or_else(|| text.parse::<i64>().ok().map(|n| n as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_text_is_hexadecimal_or_decimal() {
        for (text, word) in [
            ("0x1f", Some(0x1f)),
            ("0XFFFFFFFFFFFFFFFF", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("-1", Some(u64::MAX)),
            ("", None),
            ("0x", None),
            ("0x+1", None),
            ("0x10000000000000000", None),
            ("1f", None),
        ] {
            assert_eq!(word_of_text(text.as_bytes()), word, "{text}");
        }
        assert_eq!(word_of_text(b"\xff"), None);
    }
}
