//! What a storm of errors costs: bounded memory.

use std::time::Duration;

use anyhow::{ensure, Context, Result};

use crate::bulkhead::Bulkhead;
use crate::harness::{wait_until, Machine, Vm};

on_each_kernel!(; long on 6.1: a_storm_over_many_pages_takes_bounded_memory);

/// Bytes that the daemon and its BPF maps may take together, ever.
const MOST: u64 = 64 << 20;

/// Bytes of the maps that the programs alone hold, the indexes: 8 bytes for each of 131,072 + 2 * 8,192 places.
const INDEXES: u64 = 8 * (131_072 + 2 * 8_192);

/// A storm over a million pages is drained for a while.
const STORM: Duration = Duration::from_secs(300);

fn a_storm_over_many_pages_takes_bounded_memory(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    vm.run(
        "modprobe bulkhead_edac_test && echo 0 > /sys/module/edac_core/parameters/edac_mc_log_ce",
    )?;
    let it = Bulkhead::start(&vm, "--observe")?;
    ensure!(it.source("ras:mc_event")?["via"] == "bpf", "{}", it.log()?);
    let rest = memory(&vm)?;
    println!("at rest: {rest:?}");
    let mut raised = 0;
    for pages in [1_000, 100_000, 1_000_000] {
        vm.edac(&format!("ce n={pages} pages={pages} addr=0x100000000"))?;
        raised += pages;
        wait_until("all are counted or known to be lost", STORM, || {
            let lost = it.source("ras:mc_event")?["lost"].as_u64().context("lost")?;
            Ok(it.reports()? + lost >= raised)
        })?;
        let lost = it.source("ras:mc_event")?["lost"].as_u64().context("lost")?;
        ensure!(it.reports()? + lost == raised, "{}", it.status()?);
        ensure!(pages > 1_000 || lost == 0, "{}", it.status()?);
        let now = memory(&vm)?;
        println!("{pages} pages: {now:?}, {lost} lost of {raised}");
        ensure!(now.peak() < MOST, "after {pages} pages: {now:?}, at rest {rest:?}");
    }
    let status = it.status()?;
    ensure!(status["evidence"]["evicted"].as_u64() > Some(0), "{status}");
    Ok(())
}

/// Bytes.
#[derive(Debug)]
struct Memory {
    /// Most that the process ever had in memory, but for what it maps of its files: a build with debug information has
    /// much of that, and the kernel can take it back.
    process: u64,
    /// Its BPF maps.
    maps: u64,
}

impl Memory {
    fn peak(&self) -> u64 {
        self.process + self.maps
    }
}

/// What the daemon and its maps take.
fn memory(vm: &Vm) -> Result<Memory> {
    let status = vm.run("cat /proc/$(pidof bulkheadd)/status")?;
    let of = |name: &str| -> Result<u64> {
        let line = status.lines().find(|line| line.starts_with(name)).context("status")?;
        let kib = line.split_whitespace().nth(1).context("no figure")?;
        Ok(kib.parse::<u64>()? << 10)
    };
    // One descriptor of a map may be of the same map as another.
    let held = vm.run("cd /proc/$(pidof bulkheadd)/fdinfo; for fd in *; do grep -q ^map_id: $fd && sed -n 's/^memlock:\\t//p;s/^map_id:\\t//p' $fd | tr '\\n' ' ' && echo; done | sort -u -k2; :")?;
    let locked =
        held.lines().filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let maps = locked.sum::<u64>() + INDEXES;
    let process = of("VmHWM:")?.saturating_sub(of("RssFile:")?);
    Ok(Memory { process, maps })
}
