//! Evidence as an earlier run may have saved it, or a damaged disk.
#![no_main]
use bulkhead_core::analyze::{EvidenceKey, Remembered};
use bulkhead_core::model::Vendor;
use bulkhead_fuzz as any;

libfuzzer_sys::fuzz_target!(|rows: &[u8]| {
    let read = serde_json::from_slice::<Vec<(EvidenceKey, Remembered)>>(rows);
    let Ok(rows) = read else { return };
    any::analyzer().restore(rows.into_iter(), [].into_iter(), &any::machine(Vendor::Intel));
});
