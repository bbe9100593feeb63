//! The ground that these stories stand on, without Bulkhead: the guest's watchdogs bite, its crash kernel dumps, and
//! what a platform keeps over a reset is kept.

use anyhow::{ensure, Result};

use super::host::{dumps, host, the_only_dump, BMC, I6300ESB};
use crate::harness::{Disk, Machine, Storage, Vm};

on_each_kernel!(
    a_panic_ends_in_a_dump_and_a_reboot,
    a_watchdog_that_is_not_fed_remembers_its_reset,
    the_platform_keeps_the_last_words_of_a_panic;
    only 6.12:
    a_watchdog_that_raises_an_nmi_ends_in_a_dump,
    a_bmc_raises_its_nmi_before_it_resets,
);

/// Opens a watchdog and leaves it alone.
fn neglect(vm: &Vm, device: &str) -> Result<()> {
    // The BMC's begins to run at the first heartbeat.
    let mut process =
        vm.spawn(&format!("sh -c 'exec 3>{device}; echo >&3; echo open; exec sleep 1000'"))?;
    process.wait_line("open", crate::bulkhead::LIMIT).map(drop)
}

fn a_panic_ends_in_a_dump_and_a_reboot(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = host(machine, &disk).crash_kernel().boot()?;
    ensure!(vm.run("cat /sys/kernel/kexec_crash_loaded")? == "1");
    ensure!(dumps(&vm)?.is_empty());
    vm.run("echo a word before the end > /dev/kmsg")?;
    vm.spawn("sh -c 'echo c > /proc/sysrq-trigger'")?;
    vm.wait_reboot()?;
    let dump = the_only_dump(&vm)?;
    dump.contains("a word before the end")?;
    dump.contains("Kernel panic - not syncing: sysrq triggered crash")
}

fn a_watchdog_that_is_not_fed_remembers_its_reset(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = host(machine, &disk).crash_kernel().qemu(&I6300ESB).boot()?;
    let bootstatus =
        "modprobe i6300esb heartbeat=4 && cat /sys/class/watchdog/watchdog0/bootstatus";
    ensure!(vm.run(bootstatus)? == "0");
    neglect(&vm, "/dev/watchdog0")?;
    vm.wait_reboot()?;
    ensure!(vm.event("WATCHDOG").is_some(), "{:?}", vm.events());
    // WDIOF_CARDRESET (include/uapi/linux/watchdog.h).
    ensure!(vm.run(bootstatus)? == "32");
    ensure!(dumps(&vm)?.is_empty());
    Ok(())
}

/// Without a crash kernel and with `panic=0`, a panic hangs: only the watchdog ends it.
fn the_platform_keeps_the_last_words_of_a_panic(machine: Machine) -> Result<()> {
    let storage = Storage::new()?;
    let machine = machine.storage(&storage).qemu(&I6300ESB).arg("panic=0").reboots();
    let vm = machine.boot()?;
    vm.run("modprobe i6300esb heartbeat=6")?;
    neglect(&vm, "/dev/watchdog0")?;
    vm.spawn("sh -c 'echo c > /proc/sysrq-trigger'")?;
    vm.wait_reboot()?;
    ensure!(vm.event("WATCHDOG").is_some(), "{:?}", vm.events());
    let words = vm.run("mount -t pstore pstore /sys/fs/pstore && cat /sys/fs/pstore/*")?;
    ensure!(words.contains("sysrq triggered crash"), "{words}");
    Ok(())
}

fn a_watchdog_that_raises_an_nmi_ends_in_a_dump(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let nmi = ["-device", "i6300esb", "-action", "watchdog=inject-nmi"];
    let vm = host(machine, &disk).crash_kernel().qemu(&nmi).boot()?;
    vm.run("sysctl -w kernel.unknown_nmi_panic=1 && modprobe i6300esb heartbeat=4")?;
    neglect(&vm, "/dev/watchdog0")?;
    vm.wait_reboot()?;
    the_only_dump(&vm)?.contains("NMI: Not continuing")
}

fn a_bmc_raises_its_nmi_before_it_resets(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let vm = host(machine, &disk).crash_kernel().qemu(&BMC).boot()?;
    vm.run("modprobe ipmi_si && modprobe ipmi_devintf")?;
    // Four seconds to the NMI, and then a minute for the dump: nobody feeds it there.
    vm.run("modprobe ipmi_watchdog timeout=64 pretimeout=60 preaction=pre_nmi preop=preop_panic")?;
    neglect(&vm, "/dev/watchdog")?;
    vm.wait_reboot()?;
    the_only_dump(&vm)?.contains("Kernel panic")
}
