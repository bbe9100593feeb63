//! Benchmarks, beside Debian's rasdaemon on the same kernel; `scripts/bench` runs them and puts their parts of the
//! report together. A goal that is missed is said so, and fails nothing: under emulation, on a busy machine, it may be
//! the machine's.

mod burst;
mod calls;
mod cost;
mod disk;
mod exact;
mod growth;
mod idle;
mod isolation;
mod kernel;
mod large_host;
mod plot;
mod programs;
mod report;
mod scale;
mod simulated;
mod start;
mod stats;
mod weight;

use std::time::Duration;

use anyhow::Result;

use crate::harness::{run, Kernel, Machine};

/// Longer than any of them takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(3600);

/// Makes benchmarks of functions, in the order of their parts in the report.
macro_rules! benchmarks {
    ($($name:ident: $benchmark:path),* $(,)?) => {
        $(
            #[test]
            #[ignore = "a benchmark: scripts/bench"]
            fn $name() -> Result<()> {
                let name = concat!(module_path!(), "::", stringify!($name));
                run(name, Kernel::V6_12, |machine: Machine| $benchmark(machine.limit(LIMIT)))
            }
        )*
    };
}

benchmarks! {
    p1_exact_under_storm: exact::measure,
    p2_cost_per_error: cost::measure,
    p2_duration_of_a_burst: burst::measure,
    p2_duration_of_a_logged_burst: burst::measure_logged,
    p3_time_to_isolation: isolation::measure,
    p4_weight: weight::measure,
    p5_idle: idle::measure,
    p6_disk: disk::measure,
    p7_start: start::measure,
    p8_growth: growth::measure,
}

#[test]
#[ignore = "a benchmark: scripts/bench"]
fn p8_large_host() -> Result<()> {
    large_host::measure()
}
