//! systemd feeds the hardware, and would go on: a stall is ended by whoever finds it.

use std::time::{Duration, SystemTime};

use anyhow::{ensure, Context, Result};
use serde_json::Value;

use super::host::{is_a_stall, the_last_boot, watchdog_is, with_i6300esb, CPU_LIMIT, GRACE};
use super::service::JOURNAL;
use crate::bulkhead::{Bulkhead, LIMIT};
use crate::harness::{Disk, Machine, Vm};
use crate::lasting::{debian, settled};

on_each_kernel!(
    ;
    only 6.12:
    a_stall_without_a_crash_kernel_is_ended_by_systemd,
    a_watchdog_that_does_not_run_is_missed_by_systemd,
);

/// What is shipped for this mode.
const SYSTEM_CONF: &str = include_str!("../../../examples/system.conf.d/bulkhead-watchdog.conf");

/// systemd waits so long for the watchdog: `timeout`.
const TIMEOUT: Duration = Duration::from_secs(30);

const LIMITS: &str = r#"
    [watchdog]
    cpu_limit = "4s"
    timeout = "30s"
    pretimeout = "0s"
"#;

/// From systemd's decision to the end of the machine: systemd-shutdown ends all processes and unmounts.
const FORCED: Duration = Duration::from_secs(30);

fn fed_by_systemd<'vm>(vm: &'vm Vm) -> Result<Bulkhead<'vm>> {
    let it = settled(vm)?;
    vm.run("mkdir -p /etc/systemd/system.conf.d")?;
    vm.write_file("/etc/systemd/system.conf.d/bulkhead-watchdog.conf", SYSTEM_CONF)?;
    vm.write_file("/etc/bulkhead/bulkhead.toml", LIMITS)?;
    // A running systemd sets the pretimeout before the governor, and finds none for it.
    vm.run("echo panic > /sys/class/watchdog/watchdog0/pretimeout_governor")?;
    vm.run("systemctl daemon-reexec && systemctl enable --now --quiet bulkhead-watchdog.service")?;
    watchdog_is(&it, "systemd", JOURNAL)?;
    Ok(it)
}

/// How long after `since` the machine ended.
fn ended_after(vm: &Vm, since: SystemTime) -> Result<Duration> {
    let end = vm.event("RESET").or(vm.event("SHUTDOWN")).context("no end")?;
    Ok(end.duration_since(since)?)
}

/// What doctor says of some links.
fn is_well(vm: &Vm, links: &[&str]) -> Result<()> {
    let output = vm.sh("bulkhead doctor --json")?;
    let checks: Vec<Value> = serde_json::from_str(&output.stdout)?;
    for link in links {
        let check = checks.iter().find(|line| line["check"] == *link);
        ensure!(check.is_some_and(|line| line["result"] == "ok"), "{link}: {check:?}");
    }
    Ok(())
}

fn a_stall_without_a_crash_kernel_is_ended_by_systemd(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = with_i6300esb(debian(machine, &disk)).arg("panic=0");
    let mut vm = machine.boot()?;
    fed_by_systemd(&vm)?;
    is_well(&vm, &["watchdog", "watchdog-owner", "watchdog-unit", "pretimeout", "shutdown"])?;
    let since = SystemTime::now();
    vm.spawn("bulkhead-guest hog 99 1")?;
    vm.wait_end(LIMIT + CPU_LIMIT + FORCED)?;
    let took = ended_after(&vm, since)?;
    ensure!(took <= CPU_LIMIT + FORCED, "{took:?}");
    let vm = machine.boot()?;
    is_a_stall(&the_last_boot(&settled(&vm)?)?, Some(1))
}

fn a_watchdog_that_does_not_run_is_missed_by_systemd(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = with_i6300esb(debian(machine, &disk)).arg("panic=0");
    let mut vm = machine.boot()?;
    fed_by_systemd(&vm)?;
    let since = SystemTime::now();
    vm.run("kill -STOP $(systemctl show -P MainPID bulkhead-watchdog.service)")?;
    vm.wait_end(LIMIT + TIMEOUT + FORCED)?;
    ensure!(vm.console()?.contains("bulkhead-watchdog: stall: "), "it did not say so");
    let took = ended_after(&vm, since)?;
    ensure!(took <= TIMEOUT + GRACE + FORCED, "{took:?}");
    let vm = machine.boot()?;
    is_a_stall(&the_last_boot(&settled(&vm)?)?, None)
}
