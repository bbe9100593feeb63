//! The daemon itself: its sources, what it remembers, and what it refuses to do.

use anyhow::{ensure, Context, Result};
use serde_json::Value;

use crate::bulkhead::{online, Bulkhead, LIMIT};
use crate::harness::mce::{L1_DATA_CE, MEMORY_CE, PHYSICAL_ADDRESS};
use crate::harness::{wait_until, Machine, Vm};

on_each_kernel!(
    hot_sources_are_watched_through_bpf_and_rare_ones_through_tracefs,
    tracefs_serves_as_well_as_bpf,
    bpf_and_tracefs_tell_the_same,
    errors_that_come_while_it_is_dead_are_counted,
    a_storm_from_interrupts_is_counted_to_the_last;
    long on 6.1:
    a_kill_in_a_storm_loses_and_doubles_nothing,
    a_kill_at_any_step_loses_and_doubles_nothing,
    a_restart_goes_on_with_its_evidence,
    observe_touches_nothing,
    two_reports_of_one_error_count_once,
    a_second_daemon_is_turned_away,
    a_bad_configuration_is_named,
    amd_addresses_are_never_taken_raw,
    decisions_reach_the_journal_with_their_fields,
);

fn hot_sources_are_watched_through_bpf_and_rare_ones_through_tracefs(
    machine: Machine,
) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let status = it.status()?;
    let sources = status["sources"].as_array().context("sources")?;
    ensure!(sources.len() == 8, "{status}");
    for (i, source) in sources.iter().enumerate() {
        // CXL's are built in in 6.12, and in a driver without a device in 6.1.
        let cxl = source["name"].as_str().is_some_and(|name| name.starts_with("cxl:"));
        let via = if i < 3 { "bpf" } else { "tracefs" };
        let state = source["state"] == "ok" || cxl && source["state"] == "absent";
        ensure!(source["via"] == via && state && source["lost"] == 0, "{source}");
    }
    let enabled = vm.run(
        "cd /sys/kernel/tracing/instances/bulkhead/events; \
         for e in */*; do [ ! -f $e/enable ] || echo $e $(cat $e/enable); done | grep ' 1'",
    )?;
    let rare = ["ras/arm_event", "ras/extlog_mem_event", "ras/non_standard_event"];
    let enabled = enabled.lines().filter_map(|line| line.strip_suffix(" 1"));
    let enabled: Vec<_> = enabled.filter(|event| !event.starts_with("cxl/")).collect();
    ensure!(rare.iter().all(|event| enabled.contains(event)) && enabled.len() == 3, "{enabled:?}");
    ensure!(status["health"] == "ok" && status["mode"] == "isolate", "{status}");
    ensure!(vm.sh("bulkhead check")?.code == 0);
    // Root alone may look at what is pinned.
    ensure!(vm.run("stat -c %a /sys/fs/bpf/bulkhead")? == "700");
    it.stop()
}

/// Raises one error of each kind that takes something, and some that take nothing.
fn one_of_each(vm: &Vm, page: u64, other: u64) -> Result<()> {
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    vm.edac(&format!("ce n=2 addr={other:#x} detail=row:0x2a col:7"))?;
    for _ in 0..3 {
        vm.ce(3, 1, L1_DATA_CE, 0, 0)?;
    }
    Ok(())
}

fn tracefs_serves_as_well_as_bpf(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    let it = Bulkhead::start(&vm, "--source tracefs")?;
    ensure!(it.source("mce:mce_record")?["via"] == "tracefs", "{}", it.status()?);
    let pages = vm.find_pages("buddy", 2)?;
    one_of_each(&vm, pages[0], pages[1])?;
    it.wait_page(pages[0], "isolated")?;
    it.wait_page(pages[1], "isolated")?;
    it.wait_line("cpu", "2", "isolated")?;
    ensure!(online(&vm)? == "0-1" && vm.poisoned(&pages)? == 2);
    it.wait_reports(7)?;
    ensure!(it.status()?["health"] == "degraded", "{}", it.status()?);
    it.stop()
}

/// The raw records of all reports, without when they came and by which way.
fn records(vm: &Vm) -> Result<Vec<Value>> {
    let mut records = Vec::new();
    for line in vm.run("bulkhead events --json")?.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event["event"] == "report" {
            let mut record = serde_json::json!({
                "source": event["source"], "errors": event["errors"], "records": event["records"],
                "decodes": event["decodes"], "record": event["record"],
            });
            // The wall clock and the instruction at the time differ from one error to the next.
            if let Some(mce) = record.pointer_mut("/record/mce").and_then(Value::as_object_mut) {
                mce.remove("time");
                mce.remove("ip");
                // 6.1's trace format does not show it.
                mce.remove("microcode");
            }
            // Each machine gives the process another page.
            if let Some(failure) = record.pointer_mut("/record/memory_failure") {
                failure.as_object_mut().context("memory_failure")?.remove("pfn");
            }
            records.push(record);
        }
    }
    Ok(records)
}

