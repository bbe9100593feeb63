//! What it does while nothing happens.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::calls::Calls;
use super::disk::Written;
use super::programs::{boot, bulkheadd, forget, wakeups, Program, Rasdaemon};
use super::report::{count, mib, seconds, Report};
use super::scale;
use crate::harness::{Machine, Vm};

/// So long nothing happens.
const IDLE: Duration = Duration::from_secs(60);

/// What a program is left to finish after its start.
const START: Duration = Duration::from_secs(15);

pub fn measure(machine: Machine) -> Result<()> {
    let vm = boot(&machine)?;
    let ours = {
        let it = bulkheadd(&vm, "")?;
        let idle = Idle::measured(&vm, Program::Bulkhead)?;
        it.kill()?;
        forget(&vm)?;
        idle
    };
    let theirs = {
        let it = Rasdaemon::start(&vm)?;
        let idle = Idle::measured(&vm, Program::Rasdaemon)?;
        it.kill()?;
        idle
    };
    let mut report = Report::new("5-idle", "Idle");
    report.say(&format!(
        "{} without an error, started by hand, so that no service manager wants a sign of life. A \
         wakeup is a voluntary context switch of any thread.",
        seconds(scale::time(IDLE))
    ));
    let row = |name: &str, idle: &Idle| {
        vec![
            name.to_owned(),
            count(idle.calls),
            count(idle.wakeups),
            seconds(idle.cpu),
            mib(idle.written.bytes),
            count(idle.written.syncs),
        ]
    };
    report.table(
        &["", "system calls", "wakeups", "CPU", "written", "fsyncs"],
        &[row("bulkheadd", &ours), row("rasdaemon", &theirs)],
    );
    let nothing = ours.calls == 0 && ours.wakeups == 0;
    report.goal(
        "no system call and no wakeup",
        &format!("{} and {}", ours.calls, ours.wakeups),
        nothing,
    );
    let written = &ours.written;
    report.goal(
        "nothing is written",
        &format!("{} bytes, {} fsyncs", written.bytes, written.syncs),
        written.bytes == 0 && written.syncs == 0,
    );
    report.publish()
}

struct Idle {
    calls: u64,
    wakeups: u64,
    cpu: Duration,
    written: Written,
}

impl Idle {
    fn measured(vm: &Vm, program: Program) -> Result<Self> {
        let name = program.name();
        thread::sleep(scale::time(START));
        let calls = Calls::start(vm, name, "calls", None)?;
        let (woken, cpu, written) =
            (wakeups(vm, name)?, program.cpu(vm)?, Written::start(vm, program)?);
        // Not before something: the passing of time itself is what is measured.
        thread::sleep(scale::time(IDLE));
        Ok(Self {
            wakeups: wakeups(vm, name)? - woken,
            cpu: program.cpu(vm)? - cpu,
            calls: calls.stop()?,
            written: written.stop()?,
        })
    }
}
