//! A tracepoint's `format` file and a record, taken apart by each other.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: (&str, &[u8])| bulkhead::monitor::fuzzing::record(
    input.0, input.1
));
