//! How long a burst of errors takes the kernel, by who listens.

use std::time::Duration;

use anyhow::Result;

use super::programs::{boot, bulkheadd, first_of, forget, log_ce, raise, Rasdaemon};
use super::report::{count, ratio, time, Report};
use super::scale;
use super::stats::median;
use crate::harness::{Machine, Vm};

const ERRORS: u64 = 100_000;
const PAGES: u64 = 1_000;

/// Bursts with each listener: so many rounds of all of them, so that what else the machine does meets them alike.
const ROUNDS: u64 = 3;
const BURSTS: u64 = 3;

/// For a program to load.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

const SIGKILL: i32 = 9;

/// Who listens to the tracepoint.
#[derive(Clone, Copy)]
enum Listener {
    Nobody,
    EmptyProgram,
    Bulkhead,
    Rasdaemon,
}

const LISTENERS: [Listener; 4] =
    [Listener::Nobody, Listener::EmptyProgram, Listener::Bulkhead, Listener::Rasdaemon];

impl Listener {
    fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::EmptyProgram => "an empty BPF program",
            Self::Bulkhead => "bulkheadd --observe",
            Self::Rasdaemon => "rasdaemon",
        }
    }
}

pub fn measure(machine: Machine) -> Result<()> {
    let report =
        Report::new("2-burst", "Duration of a burst, the kernel's own logging of errors off");
    tell(report, &boot(&machine)?)
}

pub fn measure_logged(machine: Machine) -> Result<()> {
    let vm = boot(&machine)?;
    log_ce(&vm, true)?;
    let report =
        Report::new("2-burst-logged", "Duration of a burst, the kernel's own logging of errors on");
    tell(report, &vm)
}

fn tell(mut report: Report, vm: &Vm) -> Result<()> {
    let (errors, pages) = (scale::number(ERRORS), scale::number(PAGES));
    let mut times: [Vec<f64>; 4] = Default::default();
    for _ in 0..scale::number(ROUNDS) {
        for (listener, times) in LISTENERS.into_iter().zip(&mut times) {
            times.extend(bursts(vm, listener, errors, pages)?);
        }
    }
    let medians = times.each_ref().map(|times| median(times));
    let [_, empty, ours, _] = medians;
    report.say(&format!(
        "{} corrected errors over {} pages, {} times with each listener on the tracepoint.",
        count(errors),
        count(pages),
        scale::number(ROUNDS) * scale::number(BURSTS)
    ));
    let rows: Vec<_> = LISTENERS
        .into_iter()
        .zip(&times)
        .zip(medians)
        .map(|((listener, times), median)| {
            let ends = (
                times.iter().copied().fold(f64::MAX, f64::min),
                times.iter().copied().fold(0.0, f64::max),
            );
            vec![
                listener.name().to_owned(),
                time(median),
                time(ends.0),
                time(ends.1),
                time(median / errors as f64),
                ratio(median, empty),
            ]
        })
        .collect();
    report.table(
        &["who listens", "median", "least", "most", "per error", "of the empty program's"],
        &rows,
    );
    let times = ours / empty;
    report.goal("at most 2 times the empty program's", &format!("{times:.2}"), times <= 2.0);
    report.publish()
}

/// The seconds of each burst.
fn bursts(vm: &Vm, listener: Listener, errors: u64, pages: u64) -> Result<Vec<f64>> {
    let first = first_of(vm, pages)?;
    let all = || -> Result<Vec<f64>> {
        let burst = || raise(vm, &format!("ce n={errors} pages={pages} addr={first:#x}"));
        (0..scale::number(BURSTS)).map(|_| Ok(burst()?.as_secs_f64())).collect()
    };
    match listener {
        Listener::Nobody => all(),
        Listener::EmptyProgram => {
            let mut holder = vm.spawn("bulkhead-guest empty-bpf mc_event")?;
            holder.wait_line("attached", ANSWER_LIMIT)?;
            let times = all()?;
            holder.signal(SIGKILL)?;
            holder.wait()?;
            Ok(times)
        }
        Listener::Bulkhead => {
            forget(vm)?;
            let it = bulkheadd(vm, "--observe")?;
            let times = all()?;
            it.stop()?;
            forget(vm)?;
            Ok(times)
        }
        Listener::Rasdaemon => {
            let it = Rasdaemon::start(vm)?;
            let times = all()?;
            it.kill()?;
            Ok(times)
        }
    }
}
