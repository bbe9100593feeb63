//! Memory that is changed between boots: isolations and evidence go and come with it.

use anyhow::{ensure, Result};

use crate::bulkhead::Bulkhead;
use crate::harness::{Disk, Machine, Vm};

on_each_kernel!(;
    long on 6.1:
    isolations_go_and_come_with_the_memory_they_are_of,
    another_bios_is_another_memory_for_all_that_is_known,
);

/// A DIMM of this serial number, mapped by a BIOS of this version.
fn with(machine: &Machine, disk: &Disk, serial: &str, bios: &str) -> Result<Vm> {
    let dimm = format!("type=17,loc_pfx=DIMM,bank=B0,serial={serial},part=P1");
    let bios = format!("type=0,vendor=V,version={bios},date=04/01/2014");
    let machine = machine.clone().disk(disk).arg("ras=cec_disable");
    machine.qemu(&["-smbios", &dimm, "-smbios", &bios]).boot()
}

fn isolations_go_and_come_with_the_memory_they_are_of(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = with(&machine, &disk, "S1", "1.2")?;
    let it = Bulkhead::start(&vm, "")?;
    let pages = vm.find_pages("buddy", 2)?;
    let [taken, watched] = [pages[0], pages[1]];
    vm.memory_ce(taken)?;
    vm.memory_ce(taken)?;
    vm.memory_ce(watched)?;
    it.wait_page(taken, "isolated")?;
    it.wait_reports(3)?;
    it.stop()?;
    drop(vm);

    let vm = with(&machine, &disk, "S2", "1.2")?;
    let it = Bulkhead::start(&vm, "")?;
    let line = it.wait_page(taken, "stale")?;
    for serial in ["(serial S1, part P1) is gone", "(serial S2, part P1) is new"] {
        ensure!(line["why"].as_str().is_some_and(|why| why.contains(serial)), "{line}");
        ensure!(it.log()?.contains(serial), "{}", it.log()?);
    }
    vm.memory_ce(watched)?;
    vm.memory_ce(taken)?;
    it.wait_reports(2)?;
    it.let_time_pass();
    ensure!(vm.poisoned(&pages)? == 0, "what is known of other memory took a page");
    ensure!(it.list()?.len() == 1, "{:?}", it.list()?);
    it.kill()?;
    drop(vm);

    let vm = with(&machine, &disk, "S1", "1.2")?;
    let it = Bulkhead::start(&vm, "")?;
    it.wait_page(taken, "isolated")?;
    ensure!(vm.is_poisoned(taken)? && !vm.is_poisoned(watched)?);
    vm.memory_ce(watched)?;
    it.wait_page(watched, "isolated")?;
    it.stop()
}

fn another_bios_is_another_memory_for_all_that_is_known(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = with(&machine, &disk, "S1", "1.2")?;
    let it = Bulkhead::start(&vm, "")?;
    let page = vm.find_pages("buddy", 1)?[0];
    vm.run(&format!("bulkhead isolate page {page:#x}"))?;
    it.stop()?;
    drop(vm);

    let vm = with(&machine, &disk, "S1", "1.3")?;
    let it = Bulkhead::start(&vm, "")?;
    let line = it.wait_page(page, "stale")?;
    let words = "BIOS 1.2 of 04/01/2014 is 1.3 of 04/01/2014 now";
    ensure!(line["why"].as_str().is_some_and(|why| why.contains(words)), "{line}");
    ensure!(!vm.is_poisoned(page)?);
    it.stop()
}
