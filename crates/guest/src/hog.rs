//! Processors that somebody takes for himself.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use nix::errno::Errno;
use nix::sched::{sched_setaffinity, CpuSet};
use nix::unistd::Pid;

/// From the word that it begins to the beginning: the word must get out, and with it whoever passes it on.
const AHEAD: Duration = Duration::from_millis(500);

/// Prints `hogging`, says so in the kernel log as it begins, and spins on each of the CPUs for ever, at a priority of
/// SCHED_FIFO.
pub fn run(priority: i32, cpus: &str) -> Result<ExitCode> {
    let cpus: Vec<usize> = cpus
        .split(',')
        .map(|cpu| cpu.parse().with_context(|| format!("CPU {cpu}")))
        .collect::<Result<_>>()?;
    ensure!(!cpus.is_empty(), "no CPU to hog");
    let mut log = OpenOptions::new().write(true).open("/dev/kmsg").context("/dev/kmsg")?;
    println!("hogging");
    thread::sleep(AHEAD);
    // In one write: each is a line.
    log.write_all(format!("bulkhead-guest: hogging {cpus:?}\n").as_bytes()).context("/dev/kmsg")?;
    // All at once: the first to spin would keep the others from their places.
    let ready = Barrier::new(cpus.len());
    let ready = &ready;
    thread::scope(|scope| -> Result<ExitCode> {
        let spinning: Vec<_> =
            cpus.iter().map(|&cpu| scope.spawn(move || spin(cpu, priority, ready))).collect();
        for thread in spinning {
            thread.join().unwrap_or(Ok(()))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Returns only if it cannot.
fn spin(cpu: usize, priority: i32, ready: &Barrier) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).context("bind")?;
    ready.wait();
    let priority = libc::sched_param { sched_priority: priority };
    // SAFETY: the parameter is a live value, and 0 is the calling thread itself.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &priority) };
    Errno::result(result).context("SCHED_FIFO")?;
    loop {
        std::hint::spin_loop();
    }
}
