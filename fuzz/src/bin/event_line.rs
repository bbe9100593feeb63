//! A line of the event log.
#![no_main]
libfuzzer_sys::fuzz_target!(|line: &[u8]| drop(bulkhead::event::report_in(line)));
