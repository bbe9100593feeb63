//! A host that is only busy.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use tempfile::NamedTempFile;

use super::host::{watched, Watched};
use crate::harness::{libraries, Disk, Machine};

on_each_kernel!(
    ;
    only 6.12:
    #[ignore = "long"]
    ten_minutes_of_full_load_are_no_stall,
);

/// Of the package of that name; `scripts/test --long` installs it.
const STRESS: &str = "/usr/bin/stress-ng";

const TIME: Duration = Duration::from_secs(600);

/// More processes than CPUs, more memory than there is, and what makes work for the scheduler. Plain integers: of the
/// methods that stress-ng chooses by the CPU some end in an instruction that the emulator lacks. That some of it ends
/// for want of memory is part of the load; the others go on.
const LOAD: &str = "--cpu 4 --cpu-method int64 --vm 2 --vm-method write64 --vm-bytes 60% \
                    --switch 4 --fork 2 --timer 2 --oomable";

fn ten_minutes_of_full_load_are_no_stall(machine: Machine) -> Result<()> {
    let (disk, program) = (Disk::new()?, archive()?);
    let drive = format!("file={},if=virtio,format=raw,readonly=on", program.path().display());
    let machine = watched(machine, &disk).qemu(&["-drive", &drive]);
    let vm = machine.limit(2 * TIME + Duration::from_secs(600)).boot()?;
    vm.run("tar -x -f /dev/vdb -C /")?;
    let watched = Watched::start(&vm)?;
    let before = watched.status()?;
    let since = Instant::now();
    let load =
        vm.spawn(&format!("{STRESS} {LOAD} --temp-path /tmp --timeout {}s", TIME.as_secs()))?;
    let said = load.wait()?.stderr;
    ensure!(said.contains("run completed in ") && since.elapsed() >= TIME, "{said}");
    ensure!(vm.event("WATCHDOG").is_none() && vm.event("RESET").is_none(), "{:?}", vm.events());
    let now = watched.status()?;
    ensure!(now["state"] == "armed" && now["pid"] == before["pid"], "{now}");
    let log = vm.run("dmesg")?;
    ensure!(!log.contains("bulkhead-watchdog: stall"), "{log}");
    Ok(())
}

/// The program and its libraries, as tar has them.
fn archive() -> Result<NamedTempFile> {
    ensure!(Path::new(STRESS).exists(), "no {STRESS} (package stress-ng)");
    let archive = NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let tar = Command::new("tar")
        .args(["--create", "--dereference", "--absolute-names", "--file"])
        .arg(archive.path())
        .arg(STRESS)
        .args(libraries(&[STRESS.into()])?)
        .output()
        .context("run tar")?;
    ensure!(tar.status.success(), "tar: {}", String::from_utf8_lossy(&tar.stderr));
    Ok(archive)
}
