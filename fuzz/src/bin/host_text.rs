//! Texts of /sys and /proc about the machine.
#![no_main]
libfuzzer_sys::fuzz_target!(|text: &str| bulkhead::host::fuzzing::text(text));
