//! The dump itself, which the watchdog must not cut short.

use anyhow::{ensure, Result};

use super::host::{is_a_stall, last_boot, the_only_dump, watched, Watched};
use crate::harness::{Disk, Machine};

on_each_kernel!(; only 6.12: a_dump_twice_as_long_as_the_timeout_completes);

fn a_dump_twice_as_long_as_the_timeout_completes(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = watched(machine, &disk).arg("bulkhead.crash.seconds=80").boot()?;
    let limits = "[watchdog]\ncpu_limit = \"8s\"\ntimeout = \"40s\"\npretimeout = \"0s\"";
    let _watched = Watched::configured(&vm, limits)?;
    vm.spawn("bulkhead-guest hog 99 1")?;
    vm.wait_reboot()?;
    ensure!(vm.event("WATCHDOG").is_none(), "{:?}", vm.events());
    let log = the_only_dump(&vm)?;
    log.contains("bulkhead-watchdog: stall: cpu 1: ")?;
    ensure!(vm.sh("ls /var/crash/*/dump-incomplete")?.code != 0, "it was cut short");
    is_a_stall(&last_boot(&vm)?, Some(1))
}
