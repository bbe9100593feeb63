//! Memory that is changed between boots: isolations and evidence go and come with it.

use anyhow::{ensure, Result};
use tempfile::NamedTempFile;

use crate::bulkhead::Bulkhead;
use crate::harness::{file_of, Disk, Machine, Vm};
use crate::rows::{Place, ROW};

on_each_kernel!(;
    long on 6.1:
    isolations_go_and_come_with_the_memory_they_are_of,
    another_bios_is_another_memory_for_all_that_is_known,
    a_stale_page_is_taken_again_only_if_the_controller_decodes_it_as_before,
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

/// The first DIMM of either channel of the test memory controller, by their serial numbers.
fn with_dimms(machine: &Machine, disk: &Disk, serials: [&str; 2]) -> Result<Vm> {
    let dimms = ["DIMM_A1", "DIMM_B1"].into_iter().zip(serials).zip(0x1100..);
    let files: Vec<_> = dimms
        .map(|((name, serial), handle)| memory_device(handle, name, serial))
        .collect::<Result<_>>()?;
    let mut machine = machine.clone().disk(disk).arg("ras=cec_disable");
    for file in &files {
        machine = machine.qemu(&["-smbios", &format!("file={}", file.path().display())]);
    }
    let vm = machine.boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    Ok(vm)
}

/// A "Memory Device" of unknown size (SMBIOS 3.7, 7.18), which goes into the guest's table as it is: QEMU's own devices
/// have all the same serial number.
fn memory_device(handle: u16, name: &str, serial: &str) -> Result<NamedTempFile> {
    let mut device = vec![0; 0x28];
    device[..4].copy_from_slice(&[17, 0x28, handle.to_le_bytes()[0], handle.to_le_bytes()[1]]);
    device[0x0c..0x0e].fill(0xff);
    // The first and the second of the strings that follow.
    (device[0x10], device[0x18]) = (1, 2);
    device.extend(format!("{name}\0{serial}\0\0").bytes());
    file_of(&device)
}

fn a_stale_page_is_taken_again_only_if_the_controller_decodes_it_as_before(
    machine: Machine,
) -> Result<()> {
    let disk = Disk::new()?;
    let vm = with_dimms(&machine, &disk, ["S1", "T1"])?;
    let it = Bulkhead::start(&vm, "")?;
    let free = vm.find_pages("buddy", 4)?;
    let (stayed, moved) = (free[0], free[3]);
    let elsewhere = Place { bank: 1, row: 0x77, ..ROW };
    for (page, place) in [(stayed, ROW), (moved, elsewhere)] {
        place.err(&vm, page)?;
        place.err(&vm, page)?;
        it.wait_page(page, "isolated")?;
    }
    let fru = &it.faults()?[0]["fru"];
    ensure!(fru.as_str().is_some_and(|fru| fru.contains("DIMM_A1 (serial S1")), "{fru}");
    it.stop()?;
    drop(vm);

    let vm = with_dimms(&machine, &disk, ["S1", "T2"])?;
    let it = Bulkhead::start(&vm, "")?;
    it.wait_page(stayed, "stale")?;
    it.wait_page(moved, "stale")?;
    // The address of the one is another cell now.
    Place { row: 0x78, ..elsewhere }.err(&vm, moved)?;
    ROW.err(&vm, stayed)?;
    it.wait_reports(2)?;
    let line = it.wait_page(stayed, "isolated")?;
    ensure!(line["why"].as_str().is_some_and(|why| why.contains("still is where it")), "{line}");
    let line = it.wait_page(moved, "stale")?;
    ensure!(vm.is_poisoned(stayed)? && !vm.is_poisoned(moved)?, "{line}");
    it.stop()
}
