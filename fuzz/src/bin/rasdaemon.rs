//! A file that claims to be a database of rasdaemon's.
#![no_main]
libfuzzer_sys::fuzz_target!(|file: &[u8]| bulkhead::replay::fuzzing::rasdaemon(file));
