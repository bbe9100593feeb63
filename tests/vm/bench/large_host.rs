//! A simulated host, large and small: what it has costs nothing, and what errs as much as on a small one. Runs where it
//! is started, without a machine of its own.

use std::io::{BufWriter, Write};
use std::time::Duration;

use anyhow::{Context, Result};

use super::growth::is_straight;
use super::plot::{curves, Curve};
use super::report::{count, mib, seconds, time, Report};
use super::scale;
use super::simulated::{error, Host};
use super::stats::{median, percentile};
use crate::made_up_host::Shape;

const SMALL: Shape =
    Shape { sockets: 2, cores_per_socket: 2, threads_per_core: 2, memory_bytes: 64 << 30 };
const LARGE: Shape =
    Shape { sockets: 8, cores_per_socket: 64, threads_per_core: 2, memory_bytes: 8 << 40 };

/// Two errors on each.
const PAGES: [u64; 3] = [1_000, 10_000, 100_000];

/// Pages whose time to a decision is taken.
const WATCHED: u64 = 100;

pub fn measure() -> Result<()> {
    let mut report = Report::new("8-large-host", "A host of 1,024 CPUs and 8 TiB");
    report.say(&format!(
        "`--root` with a made-up host, `--source file:` with two errors on each page, spread over \
         all of its memory; no virtual machine. The time to a decision is from the line of a \
         page's second error being written until `bulkhead events --follow` tells of the page, of \
         {} pages after the storm.",
        count(scale::number(WATCHED))
    ));
    let mut rows = Vec::new();
    let mut large = Vec::new();
    for (name, shape) in [("small", SMALL), ("large", LARGE)] {
        for pages in PAGES.map(scale::number) {
            let measured = Measured::of(&shape, pages).with_context(|| format!("{name} host"))?;
            rows.push(measured.row(&shape, pages));
            if name == "large" {
                large.push((pages as f64, measured));
            }
        }
    }
    report.table(
        &[
            "CPUs",
            "memory",
            "pages",
            "started in",
            "counted",
            "observed",
            "CPU",
            "per error",
            "most RSS",
            "median to decision",
            "p99",
        ],
        &rows,
    );
    let curve = |of: fn(&Measured) -> f64| -> Vec<(f64, f64)> {
        large.iter().map(|(pages, measured)| (*pages, of(measured))).collect()
    };
    let all: [Curve; 3] = [
        ("CPU, s", curve(|m| m.cpu.as_secs_f64())),
        ("most RSS, MiB", curve(|m| m.peak as f64 / f64::from(1 << 20))),
        ("p99 to decision, s", curve(|m| percentile(&m.decisions, 99.0))),
    ];
    curves("8-large-host", "1,024 CPUs and 8 TiB, by the pages that err", "pages", "s, MiB", &all)?;
    report.say("![CPU time, memory and time to decision by pages](8-large-host.svg)");
    is_straight(&mut report, &all);
    report.publish()
}

struct Measured {
    started: Duration,
    counted: u64,
    observed: u64,
    /// From the first error on until it had nothing left to do.
    cpu: Duration,
    /// The most that RSS ever was, in bytes.
    peak: u64,
    /// In seconds.
    decisions: Vec<f64>,
}

impl Measured {
    fn of(shape: &Shape, pages: u64) -> Result<Self> {
        let host = Host::start(shape)?;
        host.settle()?;
        let before = host.cpu()?;
        let step = (shape.memory_bytes / 4096 / pages).max(1);
        let address = |page: u64| page * step * 4096;
        let mut log = BufWriter::new(host.log()?);
        for second in 1..=2 {
            for page in 1..=pages {
                log.write_all(error(second, address(page) % shape.memory_bytes).as_bytes())?;
            }
        }
        log.flush()?;
        host.settle()?;
        let cpu = host.cpu()? - before;
        let status = host.json(&["status"])?;
        let sources = status["sources"].as_array().context("sources")?;
        Ok(Self {
            started: host.started,
            counted: sources.iter().filter_map(|source| source["reports"].as_u64()).sum(),
            observed: host.json(&["list", "pages"])?.as_array().context("list")?.len() as u64,
            cpu,
            decisions: host.decisions(scale::number(WATCHED), |n| address(n + 1) + 4096)?,
            peak: host.peak()?,
        })
    }

    fn row(&self, shape: &Shape, pages: u64) -> Vec<String> {
        vec![
            count(shape.cpus().into()),
            format!("{} GiB", count(shape.memory_bytes >> 30)),
            count(pages),
            seconds(self.started),
            count(self.counted),
            count(self.observed),
            seconds(self.cpu),
            time(self.cpu.as_secs_f64() / self.counted as f64),
            mib(self.peak),
            time(median(&self.decisions)),
            time(percentile(&self.decisions, 99.0)),
        ]
    }
}
