//! Pages that the kernel, or somebody else, takes by itself; who does so is named.

use anyhow::{ensure, Context, Result};
use serde_json::Value;

use crate::bulkhead::{Bulkhead, LIMIT};
use crate::harness::{wait_until, Disk, Kernel, Machine, Vm};

on_each_kernel!(
    the_kernels_collector_is_named_where_it_is_on,
    a_collector_that_is_switched_off_is_no_conflict,
    a_page_taken_while_the_daemon_was_down_is_listed_at_its_start,
    a_page_that_only_the_kernel_log_names_is_listed;
    long on 6.1:
    a_page_that_the_kernel_took_stays_out_over_a_power_cut,
    a_page_that_the_kernel_log_forgot_is_found,
    what_a_flooded_kernel_log_lost_is_searched_for,
    a_rasdaemon_that_isolates_is_named,
);

/// Far from our own threshold, so that only the kernel takes pages.
const LATE: &str = "[page]\nerrors = 50\n[row]\nerrors = 50\n";

fn start_late(vm: &Vm) -> Result<Bulkhead<'_>> {
    vm.write_file("/tmp/late.toml", LATE)?;
    Bulkhead::start(vm, "--config /tmp/late.toml")
}

fn conflicts(it: &Bulkhead) -> Result<Vec<String>> {
    Ok(serde_json::from_value(it.status()?["conflicts"].clone())?)
}

/// A line of `bulkhead doctor`, whatever its exit code.
fn doctor(vm: &Vm, check: &str) -> Result<Value> {
    let output = vm.sh("bulkhead doctor --json")?;
    let checks: Vec<Value> = serde_json::from_str(&output.stdout)
        .with_context(|| format!("doctor printed {output:?}"))?;
    checks.into_iter().find(|line| line["check"] == check).with_context(|| format!("no {check}"))
}

fn the_kernels_collector_is_named_where_it_is_on(machine: Machine) -> Result<()> {
    let has_one = machine.kernel() == Kernel::V6_12;
    let vm = machine.boot()?;
    let it = start_late(&vm)?;
    let named = if has_one { "warn" } else { "ok" };
    let told = conflicts(&it)?;
    ensure!(
        told.iter().any(|line| line.contains("CEC") && line.contains(" 2 ")) == has_one,
        "{told:?}"
    );
    let check = doctor(&vm, "cec")?;
    ensure!(check["result"] == named, "{check}");
    let page = vm.find_pages("buddy", 1)?[0];
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    it.wait_reports(2)?;
    if has_one {
        ensure!(
            check["mend"].as_str().is_some_and(|mend| mend.contains("ras=cec_disable")),
            "{check}"
        );
        let line = it.wait_page(page, "isolated")?;
        ensure!(line["by"] == "kernel", "{line}");
    } else {
        it.let_time_pass();
        ensure!(it.list()?.is_empty(), "{:?}", it.list()?);
    }
    Ok(())
}

fn a_page_that_the_kernel_took_stays_out_over_a_power_cut(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = machine.arg("ras=cec_disable").disk(&disk);
    let page = {
        let vm = machine.boot()?;
        let it = start_late(&vm)?;
        let page = vm.find_pages("buddy", 1)?[0];
        vm.run(&format!("echo {page:#x} > /sys/devices/system/memory/soft_offline_page"))?;
        vm.memory_ce(page)?;
        let line = it.wait_page(page, "isolated")?;
        ensure!(line["by"] == "kernel", "{line}");
        page
        // Here its power goes.
    };
    let vm = machine.boot()?;
    ensure!(vm.poisoned(&[page])? == 0);
    let it = start_late(&vm)?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(line["by"] == "kernel" && vm.poisoned(&[page])? == 1, "{line}");
    it.stop()
}

fn a_collector_that_is_switched_off_is_no_conflict(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    let it = start_late(&vm)?;
    ensure!(conflicts(&it)?.is_empty(), "{:?}", conflicts(&it)?);
    for check in [
        "daemon",
        "memory-failure",
        "soft-offline",
        "cpu-hotplug",
        "bpf",
        "tracefs",
        "kernel-log",
        "cec",
        "others",
        "edac",
        "memory-config",
    ] {
        let line = doctor(&vm, check)?;
        ensure!(line["result"] == "ok", "{line}");
    }
    // The state of this guest is in memory.
    ensure!(doctor(&vm, "state")?["result"] == "warn", "{}", doctor(&vm, "state")?);
    it.stop()?;
    ensure!(vm.sh("bulkhead doctor")?.code == 2, "a daemon that is not there is no failure");
    let line = doctor(&vm, "daemon")?;
    ensure!(line["result"] == "fail" && line["mend"] == "systemctl start bulkhead", "{line}");
    Ok(())
}

