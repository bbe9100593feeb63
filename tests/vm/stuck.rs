//! Pages that do not come off: listed as such, and kept out of the next boot; and huge pages that a policy keeps.

use anyhow::{bail, ensure, Context, Result};

use crate::bulkhead::{page_id, Bulkhead, LIMIT};
use crate::harness::{wait_until, Disk, Machine};

on_each_kernel!(
    a_page_that_does_not_come_off_is_masked_at_the_next_boot,
    a_huge_page_goes_while_the_pool_keeps_enough_free;
    long on 6.1:
    a_page_that_has_failed_for_a_day_is_tried_first_at_the_next_boot_and_listed_as_stuck,
);

fn a_page_that_does_not_come_off_is_masked_at_the_next_boot(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = machine.arg("ras=cec_disable").disk(&disk);
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    // Not a page table, which goes with its process.
    let page = vm.find_pages("slab", 1)?[0];
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    let line = it.wait_page(page, "failed")?;
    ensure!(line["failing_since"].is_string(), "{line}");
    ensure!(line["why"].as_str().is_some_and(|why| why.contains("not come off since")), "{line}");
    let none = vm.json("bulkhead bootmask --json")?;
    ensure!(none["parameters"] == "", "it has not failed for a day: {none}");
    let mask = vm.json("bulkhead bootmask --all-failed --json")?;
    let parameters = mask["parameters"].as_str().context("parameters")?.to_owned();
    ensure!(parameters == format!("memmap=4K${}", page_id(page)), "{mask}");
    it.stop()?;
    vm.run("umount /var/lib/bulkhead")?;
    drop(vm);

    let vm = machine.arg(&parameters).boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(line["why"].as_str().is_some_and(|why| why.contains("masked at boot")), "{line}");
    ensure!(!vm.is_poisoned(page)?, "the kernel was asked for a page that it does not have");
    let status = it.status()?;
    ensure!(status["failed"] == 0 && status["health"] == "degraded", "{status}");
    ensure!(status["limits"]["memory_bytes"]["used"] == 0, "{status}");
    // It stays masked until somebody wants it back.
    let mask = vm.json("bulkhead bootmask --json")?;
    ensure!(mask["parameters"] == parameters.as_str(), "{mask}");
    vm.run(&format!("bulkhead release page {page:#x}"))?;
    ensure!(it.wait_page(page, "isolated")?["release"] == "next boot");
    let mask = vm.json("bulkhead bootmask --json")?;
    ensure!(mask["parameters"] == "", "{mask}");
    Ok(())
}

fn a_page_that_has_failed_for_a_day_is_tried_first_at_the_next_boot_and_listed_as_stuck(
    machine: Machine,
) -> Result<()> {
    let disk = Disk::new()?;
    let machine = machine.arg("ras=cec_disable").disk(&disk);
    let at = |time: &str| machine.clone().qemu(&["-rtc", &format!("base={time}")]).boot();
    let vm = at("2026-11-01T06:00:00")?;
    let it = Bulkhead::start(&vm, "")?;
    // The second page of the kernel's own code.
    let (stuck, free) = (0x100_1000, vm.find_pages("buddy", 1)?[0]);
    for (page, state) in [(stuck, "failed"), (free, "isolated")] {
        vm.memory_ce(page)?;
        vm.memory_ce(page)?;
        it.wait_page(page, state)?;
    }
    let status = it.status()?;
    ensure!(status["failed"] == 1 && status["stuck"] == 0, "{status}");
    it.stop()?;
    drop(vm);

    let vm = at("2026-11-02T07:00:00")?;
    vm.run("echo 'p:soft soft_offline_page pfn=%di' > /sys/kernel/tracing/kprobe_events")?;
    let asked = vm.trace("kprobes/soft")?;
    let it = Bulkhead::start(&vm, "")?;
    let fault = it.wait_page(stuck, "failed")?["fault"].clone();
    wait_until("it was tried again", LIMIT, || Ok(it.attempts(&fault)?.len() == 2))?;
    it.wait_page(free, "isolated")?;
    let asked = asked.records()?;
    let [first, second] = &asked[..] else { bail!("{asked:?}") };
    ensure!(first.contains(&format!("pfn={:#x}", stuck >> 12)), "{asked:?}");
    ensure!(second.contains(&format!("pfn={:#x}", free >> 12)), "{asked:?}");

    let line = it.wait_page(stuck, "failed")?;
    ensure!(line["why"].as_str().is_some_and(|why| why.contains("since 2026-11-01")), "{line}");
    let status = it.status()?;
    ensure!(status["failed"] == 1 && status["stuck"] == 1, "{status}");
    ensure!(status["isolated"]["pages"] == 1, "{status}");
    let check = vm.sh("bulkhead check")?;
    ensure!(check.stdout.contains("1 page has not come off for more than a day"), "{check:?}");
    let mask = vm.json("bulkhead bootmask --json")?;
    ensure!(mask["parameters"] == format!("memmap=4K${}", page_id(stuck)), "{mask}");
    it.stop()
}

fn a_huge_page_goes_while_the_pool_keeps_enough_free(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    vm.run("echo 4 > /proc/sys/vm/nr_hugepages")?;
    vm.write_file("/tmp/keep.toml", "[page]\nhugetlb = 2\n")?;
    let it = Bulkhead::start(&vm, "--config /tmp/keep.toml")?;
    let pool = || {
        vm.run("cd /sys/kernel/mm/hugepages/hugepages-2048kB && cat nr_hugepages free_hugepages | xargs")
    };
    let mut held = vm.hold_huge_page()?;
    ensure!(pool()? == "4 3");
    let page = held.addresses[0] + 0x5000;
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    it.wait_page(page, "isolated")?;
    ensure!(held.intact()? != held.addresses, "the huge page did not move");
    // The pool lost a huge page, the host 4 KiB.
    ensure!(pool()? == "3 2", "{}", pool()?);
    ensure!(vm.run("grep HardwareCorrupted /proc/meminfo")?.ends_with(" 4 kB"));

    let next = held.intact()?[0] + 0x7000;
    vm.memory_ce(next)?;
    vm.memory_ce(next)?;
    let line = it.wait_page(next, "refused")?;
    ensure!(line["why"].as_str().is_some_and(|why| why.contains("page.hugetlb")), "{line}");
    ensure!(line["next_try"].is_string() && !vm.is_poisoned(next)?, "{line}");
    let attempts = it.attempts(&line["fault"])?;
    ensure!(attempts.iter().all(|tried| tried.answered.contains("2 huge pages")), "{attempts:?}");
    ensure!(it.log()?.contains("page.hugetlb"));
    ensure!(pool()? == "3 2", "{}", pool()?);

    // With more in the pool it goes.
    vm.run("echo 5 > /proc/sys/vm/nr_hugepages")?;
    vm.run(&format!("bulkhead isolate page {next:#x}"))?;
    ensure!(vm.is_poisoned(next)? && pool()? == "4 3", "{}", pool()?);
    held.intact()?;
    held.release()
}
