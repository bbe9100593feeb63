//! What a report costs analyze.
//!
//! `cargo bench -p bulkhead-core`
#![allow(missing_docs)]

use bulkhead_core::analyze::dram::{Capacity, Dimms, DramRules, Sighting};
use bulkhead_core::analyze::{Analyzer, Rules};
use bulkhead_core::decide::Policy;
use bulkhead_core::model::{
    DimmId, DramPlace, LoggedError, Machine, MceRecord, PageSize, PhysAddr, Record, Report, Source,
    Stamp, Time, Vendor, Wall,
};
use divan::counter::ItemsCount;
use divan::{black_box, Bencher};

fn main() {
    divan::main();
}

const MICROSECOND: u64 = 1_000;
const SECOND: u64 = 1_000_000_000;
/// Where the time line begins, in ns.
const START: u64 = 1_700_000_000 * SECOND;

fn machine() -> Machine {
    Machine {
        vendor: Vendor::Intel,
        family: 6,
        model: 85,
        memory_bytes: 256 << 30,
        phys_bits: 46,
        ..Machine::default()
    }
}

fn analyzer() -> Analyzer {
    Analyzer::new(Rules::from(&Policy::default()))
}

fn report(source: Source, record: Record, at: u64) -> Report {
    let stamp = Stamp { at: Time(START + at), wall: Wall((START + at) as i64) };
    Report { source, first: stamp, last: stamp, records: 1, errors: 1, decodes: 0, record }
}

/// A corrected memory read error, as a Skylake-SP reports it.
fn machine_check(page: u64, at: u64) -> Report {
    let record = MceRecord {
        bank: 9,
        status: 0x8c00_0000_0000_009f,
        addr: page << 12,
        misc: 0x8c,
        cpuid: 0x50654,
        ..MceRecord::default()
    };
    report(Source::MceRecord, Record::Mce(record), at)
}

fn logged(page: u64, at: u64) -> Report {
    let error = LoggedError { addr: Some(PhysAddr(page << 12)), ..LoggedError::default() };
    report(Source::Log, Record::Logged(error), at)
}

/// Pages in an order that no cache or tree is fond of.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 30
}

/// Feeds `reports` to a new analyzer.
fn feed(bencher: Bencher, reports: &[Report]) {
    let machine = machine();
    bencher.counter(ItemsCount::new(reports.len())).with_inputs(analyzer).bench_local_values(
        |mut analyzer| {
            for report in reports {
                black_box(analyzer.observe(report, &machine));
            }
            analyzer
        },
    );
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn new_pages(bencher: Bencher) {
    let reports: Vec<_> =
        (0..50_000).map(|n| machine_check(scattered(n), n * MICROSECOND)).collect();
    feed(bencher, &reports);
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn new_logged_pages(bencher: Bencher) {
    let reports: Vec<_> = (0..50_000).map(|n| logged(scattered(n), n * MICROSECOND)).collect();
    feed(bencher, &reports);
}

/// Pages that err now and then, each time after its window: none fires.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn known_pages(bencher: Bencher) {
    let round = |n: u64| {
        let at = move |page: u64| n * 25 * 3600 * SECOND + page * MICROSECOND;
        (0..1_000).map(move |page| machine_check(scattered(page), at(page)))
    };
    let reports: Vec<_> = (0..50).flat_map(round).collect();
    feed(bencher, &reports);
}

/// A third error of each of many pages that stay below their threshold.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn suspects(bencher: Bencher) {
    let machine = machine();
    let mut policy = Policy::default();
    policy.page.threshold.errors = 8;
    let round = |n: u64| -> Vec<Report> {
        let at = |page: u64| n * 2 * SECOND + page * MICROSECOND;
        (0..50_000).map(|page| machine_check(scattered(page), at(page))).collect()
    };
    let (before, third) = ([round(0), round(1)].concat(), round(2));
    bencher
        .counter(ItemsCount::new(third.len()))
        .with_inputs(|| {
            let mut analyzer = Analyzer::new(Rules::from(&policy));
            for report in &before {
                analyzer.observe(report, &machine);
            }
            analyzer
        })
        .bench_local_values(|mut analyzer| {
            for report in &third {
                black_box(analyzer.observe(report, &machine));
            }
            analyzer
        });
}

/// One page errs every 10 µs, and its fault is open.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn storm_on_one_page(bencher: Bencher) {
    let reports: Vec<_> = (0..50_000).map(|n| machine_check(77, n * 10 * MICROSECOND)).collect();
    feed(bencher, &reports);
}

/// More pages than there is room for.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn a_million_distinct_pages(bencher: Bencher) {
    let reports: Vec<_> =
        (0..1_000_000).map(|n| machine_check(scattered(n), n * MICROSECOND)).collect();
    feed(bencher, &reports);
}

/// Errors at known places of 64 rows that do not fire, each at one column.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn known_places(bencher: Bencher) {
    let dimm = DimmId { channel: Some(0), slot: Some(0), ..DimmId::default() };
    let at = |n: u64| {
        let row = scattered(n) % 64;
        let place = DramPlace {
            dimm,
            rank: Some(0),
            bank: Some((row % 32) as u16),
            row: Some(row as u32),
            column: Some(row as u32 * 8),
            ..DramPlace::default()
        };
        (place, PhysAddr(row << 16))
    };
    let rules = DramRules { row: Policy::default().row, page_limit: 1024 };
    let reports: Vec<_> =
        (0..50_000).map(|n| (at(n), logged(scattered(n) % 64, n * MICROSECOND))).collect();
    let feed = |dimms: &mut Dimms| {
        for ((place, addr), report) in &reports {
            let page = Some(PageSize::KIB_4.pfn(*addr));
            let seen = Sighting { place, page, addr: Some(*addr), report };
            black_box(dimms.observe(&seen, &rules, &|_, _| None));
        }
    };
    bencher
        .counter(ItemsCount::new(reports.len()))
        .with_inputs(|| {
            let mut dimms = Dimms::new(Capacity::default());
            feed(&mut dimms);
            dimms
        })
        .bench_local_values(|mut dimms| {
            feed(&mut dimms);
            dimms
        });
}
