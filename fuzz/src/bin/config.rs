//! A configuration file: anything is either taken or refused with its place.
#![no_main]
libfuzzer_sys::fuzz_target!(|text: &str| bulkhead_config::fuzzing::layer_of(text));
