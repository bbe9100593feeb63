//! A record of the kernel log.
#![no_main]
libfuzzer_sys::fuzz_target!(|record: &[u8]| bulkhead::monitor::fuzzing::log_record(record));