fn bpf_and_tracefs_tell_the_same(machine: Machine) -> Result<()> {
    let tell = |source: &str| -> Result<Vec<Value>> {
        let vm = machine.clone().arg("ras=cec_disable").boot()?;
        vm.run("modprobe bulkhead_edac_test")?;
        let it = Bulkhead::start(&vm, &format!("--observe --source {source}"))?;
        ensure!(it.source("mce:mce_record")?["via"] == source, "{}", it.status()?);
        vm.memory_ce(0x1230_0000)?;
        it.wait_reports(1)?;
        vm.ce(3, 1, L1_DATA_CE, 0, 0)?;
        it.wait_reports(2)?;
        vm.edac(
            "ce addr=0x12345040 top=1 mid=0 syndrome=0x1f count=3 label=read detail=row:0x2a col:7",
        )?;
        it.wait_reports(5)?;
        vm.edac("ue addr=0x12346000 top=0 mid=-1")?;
        it.wait_reports(6)?;
        let held = vm.hold_pages(1)?;
        let page = held.addresses[0];
        vm.run(&format!("echo {page:#x} > /sys/devices/system/memory/hard_offline_page"))?;
        it.wait_reports(7)?;
        records(&vm)
    };
    let (bpf, tracefs) = (tell("bpf")?, tell("tracefs")?);
    ensure!(bpf.len() == 5, "{bpf:#?}");
    ensure!(bpf == tracefs, "bpf: {bpf:#?}\ntracefs: {tracefs:#?}");
    Ok(())
}

fn errors_that_come_while_it_is_dead_are_counted(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    let it = Bulkhead::start(&vm, "")?;
    let page = vm.find_pages("buddy", 1)?[0];
    vm.memory_ce(page)?;
    it.wait_reports(1)?;
    it.kill()?;

    vm.memory_ce(page)?;
    vm.edac("ce n=1000 pages=10 addr=0")?;
    ensure!(!vm.is_poisoned(page)?);

    let it = Bulkhead::start(&vm, "")?;
    it.wait_page(page, "isolated")?;
    it.wait_reports(1002)?;
    ensure!(it.status()?["checks"][0]["differs"] == 0, "{}", it.status()?);
    Ok(())
}

fn a_kill_in_a_storm_loses_and_doubles_nothing(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    let mut raised = 0;
    let mut shown = 0;
    for round in 0..6 {
        let it = Bulkhead::start(&vm, "--observe")?;
        let now = it.reports()?;
        ensure!(now >= shown, "{shown} errors were shown before the kill, {now} after it");
        // The kill falls into the storm, or into the drain after it.
        let storm = vm.spawn("sh -c 'echo \"ce n=20000 pages=50 addr=0x10000000\" > /sys/kernel/debug/bulkhead_test/raise'")?;
        raised += 20_000;
        for _ in 0..round {
            shown = it.reports()?;
        }
        it.kill()?;
        storm.wait()?;
    }
    let it = Bulkhead::start(&vm, "--observe")?;
    it.wait_reports(raised)?;
    ensure!(it.status()?["checks"][0]["differs"] == 0, "{}", it.status()?);
    ensure!(it.source("ras:mc_event")?["lost"] == 0);
    Ok(())
}

fn a_kill_at_any_step_loses_and_doubles_nothing(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    let mut steps = 0;
    loop {
        let mut it = Bulkhead::start(&vm, "--observe")?;
        it.wait_reports(3 * u64::from(steps)).with_context(|| format!("killed at {steps}"))?;
        let killed = it.kill_at(steps + 1, || vm.edac("ce n=3 addr=0x10000000"))?;
        if !killed {
            break;
        }
        steps += 1;
    }
    // To rotate, to commit and to clear take more than one each.
    ensure!(steps >= 6, "only {steps} steps: does it see them?");
    Ok(())
}

