//! Ends that are no stall.

use anyhow::{ensure, Context, Result};

use super::host::{last_boot, the_last_boot, the_only_dump, watched, Watched};
use crate::bulkhead::LIMIT;
use crate::harness::{Disk, Machine};
use crate::lasting::{debian, settled};

on_each_kernel!(
    a_power_cut_is_told_as_one,
    a_panic_is_told_by_its_line;
    only 6.12:
    an_orderly_reboot_and_poweroff_are_told_as_clean,
);

fn a_power_cut_is_told_as_one(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = watched(machine, &disk);
    let vm = machine.boot()?;
    Watched::start(&vm)?;
    vm.cut_power()?;
    let vm = machine.boot()?;
    let boot = last_boot(&vm)?;
    ensure!(boot["verdict"] == "power loss", "{boot}");
    Ok(())
}

/// The admin's own crash, with the watchdog well.
fn a_panic_is_told_by_its_line(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = watched(machine, &disk).boot()?;
    let _watched = Watched::start(&vm)?;
    vm.spawn("sh -c 'echo c > /proc/sysrq-trigger'")?;
    vm.wait_reboot()?;
    the_only_dump(&vm)?;
    let boot = last_boot(&vm)?;
    ensure!(boot["verdict"] == "panic" && boot["cpu"].is_null(), "{boot}");
    let cause = boot["cause"].as_str().context("no cause")?;
    ensure!(cause.contains("sysrq triggered crash"), "{boot}");
    Ok(())
}

fn an_orderly_reboot_and_poweroff_are_told_as_clean(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = debian(machine, &disk);
    let mut vm = machine.boot()?;
    for how in ["reboot", "poweroff"] {
        settled(&vm)?;
        vm.spawn(&format!("systemctl {how}"))?;
        vm.wait_end(LIMIT)?;
        vm = machine.boot()?;
        let boot = the_last_boot(&settled(&vm)?)?;
        ensure!(boot["verdict"] == "clean", "{how}: {boot}");
    }
    Ok(())
}
