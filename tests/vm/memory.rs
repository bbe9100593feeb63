//! Pages: seen, counted once, taken at the threshold, read back; refused and tried again as the kernel answers.

use anyhow::{ensure, Context, Result};

use crate::bulkhead::{page_id, Bulkhead, LIMIT};
use crate::harness::{wait_for, wait_until, Machine};

on_each_kernel!(
    a_page_goes_at_its_second_error,
    a_page_is_taken_beside_the_kernels_collector,
    a_page_the_collector_took_is_listed_as_the_kernels,
    a_page_goes_on_what_the_memory_controller_reports,
    a_page_in_use_moves_with_its_data,
    a_huge_page_moves_with_its_data,
    a_busy_page_is_tried_again_until_it_goes,
    a_page_of_the_kernel_is_failed_and_tried_again,
    a_page_with_an_uncorrected_error_is_the_kernels,
    an_uncorrected_error_that_the_kernel_missed_is_handed_to_it,
    what_the_kernel_forbids_is_refused,
    a_released_page_comes_back_where_the_kernel_can;
    long on 6.1:
    errors_without_an_address_take_nothing,
    a_released_page_waits_for_the_next_boot,
    limits_hold_pages_back,
);

fn a_page_goes_at_its_second_error(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let page = vm.find_pages("buddy", 1)?[0];

    vm.memory_ce(page)?;
    it.wait_reports(1)?;
    it.let_time_pass();
    ensure!(it.list()?.is_empty() && !vm.is_poisoned(page)?, "taken at the first error");

    vm.memory_ce(page)?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(vm.is_poisoned(page)?, "listed as isolated, and in service");
    ensure!(line["by"] == "bulkhead", "{line}");
    let status = it.status()?;
    ensure!(status["health"] == "degraded" && status["isolated"]["pages"] == 1, "{status}");
    ensure!(status["isolated"]["memory_bytes"] == 4096, "{status}");
    it.wait_reports(2)?;

    let fault = line["fault"].as_str().context("no fault behind the page")?;
    let explained = vm.json(&format!("bulkhead explain {fault} --json"))?;
    ensure!(explained["rule"]["id"] == "page-ce", "{explained}");
    ensure!(explained["fault"]["state"] == "isolated", "{explained}");
    let records: u64 = explained["evidence"]
        .as_array()
        .context("evidence")?
        .iter()
        .filter_map(|evidence| evidence["records"].as_u64())
        .sum();
    ensure!(records == 2, "{explained}");
    ensure!(explained["attempts"].as_array().is_some_and(|a| a.len() == 1), "{explained}");
    Ok(())
}

fn a_page_is_taken_beside_the_kernels_collector(machine: Machine) -> Result<()> {
    // 6.12 takes pages by itself at the second error, 6.1 never does; either way the page goes and is listed once.
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let page = vm.find_pages("buddy", 1)?[0];
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(vm.is_poisoned(page)?);
    ensure!(["bulkhead", "kernel"].iter().any(|by| line["by"] == *by), "{line}");
    ensure!(it.list()?.len() == 1);
    it.wait_reports(2)
}

fn a_page_the_collector_took_is_listed_as_the_kernels(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    // Far from our own threshold, so that only the kernel can have taken it.
    vm.write_file("/tmp/late.toml", "[page]\nerrors = 50\n")?;
    let it = Bulkhead::start(&vm, "--config /tmp/late.toml")?;
    let page = vm.find_pages("buddy", 1)?[0];
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    it.wait_reports(2)?;
    if vm.run("uname -r")?.starts_with("6.1.") {
        // No collector: somebody else has to do its part before the next error.
        ensure!(it.list()?.is_empty(), "{:?}", it.list()?);
        vm.soft_offline(page)?;
        vm.memory_ce(page)?;
    }
    let line = it.wait_page(page, "isolated")?;
    ensure!(line["by"] == "kernel", "{line}");
    Ok(())
}

