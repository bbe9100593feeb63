//! What Debian's rasdaemon records of errors, `bulkhead replay` reads.

use std::time::Duration;

use anyhow::{bail, ensure, Result};
use serde_json::Value;

use crate::harness::mce::L1_DATA_CE;
use crate::harness::{wait_until, Machine, Process, Vm};

pub const DATABASE: &str = "/var/lib/rasdaemon/ras-mc_event.db";

const LOG: &str = "/tmp/rasdaemon.log";

/// rasdaemon commits each row by itself, with a sync.
const LIMIT: Duration = Duration::from_secs(120);

on_each_kernel!(;
    long on 6.1:
    what_rasdaemon_recorded_is_replayed,
);

fn what_rasdaemon_recorded_is_replayed(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    let rasdaemon = start(&vm, "rasdaemon")?;
    let pages = vm.find_pages("buddy", 2)?;
    let first = 0x7_0000_0000_u64;
    // A page with machine checks, and one with a single one; a core; five pages with errors of a controller; and one
    // uncorrected.
    let raise = || {
        vm.memory_ce(pages[0])?;
        vm.memory_ce(pages[0])?;
        (0..3).try_for_each(|_| vm.ce(1, 1, L1_DATA_CE, 0, 0))?;
        vm.edac(&format!("ce n=20 pages=5 addr={first:#x} top=1 mid=1 detail=row:0x5 column:0x8"))?;
        vm.edac(&format!("ue addr={:#x} top=0 mid=1", first + (9 << 12)))
    };
    vm.memory_ce(pages[1])?;
    let mut expected: Vec<String> =
        (0..5).chain([9]).map(|page| format!("{:#x}", first + (page << 12))).collect();
    expected.push(format!("{:#x}", pages[0]));
    expected.sort();

    // rasdaemon loses a record now and then, the one after a burst above all: what did not arrive is raised again.
    let (mut found, mut raised) = (Value::Null, 1);
    let all = wait_until("rasdaemon has recorded enough of each", LIMIT, || {
        raise()?;
        raised += 5 + 20 + 1;
        found = replay(&vm)?;
        Ok(taken(&found, "page") == expected && taken(&found, "cpu") == ["1"])
    });
    if let Err(error) = all {
        bail!("{error:#}; so far {found}; it says:\n{}", vm.run(&format!("cat {LOG}"))?);
    }
    let reports = found["reports"].as_u64().unwrap_or(0);
    ensure!((2 + 3 + 10 + 1..=raised).contains(&reports), "{raised} raised: {found}");
    ensure!(found["skipped"] == 0 && found["pages"] == 7, "{found}");

    // It went on while it was read, and what it had is as it was.
    rasdaemon.signal(15)?;
    rasdaemon.wait()?;
    let stopped = replay(&vm)?;
    ensure!(stopped["isolations"] == found["isolations"], "{found}, and once stopped {stopped}");
    Ok(())
}

/// Starts it by a command that becomes it, and waits until it listens; it says what it sees in [`LOG`].
pub fn start(vm: &Vm, command: &str) -> Result<Process> {
    // Its own instance, made before it comes: 0.6.8 leaves buffer_percent at 50, and so hears of nothing on these
    // kernels before half of a CPU's buffer is full.
    vm.run(
        "mkdir -p /sys/kernel/tracing/instances/rasdaemon \
         && echo 0 > /sys/kernel/tracing/instances/rasdaemon/buffer_percent",
    )?;
    let rasdaemon = vm.spawn(&format!("{command} -f -r > {LOG} 2>&1"))?;
    wait_until("rasdaemon listens", LIMIT, || {
        Ok(vm.sh(&format!("cat {LOG}"))?.stdout.contains("Listening"))
    })?;
    Ok(rasdaemon)
}

/// The ids of what was taken of a kind, in order.
fn taken(found: &Value, kind: &str) -> Vec<String> {
    let all = found["isolations"].as_array().into_iter().flatten();
    let mut ids: Vec<String> = all
        .filter(|i| i["kind"] == kind)
        .filter_map(|i| Some(i["id"].as_str()?.to_owned()))
        .collect();
    ids.sort();
    ids
}

fn replay(vm: &Vm) -> Result<Value> {
    // Within a minute of the first row there may be no table yet.
    let output = vm.sh(&format!("bulkhead replay {DATABASE} --json"))?;
    Ok(serde_json::from_str(&output.stdout).unwrap_or_default())
}