fn a_restart_goes_on_with_its_evidence(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let pages = vm.find_pages("buddy", 2)?;
    vm.memory_ce(pages[0])?;
    vm.memory_ce(pages[0])?;
    it.wait_page(pages[0], "isolated")?;
    vm.memory_ce(pages[1])?;
    for _ in 0..2 {
        vm.ce(3, 1, L1_DATA_CE, 0, 0)?;
    }
    it.wait_reports(5)?;
    let before = it.list()?;
    it.kill()?;

    let it = Bulkhead::start(&vm, "")?;
    ensure!(it.list()? == before, "{:?} before, {:?} after", before, it.list()?);
    vm.memory_ce(pages[1])?;
    vm.ce(2, 1, L1_DATA_CE, 0, 0)?;
    it.wait_page(pages[1], "isolated")?;
    it.wait_line("cpu", "3", "isolated")?;
    let before = it.list()?;
    it.stop()?;

    // What it took stays taken while it is away, and is known afterwards: sysfs has forgotten the core by then.
    ensure!(online(&vm)? == "0-1" && vm.poisoned(&pages)? == 2);
    let it = Bulkhead::start(&vm, "")?;
    ensure!(it.list()? == before, "{:?} before, {:?} after", before, it.list()?);
    vm.run("bulkhead release cpu 2")?;
    ensure!(online(&vm)? == "0-3", "the core came back in part: {}", online(&vm)?);
    Ok(())
}

fn observe_touches_nothing(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    let it = Bulkhead::start(&vm, "--observe")?;
    let pages = vm.find_pages("buddy", 2)?;
    one_of_each(&vm, pages[0], pages[1])?;
    it.wait_page(pages[0], "observed")?;
    it.wait_page(pages[1], "observed")?;
    it.wait_line("cpu", "2", "observed")?;
    it.wait_line("cpu", "3", "observed")?;
    it.let_time_pass();
    ensure!(online(&vm)? == "0-3" && vm.poisoned(&pages)? == 0, "something was touched");
    let status = it.status()?;
    ensure!(status["mode"] == "observe" && status["isolated"]["pages"] == 0, "{status}");
    Ok(())
}

fn two_reports_of_one_error_count_once(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    let it = Bulkhead::start(&vm, "")?;
    let page = vm.find_pages("buddy", 1)?[0];
    // The bank keeps the error until the kernel looks, at most a second; the controller reports the same page at once
    // when it has.
    vm.mce(0, 9, MEMORY_CE, 0, page, PHYSICAL_ADDRESS)?;
    wait_until("the machine check is reported", LIMIT, || {
        Ok(it.source("mce:mce_record")?["reports"] == 1)
    })?;
    vm.edac(&format!("ce addr={page:#x}"))?;
    it.let_time_pass();
    let (mce, mc) = (it.source("mce:mce_record")?, it.source("ras:mc_event")?);
    let events = vm.run("bulkhead events --json")?;
    ensure!(events.contains("\"ras:mc_event\""), "the second report did not come: {events}");
    // A slow machine may have put more than a second between the two; then they are two errors, and rightly so.
    if seconds_apart(&events)? < 1.0 {
        ensure!(it.reports()? == 1, "{mce} {mc}");
        ensure!(!vm.is_poisoned(page)? && it.list()?.is_empty(), "one error took the page");
    }
    Ok(())
}

/// Seconds between the first two reports.
fn seconds_apart(events: &str) -> Result<f64> {
    let mut times = Vec::new();
    for line in events.lines() {
        let event: Value = serde_json::from_str(line)?;
        times.extend(event["at"][1].as_u64());
    }
    ensure!(times.len() >= 2, "{events}");
    Ok(times[1].abs_diff(times[0]) as f64 / 1e9)
}

fn a_storm_from_interrupts_is_counted_to_the_last(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    vm.run(
        "modprobe bulkhead_edac_test && echo 0 > /sys/module/edac_core/parameters/edac_mc_log_ce",
    )?;
    let it = Bulkhead::start(&vm, "--observe")?;
    // On the CPU that the daemon runs on, so that interrupts fall into its reading.
    vm.run("taskset -p 4 $(pidof bulkheadd)")?;
    vm.edac("ce n=100000 pages=1000 addr=0x10000000 irq=2 batch=20 gap=40000")?;
    it.wait_reports(100_000)?;
    let source = it.source("ras:mc_event")?;
    ensure!(source["lost"] == 0 && source["state"] == "ok", "{source}");
    ensure!(it.status()?["checks"][0]["differs"] == 0, "{}", it.status()?);
    Ok(())
}