fn a_page_goes_on_what_the_memory_controller_reports(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    let it = Bulkhead::start(&vm, "")?;
    let page = vm.find_pages("buddy", 1)?[0];
    // A count of three is three errors in the total, and one observation of the page.
    vm.edac(&format!("ce addr={page:#x} count=3 detail=row:0x2a col:7"))?;
    it.wait_reports(3)?;
    it.let_time_pass();
    ensure!(!vm.is_poisoned(page)?, "one report took the page");
    vm.edac(&format!("ce addr={:#x}", page + 0x40))?;
    it.wait_page(page, "isolated")?;
    ensure!(vm.is_poisoned(page)?);
    it.wait_reports(4)?;
    let checks = it.status()?["checks"].clone();
    ensure!(checks == serde_json::json!([{ "name": "edac-sysfs", "differs": 0 }]), "{checks}");
    let events = vm.run("bulkhead events --json")?;
    ensure!(events.contains("row:0x2a col:7") && events.contains("DIMM_A1"), "{events}");
    Ok(())
}

fn errors_without_an_address_take_nothing(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    let it = Bulkhead::start(&vm, "")?;
    vm.edac("ce n=5 addr=0")?;
    it.wait_reports(5)?;
    it.let_time_pass();
    ensure!(it.list()?.is_empty(), "{:?}", it.list()?);
    ensure!(vm.run("grep HardwareCorrupted /proc/meminfo")?.ends_with(" 0 kB"));
    Ok(())
}

fn a_page_in_use_moves_with_its_data(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let mut held = vm.hold_pages(3)?;
    let page = held.addresses[1];
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    it.wait_page(page, "isolated")?;
    let now = held.intact()?;
    ensure!(now[0] == held.addresses[0] && now[1] != page, "{now:x?}");
    held.release()
}

fn a_huge_page_moves_with_its_data(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    vm.run("echo 4 > /proc/sys/vm/nr_hugepages")?;
    let it = Bulkhead::start(&vm, "")?;
    let mut held = vm.hold_huge_page()?;
    let page = held.addresses[0] + 0x5000;
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    it.wait_page(page, "isolated")?;
    ensure!(vm.is_poisoned(page)?);
    ensure!(held.intact()? != held.addresses, "the huge page did not move");
    held.release()
}

fn a_busy_page_is_tried_again_until_it_goes(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let mut held = vm.hold_busy_page()?;
    let page = held.addresses[0];
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    let fault = wait_for("a fault stands on the page", LIMIT, || {
        Ok(it.line("page", &page_id(page))?.map(|line| line["fault"].clone()))
    })?;
    wait_until("it was tried four times", LIMIT, || Ok(it.attempts(&fault)?.len() >= 4))?;
    let tries = it.attempts(&fault)?;
    ensure!(tries.iter().all(|tried| tried.answered.starts_with("EBUSY")), "{tries:?}");
    // 1 s, 2 s, 4 s; a busy machine is late, and never early.
    for (pair, least) in tries.windows(2).zip([1, 2, 4]) {
        let waited = pair[1].time.duration_since(pair[0].time).as_secs_f64();
        ensure!(waited >= f64::from(least), "{waited} s instead of {least}: {tries:?}");
    }
    let line = it.wait_page(page, "wanted")?;
    ensure!(line["why"].as_str().is_some_and(|why| why.contains("EBUSY")), "{line}");
    ensure!(line["next_try"].is_string() && !vm.is_poisoned(page)?, "{line}");
    ensure!(it.status()?["health"] != "ok", "{}", it.status()?);

    held.let_move()?;
    it.wait_page(page, "isolated")?;
    ensure!(vm.is_poisoned(page)?);
    ensure!(held.intact()? != held.addresses, "the page did not move");
    held.release()
}

fn a_page_of_the_kernel_is_failed_and_tried_again(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let code = vm.run("sed -n 's/-.*Kernel code$//p' /proc/iomem")?;
    let page =
        u64::from_str_radix(code.trim(), 16).with_context(|| format!("kernel code at {code}"))?;
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    let line = it.wait_page(page, "failed")?;
    ensure!(!vm.is_poisoned(page)?);
    ensure!(line["why"].as_str().is_some_and(|why| why.contains("EIO")), "{line}");
    ensure!(line["next_try"].is_string(), "it is not tried again: {line}");
    let status = it.status()?;
    ensure!(status["health"] == "faulted" && status["failed"] == 1, "{status}");
    ensure!(vm.sh("bulkhead check")?.code == 2);
    Ok(())
}

fn a_page_with_an_uncorrected_error_is_the_kernels(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let held = vm.hold_pages(1)?;
    let page = held.addresses[0];
    vm.memory_ue(page)?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(line["by"] == "kernel", "{line}");
    ensure!(vm.is_poisoned(page)?);
    // Copying the page would read the poison: nobody ever wanted it migrated.
    let attempts = it.attempts(&line["fault"])?;
    ensure!(attempts.is_empty(), "{attempts:?}");
    held.wait_killed()?;
    Ok(())
}

