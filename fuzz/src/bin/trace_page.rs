//! A page of the kernel's ring buffer, taken apart by the header's description.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| bulkhead::monitor::fuzzing::page(data));
