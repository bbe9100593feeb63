//! A CSV log.
#![no_main]
libfuzzer_sys::fuzz_target!(|log: &[u8]| bulkhead::replay::fuzzing::csv(log));
