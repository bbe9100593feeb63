//! Tables of firmware's about the machine.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bulkhead::host::fuzzing::table(bytes));