fn an_uncorrected_error_that_the_kernel_missed_is_handed_to_it(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    let it = Bulkhead::start(&vm, "")?;
    let held = vm.hold_pages(1)?;
    let page = held.addresses[0];
    // The kernel does nothing about what a memory controller reports.
    vm.edac(&format!("ue addr={page:#x}"))?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(line["by"] == "bulkhead", "{line}");
    ensure!(vm.is_poisoned(page)?);
    let attempts = it.attempts(&line["fault"])?;
    ensure!(attempts.len() == 1 && attempts[0].asked.contains("hard_offline_page"), "{attempts:?}");
    held.wait_killed()?;
    Ok(())
}

fn what_the_kernel_forbids_is_refused(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    if vm.sh("echo 0 > /proc/sys/vm/enable_soft_offline")?.code != 0 {
        // 6.1 has no such switch; a filter of hwpoison-inject answers the same there.
        vm.run(
            "modprobe hwpoison_inject && cd /sys/kernel/debug/hwpoison && \
             echo 1 > corrupt-filter-enable && echo 0xffff > corrupt-filter-dev-major",
        )?;
    }
    let it = Bulkhead::start(&vm, "")?;
    let page = vm.find_pages("buddy", 1)?[0];
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    let line = it.wait_page(page, "refused")?;
    ensure!(!vm.is_poisoned(page)?);
    ensure!(line["why"].as_str().is_some_and(|why| why.contains("EOPNOTSUPP")), "{line}");
    ensure!(it.status()?["health"] == "faulted");
    Ok(())
}

fn a_released_page_waits_for_the_next_boot(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let page = vm.find_pages("buddy", 1)?[0];
    vm.run(&format!("bulkhead isolate page {page:#x} --reason 'a test'"))?;
    ensure!(vm.is_poisoned(page)?, "isolate did not wait for the outcome");
    let line = it.wait_page(page, "isolated")?;
    ensure!(line["by"] == "admin" && line["release"].is_null(), "{line}");

    vm.run(&format!("bulkhead release page {page:#x}"))?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(line["release"] == "next boot", "{line}");
    ensure!(vm.is_poisoned(page)?);
    Ok(())
}

fn a_released_page_comes_back_where_the_kernel_can(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    vm.run("modprobe hwpoison_inject")?;
    let it = Bulkhead::start(&vm, "")?;
    let page = vm.find_pages("buddy", 1)?[0];
    vm.run(&format!("bulkhead isolate page {page:#x}"))?;
    ensure!(vm.is_poisoned(page)?);
    vm.run(&format!("bulkhead release page {page:#x}"))?;
    ensure!(!vm.is_poisoned(page)?, "release did not wait for the outcome");
    it.wait_page(page, "released")?;
    Ok(())
}

fn limits_hold_pages_back(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    vm.write_file("/tmp/small.toml", "[limits]\npages_per_day = 2\n")?;
    let it = Bulkhead::start(&vm, "--config /tmp/small.toml")?;
    vm.run("modprobe bulkhead_edac_test")?;
    let pages = vm.find_pages("buddy", 3)?;
    for page in &pages {
        vm.edac(&format!("ce n=2 addr={page:#x}"))?;
    }
    wait_until("three pages are decided on", LIMIT, || {
        let list = it.list()?;
        Ok(list.iter().filter(|line| line["state"] == "isolated").count() == 2
            && list.iter().filter(|line| line["state"] == "refused").count() == 1)
    })?;
    ensure!(vm.poisoned(&pages)? == 2);
    let status = it.status()?;
    ensure!(
        status["limits"]["pages_today"] == serde_json::json!({ "used": 2, "max": 2 }),
        "{status}"
    );
    ensure!(status["health"] == "faulted", "{status}");
    let refused =
        it.list()?.into_iter().find(|line| line["state"] == "refused").context("refused")?;
    ensure!(refused["why"].as_str().is_some_and(|why| why.contains("pages_per_day")), "{refused}");
    // Not even for an admin: what is bounded is what the host can spare.
    let id = refused["id"].as_str().context("id")?;
    ensure!(vm.sh(&format!("bulkhead isolate page {id}"))?.code == 4);
    Ok(())
}
