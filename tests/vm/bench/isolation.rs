//! How long a page with errors stays in service.

use std::time::Duration;

use anyhow::{ensure, Context, Result};

use super::programs::{boot, bulkheadd, first_of, forget, in_status};
use super::report::{count, ratio, time, Report};
use super::scale;
use super::stats::{median, percentile};
use crate::bulkhead::Bulkhead;
use crate::harness::{wait_until, Machine, Process, Vm};

/// Enough for the 99th percentile not to be the worst.
const PAGES: u64 = 200;

/// Storms beside it are over so many other pages.
const STORMS: [u64; 2] = [1, 1_000];

/// Errors that a storm raises with one call; the next call follows at once.
const BURST: u64 = 10_000;

/// For the first errors of a storm, and for its pages.
const LIMIT: Duration = Duration::from_secs(900);

const SIGKILL: i32 = 9;

pub fn measure(machine: Machine) -> Result<()> {
    let watched = scale::number(PAGES);
    let vm = boot(&machine)?;
    let mut report = Report::new("3-isolation", "Time to isolation");
    report.say(&format!(
        "{} free pages, one after the other: from before the tracepoint of a page's second error \
         until /proc/kpageflags shows it off, seen from outside. The storm goes on for all that \
         time, at full speed. Debian's rasdaemon is built without isolation of pages.",
        count(watched)
    ));
    let alone = Times::measured(&vm, watched, None)?;
    let mut rows = vec![alone.row("alone", &alone)];
    let mut worst = 0.0_f64;
    for pages in STORMS.map(scale::number) {
        let times = Times::measured(&vm, watched, Some(pages))?;
        worst = worst.max(times.p99() / alone.p99());
        rows.push(times.row(&format!("during a storm elsewhere, on {}", count(pages)), &alone));
    }
    report.table(&["", "median", "p99", "most", "not off", "p99 of that alone"], &rows);
    report.goal(
        "p99 during a storm at most 3 times that alone",
        &format!("{worst:.2}"),
        worst <= 3.0,
    );
    report.publish()
}

/// Seconds until each page was off.
pub struct Times {
    seconds: Vec<f64>,
    /// Pages that did not come off in 20 s.
    missing: usize,
}

impl Times {
    /// Of so many pages. Starts bulkheadd for it, and where it is told to a storm that does not end, over so many other
    /// pages.
    pub fn measured(vm: &Vm, pages: u64, storm: Option<u64>) -> Result<Self> {
        forget(vm)?;
        let it = bulkheadd(vm, "")?;
        let storm = storm.map(|pages| rage(&it, pages)).transpose()?;
        let first = first_of(vm, pages)?;
        let printed = vm.run(&format!("bulkhead-guest time-to-isolation {first:#x} {pages}"))?;
        if let Some(storm) = storm {
            storm.signal(SIGKILL)?;
            storm.wait()?;
        }
        it.kill()?;
        forget(vm)?;
        Self::parse(&printed)
    }

    fn parse(printed: &str) -> Result<Self> {
        let (missing, off): (Vec<_>, Vec<_>) = printed.lines().partition(|line| *line == "-");
        ensure!(!off.is_empty(), "no page came off: {printed:?}");
        let seconds = off.iter().map(|line| Ok(line.parse::<f64>().context("ns")? / 1e9));
        Ok(Self { seconds: seconds.collect::<Result<_>>()?, missing: missing.len() })
    }

    pub fn median(&self) -> f64 {
        median(&self.seconds)
    }

    pub fn p99(&self) -> f64 {
        percentile(&self.seconds, 99.0)
    }

    fn row(&self, what: &str, alone: &Self) -> Vec<String> {
        vec![
            what.to_owned(),
            time(self.median()),
            time(self.p99()),
            time(percentile(&self.seconds, 100.0)),
            count(self.missing as u64),
            ratio(self.p99(), alone.p99()),
        ]
    }
}

/// Starts a storm that does not end, and waits until its own pages have been tried.
fn rage(it: &Bulkhead, pages: u64) -> Result<Process> {
    let first = first_of(it.vm, pages)?;
    let errors = BURST.max(2 * pages);
    let mut storm = it.vm.spawn(&format!(
        "bulkhead-guest raise --for-ever 'ce n={errors} pages={pages} addr={first:#x}'"
    ))?;
    storm.wait_line("storming", LIMIT)?;
    wait_until("the storm's own pages are tried", LIMIT, || {
        // One that has come into use may not come off.
        Ok(in_status(it, "/isolated/pages")? + in_status(it, "/failed")? >= pages)
    })?;
    Ok(storm)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Times;

    #[test]
    fn pages_that_did_not_come_off_are_told_apart() {
        let times = Times::parse("2000000\n-\n4000000\n6000000\n").unwrap();
        assert_eq!((times.median(), times.p99(), times.missing), (0.004, 0.006, 1));
        assert!(Times::parse("-\n").is_err());
    }
}
