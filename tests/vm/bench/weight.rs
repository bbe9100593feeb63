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

/// For the watchdog to feed.
const WATCHDOG: &str = "bulkhead-watchdog";

const MOST_AT_REST: u64 = 16 << 20;
const MOST_EVER: u64 = 64 << 20;

pub fn measure(machine: Machine) -> Result<()> {
    let pages = scale::number(PAGES);
    let vm = boot(&machine)?;
    let mut report = Report::new("4-weight", "Weight");
    report.say(&format!(
        "At rest, and after one error on each of {} pages, with --observe. Maps are those of all \
         BPF maps of the kernel, as bpftool tells them.",
        count(pages)
    ));

    let rest = {
        let it = bulkheadd(&vm, "--observe")?;
        let rest = Weight::of(&vm)?;
        it.kill()?;
        forget(&vm)?;
        rest
    };
    let stormed = of_storm(&vm, pages)?;
    let rasdaemon = {
        let it = Rasdaemon::start(&vm)?;
        let before = Program::Rasdaemon.memory(&vm)?;
        raise(&vm, &storm(pages))?;
        // What it takes on it has as long as it has more to do.
        Program::Rasdaemon.settle(&vm, Duration::from_secs(20))?;
        let after = Program::Rasdaemon.memory(&vm)?;
        it.kill()?;
        [before, after]
    };
    let watchdog = watchdog(&vm)?;

    let row = |what: &str, memory: &Memory, maps: u64| {
        vec![
            what.to_owned(),
            mib(memory.rss),
            mib(memory.pss),
            mib(memory.peak),
            mib(maps),
            mib(memory.peak + maps),
            count(memory.threads),
        ]
    };
    let [theirs_before, theirs_after] = &rasdaemon;
    report.table(
        &["", "RSS", "PSS", "most RSS ever", "BPF maps", "most RSS and maps", "threads"],
        &[
            row("bulkheadd at rest", &rest.memory, rest.maps),
            row("bulkheadd after the storm", &stormed.weight.memory, stormed.weight.maps),
            row("bulkhead-watchdog at rest", &watchdog, 0),
            row("rasdaemon at rest", theirs_before, 0),
            row("rasdaemon after the storm", theirs_after, 0),
        ],
    );
    report.say(&format!(
        "Evidence after the storm: {} pages are known, of {} it was given up and counted. \
         bulkheadd's RSS at rest is {} of rasdaemon's. rasdaemon's ring buffers are the kernel's, \
         and not in its row.",
        count(stormed.tracked),
        count(stormed.evicted),
        ratio(rest.memory.rss as f64, theirs_before.rss as f64)
    ));
    report.table(&["program", "size"], &sizes()?);
    let ever = stormed.weight.memory.peak + stormed.weight.maps;
    let at_rest = rest.memory.rss;
    report.goal("RSS at rest at most 16 MiB", &mib(at_rest), at_rest <= MOST_AT_REST);
    report.goal("process and maps together never over 64 MiB", &mib(ever), ever <= MOST_EVER);
    report.publish()
}

/// bulkheadd and its maps.
pub struct Weight {
    pub memory: Memory,
    pub maps: u64,
}

impl Weight {
    fn of(vm: &Vm) -> Result<Self> {
        Ok(Self { memory: Program::Bulkhead.memory(vm)?, maps: Bpf::of(vm)?.map_bytes })
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
    let weight = Weight::of(vm)?;
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
