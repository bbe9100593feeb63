//! Byte buffers of firmware's records: CPER memory sections, ARM error information.
#![no_main]
use bulkhead_core::analyze::{Analyzer, Rules};
use bulkhead_core::decide::Policy;
use bulkhead_core::model::{
    ArmEvent, Bytes, ExtlogMemEvent, Machine, NonStandardEvent, PageSize, Record, Report, Source,
    Stamp, Vendor,
};

libfuzzer_sys::fuzz_target!(|input: (u8, u8, u64, &[u8])| {
    let (which, sev, number, bytes) = input;
    let bytes = Bytes(bytes.to_vec());
    let (source, record) = match which % 4 {
        0 => {
            let event =
                ExtlogMemEvent { sev, pa: number, data: bytes, ..ExtlogMemEvent::default() };
            (Source::ExtlogMemEvent, Record::Extlog(event))
        }
        1 => {
            let event =
                ArmEvent { sev: Some(sev), mpidr: number, pei_buf: bytes, ..ArmEvent::default() };
            (Source::ArmEvent, Record::Arm(event))
        }
        kind => {
            let guid = match kind {
                2 => "a5bc1114-6f64-4ede-b863-3e83ed7c83b1",
                _ => "61ec04fc-48e6-d813-25c9-8daa44750b12",
            };
            let sec_type = guid.parse().unwrap_or_default();
            let event =
                NonStandardEvent { sec_type, sev, buf: bytes, ..NonStandardEvent::default() };
            (Source::NonStandardEvent, Record::NonStandard(event))
        }
    };
    let machine = Machine {
        vendor: Vendor::Other,
        family: 0,
        model: 0,
        page_size: PageSize::KIB_4,
        memory_bytes: 1 << 34,
        phys_bits: 48,
        cpus: Default::default(),
        dimms: Vec::new(),
    };
    let errors = record.errors();
    let stamp = Stamp::default();
    let report =
        Report { source, first: stamp, last: stamp, records: 1, errors, decodes: 0, record };
    let observed = Analyzer::new(Rules::from(&Policy::default())).observe(&report, &machine);
    assert!(observed.page.is_none_or(|pfn| pfn.0 >> 36 == 0));
});
