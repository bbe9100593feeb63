//! The parsers of this module, as `fuzz/` calls them.

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
