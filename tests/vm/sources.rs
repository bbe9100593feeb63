//! Ways of watching: what is used when the best is not to be had, and what each remembers while nobody reads.

use anyhow::{ensure, Result};

use crate::bulkhead::{Bulkhead, LIMIT};
use crate::harness::mce::L1_DATA_CE;
use crate::harness::{wait_until, Machine};

on_each_kernel!(
    without_the_right_to_bpf_it_watches_through_tracefs,
    tracefs_keeps_what_comes_while_it_is_dead,
    what_memory_failure_took_is_listed_as_the_kernels;
    long on 6.1:
    bpf_takes_over_what_tracefs_left,
    without_a_bpf_file_system_it_watches_all_the_same,
    a_reload_changes_the_mode,
);

fn without_the_right_to_bpf_it_watches_through_tracefs(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    let it = Bulkhead::start_as(&vm, "bulkhead-guest without-bpf bulkheadd", "--observe")?;
    let source = it.source("mce:mce_record")?;
    ensure!(source["via"] == "tracefs" && source["state"] == "ok", "{source}");
    let page = vm.find_pages("buddy", 1)?[0];
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    it.wait_page(page, "observed")?;
    it.wait_reports(2)
}

fn tracefs_keeps_what_comes_while_it_is_dead(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    let it = Bulkhead::start(&vm, "--source tracefs")?;
    let page = vm.find_pages("buddy", 1)?[0];
    vm.memory_ce(page)?;
    it.wait_reports(1)?;
    it.kill()?;
    vm.memory_ce(page)?;
    // On a CPU that is off line when the buffers are read.
    vm.ce(3, 1, L1_DATA_CE, 0, 0)?;
    vm.edac("ce n=20 addr=0 irq=3")?;
    vm.run("echo 0 > /sys/devices/system/cpu/cpu3/online")?;
    let it = Bulkhead::start(&vm, "--source tracefs")?;
    it.wait_page(page, "isolated")?;
    it.wait_reports(23)
}

fn bpf_takes_over_what_tracefs_left(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    let it = Bulkhead::start(&vm, "--source tracefs")?;
    it.kill()?;
    vm.edac("ce n=7 addr=0")?;
    let it = Bulkhead::start(&vm, "")?;
    it.wait_reports(7)?;
    ensure!(it.source("ras:mc_event")?["via"] == "bpf", "{}", it.status()?);
    vm.edac("ce n=5 addr=0")?;
    it.wait_reports(12)?;
    let enabled = "cat /sys/kernel/tracing/instances/bulkhead/events/ras/mc_event/enable";
    ensure!(vm.run(enabled)? == "0", "the instance goes on filling");
    Ok(())
}

fn without_a_bpf_file_system_it_watches_all_the_same(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    vm.run("umount /sys/fs/bpf; modprobe bulkhead_edac_test")?;
    let it = Bulkhead::start(&vm, "--observe")?;
    vm.edac("ce n=3 addr=0")?;
    it.wait_reports(3)?;
    ensure!(it.source("ras:mc_event")?["state"] == "ok", "{}", it.status()?);
    // What this costs, errors that come while it is down, is said.
    ensure!(it.log()?.contains("/sys/fs/bpf"), "{}", it.log()?);
    Ok(())
}

fn what_memory_failure_took_is_listed_as_the_kernels(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    vm.run("modprobe hwpoison_inject")?;
    let it = Bulkhead::start(&vm, "")?;
    let page = vm.find_pages("buddy", 1)?[0];
    vm.run(&format!("echo {:#x} > /sys/kernel/debug/hwpoison/corrupt-pfn", page >> 12))?;
    wait_until("the page is off", LIMIT, || vm.is_poisoned(page))?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(line["by"] == "kernel", "{line}");
    ensure!(it.source("ras:memory_failure_event")?["reports"] == 1, "{}", it.status()?);
    Ok(())
}

fn a_reload_changes_the_mode(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    vm.write_file("/etc/bulkhead/bulkhead.toml", "mode = \"observe\"\n")?;
    let it = Bulkhead::start(&vm, "")?;
    let page = vm.find_pages("buddy", 1)?[0];
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    it.wait_page(page, "observed")?;
    ensure!(!vm.is_poisoned(page)?);
    vm.write_file("/etc/bulkhead/bulkhead.toml", "mode = \"isolate\"\n")?;
    vm.run("kill -HUP $(pidof bulkheadd)")?;
    it.wait_page(page, "isolated")?;
    ensure!(vm.is_poisoned(page)? && it.status()?["mode"] == "isolate");
    Ok(())
}
