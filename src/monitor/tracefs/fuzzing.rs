//! The parsers of this module, as `fuzz/` calls them.

use super::format::HeaderPage;
use super::page;
use super::record::Decoder;
use bulkhead_core::model::Source;

/// `events/header_page` of a 64-bit kernel.
const HEADER: &str = "\
\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;
";

/// A page.
pub fn page(data: &[u8]) {
    if let Some(header) = HeaderPage::parse(HEADER) {
        let found = page::parse(data, &header);
        assert!(found.events.iter().all(|event| event.data.len() <= data.len()));
    }
}

/// A `format` file and a record.
pub fn record(source: Source, format: &str, data: &[u8]) {
    if let Ok(decoder) = Decoder::new(source, format) {
        let _ = decoder.decode(data);
    }
}
