//! How the last boot ended: the kernel dies of a memory error, and the next one finds out of which page.

use std::time::Duration;

use anyhow::{ensure, Context, Result};

use crate::bulkhead::{page_id, Bulkhead};
use crate::harness::mce::PHYSICAL_ADDRESS;
use crate::harness::{wait_until, BootErrors, Disk, Machine, Storage, Vm};

on_each_kernel!(
    a_page_that_killed_the_host_is_taken_at_the_next_boot;
    long on 6.1:
    a_page_that_firmware_names_as_what_killed_the_host_is_taken,
    a_page_whose_machine_check_a_reset_left_in_its_bank_is_taken,
    a_page_that_killed_the_host_is_waited_for_while_it_is_in_use,
    a_saved_crash_dump_serves_as_well,
    an_end_that_was_marked_is_told_from_a_power_cut,
);

/// MCi_STATUS of an uncorrected memory read error that left the processor's context corrupt: the kernel panics.
const MEMORY_FATAL: u64 = 0xbe00_0000_0000_009f;
/// MCG_STATUS: a machine check is in progress, and the interrupted program can go on.
const MCIP_RIPV: u64 = 0x5;

/// To die, reset and boot again, on a busy machine.
const END: Duration = Duration::from_secs(120);

fn die_of(vm: &Vm, page: u64) -> Result<()> {
    vm.monitor(&format!(
        "mce -b 1 9 {MEMORY_FATAL:#x} {MCIP_RIPV:#x} {page:#x} {PHYSICAL_ADDRESS:#x}"
    ))
}

/// The fault of the page that ended the last boot.
fn fatal_fault(it: &Bulkhead, page: u64) -> Result<serde_json::Value> {
    let faults = it.faults()?;
    let found = faults.iter().find(|fault| fault["rule"] == "page-fatal").cloned();
    let fault = found.with_context(|| format!("{faults:?}\n{}", it.log().unwrap_or_default()))?;
    let component = fault["component"].as_str().unwrap_or_default();
    ensure!(component.contains(&page_id(page)), "{fault}");
    ensure!(fault["severity"] == "critical", "{fault}");
    Ok(fault)
}

/// Starts Bulkhead, and sees that the page that ended the last boot is taken for what `source` tells of it.
fn is_taken<'vm>(vm: &'vm Vm, page: u64, source: &str) -> Result<Bulkhead<'vm>> {
    let it = Bulkhead::start(vm, "")?;
    let fault = fatal_fault(&it, page)?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(line["by"] == "bulkhead" && line["fault"] == fault["id"], "{line}");
    ensure!(vm.is_poisoned(page)?);
    let id = fault["id"].as_str().context("id")?;
    let explained = vm.json(&format!("bulkhead explain {id} --json"))?;
    ensure!(explained["evidence"][0]["source"] == source, "{explained}");
    let status = it.status()?;
    ensure!(status["open_faults"] == 1 && status["isolated"]["pages"] == 1, "{status}");
    Ok(it)
}

/// The same where nobody but the hardware left word of that end.
fn is_taken_by_the_boot_log(vm: &Vm, page: u64) -> Result<Bulkhead<'_>> {
    let it = is_taken(vm, page, "boot log")?;
    let ending = it.status()?["last_boot"].clone();
    let cause = ending["cause"].as_str().unwrap_or_default();
    ensure!(
        ending["verdict"] == "hardware reset" && cause.contains("only the hardware"),
        "{ending}"
    );
    Ok(it)
}

fn a_page_that_killed_the_host_is_taken_at_the_next_boot(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let storage = Storage::new()?;
    let machine = machine.storage(&storage).disk(&disk).arg("ras=cec_disable");
    let mut vm = machine.boot()?;
    let page = vm.find_pages("buddy", 1)?[0];
    let it = Bulkhead::start(&vm, "")?;
    ensure!(it.faults()?.is_empty());
    die_of(&vm, page)?;
    drop(it);
    vm.wait_end(END)?;
    drop(vm);

    let vm = machine.boot()?;
    vm.run("mount -t pstore pstore /sys/fs/pstore")?;
    let it = is_taken(&vm, page, "pstore")?;
    it.stop()?;

    // What was learned once is not learned again.
    let it = Bulkhead::start(&vm, "")?;
    ensure!(it.faults()?.len() == 1 && it.faults()?[0]["errors"] == 1, "{:?}", it.faults()?);
    it.stop()
}

