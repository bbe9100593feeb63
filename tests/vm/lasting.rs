//! What is isolated stays isolated: over reboots and power cuts, on a Debian with systemd that starts bulkheadd by its
//! unit.

use std::time::Duration;

use anyhow::{ensure, Context, Result};

use crate::bulkhead::{online, Bulkhead, LIMIT};
use crate::harness::mce::L1_DATA_CE;
use crate::harness::{wait_until, Disk, Machine, Vm};

on_each_kernel!(
    systemd_starts_it_before_ordinary_services,
    isolations_are_back_before_ordinary_services_after_a_reboot,
    isolations_are_back_after_a_power_cut,
);

/// What a machine boots and reboots within, and half as much again.
const LIFE: Duration = Duration::from_secs(600);

fn debian(machine: Machine, disk: &Disk) -> Machine {
    machine.arg("ras=cec_disable").debian(disk).limit(LIFE)
}

/// Waits until the system is up, and sees that no unit has failed.
fn settled(vm: &Vm) -> Result<()> {
    let state = vm.sh("systemctl is-system-running --wait")?;
    let failed = vm.run("systemctl list-units --failed --no-legend --plain")?;
    ensure!(state.code == 0, "{}: {failed}", state.stdout.trim());
    Ok(())
}

/// When a unit was last active, in microseconds since boot.
fn active_at(vm: &Vm, unit: &str) -> Result<u64> {
    let at = vm.run(&format!("systemctl show -P ActiveEnterTimestampMonotonic {unit}"))?;
    at.parse().context(at)
}

fn systemd_starts_it_before_ordinary_services(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = debian(machine, &disk).boot()?;
    settled(&vm)?;
    let it = Bulkhead::service(&vm)?;
    ensure!(it.status()?["health"] == "ok", "{}", it.status()?);
    ensure!(active_at(&vm, "bulkhead.service")? < active_at(&vm, "basic.target")?);
    let problems = vm.sh("systemd-analyze verify bulkhead.service")?;
    ensure!(problems.code == 0 && problems.stderr.is_empty(), "{problems:?}");
    // One that dies is back at once, by itself.
    it.kill()?;
    let it = Bulkhead::service(&vm)?;
    it.stop()
}

fn isolations_are_back_before_ordinary_services_after_a_reboot(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = debian(machine, &disk).boot()?;
    settled(&vm)?;
    let it = Bulkhead::service(&vm)?;
    let _ = (&it, L1_DATA_CE, LIMIT, online(&vm)?);
    vm.spawn("systemctl reboot")?;
    vm.wait_reboot()?;
    settled(&vm)?;
    Ok(())
}

fn isolations_are_back_after_a_power_cut(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = debian(machine, &disk);
    let vm = machine.boot()?;
    settled(&vm)?;
    vm.cut_power()?;
    let vm = machine.boot()?;
    wait_until("up", LIMIT, || Ok(settled(&vm).is_ok()))
}
