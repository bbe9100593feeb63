//! What an error costs: CPU time of the daemon and of its programs in the kernel.

use std::time::Duration;

use anyhow::Result;

use super::programs::{
    boot, bulkheadd, count_bpf_time, first_of, forget, in_status, raise, Bpf, Program, Rasdaemon,
};
use super::report::{count, ratio, seconds, time, Report};
use super::scale;
use crate::harness::{Machine, Vm};

const ERRORS: u64 = 100_000;
const PAGES: u64 = 1_000;

/// Bulkhead works on for so long at most.
const LIMIT: Duration = Duration::from_secs(600);

/// rasdaemon works off what its buffers kept for so long; what an error costs it shows by then.
const THEIR_LIMIT: Duration = Duration::from_secs(60);

/// What a storm cost one program.
pub struct Cost {
    /// CPU time of its threads.
    pub user: Duration,
    /// CPU time of its BPF programs, in whoever raised the errors.
    pub kernel: Duration,
    /// Errors that it counted, or recorded.
    pub counted: u64,
    /// Pages that it took.
    pub isolated: u64,
    /// It had nothing left to do at the end, and for so long it worked after the last error.
    pub settled: (bool, Duration),
}

impl Cost {
    /// In seconds, for each error that it counted.
    pub fn per_error(&self) -> f64 {
        (self.user + self.kernel).as_secs_f64() / self.counted as f64
    }
}

pub fn measure(machine: Machine) -> Result<()> {
    let mut report = Report::new("2-cost", "Cost per error");
    let (errors, pages) = (scale::number(ERRORS), scale::number(PAGES));
    let vm = boot(&machine)?;
    let observed = of_bulkhead(&vm, "--observe", errors, pages)?;
    let isolated = of_bulkhead(&vm, "", errors, pages)?;
    let theirs = of_rasdaemon(&vm, errors, pages)?;

    report.say(&format!(
        "{} corrected errors over {} pages, at full speed, to each program by itself. rasdaemon \
         loses what its buffers have no room for; its cost is for each error that it recorded.",
        count(errors),
        count(pages)
    ));
    let rows =
        [("bulkheadd --observe", &observed), ("bulkheadd", &isolated), ("rasdaemon", &theirs)];
    let rows = rows.map(|(name, cost)| {
        vec![
            name.to_owned(),
            count(cost.counted),
            count(cost.isolated),
            seconds(cost.user),
            seconds(cost.kernel),
            seconds(cost.settled.1),
            time(cost.per_error()),
            ratio(cost.per_error(), theirs.per_error()),
        ]
    });
    report.table(
        &[
            "",
            "counted",
            "pages isolated",
            "CPU",
            "BPF programs",
            "worked on for",
            "per error",
            "of rasdaemon's",
        ],
        &rows,
    );
    if !theirs.settled.0 {
        report.say(&format!("rasdaemon still worked after {}.", seconds(scale::time(THEIR_LIMIT))));
    }
    for (what, cost, most) in
        [("with --observe 1/1,000", &observed, 1e-3), ("with isolations 1/100", &isolated, 1e-2)]
    {
        let share = cost.per_error() / theirs.per_error();
        report.goal(&format!("{what} of rasdaemon's"), &ratio(share, 1.0), share <= most);
    }
    report.publish()
}

/// From nothing: state and programs of an earlier run are removed before and after.
pub fn of_bulkhead(vm: &Vm, arguments: &str, errors: u64, pages: u64) -> Result<Cost> {
    forget(vm)?;
    let first = first_of(vm, pages)?;
    count_bpf_time(vm, true)?;
    let it = bulkheadd(vm, arguments)?;
    let (user, kernel) = (Program::Bulkhead.cpu(vm)?, Bpf::of(vm)?.time);
    raise(vm, &format!("ce n={errors} pages={pages} addr={first:#x}"))?;
    let settled = Program::Bulkhead.settle(vm, LIMIT)?;
    let cost = Cost {
        user: Program::Bulkhead.cpu(vm)? - user,
        kernel: Bpf::of(vm)?.time - kernel,
        counted: it.reports()?,
        isolated: in_status(&it, "/isolated/pages")?,
        settled,
    };
    it.stop()?;
    count_bpf_time(vm, false)?;
    forget(vm)?;
    Ok(cost)
}

fn of_rasdaemon(vm: &Vm, errors: u64, pages: u64) -> Result<Cost> {
    let first = first_of(vm, pages)?;
    let it = Rasdaemon::start(vm)?;
    let user = Program::Rasdaemon.cpu(vm)?;
    raise(vm, &format!("ce n={errors} pages={pages} addr={first:#x}"))?;
    let settled = Program::Rasdaemon.settle(vm, scale::time(THEIR_LIMIT))?;
    let cost = Cost {
        // The time first, as it goes on.
        user: Program::Rasdaemon.cpu(vm)? - user,
        kernel: Duration::ZERO,
        counted: it.recorded()?,
        isolated: 0,
        settled,
    };
    it.kill()?;
    Ok(cost)
}
