//! What is isolated stays isolated: over reboots and power cuts, on a Debian with systemd that starts bulkheadd by its
//! unit.

use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use serde_json::{json, Value};

use crate::bulkhead::{page_id, Bulkhead, LIMIT};
use crate::harness::mce::L1_DATA_CE;
use crate::harness::{wait_until, Disk, Machine, Vm};

on_each_kernel!(
    isolations_are_back_before_ordinary_services_after_a_reboot;
    long on 6.1:
    isolations_are_back_after_a_power_cut;
    only 6.12:
    systemd_starts_it_early_and_again_and_stops_it_late,
    it_works_with_the_few_capabilities_that_it_keeps,
    a_power_cut_in_the_middle_of_restoring_loses_nothing,
    a_released_page_is_back_at_the_next_boot,
);

/// So many that restoring them takes a moment; the default limits allow twice as many on this machine (4 MiB).
const MANY: usize = 500;

/// Of so many pages that were free, these may come into use before they are taken, in each boot others.
const FEW: usize = MANY / 20;

/// To stop all that a busy machine runs.
const STOP: Duration = Duration::from_secs(180);

pub fn debian(machine: Machine, disk: &Disk) -> Machine {
    machine.arg("ras=cec_disable").debian(disk)
}

/// Waits until the system is up, and sees that no unit has failed.
pub fn settled(vm: &Vm) -> Result<Bulkhead<'_>> {
    let state = vm.sh("systemctl is-system-running --wait")?;
    if state.code != 0 {
        bail!("{}: {}", state.stdout.trim(), vm.run("systemctl list-units --failed")?);
    }
    Bulkhead::service(vm)
}

/// Ends one boot in good order, and begins the next.
fn reboot(machine: &Machine, mut vm: Vm) -> Result<Vm> {
    vm.spawn("systemctl reboot")?;
    vm.wait_end(STOP)?;
    machine.boot()
}

/// When a unit was last active, in microseconds since boot.
fn active_at(vm: &Vm, unit: &str) -> Result<u64> {
    let at = vm.run(&format!("systemctl show -P ActiveEnterTimestampMonotonic {unit}"))?;
    at.parse().context(at)
}

/// What an ordinary service found when it started: the CPUs on line, and the KiB of memory out of service.
fn seen_by_the_witness(vm: &Vm) -> Result<(String, u64)> {
    let seen = vm.run("cat /run/witness")?;
    let (cpus, memory) = seen.split_once('\n').with_context(|| seen.clone())?;
    let kib = memory.split_whitespace().nth(1).with_context(|| seen.clone())?;
    Ok((cpus.to_owned(), kib.parse()?))
}

/// Lines of the list without what a restart may change.
fn lasting(list: Vec<Value>) -> Vec<Value> {
    let keep = |line: Value| {
        json!({
            "kind": line["kind"], "id": line["id"], "state": line["state"], "by": line["by"],
            "fault": line["fault"],
        })
    };
    list.into_iter().map(keep).collect()
}

/// The pages of a list that are out of service.
fn isolated(list: &[Value]) -> Result<Vec<u64>> {
    let off = list.iter().filter(|line| line["kind"] == "page" && line["state"] == "isolated");
    off.filter_map(|line| line["id"].as_str()?.strip_prefix("0x"))
        .map(|id| u64::from_str_radix(id, 16).context("a page's id"))
        .collect()
}

/// A page and a core are isolated, and another page has one error.
struct Taken {
    page: u64,
    suspect: u64,
    list: Vec<Value>,
}

impl Taken {
    fn take(it: &Bulkhead) -> Result<Self> {
        let vm = it.vm;
        let pages = vm.find_pages("buddy", 3)?;
        let (page, suspect) = (pages[0], pages[2]);
        vm.memory_ce(suspect)?;
        for _ in 0..3 {
            vm.ce(3, 1, L1_DATA_CE, 0, 0)?;
        }
        it.wait_line("cpu", "2", "isolated")?;
        it.wait_line("cpu", "3", "isolated")?;
        vm.memory_ce(page)?;
        vm.memory_ce(page)?;
        it.wait_page(page, "isolated")?;
        Ok(Self { page, suspect, list: lasting(it.list()?) })
    }

    /// In another boot: all is as it was, from before the first ordinary service on.
    fn is_back(&self, it: &Bulkhead) -> Result<()> {
        let vm = it.vm;
        let list = lasting(it.list()?);
        ensure!(list == self.list, "{:#?} before, {list:#?} after\n{}", self.list, it.log()?);
        ensure!(vm.is_poisoned(self.page)?, "listed as isolated, and in service");
        let (cpus, kib) = seen_by_the_witness(vm)?;
        ensure!((cpus.as_str(), kib) == ("0-1", 4), "{cpus}, {kib} KiB when services started");
        ensure!(active_at(vm, "bulkhead.service")? < active_at(vm, "basic.target")?);
        // One error before and one after are two.
        vm.memory_ce(self.suspect)?;
        it.wait_page(self.suspect, "isolated")?;
        Ok(())
    }
}

fn isolations_are_back_before_ordinary_services_after_a_reboot(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = debian(machine, &disk);
    let vm = machine.boot()?;
    let taken = Taken::take(&settled(&vm)?)?;
    let vm = reboot(&machine, vm)?;
    taken.is_back(&settled(&vm)?)
}

fn isolations_are_back_after_a_power_cut(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = debian(machine, &disk);
    let vm = machine.boot()?;
    let taken = Taken::take(&settled(&vm)?)?;
    vm.cut_power()?;
    let vm = machine.boot()?;
    taken.is_back(&settled(&vm)?)
}

