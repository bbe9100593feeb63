//! The chain from a stall to a dump: what doctor says of it, and what feeds the watchdog in a crash kernel.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use serde_json::Value;

use crate::harness::{wait_until, Machine, Vm};

on_each_kernel!(
    doctor_tells_the_chain_link_by_link;
    only 6.12:
    the_watchdog_is_fed_in_a_crash_kernel_but_not_for_ever,
    the_watchdog_is_stopped_in_a_crash_kernel_where_that_is_wanted,
);

const FEED: &str = include_str!("../../examples/crash/feed-watchdog");

const LIMIT: Duration = Duration::from_secs(60);

fn watched(machine: Machine) -> Machine {
    machine.qemu(&["-device", "i6300esb"])
}

/// The links, from the watchdog on, each with its result.
fn links(vm: &Vm) -> Result<Vec<(String, String)>> {
    let output = vm.sh("bulkhead doctor --json")?;
    let checks: Vec<Value> = serde_json::from_str(&output.stdout)
        .with_context(|| format!("doctor printed {output:?}"))?;
    let text = |line: &Value, key: &str| Some(line[key].as_str()?.to_owned());
    let lines =
        checks.iter().filter_map(|line| Some((text(line, "check")?, text(line, "result")?)));
    Ok(lines.skip_while(|(check, _)| check != "watchdog").collect())
}

fn doctor_tells_the_chain_link_by_link(machine: Machine) -> Result<()> {
    let vm = watched(machine).boot()?;
    let is = |wanted: &[(&str, &str)]| {
        let found = links(&vm)?;
        for (check, result) in wanted {
            let known = found.iter().find(|(name, _)| name == check);
            ensure!(known.is_some_and(|(_, known)| known == result), "{check}: {found:?}");
        }
        Ok(found)
    };
    vm.run("sysctl -w kernel.panic=0")?;
    is(&[
        ("watchdog", "warn"),
        ("watchdog-unit", "warn"),
        ("panic", "warn"),
        ("shutdown", "warn"),
    ])?;
    vm.run("modprobe i6300esb")?;
    let found = is(&[
        ("watchdog", "ok"),
        ("watchdog-owner", "warn"),
        // Debian's pretimeout governors are modules, and nobody has loaded one.
        ("pretimeout", "warn"),
        ("nmi", "warn"),
        ("lockups", "warn"),
        ("crash-kernel", "warn"),
    ])?;
    ensure!(found.iter().all(|(_, result)| result != "fail"), "nobody set it up: {found:?}");

    // Somebody uses it now, and what the machine does at the end is not seen from in here.
    let mut user = vm.spawn("sh -c 'exec 3>/dev/watchdog0; echo open; exec sleep 1000'")?;
    user.wait_line("open", LIMIT)?;
    is(&[("watchdog-owner", "warn"), ("nmi", "fail")])?;
    vm.run("sysctl -w kernel.panic=10 kernel.unknown_nmi_panic=1")?;
    is(&[("panic", "ok"), ("nmi", "ok")])?;
    Ok(())
}

fn the_watchdog_is_fed_in_a_crash_kernel_but_not_for_ever(machine: Machine) -> Result<()> {
    let mut vm = watched(machine).boot()?;
    vm.write_file("/tmp/feed-watchdog", FEED)?;
    vm.run("echo options i6300esb heartbeat=4 > /etc/modprobe.conf")?;
    vm.run("sh /tmp/feed-watchdog --limit 14 i6300esb")?;
    // By a process of its own, which opens it in a moment.
    wait_until("the watchdog is fed", LIMIT, || {
        Ok(vm.run("cat /sys/class/watchdog/watchdog0/state")? == "active")
    })?;
    let told = vm.run("cat /sys/class/watchdog/watchdog0/timeout; dmesg | grep bulkhead:")?;
    ensure!(told.starts_with("4\n") && told.contains("is fed every 1 s"), "{told}");
    // Three times its timeout.
    vm.run("sleep 12")?;
    vm.wait_end(LIMIT)?;
    Ok(())
}

fn the_watchdog_is_stopped_in_a_crash_kernel_where_that_is_wanted(machine: Machine) -> Result<()> {
    let vm = watched(machine).boot()?;
    vm.write_file("/tmp/feed-watchdog", FEED)?;
    vm.run("modprobe i6300esb heartbeat=4")?;
    // As the kernel that died left it.
    vm.run("echo > /dev/watchdog0")?;
    ensure!(vm.run("cat /sys/class/watchdog/watchdog0/state")? == "active");
    vm.run("sh /tmp/feed-watchdog --stop")?;
    wait_until("the watchdog is stopped", LIMIT, || {
        Ok(vm.run("cat /sys/class/watchdog/watchdog0/state")? == "inactive")
    })?;
    Ok(())
}
