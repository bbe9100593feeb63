//! Shutdowns that hang: while services stop, and in the kernel's own way to the reboot.

use std::time::{Duration, SystemTime};

use anyhow::{ensure, Result};

use super::host::{
    is_a_stall, reset_after, the_last_boot, the_only_dump, with_i6300esb, GRACE, LIFE, LIMITS,
};
use super::service::watched;
use crate::bulkhead::LIMIT;
use crate::harness::{wait_until, Disk, Machine, Vm};
use crate::lasting::{debian, settled};

on_each_kernel!(
    ;
    only 6.12:
    a_service_that_never_stops_ends_in_a_dump,
    a_reboot_that_hangs_in_the_kernel_ends_in_a_reset,
    a_poweroff_that_hangs_in_the_kernel_ends_in_a_reset,
);

/// `shutdown_limit`, and systemd's own RebootWatchdogSec=.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);

fn limits() -> String {
    format!("{LIMITS}shutdown_limit = \"{}s\"", SHUTDOWN_LIMIT.as_secs())
}

const HANGS: &str = "/run/systemd/system/hangs.service";

const NEVER_STOPS: &str = "[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'echo a service never stops > /dev/kmsg; exec sleep infinity'
TimeoutStopSec=infinity
";

fn a_service_that_never_stops_ends_in_a_dump(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = with_i6300esb(debian(machine, &disk))
        .crash_kernel()
        .arg("bulkhead.crash.watchdog=i6300esb panic=0");
    let mut vm = machine.boot()?;
    watched(&vm, &limits())?;
    vm.write_file(HANGS, NEVER_STOPS)?;
    vm.run("systemctl daemon-reload && systemctl start hangs.service")?;
    vm.spawn("systemctl reboot")?;
    vm.wait_end(LIMIT + SHUTDOWN_LIMIT)?;

    let vm = machine.boot()?;
    let it = settled(&vm)?;
    let log = the_only_dump(&vm)?;
    let took = log.between("a service never stops", "Kernel panic")?;
    ensure!(took <= SHUTDOWN_LIMIT + GRACE, "{took:?}");
    is_a_stall(&the_last_boot(&it)?, None)
}

fn a_reboot_that_hangs_in_the_kernel_ends_in_a_reset(machine: Machine) -> Result<()> {
    a_hang_in_the_kernel_ends_in_a_reset(machine, "reboot")
}

fn a_poweroff_that_hangs_in_the_kernel_ends_in_a_reset(machine: Machine) -> Result<()> {
    a_hang_in_the_kernel_ends_in_a_reset(machine, "poweroff")
}

/// A reboot is watched by systemd, which takes over the hardware; a poweroff by what was left running for it.
fn a_hang_in_the_kernel_ends_in_a_reset(machine: Machine, how: &str) -> Result<()> {
    let disk = Disk::new()?;
    let machine = with_i6300esb(debian(machine, &disk)).reboots().limit(LIFE).arg("panic=0");
    let vm = machine.boot()?;
    watched(&vm, &limits())?;
    systemd_watches_reboots(&vm)?;
    vm.run("modprobe bulkhead_stall_test && echo reboot > /sys/kernel/debug/bulkhead_stall_test")?;
    vm.spawn(&format!("systemctl {how}"))?;
    wait_until("the kernel hangs", LIMIT, || {
        Ok(vm.console()?.contains("this shutdown never ends"))
    })?;
    let since = SystemTime::now();
    vm.wait_reboot()?;
    let took = reset_after(&vm, since)?;
    ensure!(vm.event("WATCHDOG").is_some() && took <= SHUTDOWN_LIMIT + GRACE, "{took:?}");
    is_a_stall(&the_last_boot(&settled(&vm)?)?, None)
}

fn systemd_watches_reboots(vm: &Vm) -> Result<()> {
    vm.run("mkdir -p /etc/systemd/system.conf.d")?;
    vm.write_file(
        "/etc/systemd/system.conf.d/bulkhead-watchdog.conf",
        &format!("[Manager]\nRebootWatchdogSec={}s\n", SHUTDOWN_LIMIT.as_secs()),
    )?;
    vm.run("systemctl daemon-reexec").map(drop)
}
