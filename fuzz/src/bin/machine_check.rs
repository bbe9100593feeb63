//! Any machine check: read, told in a line, and never a page that no machine of
//! its address width has.
#![no_main]
use bulkhead_core::analyze::mce;
use bulkhead_core::model::{Record, Source};
use bulkhead_fuzz as any;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let u = &mut arbitrary::Unstructured::new(data);
    let (Ok(vendor), Ok(record)) = (any::vendor(u), any::machine_check(u)) else { return };
    assert!(!mce::describe(&record).is_empty());
    let machine = any::machine(vendor);
    let report = any::report(u, &mut 0, (Source::MceRecord, Record::Mce(record)));
    let Ok(report) = report else { return };
    let seen = any::analyzer().observe(&report, &machine);
    assert!(seen.page.is_none_or(|pfn| pfn.0 >> (46 - 12) == 0));
});
