//! The parsers of this module, as `fuzz/` calls them.

use super::kmsg;
use super::tracefs::fuzzing;
use bulkhead_core::model::Source;

/// A page of the ring buffer.
pub fn page(data: &[u8]) {
    fuzzing::page(data);
}

/// A `format` file and a record.
pub fn record(format: &str, data: &[u8]) {
    for source in Source::ALL {
        fuzzing::record(source, format, data);
    }
}

/// A record of the kernel log.
pub fn log_record(record: &[u8]) {
    let _ = kmsg::Record::parse(record).and_then(|record| record.page());
}
