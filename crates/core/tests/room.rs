//! How much memory evidence takes, as the kernel sees it.
#![allow(clippy::unwrap_used)]

use bulkhead_core::analyze::{Analyzer, Rules};
use bulkhead_core::decide::Policy;
use bulkhead_core::model::{
    LoggedError, Machine, PhysAddr, Record, Report, Source, Stamp, Time, Vendor, Wall,
};

/// The most memory that this process ever held, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// An analyzer with room for a million pages has seen so many of a log.
fn feed(pages: u64) -> Analyzer {
    let machine = Machine {
        vendor: Vendor::Intel,
        family: 6,
        model: 85,
        memory_bytes: 256 << 30,
        phys_bits: 46,
        ..Machine::default()
    };
    let mut analyzer = Analyzer::with_capacity(Rules::from(&Policy::default()), 1_000_000);
    for n in 0..pages {
        let at = 1_700_000_000_000_000_000 + n * 1_000;
        let stamp = Stamp { at: Time(at), wall: Wall(at as i64) };
        let addr = Some(PhysAddr((n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 30) << 12));
        let report = Report {
            source: Source::Log,
            first: stamp,
            last: stamp,
            records: 1,
            errors: 1,
            decodes: 0,
            record: Record::Logged(LoggedError { addr, ..LoggedError::default() }),
        };
        analyzer.observe(&report, &machine);
    }
    analyzer
}

#[test]
fn a_million_pages_of_a_log_take_less_than_200_mib() {
    let before = peak();
    let analyzer = feed(1_000_000);
    let took = peak() - before;
    assert_eq!((analyzer.tracked(), analyzer.evictions()), (1_000_000, 0));
    println!("{} bytes a page", took / 1_000_000);
    assert!(took < 200 << 20, "{took} bytes");
}

#[test]
#[ignore = "takes long without optimization"]
fn ten_million_distinct_pages_stay_within_256_mib() {
    let analyzer = feed(10_000_000);
    assert_eq!(analyzer.evictions(), 9_000_000);
    println!("{} MiB at most", peak() >> 20);
    assert!(peak() < 256 << 20, "{} bytes", peak());
}
