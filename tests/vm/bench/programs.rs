//! What is measured: bulkheadd and Debian's rasdaemon, each in a control group of its own, both on one disk.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};

use super::kernel::{number, sum};
use super::report::progress;
use super::scale;
use crate::bulkhead::Bulkhead;
use crate::harness::{Disk, Machine, Process, Vm};
use crate::rasdaemon;

const GROUPS: &str = "/sys/fs/cgroup";

/// Between two looks whether a program still works.
const LOOK: Duration = Duration::from_millis(500);

/// A program that used no more than [`LITTLE`] in so many looks on end has nothing left to do.
const STILL: u64 = 5;
const LITTLE: Duration = Duration::from_millis(1);

/// Room for all that a storm is to take out of service.
const LIMITS: &str = "[limits]\nmemory = \"1GiB\"\npages_per_day = 1000000\n";

const SIGKILL: i32 = 9;

/// The disk of both programs' databases.
pub const DISK_BYTES: u64 = 4 << 30;

/// Boots a machine with half of its 4 GiB of memory to take, and without what others do about errors: the kernel's own
/// collector, and lines on the console, which are slow in a virtual machine.
pub fn boot(machine: &Machine) -> Result<Vm> {
    let disk = Disk::of(DISK_BYTES)?;
    boot_on(machine, &disk)
}

/// The same, with the state that is on a disk.
pub fn boot_on(machine: &Machine, disk: &Disk) -> Result<Vm> {
    let vm = machine.clone().memory(4096).arg("ras=cec_disable").disk(disk).boot()?;
    vm.run(
        "dmesg -n 1; modprobe bulkhead_edac_test; mkdir -p /var/lib/bulkhead/rasdaemon \
         && mount -o bind /var/lib/bulkhead/rasdaemon /var/lib/rasdaemon",
    )?;
    log_ce(&vm, false)?;
    vm.write_file("/tmp/bench.toml", LIMITS)?;
    progress("the machine is up");
    Ok(vm)
}

/// Whether EDAC says each error in the kernel log, which it does unless told otherwise.
pub fn log_ce(vm: &Vm, on: bool) -> Result<()> {
    let file = "/sys/module/edac_core/parameters/edac_mc_log_ce";
    vm.run(&format!("echo {} > {file}", u8::from(on))).map(drop)
}

/// Raises errors by a command of tests/vm/edac-test, and answers how long it took the kernel.
pub fn raise(vm: &Vm, command: &str) -> Result<Duration> {
    let seconds: f64 = vm.run(&format!("bulkhead-guest raise '{command}'"))?.parse()?;
    progress(&format!("raised: {command}"));
    Ok(Duration::from_secs_f64(seconds))
}

/// The first of so many pages in a row that can be taken.
pub fn first_of(vm: &Vm, pages: u64) -> Result<u64> {
    let found = vm.run(&format!("bulkhead-guest find-pages buddy {pages} | sed -n '1p;$p'"))?;
    let address = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16);
    let ends: Vec<u64> = found.lines().map(address).collect::<Result<_, _>>()?;
    let (first, last) = (*ends.first().context("no pages")?, *ends.last().context("no pages")?);
    ensure!(last == first + (pages - 1) * 4096, "no {pages} pages in a row: {found:?}");
    Ok(first)
}

/// A program in its control group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Bulkhead,
    Rasdaemon,
}

impl Program {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bulkhead => "bulkheadd",
            Self::Rasdaemon => "rasdaemon",
        }
    }

    /// A command that becomes the program, in its group; what it is given goes to the program.
    fn command(self) -> String {
        let name = self.name();
        format!("sh -c 'echo $$ > {GROUPS}/{name}/cgroup.procs; exec {name} \"$@\"' -")
    }

    fn make_group(self, vm: &Vm) -> Result<()> {
        vm.run(&format!("mkdir -p {GROUPS}/{}", self.name())).map(drop)
    }

    /// The CPU time of all its threads, those that have ended among them.
    pub fn cpu(self, vm: &Vm) -> Result<Duration> {
        let stat = vm.run(&format!("cat {GROUPS}/{}/cpu.stat", self.name()))?;
        Ok(Duration::from_micros(number(&stat, "usage_usec")?))
    }

    /// Waits until it has nothing left to do, but no longer than `limit`; answers whether, and how long it still
    /// worked.
    pub fn settle(self, vm: &Vm, limit: Duration) -> Result<(bool, Duration)> {
        let start = Instant::now();
        let (mut before, mut still, mut worked) = (self.cpu(vm)?, 0, Duration::ZERO);
        while still < scale::number(STILL) {
            if start.elapsed() > limit {
                progress(&format!("{} still works", self.name()));
                return Ok((false, start.elapsed()));
            }
            thread::sleep(LOOK);
            let now = self.cpu(vm)?;
            if now - before > LITTLE {
                (still, worked) = (0, start.elapsed());
            } else {
                still += 1;
            }
            before = now;
        }
        progress(&format!("{} has nothing left to do", self.name()));
        Ok((true, worked))
    }

    /// What /proc says of it.
    pub fn memory(self, vm: &Vm) -> Result<Memory> {
        Memory::of(vm, self.name())
    }
}

