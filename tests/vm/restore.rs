//! What is out of service stays so over a reboot.

use std::time::Duration;

use anyhow::{ensure, Context, Result};

use serde_json::Value;

use crate::bulkhead::{online, Bulkhead};
use crate::harness::mce::L1_DATA_CE;
use crate::harness::{wait_for, wait_until, Disk, Machine, Vm};

on_each_kernel!(
    isolations_outlast_a_power_cut,
    a_kill_while_it_restores_is_made_up_for;
    only 6.12:
    #[ignore = "long: ten thousand pages, in a release build"] ten_thousand_pages_are_back_as_fast_as_a_plain_loop_takes_them,
);

const LIMIT: Duration = Duration::from_secs(120);

fn isolations_outlast_a_power_cut(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = machine.arg("ras=cec_disable").disk(&disk);
    let (page, before) = {
        let vm = machine.boot()?;
        let it = Bulkhead::start(&vm, "")?;
        let page = vm.find_pages("buddy", 1)?[0];
        vm.memory_ce(page)?;
        vm.memory_ce(page)?;
        let line = it.wait_page(page, "isolated")?;
        for _ in 0..3 {
            vm.ce(3, 1, L1_DATA_CE, 0, 0)?;
        }
        it.wait_line("cpu", "2", "isolated")?;
        it.wait_line("cpu", "3", "isolated")?;
        (page, line)
        // Here its power goes.
    };
    let vm = machine.boot()?;
    ensure!(vm.poisoned(&[page])? == 0 && online(&vm)? == "0-3");
    let it = Bulkhead::start(&vm, "")?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(line["since"] == before["since"] && line["why"] == before["why"], "{line}");
    it.wait_line("cpu", "2", "isolated")?;
    it.wait_line("cpu", "3", "isolated")?;
    ensure!(vm.poisoned(&[page])? == 1 && online(&vm)? == "0-1");
    ensure!(it.log()?.contains("out of service again"), "{}", it.log()?);
    let used = it.status()?["limits"]["pages_today"]["used"].clone();
    ensure!(used == 1, "once, not twice: {used}");

    it.kill()?;
    let it = Bulkhead::start(&vm, "")?;
    it.wait_page(page, "isolated")?;
    ensure!(it.status()?["isolated"]["pages"] == 1, "{}", it.status()?);
    it.stop()
}

/// Pages that a daemon on this disk has isolated; its machine is gone.
fn isolated_before(machine: &Machine, count: usize) -> Result<Vec<u64>> {
    let vm = machine.boot()?;
    configure(&vm)?;
    let it = Bulkhead::start(&vm, "--config /tmp/bulkhead.toml")?;
    let pages = vm.find_pages("buddy", count)?;
    vm.run("modprobe bulkhead_edac_test; mkdir -p /sys/kernel/debug; true")?;
    for some in pages.chunks(1000) {
        let list: Vec<_> = some.iter().map(|page| format!("{page:#x}")).collect();
        vm.run(&format!(
            "for p in {}; do echo \"ce n=2 addr=$p\" > /sys/kernel/debug/bulkhead_test/raise; done",
            list.join(" ")
        ))?;
    }
    wait_until("all pages are tried", LIMIT, || {
        let status = it.status()?;
        Ok(pages_in(&status, "/isolated/pages")? + pages_in(&status, "/failed")? == count)
    })?;
    let status = it.status()?;
    ensure!(status["state"] == "saved", "{status}");
    // One that was free may have come into use meanwhile.
    let lines = it.list()?;
    let off = lines.iter().filter(|line| line["state"] == "isolated");
    off.filter_map(|line| line["id"].as_str()?.strip_prefix("0x"))
        .map(|id| u64::from_str_radix(id, 16).context("a page's id"))
        .collect()
}

/// A number in `bulkhead status`.
fn pages_in(status: &Value, place: &str) -> Result<usize> {
    let number = status.pointer(place).and_then(Value::as_u64).context(place.to_owned())?;
    Ok(usize::try_from(number)?)
}

/// Room for many pages.
fn configure(vm: &Vm) -> Result<()> {
    vm.write_file("/tmp/bulkhead.toml", "[limits]\nmemory = \"128MiB\"\npages_per_day = 30000\n")
}

fn a_kill_while_it_restores_is_made_up_for(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = machine.arg("ras=cec_disable").disk(&disk);
    let pages = isolated_before(&machine, 600)?;
    let vm = machine.boot()?;
    configure(&vm)?;
    let process = vm.spawn("bulkheadd --config /tmp/bulkhead.toml >> /tmp/bulkheadd.log 2>&1")?;
    wait_until("it restores", LIMIT, || Ok(vm.poisoned(&pages[..1])? == 1))?;
    process.signal(9)?;
    process.wait()?;
    let it = Bulkhead::start(&vm, "--config /tmp/bulkhead.toml")?;
    let count = pages.len();
    // A page that was free in that boot may be the kernel's own in this one.
    let status = wait_for("all were tried", LIMIT, || {
        let status = it.status()?;
        let (off, failed) = (pages_in(&status, "/isolated/pages")?, pages_in(&status, "/failed")?);
        Ok((off + failed == count).then_some(status))
    })?;
    let off = pages_in(&status, "/isolated/pages")?;
    ensure!(off + 10 > count && vm.poisoned(&pages)? == off, "{status}");
    let list = it.list()?;
    ensure!(list.len() == count && list.iter().all(|line| line["by"] == "bulkhead"), "{list:?}");
    it.stop()
}

/// The figures are printed; `scripts/test --long` runs it with --release and --nocapture to have true ones.
fn ten_thousand_pages_are_back_as_fast_as_a_plain_loop_takes_them(machine: Machine) -> Result<()> {
    const PAGES: usize = 10_000;
    // Half as long again is what may be used; emulation on a busy machine is not steady.
    const MOST: f64 = if cfg!(debug_assertions) { 6.0 } else { 1.5 };
    let disk = Disk::of(1 << 30)?;
    let limit = Duration::from_secs(1200);
    let machine = machine.arg("ras=cec_disable").disk(&disk).limit(limit);
    let pages = isolated_before(&machine, PAGES)?;
    // Each in a boot of its own, so that both find the pages in the same use.
    let plain = {
        let vm = machine.boot()?;
        for some in pages.chunks(1000) {
            let list: Vec<_> = some.iter().map(|page| format!("{page:#x}")).collect();
            vm.run(&format!("printf '%s\\n' {} >> /tmp/pages", list.join(" ")))?;
        }
        vm.run("bulkhead-guest take-pages < /tmp/pages")?
    };
    let vm = machine.boot()?;
    configure(&vm)?;
    let it = Bulkhead::start(&vm, "--config /tmp/bulkhead.toml")?;
    let ours = wait_for("the time it took", LIMIT, || {
        let log = it.log()?;
        let said = log.split_once("pages of earlier boots tried in ");
        Ok(said.and_then(|(_, rest)| rest.split(' ').next()?.parse::<f64>().ok()))
    })?;
    let back = pages_in(&it.status()?, "/isolated/pages")?;
    it.kill()?;

    let (plain, off) = plain.split_once(' ').context("two figures")?;
    let plain: f64 = plain.parse()?;
    let ratio = ours / plain;
    let count = pages.len();
    println!(
        "{count} pages: restored in {ours:.3} s ({back} off), plain loop {plain:.3} s ({off} off), \
         ratio {ratio:.2}"
    );
    // Some may have come into use in this boot.
    ensure!(back + 100 > count && off.parse::<usize>()? + 100 > count);
    ensure!(ratio <= MOST, "{ours} s against {plain} s");
    Ok(())
}
