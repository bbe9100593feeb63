//! Whether all errors of a storm are counted, and all pages taken that are to be.

use std::time::Duration;

use anyhow::Result;

use super::programs::{boot, bulkheadd, first_of, in_status, raise, Program, Rasdaemon};
use super::report::{count, seconds, Report};
use super::scale;
use crate::harness::Machine;

/// Errors, and over how many pages.
const STORMS: [(u64, u64); 7] = [
    (1_000, 1),
    (1_000, 1_000),
    (100_000, 1),
    (100_000, 1_000),
    (1_000_000, 1),
    (1_000_000, 1_000),
    (1_000_000, 100_000),
];

/// Bulkhead works on for so long at most after each storm.
const LIMIT: Duration = Duration::from_secs(300);

/// rasdaemon works off what its buffers kept for so long at most.
const THEIR_LIMIT: Duration = Duration::from_secs(120);

pub fn measure(machine: Machine) -> Result<()> {
    let vm = boot(&machine)?;
    let it = bulkheadd(&vm, "")?;
    let other = Rasdaemon::start(&vm)?;

    let mut report = Report::new("1-exact", "Exact under storm");
    report.say(
        "Corrected errors at full speed; both programs hear the same errors, rasdaemon without \
         isolation, which Debian builds it without. A page is to be taken at its second error.",
    );
    let (mut rows, mut exact, mut complete) = (Vec::new(), true, true);
    let (mut counted, mut isolated, mut recorded) = (0, 0, 0);
    for (errors, pages) in
        STORMS.map(|(errors, pages)| (scale::number(errors), scale::number(pages)))
    {
        let first = first_of(&vm, pages)?;
        let took = raise(&vm, &format!("ce n={errors} pages={pages} addr={first:#x}"))?;
        let ours = Program::Bulkhead.settle(&vm, LIMIT)?;
        let theirs = Program::Rasdaemon.settle(&vm, scale::time(THEIR_LIMIT))?;
        let new = |total: u64, before: &mut u64| total - std::mem::replace(before, total);
        let ours_counted = new(it.reports()?, &mut counted);
        let ours_isolated = new(in_status(&it, "/isolated/pages")?, &mut isolated);
        let theirs_recorded = new(other.recorded()?, &mut recorded);
        let to_isolate = if errors >= 2 * pages { pages } else { 0 };
        exact &= ours_counted == errors;
        complete &= ours_isolated == to_isolate;
        let bounded = |(done, took): (bool, Duration)| match done {
            true => seconds(took),
            false => format!("over {}", seconds(took)),
        };
        rows.push(vec![
            count(errors),
            count(pages),
            seconds(took),
            count(ours_counted),
            count(to_isolate),
            count(ours_isolated),
            bounded(ours),
            count(theirs_recorded),
            bounded(theirs),
        ]);
    }
    report.table(
        &[
            "errors",
            "pages",
            "storm took",
            "bulkheadd counted",
            "to isolate",
            "isolated",
            "worked on for",
            "rasdaemon recorded",
            "worked on for",
        ],
        &rows,
    );
    report.say(&format!("The kernel refused {} pages.", count(in_status(&it, "/failed")?)));
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    report.goal("every error is counted, and no other", yes(exact), exact);
    report.goal("every page past its threshold is isolated", yes(complete), complete);
    other.kill()?;
    it.stop()?;
    report.publish()
}
