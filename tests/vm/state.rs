//! A state directory that cannot be used, and faults that an admin closes.

use anyhow::{ensure, Context, Result};
use serde_json::Value;

use crate::bulkhead::{online, page_id, Bulkhead, LIMIT};
use crate::harness::mce::L1_DATA_CE;
use crate::harness::{wait_until, Disk, Machine, Vm};

on_each_kernel!(;
    long on 6.1:
    a_disk_that_fills_up_leaves_the_host_protected_and_catches_up,
    a_daemon_starts_on_a_full_disk,
    a_daemon_starts_on_a_read_only_disk_and_knows_what_is_on_it,
    a_closed_fault_gives_back_what_only_it_held,
);

const STATE: &str = "/var/lib/bulkhead";

/// To the last block, those kept for root among them.
fn fill(vm: &Vm) -> Result<()> {
    vm.sh(&format!(
        "dd if=/dev/zero of={STATE}/fill bs=64k; dd if=/dev/zero of={STATE}/rest bs=1k"
    ))?;
    let left = vm.sh(&format!("echo x > {STATE}/more"))?;
    ensure!(left.code != 0, "there is room left");
    Ok(())
}

fn make_room(vm: &Vm) -> Result<()> {
    vm.run(&format!("rm {STATE}/fill {STATE}/rest; rm -f {STATE}/more")).map(drop)
}

fn wait_state(it: &Bulkhead, state: &str) -> Result<()> {
    wait_until(&format!("the state is {state}"), LIMIT, || Ok(it.status()?["state"] == state))
        .with_context(|| it.log().unwrap_or_default())
}

fn take(it: &Bulkhead, page: u64) -> Result<()> {
    it.vm.memory_ce(page)?;
    it.vm.memory_ce(page)?;
    it.wait_page(page, "isolated").map(drop)
}

/// Kills the daemon, and sees that the next one knows of `pages`.
fn is_known_after_a_kill(it: Bulkhead, pages: &[u64]) -> Result<()> {
    let vm = it.vm;
    it.kill()?;
    let it = Bulkhead::start(vm, "")?;
    wait_state(&it, "saved")?;
    for page in pages {
        let line = it.line("page", &page_id(*page))?.context("a page is not listed")?;
        ensure!(line["state"] == "isolated" && line["by"] == "bulkhead", "{line}");
    }
    it.stop()
}

fn a_disk_that_fills_up_leaves_the_host_protected_and_catches_up(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = machine.arg("ras=cec_disable").disk(&disk).boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let pages = vm.find_pages("buddy", 3)?;
    take(&it, pages[0])?;
    wait_state(&it, "saved")?;
    fill(&vm)?;
    take(&it, pages[1])?;
    take(&it, pages[2])?;
    wait_state(&it, "not saved")?;
    let status = it.status()?;
    ensure!(status["health"] == "faulted" && status["isolated"]["pages"] == 3, "{status}");
    ensure!(vm.poisoned(&pages)? == 3);
    ensure!(it.log()?.contains("is not saved"), "{}", it.log()?);
    make_room(&vm)?;
    wait_state(&it, "saved")?;
    ensure!(it.status()?["health"] == "degraded", "{}", it.status()?);
    it.wait_reports(6)?;
    is_known_after_a_kill(it, &pages)
}

fn a_daemon_starts_on_a_full_disk(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = machine.arg("ras=cec_disable").disk(&disk).boot()?;
    fill(&vm)?;
    let it = Bulkhead::start(&vm, "")?;
    wait_state(&it, "not saved")?;
    let pages = vm.find_pages("buddy", 1)?;
    take(&it, pages[0])?;
    // One daemon holds the directory all the same.
    let second = vm.sh("bulkheadd --socket /tmp/other.sock")?;
    ensure!(second.code != 0 && second.stderr.contains("in use"), "{second:?}");
    make_room(&vm)?;
    wait_state(&it, "saved")?;
    is_known_after_a_kill(it, &pages)
}

fn a_daemon_starts_on_a_read_only_disk_and_knows_what_is_on_it(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = machine.arg("ras=cec_disable").disk(&disk).boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let pages = vm.find_pages("buddy", 2)?;
    take(&it, pages[0])?;
    it.kill()?;
    vm.run(&format!("mount -o remount,ro {STATE}"))?;
    let it = Bulkhead::start(&vm, "")?;
    wait_state(&it, "not saved")?;
    it.wait_page(pages[0], "isolated")?;
    take(&it, pages[1])?;
    vm.run(&format!("mount -o remount,rw {STATE}"))?;
    wait_state(&it, "saved")?;
    is_known_after_a_kill(it, &pages)
}

fn a_closed_fault_gives_back_what_only_it_held(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let pages = vm.find_pages("buddy", 2)?;
    take(&it, pages[0])?;
    take(&it, pages[1])?;
    for _ in 0..3 {
        vm.ce(3, 1, L1_DATA_CE, 0, 0)?;
    }
    let core = it.wait_line("cpu", "3", "isolated")?;
    ensure!(online(&vm)? == "0-1");
    let close = |line: &Value| {
        let fault = line["fault"].as_str().context("no fault")?;
        vm.json(&format!("bulkhead resolve {fault} --repaired --json"))
    };
    let reply = close(&core)?;
    ensure!(online(&vm)? == "0-3", "{reply}");
    let released = reply["released"].as_array().context("released")?;
    ensure!(released.len() == 2 && released.iter().all(|l| l["state"] == "released"), "{reply}");

    let reply = close(&it.wait_page(pages[0], "isolated")?)?;
    ensure!(reply["waiting"][0]["release"] == "next boot", "{reply}");
    ensure!(vm.is_poisoned(pages[0])? && reply["fault"]["state"] == "repaired", "{reply}");

    vm.run("modprobe hwpoison-inject")?;
    let reply = close(&it.wait_page(pages[1], "isolated")?)?;
    ensure!(reply["released"][0]["state"] == "released", "{reply}");
    ensure!(!vm.is_poisoned(pages[1])?);
    ensure!(it.status()?["open_faults"] == 0, "{}", it.status()?);
    it.stop()
}
