//! A task that is bound to CPUs, and wakes up often enough to be driven off.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sched::{sched_setaffinity, CpuSet};
use nix::unistd::Pid;

/// The lowest real-time priority.
const PRIORITY: i32 = 1;

/// Prints `bound`, and then does nothing until it is killed.
pub fn run(cpus: &str, real_time: bool) -> Result<ExitCode> {
    let mut set = CpuSet::new();
    for cpu in cpus.split(',') {
        set.set(cpu.parse().with_context(|| format!("CPU {cpu}"))?)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).context("bind")?;
    if real_time {
        let priority = libc::sched_param { sched_priority: PRIORITY };
        // SAFETY: the parameter is a live value, and 0 is the caller itself.
        let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &priority) };
        Errno::result(result).context("SCHED_FIFO")?;
    }
    println!("bound");
    loop {
        thread::sleep(Duration::from_millis(20));
    }
}
