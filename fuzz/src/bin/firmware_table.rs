//! Tables of firmware about the machine: SMBIOS, ACPI MADT.
#![no_main]
libfuzzer_sys::fuzz_target!(|table: &[u8]| bulkhead::host::fuzzing::firmware_tables(table));
