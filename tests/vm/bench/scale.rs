//! How large the benchmarks are: as they are told in docs/performance.md, or smaller, to see that they run.

use std::time::Duration;

/// `BULKHEAD_BENCH_QUICK` is set: `scripts/bench --quick`.
pub fn is_quick() -> bool {
    std::env::var_os("BULKHEAD_BENCH_QUICK").is_some()
}

/// A number of errors, pages, samples or rounds; two at least, if there are so many.
pub fn number(full: u64) -> u64 {
    match is_quick() {
        true => (full / 100).max(full.min(2)),
        false => full,
    }
}

/// A time in which something is watched.
pub fn time(full: Duration) -> Duration {
    match is_quick() {
        true => full / 10,
        false => full,
    }
}
