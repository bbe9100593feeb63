//! How all that grows with the pages that err.

use anyhow::Result;

use super::cost::{of_bulkhead, Cost};
use super::isolation::Times;
use super::plot::{curves, Curve};
use super::programs::boot;
use super::report::{count, mib, seconds, time, Report};
use super::scale;
use super::stats::steepest;
use super::weight::of_storm;
use crate::harness::{Machine, Vm};

const PAGES: [u64; 3] = [1_000, 10_000, 100_000];
const ERRORS_PER_PAGE: u64 = 10;

/// Pages whose time to isolation is taken beside each storm.
const WATCHED: u64 = 100;

/// A straight line has 1; what is measured on a machine that does other things too is not that straight.
const STRAIGHT: f64 = 1.1;

pub fn measure(machine: Machine) -> Result<()> {
    let vm = boot(&machine)?;
    let points: Vec<_> = PAGES
        .map(scale::number)
        .into_iter()
        .map(|pages| Point::measured(&vm, pages))
        .collect::<Result<_>>()?;

    let mut report = Report::new("8-growth", "Growth with the pages that err");
    report.say(&format!(
        "{ERRORS_PER_PAGE} errors on each page at full speed, with --observe and with isolations; \
         memory after one error on each of ten times as many pages; and the time to isolation of \
         {} pages during a storm over the others.",
        count(scale::number(WATCHED))
    ));
    let rows: Vec<_> = points.iter().map(Point::row).collect();
    report.table(
        &[
            "pages",
            "errors",
            "counted",
            "isolated",
            "worked on for",
            "CPU, --observe",
            "CPU",
            "most RSS and maps",
            "p99 to isolation",
        ],
        &rows,
    );
    let curve = |of: fn(&Point) -> f64| -> Vec<(f64, f64)> {
        points.iter().map(|point| (point.pages as f64, of(point))).collect()
    };
    let all: [Curve; 4] = [
        ("CPU with --observe, s", curve(|p| cpu(&p.observed))),
        ("CPU with isolations, s", curve(|p| cpu(&p.isolated))),
        ("most RSS and maps, MiB", curve(|p| p.ever as f64 / f64::from(1 << 20))),
        ("p99 to isolation, s", curve(|p| p.p99)),
    ];
    curves("8-growth", "Bulkhead, by the pages that err", "pages", "s, MiB", &all)?;
    report.say("![CPU time, memory and time to isolation by pages](8-growth.svg)");
    is_straight(&mut report, &all);
    report.publish()
}

/// The goal of every curve.
pub fn is_straight(report: &mut Report, all: &[Curve]) {
    for (what, points) in all {
        let steepness = steepest(points);
        report.goal(
            &format!("straight or flatter: {what}"),
            &format!("grows with the power of {steepness:.2}"),
            steepness <= STRAIGHT,
        );
    }
}

struct Point {
    pages: u64,
    observed: Cost,
    isolated: Cost,
    /// RSS and maps, in bytes.
    ever: u64,
    /// In seconds.
    p99: f64,
}

impl Point {
    fn measured(vm: &Vm, pages: u64) -> Result<Self> {
        let errors = pages * ERRORS_PER_PAGE;
        let observed = of_bulkhead(vm, "--observe", errors, pages)?;
        let ever = of_storm(vm, 10 * pages)?.weight.ever();
        // Pages that are off stay so: the others come first.
        let times = Times::measured(vm, scale::number(WATCHED), Some(pages))?;
        let isolated = of_bulkhead(vm, "", errors, pages)?;
        Ok(Self { pages, observed, isolated, ever, p99: times.p99() })
    }

    fn row(&self) -> Vec<String> {
        vec![
            count(self.pages),
            count(self.pages * ERRORS_PER_PAGE),
            count(self.isolated.counted),
            count(self.isolated.isolated),
            seconds(self.isolated.settled.1),
            time(cpu(&self.observed)),
            time(cpu(&self.isolated)),
            mib(self.ever),
            time(self.p99),
        ]
    }
}

fn cpu(cost: &Cost) -> f64 {
    (cost.user + cost.kernel).as_secs_f64()
}
