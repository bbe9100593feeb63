//! A message of the kernel's about a device.
#![no_main]
libfuzzer_sys::fuzz_target!(|message: &[u8]| bulkhead::host::fuzzing::uevent(message));
