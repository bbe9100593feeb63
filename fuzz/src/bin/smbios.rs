//! A table of SMBIOS structures.
#![no_main]
libfuzzer_sys::fuzz_target!(|table: &[u8]| bulkhead::host::fuzzing::smbios(table));
