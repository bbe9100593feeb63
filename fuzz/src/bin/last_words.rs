//! The log of a kernel that died, wherever it was saved.
#![no_main]
libfuzzer_sys::fuzz_target!(|text: &str| bulkhead::host::fuzzing::last_words(text));
