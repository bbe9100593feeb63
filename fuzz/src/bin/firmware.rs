//! Any record of firmware's, of an ARM processor's or of a CXL device's.
#![no_main]
use bulkhead_fuzz as any;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let u = &mut arbitrary::Unstructured::new(data);
    let (Ok(vendor), Ok(record)) = (any::vendor(u), any::firmware(u)) else { return };
    let Ok(report) = any::report(u, &mut 0, record) else { return };
    let seen = any::analyzer().observe(&report, &any::machine(vendor));
    assert!(seen.page.is_none_or(|pfn| pfn.0 >> (46 - 12) == 0));
});
