//! The whole cycle on a real kernel, told as it happens; `scripts/demo` runs it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use serde_json::Value;

use crate::harness::mce::L1_DATA_CE;
use crate::harness::{run, wait_for, wait_until, Kernel, Machine, Process, Vm};

/// Deciding and acting take seconds; a busy host takes its time.
const LIMIT: Duration = Duration::from_secs(60);

/// The hardware threads of the second core.
const CORE: [&str; 2] = ["2", "3"];

#[test]
#[ignore = "for people to look at: scripts/demo"]
fn demo() -> Result<()> {
    run(module_path!(), Kernel::V6_12, tell)
}

fn tell(machine: Machine) -> Result<()> {
    let story = Story { since: Instant::now() };
    story.say("booting a stock Debian 6.12 kernel: 2 cores with 2 hardware threads each, 1 GiB");
    // Otherwise the kernel's own collector would take the page before anybody else could.
    let vm = machine.arg("ras=cec_disable").boot()?;
    story.say("starting bulkheadd");
    pass_on(vm.spawn("bulkheadd 2>&1")?);
    wait_until("bulkheadd answers", LIMIT, || Ok(vm.sh("bulkhead status")?.code == 0))?;

    let mut held = vm.hold_pages(1)?;
    let page = held.addresses[0];
    story.say(&format!("a process keeps data in the page at {page:#x}, and reads it all the time"));
    for n in 1..=2 {
        story.say(&format!("corrected memory error {n} of 2 at {page:#x}"));
        vm.memory_ce(page)?;
    }
    wait_until("the page is isolated", LIMIT, || is_isolated(&vm, "pages", &format!("{page:#x}")))?;
    let now = held.intact()?[0];
    story.say(&format!("the page is out of service; its data is intact, now at {now:#x}"));

    for n in 1..=3 {
        story.say(&format!("corrected first-level cache error {n} of 3 on cpu{}", CORE[0]));
        vm.ce(2, 1, L1_DATA_CE, 0, 0)?;
    }
    for cpu in CORE {
        wait_until("the core is isolated", LIMIT, || is_isolated(&vm, "cpus", cpu))?;
    }
    let online = vm.run("cat /sys/devices/system/cpu/online")?;
    ensure!(online == "0-1", "cpus {online} are online");
    story.say("the core is out of service: both its hardware threads are offline");

    story.show(&vm, "bulkhead status")?;
    story.show(&vm, "bulkhead list")?;
    for fault in faults(&vm)? {
        story.show(&vm, &format!("bulkhead explain {fault}"))?;
    }
    let now = held.intact()?[0];
    held.release()?;
    story.say(&format!("the process's data, at {now:#x} by now: intact"));
    Ok(())
}

/// Prints what a process prints, as it does so, until the machine ends.
fn pass_on(mut process: Process) {
    thread::spawn(move || {
        while let Ok(Some(line)) = process.next_line(Duration::MAX) {
            println!("           {line}");
        }
    });
}

fn is_isolated(vm: &Vm, kind: &str, id: &str) -> Result<bool> {
    let list = vm.json(&format!("bulkhead list {kind} --json"))?;
    let items = list.as_array().context("bulkhead list prints no array")?;
    Ok(items.iter().any(|item| item["id"] == id && item["state"] == "isolated"))
}

fn faults(vm: &Vm) -> Result<Vec<String>> {
    let ids = |faults: &Value| -> Option<Vec<String>> {
        faults.as_array()?.iter().map(|fault| fault["id"].as_str().map(str::to_owned)).collect()
    };
    wait_for("two faults", LIMIT, || {
        Ok(ids(&vm.json("bulkhead faults --json")?).filter(|ids| ids.len() >= 2))
    })
}

struct Story {
    since: Instant,
}

impl Story {
    fn say(&self, what: &str) {
        println!("[{:6.1} s] {what}", self.since.elapsed().as_secs_f32());
    }

    fn show(&self, vm: &Vm, command: &str) -> Result<()> {
        println!();
        self.say(&format!("# {command}"));
        for line in vm.run(command)?.lines() {
            println!("           {line}");
        }
        Ok(())
    }
}
