//! Any text of an EDAC driver.
#![no_main]
use bulkhead_core::model::{Record, Source};
use bulkhead_fuzz as any;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let u = &mut arbitrary::Unstructured::new(data);
    let (Ok(vendor), Ok(event)) = (any::vendor(u), any::memory_error(u)) else { return };
    let report = any::report(u, &mut 0, (Source::McEvent, Record::MemoryController(event)));
    let Ok(report) = report else { return };
    any::analyzer().observe(&report, &any::machine(vendor));
});