/// Memory of a process, in bytes, and its threads.
pub struct Memory {
    pub rss: u64,
    pub pss: u64,
    /// The most that RSS ever was.
    pub peak: u64,
    pub threads: u64,
}

impl Memory {
    pub fn of(vm: &Vm, program: &str) -> Result<Self> {
        let text = vm.run(&format!("cd /proc/$(pidof {program}) && cat status smaps_rollup"))?;
        let kib = |name: &str| Ok::<_, anyhow::Error>(number(&text, name)? << 10);
        Ok(Self {
            rss: kib("Rss")?,
            pss: kib("Pss")?,
            peak: kib("VmHWM")?,
            threads: number(&text, "Threads")?,
        })
    }
}

/// What the kernel side costs: all maps and programs that it has.
pub struct Bpf {
    pub map_bytes: u64,
    /// While kernel.bpf_stats_enabled is 1, see [`count_bpf_time`].
    pub time: Duration,
}

impl Bpf {
    pub fn of(vm: &Vm) -> Result<Self> {
        let text = vm.run("bulkhead-guest bpf-costs")?;
        Ok(Self {
            map_bytes: number(&text, "map_bytes")?,
            time: Duration::from_nanos(number(&text, "run_ns")?),
        })
    }
}

/// Has the kernel measure its BPF programs, which itself takes time.
pub fn count_bpf_time(vm: &Vm, on: bool) -> Result<()> {
    vm.run(&format!("echo {} > /proc/sys/kernel/bpf_stats_enabled", u8::from(on))).map(drop)
}

/// Starts bulkheadd, with limits that allow all.
pub fn bulkheadd<'vm>(vm: &'vm Vm, arguments: &str) -> Result<Bulkhead<'vm>> {
    let program = Program::Bulkhead;
    program.make_group(vm)?;
    let arguments = format!("--config /tmp/bench.toml {arguments}");
    let it = Bulkhead::start_as(vm, &program.command(), &arguments)?;
    program.settle(vm, Duration::from_secs(30))?;
    Ok(it)
}

/// Debian's rasdaemon, as its unit starts it.
pub struct Rasdaemon<'vm> {
    vm: &'vm Vm,
    process: Process,
}

impl<'vm> Rasdaemon<'vm> {
    pub fn start(vm: &'vm Vm) -> Result<Self> {
        let program = Program::Rasdaemon;
        program.make_group(vm)?;
        let process = rasdaemon::start(vm, &program.command())?;
        program.settle(vm, Duration::from_secs(30))?;
        Ok(Self { vm, process })
    }

    /// Errors in its database, each row with its count.
    pub fn recorded(&self) -> Result<u64> {
        let replayed =
            self.vm.sh(&format!("bulkhead replay {} --json", rasdaemon::DATABASE))?.stdout;
        // Before its first row there is no table, and so nothing to replay.
        let found: serde_json::Value = serde_json::from_str(&replayed).unwrap_or_default();
        Ok(found["reports"].as_u64().unwrap_or(0))
    }

    /// Ends it at once: in good order it would first work off what it has buffered. Then nobody records for it any more.
    pub fn kill(self) -> Result<()> {
        self.process.signal(SIGKILL)?;
        self.process.wait()?;
        self.vm.run("rmdir /sys/kernel/tracing/instances/rasdaemon").map(drop)
    }
}

/// Voluntary context switches of a process: each is a sleep, and so a wakeup.
pub fn wakeups(vm: &Vm, program: &str) -> Result<u64> {
    sum(&vm.run(&format!("cat /proc/$(pidof {program})/task/*/status"))?, "voluntary_ctxt_switches")
}

/// Has the next bulkheadd start from nothing: no state, and no programs in the kernel.
pub fn forget(vm: &Vm) -> Result<()> {
    vm.run("rm -rf /sys/fs/bpf/bulkhead /var/lib/bulkhead/bulkhead.db*").map(drop)
}

/// How many pages of a kind `status` counts: `/isolated/pages`, `/failed`, …
pub fn in_status(it: &Bulkhead, place: &str) -> Result<u64> {
    let status = it.status()?;
    status.pointer(place).and_then(serde_json::Value::as_u64).with_context(|| place.to_owned())
}
