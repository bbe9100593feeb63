//! The kernel's own description of its trace records: `events/header_page` and
//! `events/*/*/format`.

/// One field of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Name, without type and brackets.
    pub name: String,
    /// Bytes from the start of the record.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
    /// Two's complement.
    pub signed: bool,
    /// The field says where in the record the text lies (`__data_loc`).
    pub data_loc: bool,
}

impl Field {
    /// The number in this field, sign-extended to 64 bits; `None` where the
    /// record ends before it or its size is that of no integer.
    pub fn of(&self, record: &[u8]) -> Option<u64> {
        let bytes = record.get(self.offset..self.offset.checked_add(self.size)?)?;
        if !matches!(bytes.len(), 1 | 2 | 4 | 8) {
            return None;
        }
        let mut wide = [0; 8];
        wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let value = u64::from_le_bytes(wide);
        let unused = 64 - 8 * bytes.len() as u32;
        Some(if self.signed { ((value << unused) as i64 >> unused) as u64 } else { value })
    }

    /// The bytes of this field, or those that it points to: offset in the low,
    /// length in the high 16 bits (include/trace/stages, __data_loc).
    pub fn bytes<'r>(&self, record: &'r [u8]) -> Option<&'r [u8]> {
        if !self.data_loc {
            return record.get(self.offset..self.offset.checked_add(self.size)?);
        }
        if self.size != 4 {
            return None;
        }
        let place = self.of(record)? as u32;
        let (offset, length) = ((place & 0xffff) as usize, (place >> 16) as usize);
        record.get(offset..offset + length)
    }

    /// The text that this field points to, up to its NUL.
    pub fn text(&self, record: &[u8]) -> Option<String> {
        let bytes = self.bytes(record).filter(|_| self.data_loc)?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        Some(String::from_utf8_lossy(bytes.get(..end)?).into_owned())
    }
}

/// A `format` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// Value of `common_type` in such records.
    pub id: u16,
    fields: Vec<Field>,
}

impl Format {
    /// Reads a `format` file; `None` if it has no ID.
    pub fn parse(text: &str) -> Option<Format> {
        let id = text.lines().find_map(|line| line.strip_prefix("ID:")?.trim().parse().ok())?;
        Some(Format { id, fields: fields(text).collect() })
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }
}

/// `events/header_page`: how a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderPage {
    /// Time of the page, ns.
    pub timestamp: Field,
    /// Bytes in use and flags.
    pub commit: Field,
    /// Offset of the first event.
    pub data: usize,
    /// Bytes of a page, header included.
    pub size: usize,
}

impl HeaderPage {
    /// Reads `events/header_page`; `None` if a field is missing.
    pub fn parse(text: &str) -> Option<HeaderPage> {
        let field = |name| fields(text).find(|f: &Field| f.name == name);
        let data = field("data")?;
        Some(HeaderPage {
            timestamp: field("timestamp")?,
            commit: Field { signed: false, ..field("commit")? },
            data: data.offset,
            size: data.offset.checked_add(data.size)?,
        })
    }
}

/// All lines of the form `field:TYPE NAME; offset:N; size:N; signed:N;`.
fn fields(text: &str) -> impl Iterator<Item = Field> + '_ {
    text.lines().filter_map(|line| {
        let mut parts = line.trim().strip_prefix("field:")?.split(';').map(str::trim);
        let declaration = parts.next()?;
        let (mut offset, mut size, mut signed) = (None, None, false);
        for part in parts {
            match part.split_once(':') {
                Some(("offset", n)) => offset = n.parse().ok(),
                Some(("size", n)) => size = n.parse().ok(),
                Some(("signed", n)) => signed = n != "0",
                _ => {}
            }
        }
        let name = declaration.rsplit([' ', '*']).next()?;
        Some(Field {
            name: name.split('[').next()?.to_owned(),
            offset: offset?,
            size: size?,
            signed,
            data_loc: declaration.starts_with("__data_loc"),
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    pub const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
        \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
        \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
        \tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n";

    const FORMAT: &str = "name: memory_failure_event\nID: 41\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:unsigned long pfn;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:__data_loc char[] msg;\toffset:16;\tsize:4;\tsigned:0;\n\
        \tfield:char comm[16];\toffset:20;\tsize:16;\tsigned:0;\n\n\
        print fmt: \"pfn %#lx: field:x;\", REC->pfn\n";

    #[test]
    fn a_format_file_names_fields_whatever_their_type() {
        let format = Format::parse(FORMAT).unwrap();
        assert_eq!(format.id, 41);
        let names: Vec<&str> = format.fields.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["common_type", "common_pid", "pfn", "msg", "comm"]);
        let msg = format.field("msg").unwrap();
        assert!(msg.data_loc && (msg.offset, msg.size) == (16, 4));
        assert_eq!(Format::parse("name: x\nformat:\n"), None);
    }

    #[test]
    fn the_page_header_tells_where_events_begin() {
        let header = HeaderPage::parse(HEADER_PAGE).unwrap();
        assert_eq!((header.data, header.size), (16, 4096));
        assert_eq!(HeaderPage::parse("nothing"), None);
    }

    #[test]
    fn signed_fields_keep_their_sign_and_unsigned_ones_do_not_get_one() {
        let field =
            |size, signed| Field { name: String::new(), offset: 1, size, signed, data_loc: false };
        let record = [0, 0xff, 0xff, 0, 0, 0, 0, 0, 0];
        assert_eq!(field(1, true).of(&record), Some(u64::MAX));
        assert_eq!(field(1, false).of(&record), Some(0xff));
        assert_eq!(field(4, true).of(&record), Some(0xffff));
        assert_eq!(field(3, false).of(&record), None);
        assert_eq!(field(8, false).of(&record[..8]), None);
    }

    proptest! {
        #[test]
        fn a_text_never_reaches_beyond_its_record(record in prop::collection::vec(any::<u8>(), 0..64), offset in 0usize..80) {
            let field = Field { name: String::new(), offset, size: 4, signed: false, data_loc: true };
            let _ = field.text(&record);
        }

        #[test]
        fn any_format_file_is_read_or_refused(text in "(field:[a-z \\[\\]*]{0,12};|offset:[0-9]{0,20};|size:[0-9]{0,3};|ID: [0-9]{0,6}|[\\n\\t]){0,20}") {
            let _ = Format::parse(&text);
            let _ = HeaderPage::parse(&text);
        }
    }
}
