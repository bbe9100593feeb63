//! A BMC's event log, as its answers come.
#![no_main]
libfuzzer_sys::fuzz_target!(|answers: &[u8]| bulkhead::host::fuzzing::bmc_log(answers));
