//! A host with a watchdog and a crash kernel, and Bulkhead on it.

use std::time::{Duration, SystemTime};

use anyhow::{ensure, Context, Result};
use serde_json::Value;

use super::log::Log;
use crate::bulkhead::{Bulkhead, LIMIT};
use crate::harness::{wait_until, Disk, Machine, Process, Vm};

/// A stall, a dump and another boot, on a busy machine.
pub const LIFE: Duration = Duration::from_secs(900);

/// What everybody's limit may be overrun by.
pub const GRACE: Duration = Duration::from_secs(2);

/// A CPU that does not run for so long has stalled: `cpu_limit`. On a busy machine QEMU itself keeps a guest's CPU
/// waiting for two seconds now and then.
pub const CPU_LIMIT: Duration = Duration::from_secs(8);

/// Unfed for so long, the watchdog raises its alarm: `timeout` less `pretimeout`.
pub const ALARM: Duration = Duration::from_secs(10);

/// The same for the configuration file. From the alarm to the reset, which is `pretimeout`, a crash kernel must get to
/// where it feeds the watchdog.
pub const LIMITS: &str = r#"
    [watchdog]
    cpu_limit = "8s"
    starved_limit = "4s"
    timeout = "90s"
    pretimeout = "80s"
"#;

pub const I6300ESB: [&str; 2] = ["-device", "i6300esb"];

pub const BMC: [&str; 4] = ["-device", "ipmi-bmc-sim,id=bmc0", "-device", "isa-ipmi-kcs,bmc=bmc0"];

/// A host whose state is on a disk.
pub fn host(machine: Machine, disk: &Disk) -> Machine {
    machine.disk(disk).arg("panic=0").reboots().limit(LIFE)
}

/// A watchdog, with its driver and the governor that makes a panic of a pretimeout.
pub fn with_i6300esb(machine: Machine) -> Machine {
    machine.qemu(&I6300ESB).arg("bulkhead.modules=i6300esb,pretimeout_panic")
}

/// One that also has a watchdog, and a crash kernel that feeds it.
pub fn watched(machine: Machine, disk: &Disk) -> Machine {
    with_i6300esb(host(machine, disk)).crash_kernel().arg("bulkhead.crash.watchdog=i6300esb")
}

/// The kernel logs that crash kernels saved, the newest first.
pub fn dumps(vm: &Vm) -> Result<Vec<Log>> {
    let files = vm.run("ls -1r /var/crash/*/dmesg.* 2>/dev/null || true")?;
    files.lines().map(|file| vm.run(&format!("cat {file}")).map(Log)).collect()
}

pub fn the_only_dump(vm: &Vm) -> Result<Log> {
    let mut dumps = dumps(vm)?;
    ensure!(dumps.len() == 1, "{} dumps", dumps.len());
    dumps.pop().context("no dump")
}

/// How long after `since` the machine was reset, for the first time.
pub fn reset_after(vm: &Vm, since: SystemTime) -> Result<Duration> {
    vm.event("RESET").context("no reset")?.duration_since(since).context("reset before")
}

/// `bulkheadd` and `bulkhead-watchdog`, started by hand.
pub struct Watched<'vm> {
    pub it: Bulkhead<'vm>,
    pub watchdog: Process,
}

impl<'vm> Watched<'vm> {
    /// Starts both, with the limits above, and waits until the hardware is fed.
    pub fn start(vm: &'vm Vm) -> Result<Self> {
        Self::configured(vm, LIMITS)
    }

    /// The same by another configuration.
    pub fn configured(vm: &'vm Vm, configuration: &str) -> Result<Self> {
        vm.write_file("/etc/bulkhead/bulkhead.toml", configuration)?;
        let it = Bulkhead::start(vm, "")?;
        let watchdog = vm.spawn("bulkhead-watchdog >> /tmp/watchdog.log 2>&1")?;
        watchdog_is(&it, "armed", "cat /tmp/watchdog.log; dmesg | tail")?;
        Ok(Self { it, watchdog })
    }

    /// What the daemon says of the watchdog.
    pub fn status(&self) -> Result<Value> {
        Ok(self.it.status()?["watchdog"].take())
    }
}

/// Waits until the daemon says that the watchdog is in a state. If it does not get there, what a script prints is told.
pub fn watchdog_is(it: &Bulkhead, state: &str, script: &str) -> Result<()> {
    wait_until(&format!("the watchdog is in the state {state}"), LIMIT, || {
        Ok(it.status()?["watchdog"]["state"] == state)
    })
    .with_context(|| format!("{:?}\n{:?}", it.status(), it.vm.run(script)))
}

/// The events in which the watchdog names a CPU.
pub fn told_of(vm: &Vm, cpu: u32) -> Result<Vec<Value>> {
    let events = vm.run("bulkhead events --json")?;
    let events: Result<Vec<Value>, _> = events.lines().map(serde_json::from_str).collect();
    let is_told = |event: &Value| event["event"] == "watchdog" && event["cpu"] == cpu;
    Ok(events?.into_iter().filter(is_told).collect())
}

/// Starts Bulkhead after a reboot; what it says of the boot before.
pub fn last_boot(vm: &Vm) -> Result<Value> {
    let it = Bulkhead::start(vm, "")?;
    let last = the_last_boot(&it)?;
    it.stop()?;
    Ok(last)
}

/// What it says of the boot before this.
pub fn the_last_boot(it: &Bulkhead) -> Result<Value> {
    let boots = it.vm.json("bulkhead boots --json")?;
    ensure!(boots[0]["verdict"] == "running", "{boots}");
    ensure!(boots[1].is_object(), "{boots}");
    Ok(boots[1].clone())
}

/// Sees that the boot before is told as a stall, and of which CPU if one can be known.
pub fn is_a_stall(boot: &Value, cpu: Option<u32>) -> Result<()> {
    ensure!(boot["verdict"] == "stall", "{boot}");
    ensure!(cpu.is_none_or(|cpu| boot["cpu"] == cpu), "not CPU {cpu:?}: {boot}");
    Ok(())
}
