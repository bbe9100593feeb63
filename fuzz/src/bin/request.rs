//! A message of a client.
#![no_main]
libfuzzer_sys::fuzz_target!(|message: &[u8]| bulkhead::api::fuzzing::message(message));
