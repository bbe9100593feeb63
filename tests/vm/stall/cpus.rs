//! CPUs that do not run, by a hog or without interrupts.

use anyhow::{ensure, Context, Result};

use super::host::{
    is_a_stall, last_boot, the_only_dump, told_of, watched, Watched, ALARM, CPU_LIMIT, GRACE,
};
use crate::bulkhead::LIMIT;
use crate::harness::{wait_until, Disk, Machine, Process, Vm};

on_each_kernel!(
    a_cpu_that_a_real_time_hog_keeps_is_dumped_and_named,
    a_cpu_without_interrupts_is_dumped_and_named;
    only 6.12:
    a_cpu_that_an_ordinary_hog_keeps_is_named_and_no_more,
    all_cpus_kept_by_hogs_end_in_a_dump_that_names_one,
    a_hog_on_an_isolated_cpu_is_nobodys_business,
);

/// What the hog says in the kernel log as it begins.
const BEGINS: &str = "bulkhead-guest: hogging";

/// What the watchdog says there.
const STARVES: &str = "bulkhead-watchdog: cpu 1: ordinary tasks waited";

const PANIC: &str = "Kernel panic - not syncing: ";

/// Ahead of everything that is not at the highest priority.
fn hog(vm: &Vm, priority: u32, cpus: &str) -> Result<Process> {
    let mut hog = vm.spawn(&format!("bulkhead-guest hog {priority} {cpus}"))?;
    hog.wait_line("hogging", LIMIT)?;
    Ok(hog)
}

fn a_cpu_that_a_real_time_hog_keeps_is_dumped_and_named(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = watched(machine, &disk).boot()?;
    let _watched = Watched::start(&vm)?;
    hog(&vm, 99, "1")?;
    vm.wait_reboot()?;
    let log = the_only_dump(&vm)?;
    log.contains("bulkhead-watchdog: stall: cpu 1: ")?;
    let took = log.between(BEGINS, PANIC)?;
    ensure!(took <= CPU_LIMIT + GRACE, "{took:?}");
    is_a_stall(&last_boot(&vm)?, Some(1))
}

/// Others soon wait for its answer, and are as silent.
fn a_cpu_without_interrupts_is_dumped_and_named(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = watched(machine, &disk).boot()?;
    vm.run("modprobe bulkhead_stall_test")?;
    let _watched = Watched::start(&vm)?;
    vm.spawn("sh -c 'echo deaf 2 > /sys/kernel/debug/bulkhead_stall_test'")?;
    vm.wait_reboot()?;
    let log = the_only_dump(&vm)?;
    log.contains("bulkhead-watchdog: stall: cpu 2: ")?;
    let took = log.between("CPU 2 hears nothing", PANIC)?;
    ensure!(took <= CPU_LIMIT + GRACE, "{took:?}");
    is_a_stall(&last_boot(&vm)?, Some(2))
}

/// Nobody is left to feed, nor to say so: the kernel's own timer ends it.
fn all_cpus_kept_by_hogs_end_in_a_dump_that_names_one(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = watched(machine, &disk).boot()?;
    let _watched = Watched::start(&vm)?;
    hog(&vm, 99, "0,1,2,3")?;
    vm.wait_reboot()?;
    let took = the_only_dump(&vm)?.between(BEGINS, PANIC)?;
    ensure!(took <= ALARM + GRACE, "{took:?}");
    let boot = last_boot(&vm)?;
    is_a_stall(&boot, None)?;
    ensure!(boot["cpu"].as_u64().is_some_and(|cpu| cpu < 4), "{boot}");
    Ok(())
}

fn a_cpu_that_an_ordinary_hog_keeps_is_named_and_no_more(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = watched(machine, &disk).boot()?;
    let watched = Watched::start(&vm)?;
    let mut hog = hog(&vm, 50, "1")?;
    let told = wait_until("the kernel's log names the CPU", LIMIT, || {
        Ok(vm.run("dmesg")?.contains(STARVES))
    });
    told.with_context(|| {
        format!("{:?}\n{:?}", watched.status(), vm.run("bulkhead events; cat /tmp/watchdog.log"))
    })?;
    ensure!(!told_of(&vm, 1)?.is_empty(), "no event: {:?}", watched.status()?);
    // Twice as long as a stall is let go on.
    vm.run("sleep 16")?;
    ensure!(
        watched.status()?["state"] == "armed" && vm.event("WATCHDOG").is_none(),
        "{}",
        watched.status()?
    );
    vm.run(&format!("kill -9 {}", hog.pid()?))?;
    Ok(())
}

fn a_hog_on_an_isolated_cpu_is_nobodys_business(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = watched(machine.arg("isolcpus=3"), &disk).boot()?;
    let watched = Watched::start(&vm)?;
    hog(&vm, 99, "3")?;
    vm.run("sleep 16")?;
    let status = watched.status()?;
    ensure!(status["state"] == "armed" && vm.event("WATCHDOG").is_none(), "{status}");
    ensure!(told_of(&vm, 3)?.is_empty(), "{:?}", told_of(&vm, 3)?);
    ensure!(!vm.run("dmesg")?.contains("bulkhead-watchdog: cpu 3"));
    Ok(())
}