fn a_page_taken_while_the_daemon_was_down_is_listed_at_its_start(machine: Machine) -> Result<()> {
    let has_collector = machine.kernel() == Kernel::V6_12;
    let vm = machine.boot()?;
    let first = start_late(&vm)?;
    first.stop()?;
    let page = vm.find_pages("buddy", 1)?[0];
    if has_collector {
        vm.memory_ce(page)?;
        vm.memory_ce(page)?;
        wait_until("the collector takes the page", LIMIT, || vm.is_poisoned(page))?;
    } else {
        // Without a line in the kernel log.
        vm.soft_offline(page)?;
    }
    let it = start_late(&vm)?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(line["by"] == "kernel", "{line}");
    ensure!(it.list()?.len() == 1, "{:?}", it.list()?);
    Ok(())
}

fn a_page_that_only_the_kernel_log_names_is_listed(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    let it = start_late(&vm)?;
    let page = vm.find_pages("buddy", 1)?[0];
    vm.soft_offline(page)?;
    ensure!(it.list()?.is_empty(), "something else than the log tells of it: {:?}", it.list()?);
    // That it was done before is worth a line to the kernel.
    vm.soft_offline(page)?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(line["by"] == "kernel", "{line}");
    // A process is not believed.
    let other = vm.find_pages("buddy", 1)?[0];
    vm.run(&format!("echo 'Memory failure: {:#x}: x' > /dev/kmsg", other >> 12))?;
    it.let_time_pass();
    ensure!(it.list()?.len() == 1, "{:?}", it.list()?);
    Ok(())
}

fn a_page_that_the_kernel_log_forgot_is_found(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    let pages = vm.find_pages("buddy", 3)?;
    pages.iter().try_for_each(|page| vm.soft_offline(*page))?;
    let it = start_late(&vm)?;
    for page in &pages {
        let line = it.wait_page(*page, "isolated")?;
        ensure!(line["by"] == "kernel", "{line}");
    }
    ensure!(it.status()?["isolated"]["pages"] == 3, "{}", it.status()?);
    it.kill()?;
    // Known by now: a second start searches for nothing.
    let again = start_late(&vm)?;
    ensure!(again.list()?.len() == 3, "{:?}", again.list()?);
    ensure!(again.log()?.matches("searching for").count() == 1, "{}", again.log()?);
    Ok(())
}

fn what_a_flooded_kernel_log_lost_is_searched_for(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").arg("printk.devkmsg=on").boot()?;
    let it = start_late(&vm)?;
    let page = vm.find_pages("buddy", 1)?[0];
    vm.run("kill -STOP $(pidof bulkheadd)")?;
    // No line tells of it, and if one did it would be gone.
    vm.soft_offline(page)?;
    vm.run(
        "i=0; while [ $i -lt 4000 ]; do echo \"<7>$i $(printf %0200d 0)\"; i=$((i + 1)); done \
         > /dev/kmsg",
    )?;
    vm.run("kill -CONT $(pidof bulkheadd)")?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(line["by"] == "kernel", "{line}");
    ensure!(it.log()?.contains("overwritten before they were read"), "{}", it.log()?);
    Ok(())
}

fn a_rasdaemon_that_isolates_is_named(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    // Known by its name; what it does is another matter.
    vm.write_file("/tmp/rasdaemon", "#!/bin/sh\necho runs\nsleep 600\n")?;
    vm.run("chmod +x /tmp/rasdaemon && mkdir -p /etc/default && echo 'PAGE_CE_ACTION=soft' > /etc/default/rasdaemon")?;
    let mut quiet = vm.spawn("env PAGE_CE_ACTION=off /tmp/rasdaemon")?;
    quiet.wait_line("runs", LIMIT)?;
    let it = start_late(&vm)?;
    ensure!(conflicts(&it)?.is_empty(), "{:?}", conflicts(&it)?);
    ensure!(doctor(&vm, "others")?["result"] == "ok", "{}", doctor(&vm, "others")?);
    it.stop()?;
    quiet.signal(15)?;

    let mut busy = vm.spawn("env PAGE_CE_ACTION=soft /tmp/rasdaemon")?;
    busy.wait_line("runs", LIMIT)?;
    let it = start_late(&vm)?;
    let told = conflicts(&it)?;
    let named = told.iter().any(|line| {
        line.contains("rasdaemon") && line.contains("PAGE_CE_ACTION=off in /etc/default/rasdaemon")
    });
    ensure!(named, "{told:?}");
    ensure!(it.log()?.contains("PAGE_CE_ACTION=off"), "the log is silent: {}", it.log()?);
    let line = doctor(&vm, "others")?;
    ensure!(line["result"] == "warn", "{line}");
    busy.signal(15)
}