fn systemd_starts_it_early_and_again_and_stops_it_late(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = debian(machine, &disk);
    let vm = machine.boot()?;
    let it = settled(&vm)?;
    ensure!(it.status()?["health"] == "ok", "{}", it.status()?);
    ensure!(active_at(&vm, "bulkhead.service")? < active_at(&vm, "basic.target")?);
    let problems = vm.sh("systemd-analyze verify bulkhead.service")?;
    ensure!(problems.code == 0 && problems.stderr.is_empty(), "{problems:?}");
    it.kill()?;
    Bulkhead::service(&vm)?;
    // An error that comes while services are being stopped is on record.
    let page = vm.find_pages("buddy", 1)?[0];
    let raise = format!("echo ce addr={page:#x} > /sys/kernel/debug/bulkhead_test/raise");
    vm.run("modprobe bulkhead_edac_test")?;
    vm.write_file(
        "/run/systemd/system/last.service",
        &format!(
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\nExecStop=/bin/sh -c '{raise}'\n"
        ),
    )?;
    vm.run("systemctl daemon-reload && systemctl start last.service")?;
    let vm = reboot(&machine, vm)?;
    let it = settled(&vm)?;
    vm.edac(&format!("ce addr={page:#x}"))?;
    it.wait_page(page, "isolated")?;
    Ok(())
}

/// Bits of include/uapi/linux/capability.h: SYS_PTRACE, SYS_ADMIN, SYS_NICE, SYSLOG.
const WORKING: u64 = 1 << 19 | 1 << 21 | 1 << 23 | 1 << 34;

fn it_works_with_the_few_capabilities_that_it_keeps(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = debian(machine, &disk).boot()?;
    let it = settled(&vm)?;
    // All sources can be read.
    ensure!(it.status()?["health"] == "ok", "{}", it.status()?);
    // A page and a core can be taken.
    Taken::take(&it)?;
    // Of all its threads.
    let held = vm.run(
        "cat /proc/$(pidof bulkheadd)/task/*/status | grep -E '^Cap(Prm|Eff|Bnd)' | sort -u",
    )?;
    for line in held.lines() {
        let (_, mask) = line.split_once(':').with_context(|| held.clone())?;
        let mask = u64::from_str_radix(mask.trim(), 16)?;
        let allowed = if line.starts_with("CapBnd") { WORKING | 1 } else { WORKING };
        ensure!(mask == allowed, "{held}");
    }
    // And what comes while it is dead is counted: systemd lets two seconds go by.
    let counted = |it: &Bulkhead| -> Result<u64> {
        it.source("mce:mce_record")?["reports"].as_u64().context("reports")
    };
    let before = counted(&it)?;
    let page = vm.find_pages("buddy", 1)?[0];
    it.kill()?;
    vm.memory_ce(page)?;
    let it = Bulkhead::service(&vm)?;
    wait_until("it is counted", LIMIT, || Ok(counted(&it)? == before + 1))
}

fn a_power_cut_in_the_middle_of_restoring_loses_nothing(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = debian(machine, &disk);
    let vm = machine.boot()?;
    let it = settled(&vm)?;
    let first = vm.find_pages("buddy", MANY)?[0];
    vm.edac(&format!("ce n={} pages={MANY} addr={first:#x}", 2 * MANY))?;
    wait_until("all are tried", LIMIT, || {
        let status = it.status()?;
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        Ok(number(&status["isolated"]["pages"]) + number(&status["failed"]) == MANY as u64)
    })?;
    let list = lasting(it.list()?);
    let pages = isolated(&list)?;
    ensure!(pages.len() >= MANY - FEW, "{list:?}");
    vm.cut_power()?;

    let vm = machine.boot()?;
    let mut watch = vm.spawn(
        "sh -c 'while ! pid=$(pidof bulkheadd); do :; done; exec bulkhead-guest stop-at-poison $pid'",
    )?;
    let kib: usize = watch.wait_line("stopped ", LIMIT)?.parse()?;
    vm.cut_power()?;
    ensure!(kib < 4 * pages.len(), "all was restored before the power was cut");

    let vm = machine.boot()?;
    let it = settled(&vm)?;
    let again = lasting(it.list()?);
    let known = |list: &[Value]| -> Vec<Value> {
        let named = |line: &Value| json!([line["id"], line["by"], line["fault"]]);
        list.iter().map(named).collect()
    };
    ensure!(known(&again) == known(&list), "{again:?}\n{}", it.log()?);
    let back = isolated(&again)?;
    ensure!(back.len() + FEW >= pages.len(), "{} of {}: {again:?}", back.len(), pages.len());
    ensure!(vm.poisoned(&back)? == back.len(), "{} of {}", vm.poisoned(&back)?, back.len());
    let (_, kib) = seen_by_the_witness(&vm)?;
    ensure!(kib as usize / 4 + FEW >= pages.len(), "{kib} KiB when services started");
    Ok(())
}

fn a_released_page_is_back_at_the_next_boot(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = debian(machine, &disk);
    let vm = machine.boot()?;
    let it = settled(&vm)?;
    let page = vm.find_pages("buddy", 1)?[0];
    vm.memory_ce(page)?;
    vm.memory_ce(page)?;
    it.wait_page(page, "isolated")?;
    vm.run(&format!("bulkhead release page {}", page_id(page)))?;
    let line = it.wait_page(page, "isolated")?;
    ensure!(line["release"] == "next boot", "{line}");
    let vm = reboot(&machine, vm)?;
    let it = settled(&vm)?;
    it.wait_page(page, "released")?;
    ensure!(!vm.is_poisoned(page)?, "released, and out of service");
    Ok(())
}
