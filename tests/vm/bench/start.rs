//! How long it takes to start.

use std::time::Duration;

use anyhow::{Context, Result};

use super::programs::{boot_on, bulkheadd, first_of, forget, raise, Program, DISK_BYTES};
use super::report::{count, time, Report};
use super::scale;
use super::stats::median;
use crate::harness::{Disk, Machine, Process, Vm};

/// To be out of service again.
const PAGES: u64 = 10_000;

/// Starts of which the middle one is told.
const STARTS: u64 = 9;

const LIMIT: Duration = Duration::from_secs(120);

pub fn measure(machine: Machine) -> Result<()> {
    let mut report = Report::new("7-start", "Start");
    let pages = scale::number(PAGES);
    let disk = Disk::of(DISK_BYTES)?;
    let (mut first, mut again) = (Vec::new(), Vec::new());
    {
        let vm = boot_on(&machine, &disk)?;
        for _ in 0..scale::number(STARTS) {
            forget(&vm)?;
            first.push(started(&vm)?);
            again.push(started(&vm)?);
        }
        let it = bulkheadd(&vm, "")?;
        let at = first_of(&vm, pages)?;
        raise(&vm, &format!("ce n={} pages={pages} addr={at:#x}", 2 * pages))?;
        Program::Bulkhead.settle(&vm, LIMIT)?;
        it.stop()?;
        vm.run("sync")?;
    }
    let vm = boot_on(&machine, &disk)?;
    let (mut process, ready) = start(&vm)?;
    let off = vm.run("bulkhead-guest poisoned | wc -l")?.parse()?;
    stop(&vm, &mut process)?;

    report.say(
        "From the start of the process until it says that it is ready, as systemd would hear it: \
         it watches, and all that was out of service before the reboot was tried.",
    );
    report.table(
        &["", "time", "of so many starts"],
        &[
            vec![
                "the first, programs to load".into(),
                time(median(&first)),
                count(scale::number(STARTS)),
            ],
            vec![
                "again in the same boot".into(),
                time(median(&again)),
                count(scale::number(STARTS)),
            ],
            vec![
                format!("after a reboot, {} pages isolated again", count(off)),
                time(ready),
                count(1),
            ],
        ],
    );
    report.publish()
}

/// Starts it, and ends it again; the seconds until it was ready.
fn started(vm: &Vm) -> Result<f64> {
    let (mut process, ready) = start(vm)?;
    stop(vm, &mut process)?;
    Ok(ready)
}

fn start(vm: &Vm) -> Result<(Process, f64)> {
    let mut process =
        vm.spawn("bulkhead-guest ready bulkheadd --config /tmp/bench.toml 2>> /tmp/bulkheadd.log")?;
    let seconds = process.wait_line("ready ", LIMIT)?;
    Ok((process, seconds.parse().context("seconds")?))
}

fn stop(vm: &Vm, process: &mut Process) -> Result<()> {
    vm.run("kill $(pidof bulkheadd)")?;
    while process.next_line(LIMIT)?.is_some() {}
    Ok(())
}
