//! What a replay costs beside reading its file: `cargo bench --bench replay`.
//!
//! The log is made up after the field's figures (Hwang, ASPLOS'12; Meza,
//! DSN'15): a few cells and rows give nearly all errors, the rest comes from
//! pages that err once.
#![allow(clippy::unwrap_used, missing_docs)]

use bulkhead::replay::{self, Happening, Options, Skipped, Watch};
use bulkhead_core::decide::Policy;
use bulkhead_core::model::Wall;
use divan::counter::ItemsCount;
use divan::Bencher;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;
use tempfile::NamedTempFile;

const LINES: u64 = 1_000_000;

fn main() {
    ratio();
    divan::main();
}

/// One line for the record: replaying against parsing, the best of three each.
fn ratio() {
    let best = |run: &dyn Fn()| {
        let time = || {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        };
        (0..3).map(|_| time()).fold(f64::INFINITY, f64::min)
    };
    let parsing = best(&|| assert_eq!(parse_all(), LINES));
    let replaying = best(&|| assert_eq!(replay_all(), LINES));
    let million = |seconds: f64| LINES as f64 / seconds / 1e6;
    println!(
        "parsing {:.2} M lines/s, replaying {:.2} M reports/s: {:.2} times as long",
        million(parsing),
        million(replaying),
        replaying / parsing
    );
}

#[divan::bench(sample_count = 5)]
fn parse(bencher: Bencher) {
    bencher.counter(ItemsCount::new(LINES)).bench(parse_all);
}

#[divan::bench(sample_count = 5)]
fn replay(bencher: Bencher) {
    bencher.counter(ItemsCount::new(LINES)).bench(replay_all);
}

fn parse_all() -> u64 {
    replay::parse(log(), None).unwrap()
}

fn replay_all() -> u64 {
    let options = Options {
        format: None,
        policy: Policy::default(),
        memory_bytes: 256 << 30,
        failed_at: None,
    };
    replay::replay(log(), &options, &mut Nobody).unwrap().reports
}

struct Nobody;

impl Watch for Nobody {
    fn happened(&mut self, _: Wall, _: &Happening) {}
    fn skipped(&mut self, skipped: &Skipped) {
        unreachable!("{skipped:?}");
    }
    fn progress(&mut self, _: u64, _: u64) {}
}

fn log() -> &'static Path {
    static LOG: OnceLock<NamedTempFile> = OnceLock::new();
    LOG.get_or_init(|| {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), generated()).unwrap();
        file
    })
    .path()
}

fn generated() -> String {
    let mut text = String::from(
        "time_s,type,addr,socket,channel,dimm,rank,device,bank_group,bank,row,column,retry_log,\
         parity\n",
    );
    // Knuth's MMIX generator: the same log every time.
    let mut state = 1u64;
    let mut random = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for n in 0..LINES {
        let time = 1_704_067_200 + n;
        // Of 100 errors 60 are of one cell, 30 of 64 cells, 7 of a row, 3 of anywhere.
        let (row, column) = match random(100) {
            0..60 => (4711, 216),
            60..90 => (random(64) * 977 % 65_536, 80),
            90..97 => (9_999, random(128) * 8),
            _ => (random(65_536), random(128) * 8),
        };
        let addr = (row << 17) | (column << 3);
        let parity = 1u32 << random(32);
        writeln!(text, "{time},CE.READ,{addr:#x},0,0,0,0,7,1,0,{row},{column},1,{parity}").unwrap();
    }
    text
}
