//! Any stream of reports: what is found names pages that exist, rows of no more
//! pages than a row has, and survives a restart.
#![no_main]
use bulkhead_core::analyze::Response;
use bulkhead_fuzz as any;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let u = &mut arbitrary::Unstructured::new(data);
    let Ok(vendor) = any::vendor(u) else { return };
    let machine = any::machine(vendor);
    let (mut analyzer, mut clock, mut faults) = (any::analyzer(), 0, Vec::new());
    while !u.is_empty() {
        let Ok(record) = any::record(u) else { return };
        let Ok(report) = any::report(u, &mut clock, record) else { return };
        let seen = analyzer.observe(&report, &machine);
        assert!(seen.counted <= report.errors);
        for finding in seen.findings {
            let pages = match &finding.response {
                Response::TakePage(pfn) | Response::EnsureFailedPage(pfn) => vec![*pfn],
                Response::TakePages(pages) => pages.clone(),
                _ => Vec::new(),
            };
            assert!(pages.len() <= 512 && pages.iter().all(|pfn| pfn.0 >> (46 - 12) == 0));
            faults.push(finding.fault);
        }
    }
    let rows = analyzer.changes().filter_map(|(key, row)| Some((key, row?)));
    any::analyzer().restore(rows, faults.iter(), &machine);
});