fn a_second_daemon_is_turned_away(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    // One that is let in would not end.
    let second = vm.sh("timeout 30 bulkheadd --socket /tmp/other")?;
    ensure!(second.code == 1, "{second:?}");
    ensure!(
        second.stderr.contains("/var/lib/bulkhead") && second.stderr.contains("in use"),
        "{second:?}"
    );
    ensure!(it.status()?["health"] == "ok");
    Ok(())
}

fn a_bad_configuration_is_named(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    vm.write_file("/etc/bulkhead/bulkhead.toml", "[page]\nerors = 3\n")?;
    for command in ["bulkheadd", "bulkhead config check"] {
        let output = vm.sh(&format!("timeout 30 {command}"))?;
        ensure!(output.code == 1, "{command}: {output:?}");
        for part in ["/etc/bulkhead/bulkhead.toml", "2", "erors", "errors"] {
            let said = format!("{}{}", output.stdout, output.stderr);
            ensure!(said.contains(part), "{command} does not say {part}: {output:?}");
        }
    }
    // One that breaks while the daemon runs leaves the old one in force.
    vm.write_file("/etc/bulkhead/bulkhead.toml", "[page]\nerrors = 3\n")?;
    let it = Bulkhead::start(&vm, "")?;
    vm.write_file("/etc/bulkhead/bulkhead.toml", "[page]\nerrors = \"many\"\n")?;
    vm.run("kill -HUP $(pidof bulkheadd)")?;
    wait_until("the refusal is logged", LIMIT, || Ok(it.log()?.contains("\"many\"")))?;
    ensure!(it.status()?["health"] == "ok");
    let page = vm.find_pages("buddy", 1)?[0];
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    it.wait_reports(2)?;
    it.let_time_pass();
    ensure!(it.list()?.is_empty() && !vm.is_poisoned(page)?, "the old one is not in force");
    // One that is right is in force from the next error on.
    vm.write_file("/etc/bulkhead/bulkhead.toml", "[page]\nerrors = 4\n")?;
    vm.run("kill -HUP $(pidof bulkheadd)")?;
    wait_until("it is read again", LIMIT, || Ok(it.log()?.contains("is in force")))?;
    vm.memory_ce(page)?;
    it.wait_reports(3)?;
    it.let_time_pass();
    ensure!(it.list()?.is_empty() && !vm.is_poisoned(page)?, "the new one is not in force");
    vm.memory_ce(page)?;
    it.wait_page(page, "isolated")?;
    Ok(())
}

fn amd_addresses_are_never_taken_raw(machine: Machine) -> Result<()> {
    // Of a family whose memory errors are known as such without SMCA, which QEMU does not have: bank 4, extended code 8.
    let machine = machine.amd().qemu(&["-cpu", "EPYC,family=21,model=2"]);
    let vm = machine.arg("ras=cec_disable").boot()?;
    ensure!(vm.run("grep -m1 'cpu family' /proc/cpuinfo")?.ends_with(" 21"));
    let it = Bulkhead::start(&vm, "")?;
    let page = vm.find_pages("buddy", 1)?[0];
    for _ in 0..3 {
        vm.ce(0, 4, MEMORY_CE | 8 << 16, page, PHYSICAL_ADDRESS)?;
    }
    it.wait_reports(3)?;
    it.let_time_pass();
    ensure!(!vm.is_poisoned(page)? && it.list()?.is_empty(), "{:?}", it.list()?);
    Ok(())
}

fn decisions_reach_the_journal_with_their_fields(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let mut journal = vm.spawn("sh -c 'exec bulkhead-guest journal > /tmp/journal'")?;
    wait_until("the journal listens", LIMIT, || {
        Ok(vm.sh("grep -q listening /tmp/journal")?.code == 0)
    })?;
    let it = Bulkhead::start(&vm, "")?;
    // What cannot go and needs a human: the core of CPU 0.
    for _ in 0..3 {
        vm.ce(1, 1, L1_DATA_CE, 0, 0)?;
    }
    it.wait_line("cpu", "1", "refused")?;
    let entries = vm.run("cat /tmp/journal")?;
    let refused = entries
        .split("\n\n")
        .find(|entry| entry.contains("BULKHEAD_DECISION=refused"))
        .with_context(|| format!("no refusal in the journal: {entries}"))?;
    for field in
        ["PRIORITY=2", "MESSAGE_ID=", "BULKHEAD_COMPONENT=", "BULKHEAD_FAULT=", "MESSAGE=CPU"]
    {
        ensure!(refused.contains(field), "no {field}: {refused}");
    }
    ensure!(it.log()?.contains("CPU"), "who started it by hand is told nothing");
    journal.pid()?;
    journal.signal(15)
}
