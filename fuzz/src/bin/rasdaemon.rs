//! A file that claims to be a database of rasdaemon's.
#![no_main]
use bulkhead::replay::{self, Format};
use std::path::PathBuf;

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    // SQLite reads files alone: one for each process, in memory, written over and over.
    let path = PathBuf::from(format!("/dev/shm/bulkhead-fuzz-{}", std::process::id()));
    if std::fs::write(&path, file).is_ok() {
        let _ = replay::parse(&path, Some(Format::Rasdaemon));
    }
});