/// Without storage of the platform, as in the next story: neither firmware nor a bank needs a kernel that could write.
fn a_page_that_firmware_names_as_what_killed_the_host_is_taken(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = machine.disk(&disk).arg("ras=cec_disable");
    let vm = machine.boot()?;
    let page = vm.find_pages("buddy", 1)?[0];
    Bulkhead::start(&vm, "")?;
    vm.cut_power()?;

    let errors = BootErrors::fatal_memory_error(page + 0x40, "DIMM_A2")?;
    let vm = machine.boot_errors(&errors).boot()?;
    let it = is_taken_by_the_boot_log(&vm, page)?;
    ensure!(it.faults()?[0]["fru"] == "DIMM_A2", "{:?}", it.faults()?);
    it.stop()
}

fn a_page_whose_machine_check_a_reset_left_in_its_bank_is_taken(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = machine.disk(&disk).arg("ras=cec_disable").reboots().boot()?;
    let page = vm.find_pages("buddy", 1)?[0];
    Bulkhead::start(&vm, "")?;
    die_of(&vm, page)?;
    vm.wait_reboot()?;
    is_taken_by_the_boot_log(&vm, page)?.stop()
}

fn a_page_that_killed_the_host_is_waited_for_while_it_is_in_use(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let storage = Storage::new()?;
    let machine = machine.storage(&storage).disk(&disk);
    let mut vm = machine.boot()?;
    // The second page of the kernel's own code.
    let page = 0x100_1000;
    let it = Bulkhead::start(&vm, "")?;
    die_of(&vm, page)?;
    drop(it);
    vm.wait_end(END)?;
    drop(vm);

    let vm = machine.boot()?;
    vm.run("mount -t pstore pstore /sys/fs/pstore")?;
    let it = Bulkhead::start(&vm, "")?;
    let fault = fatal_fault(&it, page)?;
    let in_use = |attempt: &crate::bulkhead::Attempt| attempt.answered.contains("in use");
    wait_until("the page is found in use", crate::bulkhead::LIMIT, || {
        Ok(it.attempts(&fault["id"])?.iter().any(in_use))
    })?;
    // There is no next try while one is being made.
    wait_until("it is to be tried again", crate::bulkhead::LIMIT, || {
        let line = it.line("page", &page_id(page))?.context("no line")?;
        ensure!(line["state"] == "wanted", "{line}");
        Ok(line["next_try"].is_string())
    })?;
    ensure!(!vm.is_poisoned(page)?);
    it.stop()
}

/// Without storage of the platform: what kdump-tools would have saved is put where it saves it.
fn a_saved_crash_dump_serves_as_well(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = machine.disk(&disk).arg("ras=cec_disable");
    let mut vm = machine.boot()?;
    let page = vm.find_pages("buddy", 1)?[0];
    let it = Bulkhead::start(&vm, "")?;
    die_of(&vm, page)?;
    drop(it);
    vm.wait_end(END)?;
    let console = vm.console()?.replace('\r', "");
    let mut dmesg: Vec<&str> = console.lines().rev().take(100).collect();
    dmesg.reverse();
    drop(vm);

    let vm = machine.boot()?;
    vm.run("mkdir -p -m 755 /var/crash/202611210819")?;
    vm.write_file("/var/crash/202611210819/dmesg.202611210819", &dmesg.join("\n"))?;
    let it = Bulkhead::start(&vm, "")?;
    fatal_fault(&it, page)?;
    it.wait_page(page, "isolated")?;
    it.stop()
}

/// Without systemd, whose unit marks the end where there is one.
fn an_end_that_was_marked_is_told_from_a_power_cut(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = machine.disk(&disk);
    let verdict = |vm: &Vm| -> Result<serde_json::Value> {
        let it = Bulkhead::start(vm, "")?;
        let boots = vm.json("bulkhead boots --json")?;
        ensure!(boots[0]["verdict"] == "running", "{boots}");
        ensure!(it.status()?["last_boot"] == boots[1] || boots[1].is_null(), "{boots}");
        let told = vm.run("bulkhead events --json")?.contains(r#""verdict":"#);
        ensure!(told != boots[1].is_null(), "{boots}");
        it.stop()?;
        Ok(boots[1].clone())
    };
    let vm = machine.boot()?;
    ensure!(verdict(&vm)?.is_null());
    vm.run("bulkheadd --mark-clean-end && sync")?;
    drop(vm);

    let vm = machine.boot()?;
    let boot = verdict(&vm)?;
    ensure!(boot["verdict"] == "clean" && boot["confidence"] == 0.99, "{boot}");
    vm.run("sync")?;
    drop(vm);

    let vm = machine.boot()?;
    let boot = verdict(&vm)?;
    ensure!(boot["verdict"] == "power loss", "{boot}");
    ensure!(boot["evidence"].as_array().is_some_and(|said| !said.is_empty()), "{boot}");
    Ok(())
}
