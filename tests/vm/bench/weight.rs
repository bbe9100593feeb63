//! How much memory it takes, and what else.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::programs::{boot, bulkheadd, forget, raise, Bpf, Memory, Program, Rasdaemon};
use super::report::{count, mib, ratio, Report};
use super::scale;
use crate::harness::{programs, stripped, wait_until, Machine, Vm};

/// One error on each of so many pages.
const PAGES: u64 = 1_000_000;

/// Beyond the machine's own memory, as this is more than it has: nothing is taken anyway.
const FIRST: u64 = 64 << 30;

const LIMIT: Duration = Duration::from_secs(600);

/// rasdaemon takes on memory as long as it has more to do.
const THEIR_LIMIT: Duration = Duration::from_secs(20);

const WATCHDOG: &str = "bulkhead-watchdog";

const MOST_AT_REST: u64 = 16 << 20;
const MOST_EVER: u64 = 64 << 20;

pub fn measure(machine: Machine) -> Result<()> {
    let mut report = Report::new("4-weight", "Weight");
    let pages = scale::number(PAGES);
    let vm = boot(&machine)?;
    let rest = {
        let it = bulkheadd(&vm, "--observe")?;
        let rest = Weight::of(&vm, Program::Bulkhead)?;
        it.kill()?;
        rest
    };
    let stormed = of_storm(&vm, pages)?;
    let theirs = {
        let it = Rasdaemon::start(&vm)?;
        let before = Weight::of(&vm, Program::Rasdaemon)?;
        raise(&vm, &storm(pages))?;
        Program::Rasdaemon.settle(&vm, scale::time(THEIR_LIMIT))?;
        let after = Weight::of(&vm, Program::Rasdaemon)?;
        it.kill()?;
        [before, after]
    };
    let watchdog = Weight { memory: watchdog(&vm)?, maps: 0, rings: 0 };

    report.say(&format!(
        "At rest, and after one error on each of {} pages, with --observe. Maps are those of all \
         BPF maps of the kernel, as bpftool tells them; ring buffers are those of the program's \
         tracing instance.",
        count(pages)
    ));
    let ours = &stormed.weight;
    let [before, after] = &theirs;
    report.table(
        &["", "RSS", "PSS", "most RSS ever", "BPF maps", "ring buffers", "all, ever", "threads"],
        &[
            rest.row("bulkheadd at rest"),
            ours.row("bulkheadd after the storm"),
            watchdog.row("bulkhead-watchdog at rest"),
            before.row("rasdaemon at rest"),
            after.row("rasdaemon after the storm"),
        ],
    );
    report.say(&format!(
        "Evidence after the storm: of {} pages it is held, of {} it was given up and counted. \
         bulkheadd's RSS at rest is {} of rasdaemon's.",
        count(stormed.tracked),
        count(stormed.evicted),
        ratio(rest.memory.rss as f64, before.memory.rss as f64)
    ));
    report.table(&["program", "size"], &sizes()?);
    let (at_rest, ever) = (rest.memory.rss, ours.ever());
    report.goal("RSS at rest at most 16 MiB", &mib(at_rest), at_rest <= MOST_AT_REST);
    report.goal(
        "process, maps and ring buffers together never over 64 MiB",
        &mib(ever),
        ever <= MOST_EVER,
    );
    report.publish()
}

/// Of a program, and of what the kernel keeps for it.
pub struct Weight {
    memory: Memory,
    /// BPF maps, in bytes.
    maps: u64,
    /// Of its tracing instance, in bytes.
    rings: u64,
}

impl Weight {
    fn of(vm: &Vm, program: Program) -> Result<Self> {
        let (maps, instance) = match program {
            Program::Bulkhead => (Bpf::of(vm)?.map_bytes, "bulkhead"),
            Program::Rasdaemon => (0, "rasdaemon"),
        };
        let file = format!("/sys/kernel/tracing/instances/{instance}/buffer_total_size_kb");
        // `28 (expanded: 5640)` while nothing was ever recorded.
        let size = vm.run(&format!("cat {file}"))?;
        let kib: u64 =
            size.split(' ').next().unwrap_or_default().parse().context("ring buffers")?;
        Ok(Self { memory: program.memory(vm)?, maps, rings: kib << 10 })
    }

    /// All of it, in bytes, when the process had most.
    pub fn ever(&self) -> u64 {
        self.memory.peak + self.maps + self.rings
    }

    fn row(&self, what: &str) -> Vec<String> {
        vec![
            what.to_owned(),
            mib(self.memory.rss),
            mib(self.memory.pss),
            mib(self.memory.peak),
            mib(self.maps),
            mib(self.rings),
            mib(self.ever()),
            count(self.memory.threads),
        ]
    }
}

/// After one error on each of many pages.
pub struct Stormed {
    pub weight: Weight,
    /// Components that it has evidence of.
    pub tracked: u64,
    /// Those whose evidence it gave up.
    pub evicted: u64,
}

/// From nothing, and nothing is left of it.
pub fn of_storm(vm: &Vm, pages: u64) -> Result<Stormed> {
    forget(vm)?;
    let it = bulkheadd(vm, "--observe")?;
    raise(vm, &storm(pages))?;
    Program::Bulkhead.settle(vm, LIMIT)?;
    let weight = Weight::of(vm, Program::Bulkhead)?;
    let evidence = it.status()?["evidence"].clone();
    let number = |key: &str| evidence[key].as_u64().with_context(|| format!("{key}: {evidence}"));
    let stormed = Stormed { weight, tracked: number("tracked")?, evicted: number("evicted")? };
    it.kill()?;
    forget(vm)?;
    Ok(stormed)
}

fn storm(pages: u64) -> String {
    format!("ce n={pages} pages={pages} addr={FIRST:#x}")
}

fn watchdog(vm: &Vm) -> Result<Memory> {
    vm.run("modprobe softdog")?;
    let process = vm.spawn(&format!("{WATCHDOG} > /tmp/watchdog.log 2>&1"))?;
    wait_until("it probes", Duration::from_secs(60), || {
        Ok(vm.run("cat /tmp/watchdog.log")?.contains("CPUs are probed"))
    })?;
    let memory = Memory::of(vm, WATCHDOG)?;
    process.signal(15)?;
    process.wait()?;
    Ok(memory)
}

/// The programs without their debugging information, and without the libraries that they are linked to.
fn sizes() -> Result<Vec<Vec<String>>> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let all = programs()?.into_iter().filter_map(|path| Some((name(&path)?, path)));
    let installed = all.filter(|(name, _)| name != "bulkhead-guest");
    installed.map(|(name, path)| Ok(vec![name, mib(stripped(&path)?.len() as u64)])).collect()
}
