//! A host that stalls: what becomes of it, and what the next boot says of it.
//!
//! The guests have Debian's `panic=0`, and reboot inside one QEMU, so that what a watchdog and the platform remember of
//! a reset is there at the next boot, as on a real host.

mod ground;

use anyhow::Result;

use crate::harness::{Disk, Machine, Vm};

/// A host with a crash kernel, and its state on a disk.
fn host(machine: Machine, disk: &Disk) -> Machine {
    machine.disk(disk).crash_kernel().arg("panic=0").reboots()
}

/// The kernel logs that crash kernels saved, the newest first.
fn dumps(vm: &Vm) -> Result<Vec<String>> {
    let files = vm.run("ls -1r /var/crash/*/dmesg.* 2>/dev/null || true")?;
    files.lines().map(|file| vm.run(&format!("cat {file}"))).collect()
}
