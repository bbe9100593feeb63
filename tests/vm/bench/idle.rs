//! What it does while nothing happens.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::calls::Calls;
use super::disk::{Writing, Written};
use super::programs::{boot, bulkheadd, wakeups, Program, Rasdaemon};
use super::report::{count, mib, seconds, Report};
use super::scale;
use crate::harness::{Machine, Vm};

/// So long nothing happens.
const IDLE: Duration = Duration::from_secs(60);

/// Before that, both have so long to finish with their start. Bulkhead looks four times at what the last boot left, as
/// late drivers tell of it late; three of them are over by then, and the last is 10 minutes after the start
/// (src/daemon/last_end.rs).
const START: Duration = Duration::from_secs(130);

pub fn measure(machine: Machine) -> Result<()> {
    let mut report = Report::new("5-idle", "Idle");
    let vm = boot(&machine)?;
    let ours = bulkheadd(&vm, "")?;
    let theirs = Rasdaemon::start(&vm)?;
    thread::sleep(scale::time(START));
    let watched = [Program::Bulkhead, Program::Rasdaemon].map(|program| Watched::new(&vm, program));
    // Not before something: the passing of time itself is what is measured.
    thread::sleep(scale::time(IDLE));
    let mut idle = Vec::new();
    for watched in watched {
        idle.push(watched?.stop()?);
    }
    theirs.kill()?;
    ours.kill()?;

    report.say(&format!(
        "{} without an error, of both programs at the same time; started by hand, so that no \
         service manager wants a sign of life. A wakeup is a voluntary context switch of any \
         thread.",
        seconds(scale::time(IDLE))
    ));
    let rows: Vec<_> = idle.iter().map(Idle::row).collect();
    report.table(&["", "system calls", "wakeups", "CPU", "written", "fsyncs"], &rows);
    for idle in idle.iter().filter(|idle| idle.program == Program::Bulkhead) {
        report.goal(
            "no system call and no wakeup",
            &format!("{} and {}", idle.calls, idle.wakeups),
            idle.calls == 0 && idle.wakeups == 0,
        );
        let Written { bytes, syncs, .. } = idle.written;
        report.goal(
            "nothing is written",
            &format!("{bytes} bytes, {syncs} fsyncs"),
            bytes == 0 && syncs == 0,
        );
    }
    report.publish()
}

/// A program from now on.
struct Watched<'vm> {
    vm: &'vm Vm,
    program: Program,
    calls: Calls<'vm>,
    written: Writing<'vm>,
    wakeups: u64,
    cpu: Duration,
}

impl<'vm> Watched<'vm> {
    fn new(vm: &'vm Vm, program: Program) -> Result<Self> {
        let calls = Calls::start(vm, program.name(), "calls", None)?;
        let written = Written::start(vm, program)?;
        let wakeups = wakeups(vm, program.name())?;
        Ok(Self { vm, program, calls, written, wakeups, cpu: program.cpu(vm)? })
    }

    fn stop(self) -> Result<Idle> {
        Ok(Idle {
            program: self.program,
            wakeups: wakeups(self.vm, self.program.name())? - self.wakeups,
            cpu: self.program.cpu(self.vm)? - self.cpu,
            calls: self.calls.stop()?,
            written: self.written.stop()?,
        })
    }
}

/// What it did while it was watched.
struct Idle {
    program: Program,
    calls: u64,
    wakeups: u64,
    cpu: Duration,
    written: Written,
}

impl Idle {
    fn row(&self) -> Vec<String> {
        vec![
            self.program.name().to_owned(),
            count(self.calls),
            count(self.wakeups),
            seconds(self.cpu),
            mib(self.written.bytes),
            count(self.written.syncs),
        ]
    }
}
