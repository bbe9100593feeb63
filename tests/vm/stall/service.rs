//! A daemon that does not run: systemd sees to it, and the host goes on.

use anyhow::{ensure, Context, Result};

use super::host::{watchdog_is, with_i6300esb, LIMITS};
use crate::bulkhead::{Bulkhead, LIMIT};
use crate::harness::{wait_until, Disk, Machine, Vm};
use crate::lasting::{debian, settled};

on_each_kernel!(; only 6.12: a_daemon_that_does_not_run_is_started_again_without_a_reboot);

/// Has systemd wait for so short a time.
const SHORT: &str = "/etc/systemd/system/bulkhead.service.d/short.conf";

/// What the watchdog said under systemd.
pub const JOURNAL: &str = "journalctl -b -u bulkhead-watchdog -o cat";

/// A Debian with a watchdog that is fed.
pub fn watched<'vm>(vm: &'vm Vm, configuration: &str) -> Result<Bulkhead<'vm>> {
    let it = settled(vm)?;
    vm.write_file("/etc/bulkhead/bulkhead.toml", configuration)?;
    vm.run("systemctl enable --now --quiet bulkhead-watchdog.service")?;
    watchdog_is(&it, "armed", JOURNAL)?;
    Ok(it)
}

fn a_daemon_that_does_not_run_is_started_again_without_a_reboot(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = with_i6300esb(debian(machine, &disk)).boot()?;
    vm.run(&format!(
        "mkdir {0} && printf '[Service]\\nWatchdogSec=5s\\n' > {SHORT}",
        SHORT.rsplit_once('/').context("no directory")?.0
    ))?;
    vm.run("systemctl daemon-reload && systemctl restart bulkhead.service")?;
    let it = watched(&vm, LIMITS)?;
    let boot = it.status()?["boot_id"].clone();
    let pid = vm.run("systemctl show -P MainPID bulkhead.service")?;
    vm.run(&format!("kill -STOP {pid}"))?;
    wait_until("another daemon runs", LIMIT, || {
        let now = vm.run("systemctl show -P MainPID bulkhead.service")?;
        Ok(now != pid && now != "0" && vm.sh("bulkhead status --json")?.code == 0)
    })?;
    let status = it.status()?;
    ensure!(status["boot_id"] == boot, "another boot: {status}");
    watchdog_is(&it, "armed", JOURNAL)?;
    ensure!(vm.event("WATCHDOG").is_none() && vm.event("RESET").is_none());
    Ok(())
}
