//! A watchdog whose process does not run: each kind of hardware ends that in its own way.

use std::time::{Duration, SystemTime};

use anyhow::{ensure, Result};

use super::host::{
    host, is_a_stall, last_boot, reset_after, the_only_dump, watched, with_i6300esb, Watched,
    ALARM, BMC, GRACE, LIMITS,
};
use super::log::Log;
use crate::harness::{Disk, Machine, Storage, Vm};

on_each_kernel!(
    a_watchdog_that_does_not_run_ends_in_a_dump;
    only 6.12:
    without_a_crash_kernel_it_ends_in_a_reset_with_last_words,
    softdog_with_a_pretimeout_ends_it_in_a_dump,
    a_bmc_ends_it_in_a_dump,
);

/// Unfed for so long, hardware without a crash kernel resets the host; the alarm is as early as elsewhere.
const TIMEOUT: Duration = Duration::from_secs(20);

const STOPPED: &str = "the watchdog is stopped";

/// Stops it, and says so in the kernel log.
fn stop(vm: &Vm, mut watched: Watched) -> Result<SystemTime> {
    let now = SystemTime::now();
    vm.run(&format!("echo {STOPPED} > /dev/kmsg; kill -STOP {}", watched.watchdog.pid()?))?;
    Ok(now)
}

fn ended_in_time(log: &Log) -> Result<()> {
    let took = log.between(STOPPED, "Kernel panic")?;
    ensure!(took <= ALARM + GRACE, "{took:?}");
    Ok(())
}

fn a_watchdog_that_does_not_run_ends_in_a_dump(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = watched(machine, &disk).boot()?;
    stop(&vm, Watched::start(&vm)?)?;
    vm.wait_reboot()?;
    ended_in_time(&the_only_dump(&vm)?)?;
    is_a_stall(&last_boot(&vm)?, None)
}

/// With `panic=0` the panic of the pretimeout hangs, until the hardware resets.
fn without_a_crash_kernel_it_ends_in_a_reset_with_last_words(machine: Machine) -> Result<()> {
    let (disk, storage) = (Disk::new()?, Storage::new()?);
    let vm = with_i6300esb(host(machine, &disk)).storage(&storage).boot()?;
    let limits = format!("[watchdog]\ntimeout = \"{}s\"\npretimeout = \"10s\"", TIMEOUT.as_secs());
    let since = stop(&vm, Watched::configured(&vm, &limits)?)?;
    vm.wait_reboot()?;
    let took = reset_after(&vm, since)?;
    ensure!(vm.event("WATCHDOG").is_some() && took <= TIMEOUT + GRACE, "{took:?}");
    vm.run("mount -t pstore pstore /sys/fs/pstore")?;
    ended_in_time(&Log(vm.run("cat /sys/fs/pstore/dmesg*")?))?;
    is_a_stall(&last_boot(&vm)?, None)
}

fn softdog_with_a_pretimeout_ends_it_in_a_dump(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = host(machine, &disk).crash_kernel();
    let vm = machine.arg("bulkhead.modules=pretimeout_panic").boot()?;
    stop(&vm, Watched::configured(&vm, &format!("{LIMITS}device = \"softdog\""))?)?;
    vm.wait_reboot()?;
    ended_in_time(&the_only_dump(&vm)?)?;
    is_a_stall(&last_boot(&vm)?, None)
}

fn a_bmc_ends_it_in_a_dump(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = host(machine, &disk)
        .qemu(&BMC)
        .arg("bulkhead.modules=ipmi_si,ipmi_devintf")
        .crash_kernel()
        .arg("bulkhead.crash.watchdog=ipmi_si,ipmi_watchdog")
        .boot()?;
    vm.run("modprobe ipmi_watchdog timeout=90 pretimeout=80 preaction=pre_nmi preop=preop_panic")?;
    stop(&vm, Watched::start(&vm)?)?;
    vm.wait_reboot()?;
    ended_in_time(&the_only_dump(&vm)?)?;
    is_a_stall(&last_boot(&vm)?, None)
}
