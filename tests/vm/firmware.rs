//! What firmware reports: read beside the hot sources, decoded, and kept raw where it cannot be.

use anyhow::{ensure, Context, Result};
use serde_json::Value;

use crate::bulkhead::{Bulkhead, LIMIT};
use crate::harness::{wait_for, Machine, Vm};

on_each_kernel!(
    a_page_goes_on_what_firmware_reports,
    a_section_of_no_known_kind_is_kept_raw_and_counted,
    an_arm_error_is_reported_and_its_kind_where_the_kernel_tells_it;
    long on 6.1:
    what_firmware_reports_while_it_is_dead_counts,
);

fn a_page_goes_on_what_firmware_reports(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let page = vm.find_pages("buddy", 1)?[0];
    // Another page of the same mask is not touched, nor one whose mask leaves out bits of it.
    vm.edac(&format!("extlog addr={:#x} fru=DIMM_A1", page + 4096))?;
    vm.edac(&format!("extlog addr={page:#x} lsb=13 n=2"))?;
    vm.edac(&format!("extlog addr={page:#x} lsb=6 n=2 fru=DIMM_A1"))?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(vm.is_poisoned(page)?, "listed as isolated, and in service");
    ensure!(it.list()?.len() == 1, "{:?}", it.list()?);
    it.wait_reports(5)?;

    let source = it.source("ras:extlog_mem_event")?;
    ensure!(source["via"] == "tracefs" && source["reports"] == 5, "{source}");
    ensure!(it.source("ras:mc_event")?["via"] == "bpf", "{}", it.status()?);
    let fault = line["fault"].as_str().context("no fault behind the page")?;
    let explained = vm.json(&format!("bulkhead explain {fault} --json"))?;
    ensure!(explained["fault"]["fru"] == "DIMM_A1", "{explained}");
    it.stop()
}

fn what_firmware_reports_while_it_is_dead_counts(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let page = vm.find_pages("buddy", 1)?[0];
    vm.edac(&format!("extlog addr={page:#x}"))?;
    it.wait_reports(1)?;
    it.kill()?;
    vm.edac(&format!("extlog addr={page:#x}"))?;
    vm.edac("ce n=7 addr=0")?;
    let it = Bulkhead::start(&vm, "")?;
    it.wait_page(page, "isolated")?;
    it.wait_reports(9)
}

fn a_section_of_no_known_kind_is_kept_raw_and_counted(machine: Machine) -> Result<()> {
    const GUID: &str = "00112233-4455-6677-8899-aabbccddeeff";
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    vm.edac(&format!("nonstd type={GUID} hex=deadbeef0102 fru=SOCKET0 sev=1 n=3"))?;
    it.wait_reports(3)?;
    ensure!(it.list()?.is_empty() && it.faults()?.is_empty(), "{:?}", it.faults()?);
    let event = last(&vm, "non_standard")?;
    let (record, why) = (&event["record"]["non_standard"], event["undecodable"].as_str());
    ensure!(why.is_some_and(|why| why.contains(GUID)), "{event}");
    ensure!(record["sec_type"] == GUID && record["buf"] == "deadbeef0102", "{record}");
    ensure!(record["fru_text"] == "SOCKET0" && record["sev"] == 1, "{record}");
    Ok(())
}

fn an_arm_error_is_reported_and_its_kind_where_the_kernel_tells_it(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    // No error information is handed on by kernels that have no such fields.
    let format = vm.run("cat /sys/kernel/tracing/events/ras/arm_event/format")?;
    // A bus error that was corrected.
    vm.edac("arm cpu=1 mpidr=0 affinity=0 sev=1 kind=8 info=0x4000010 n=3")?;
    it.wait_reports(3)?;
    let event = last(&vm, "arm")?;
    let (record, why) = (&event["record"]["arm"], &event["undecodable"]);
    ensure!(record["midr"] == "0x410fd0c1" && record["running_state"] == 1, "{record}");
    ensure!(it.list()?.is_empty(), "{:?}", it.list()?);
    if format.contains("pei_buf") {
        ensure!(record["cpu"] == 1 && record["sev"] == 1, "{record}");
        let fault = wait_for("a fault is found", LIMIT, || Ok(it.faults()?.pop()))?;
        ensure!(fault["kind"] == "bus" && fault["rule"] == "bus", "{fault}");
    } else {
        ensure!(record.get("cpu").is_none() && it.faults()?.is_empty(), "{record}");
        ensure!(why.as_str().is_some_and(|why| why.contains("what failed")), "{event}");
    }
    Ok(())
}

/// The last report of a kind, as `events` has it.
fn last(vm: &Vm, kind: &str) -> Result<Value> {
    let events = vm.run("bulkhead events --json")?;
    let mut reports = events.lines().rev().filter_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        event["record"].get(kind).is_some().then_some(event)
    });
    reports.next().with_context(|| format!("no report of {kind}: {events}"))
}
