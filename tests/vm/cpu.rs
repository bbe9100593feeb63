//! Cores: taken whole for errors in what is theirs alone, and never past a guard.

use anyhow::{ensure, Context, Result};

use crate::bulkhead::{online, Bulkhead, LIMIT};
use crate::harness::mce::{L1_DATA_CE, L2_DATA_CE};
use crate::harness::{wait_until, Machine};

/// A corrected data read error in a cache whose level the code does not say, in a bank of the mesh (CHA).
const L3_CE: u64 = 0x9000_0000_0000_0137;
/// Bus and interconnect, corrected.
const BUS_CE: u64 = 0x9000_0000_0000_0e0b;
/// The cache's own threshold is passed (bits 54:53, yellow).
const YELLOW: u64 = 2 << 53;

on_each_kernel!(
    three_l1_errors_take_both_threads_of_the_core,
    a_thread_that_is_off_line_belongs_to_its_core,
    the_last_core_stays,
    a_released_core_comes_back,
    a_cpu_brought_back_by_hand_is_not_fought;
    long on 6.1:
    errors_of_sibling_threads_add_up,
    a_passed_threshold_takes_the_core_at_once,
    a_core_with_cpu0_is_refused_whole,
    the_last_core_that_can_go_stays,
    every_node_keeps_a_cpu,
    a_second_core_has_to_wait,
    a_storm_of_a_shared_bank_takes_no_cpu,
    bus_errors_take_no_cpu,
    an_admin_takes_one_cpu_and_gives_it_back,
);

fn three_l1_errors_take_both_threads_of_the_core(machine: Machine) -> Result<()> {
    let vm = machine.smp("8,sockets=1,cores=4,threads=2").boot()?;
    let it = Bulkhead::start(&vm, "")?;
    for _ in 0..2 {
        vm.ce(5, 1, L1_DATA_CE, 0, 0)?;
    }
    it.wait_reports(2)?;
    it.let_time_pass();
    ensure!(online(&vm)? == "0-7", "taken before the third error");
    vm.ce(5, 1, L1_DATA_CE, 0, 0)?;
    for cpu in ["4", "5"] {
        let line = it.wait_line("cpu", cpu, "isolated")?;
        ensure!(line["by"] == "bulkhead", "{line}");
    }
    ensure!(online(&vm)? == "0-3,6-7", "{}", online(&vm)?);
    ensure!(it.list()?.len() == 2, "{:?}", it.list()?);
    let status = it.status()?;
    ensure!(status["isolated"]["cpus"] == 2 && status["health"] == "degraded", "{status}");
    let faults = it.faults()?;
    ensure!(faults.len() == 1 && faults[0]["kind"] == "cache", "{faults:?}");
    ensure!(faults[0]["rule"] == "cpu-cache" && faults[0]["errors"] == 3, "{faults:?}");
    Ok(())
}

fn errors_of_sibling_threads_add_up(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    vm.ce(2, 1, L1_DATA_CE, 0, 0)?;
    vm.ce(3, 1, L1_DATA_CE, 0, 0)?;
    // Another level is another structure.
    vm.ce(3, 3, L2_DATA_CE, 0, 0)?;
    it.wait_reports(3)?;
    it.let_time_pass();
    ensure!(online(&vm)? == "0-3", "levels were added up");
    vm.ce(2, 1, L1_DATA_CE, 0, 0)?;
    it.wait_line("cpu", "3", "isolated")?;
    ensure!(online(&vm)? == "0-1");
    Ok(())
}

fn a_thread_that_is_off_line_belongs_to_its_core(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    Bulkhead::start(&vm, "")?.stop()?;
    // sysfs no longer says whose thread it was.
    vm.run("echo 0 > /sys/devices/system/cpu/cpu3/online")?;
    let it = Bulkhead::start(&vm, "")?;
    for _ in 0..3 {
        vm.ce(2, 1, L1_DATA_CE, 0, 0)?;
    }
    it.wait_line("cpu", "2", "isolated")?;
    let line = it.wait_line("cpu", "3", "isolated")?;
    ensure!(line["by"] == "admin", "{line}");
    ensure!(online(&vm)? == "0-1");
    vm.run("bulkhead release cpu 2")?;
    ensure!(online(&vm)? == "0-2", "what an admin took came back: {}", online(&vm)?);
    Ok(())
}

fn a_passed_threshold_takes_the_core_at_once(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    vm.ce(3, 3, L2_DATA_CE | YELLOW, 0, 0)?;
    it.wait_line("cpu", "2", "isolated")?;
    it.wait_line("cpu", "3", "isolated")?;
    ensure!(it.faults()?[0]["rule"] == "cpu-threshold", "{:?}", it.faults()?);
    Ok(())
}

fn a_core_with_cpu0_is_refused_whole(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    for _ in 0..3 {
        vm.ce(1, 1, L1_DATA_CE, 0, 0)?;
    }
    let line = it.wait_line("cpu", "1", "refused")?;
    ensure!(online(&vm)? == "0-3", "half a core was taken");
    ensure!(line["why"].as_str().is_some_and(|why| why.contains("CPU 0")), "{line}");
    let status = it.status()?;
    ensure!(status["health"] == "faulted" && status["refused"].as_u64() >= Some(1), "{status}");
    ensure!(it.faults()?[0]["state"] == "escalated", "{:?}", it.faults()?);
    Ok(())
}

fn the_last_core_stays(machine: Machine) -> Result<()> {
    // 6.1 lets CPU 0 go with this, 6.12 never does: there it is the kernel that keeps the last one.
    let vm = machine.smp("2,sockets=1,cores=2,threads=1").arg("cpu0_hotplug").boot()?;
    // No limit of ours stands in the way; the last CPU is kept all the same.
    vm.write_file("/tmp/all.toml", "[limits]\ncpus = \"100%\"\n")?;
    let it = Bulkhead::start(&vm, "--config /tmp/all.toml")?;
    let (goes, stays, why) = match vm.sh("test -e /sys/devices/system/cpu/cpu0/online")?.code {
        0 => (0, 1, "the last CPU"),
        _ => (1, 0, "no switch"),
    };
    ensure!((goes == 0) == (vm.run("uname -r")?.starts_with("6.1.")), "which CPU can go?");
    vm.run(&format!("bulkhead isolate cpu {goes}"))?;
    ensure!(online(&vm)? == stays.to_string());
    let refused = vm.sh(&format!("bulkhead isolate cpu {stays}"))?;
    ensure!(refused.code == 4 && refused.stderr.contains(why), "{refused:?}");
    ensure!(online(&vm)? == stays.to_string());

    // Nor for its errors.
    for _ in 0..3 {
        vm.ce(stays, 1, L1_DATA_CE, 0, 0)?;
    }
    let line = it.wait_line("cpu", &stays.to_string(), "refused")?;
    ensure!(line["why"].as_str().is_some_and(|words| words.contains(why)), "{line}");
    ensure!(online(&vm)? == stays.to_string());
    it.stop()
}

fn the_last_core_that_can_go_stays(machine: Machine) -> Result<()> {
    // Of two cores one holds CPU 0. Half of the CPUs may go, so this is it.
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    for _ in 0..3 {
        vm.ce(2, 1, L1_DATA_CE, 0, 0)?;
    }
    it.wait_line("cpu", "3", "isolated")?;
    // Of another kind, so that it is a case of its own and no cascade.
    for _ in 0..3 {
        vm.ce(1, 3, L2_DATA_CE, 0, 0)?;
    }
    it.wait_line("cpu", "0", "refused")?;
    it.wait_line("cpu", "1", "refused")?;
    ensure!(online(&vm)? == "0-1", "{}", online(&vm)?);
    // Its other thread could go, but half of the CPUs have.
    let refused = vm.sh("bulkhead isolate cpu 1")?;
    ensure!(refused.code == 4 && refused.stderr.contains("limits.cpus"), "{refused:?}");
    ensure!(online(&vm)? == "0-1", "{}", online(&vm)?);
    Ok(())
}

fn every_node_keeps_a_cpu(machine: Machine) -> Result<()> {
    let vm = machine
        .smp("8,sockets=2,cores=2,threads=2")
        .qemu(&[
            "-object",
            "memory-backend-ram,id=m0,size=512M",
            "-object",
            "memory-backend-ram,id=m1,size=512M",
            "-numa",
            "node,nodeid=0,memdev=m0,cpus=0-3",
            "-numa",
            "node,nodeid=1,memdev=m1,cpus=4-7",
        ])
        .boot()?;
    ensure!(vm.run("cat /sys/devices/system/node/node1/cpulist")? == "4-7");
    // No other limit stands in the way.
    vm.write_file("/tmp/all.toml", "[limits]\ncpus = \"100%\"\n")?;
    let it = Bulkhead::start(&vm, "--config /tmp/all.toml")?;
    for _ in 0..3 {
        vm.ce(4, 1, L1_DATA_CE, 0, 0)?;
    }
    it.wait_line("cpu", "5", "isolated")?;
    ensure!(online(&vm)? == "0-3,6-7", "{}", online(&vm)?);
    // The other core of the node, by another kind of bank.
    for _ in 0..3 {
        vm.ce(7, 3, L2_DATA_CE, 0, 0)?;
    }
    let line = it.wait_line("cpu", "6", "refused")?;
    ensure!(line["why"].as_str().is_some_and(|why| why.contains("NUMA node 1")), "{line}");
    ensure!(online(&vm)? == "0-3,6-7", "{}", online(&vm)?);

    // An admin may have one thread of it, and not the other.
    vm.run("bulkhead isolate cpu 6")?;
    let refused = vm.sh("bulkhead isolate cpu 7")?;
    ensure!(refused.code == 4 && refused.stderr.contains("NUMA node 1"), "{refused:?}");
    ensure!(online(&vm)? == "0-3,7", "{}", online(&vm)?);
    Ok(())
}

fn a_second_core_has_to_wait(machine: Machine) -> Result<()> {
    let vm = machine.smp("8,sockets=1,cores=4,threads=2").boot()?;
    let it = Bulkhead::start(&vm, "")?;
    for _ in 0..3 {
        vm.ce(2, 1, L1_DATA_CE, 0, 0)?;
    }
    it.wait_line("cpu", "3", "isolated")?;
    // Of another kind, so that it is a case of its own and no cascade.
    for _ in 0..3 {
        vm.ce(4, 3, L2_DATA_CE, 0, 0)?;
    }
    let line = it.wait_line("cpu", "4", "refused")?;
    ensure!(line["next_try"].is_string(), "{line}");
    ensure!(online(&vm)? == "0-1,4-7");
    // The same kind of bank on a third core: the socket is suspect, not the core.
    for _ in 0..3 {
        vm.ce(6, 1, L1_DATA_CE, 0, 0)?;
    }
    wait_until("the case is escalated", LIMIT, || {
        Ok(it.faults()?.iter().any(|fault| {
            fault["state"] == "escalated"
                && fault["component"].as_str().is_some_and(|component| component.contains('6'))
        }))
    })
    .with_context(|| format!("{:?}", it.faults()))?;
    ensure!(online(&vm)? == "0-1,4-7");
    // Unlike the second, it does not wait for its turn either.
    ensure!(it.line("cpu", "6")?.is_none(), "{:?}", it.list()?);
    Ok(())
}

fn a_storm_of_a_shared_bank_takes_no_cpu(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    // Whichever CPU reads a shared bank is named; bank 9 is the mesh's on this model. Far past the threshold of either
    // core, were the bank taken for theirs.
    for round in 1..=12 {
        for cpu in [1, 2] {
            vm.mce(cpu, 9, L3_CE, 0, 0, 0)?;
        }
        vm.ce(3, 9, L3_CE, 0, 0).with_context(|| format!("on line are {:?}", online(&vm)))?;
        it.wait_reports(3 * round)?;
    }
    it.let_time_pass();
    ensure!(online(&vm)? == "0-3", "{}", online(&vm)?);
    ensure!(it.list()?.is_empty(), "{:?}", it.list()?);
    ensure!(!it.faults()?.is_empty(), "nothing was said of it");
    Ok(())
}

fn bus_errors_take_no_cpu(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    for _ in 0..3 {
        vm.ce(2, 0, BUS_CE, 0, 0)?;
    }
    wait_until("a fault is told of", LIMIT, || Ok(!it.faults()?.is_empty()))?;
    ensure!(it.faults()?[0]["kind"] == "bus", "{:?}", it.faults()?);
    it.let_time_pass();
    ensure!(online(&vm)? == "0-3" && it.list()?.is_empty());
    Ok(())
}

fn a_released_core_comes_back(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    for _ in 0..3 {
        vm.ce(3, 1, L1_DATA_CE, 0, 0)?;
    }
    it.wait_line("cpu", "2", "isolated")?;
    vm.run("bulkhead release cpu 3")?;
    ensure!(online(&vm)? == "0-3", "{}", online(&vm)?);
    for cpu in ["2", "3"] {
        it.wait_line("cpu", cpu, "released")?;
    }
    // Its window begins anew: the next error is its first.
    vm.ce(3, 1, L1_DATA_CE, 0, 0)?;
    it.wait_reports(4)?;
    it.let_time_pass();
    ensure!(online(&vm)? == "0-3");
    // Its third takes it again, as a case of its own.
    for _ in 0..2 {
        vm.ce(3, 1, L1_DATA_CE, 0, 0)?;
    }
    for cpu in ["2", "3"] {
        it.wait_line("cpu", cpu, "isolated")?;
    }
    ensure!(online(&vm)? == "0-1", "{}", online(&vm)?);
    ensure!(it.faults()?.len() == 2, "{:?}", it.faults()?);
    Ok(())
}

fn a_cpu_brought_back_by_hand_is_not_fought(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    for _ in 0..3 {
        vm.ce(3, 1, L1_DATA_CE, 0, 0)?;
    }
    it.wait_line("cpu", "3", "isolated")?;
    vm.run("echo 1 > /sys/devices/system/cpu/cpu3/online")?;
    let line = it.wait_line("cpu", "3", "released")?;
    ensure!(line["by"] == "admin", "{line}");
    it.let_time_pass();
    ensure!(online(&vm)? == "0-1,3", "{}", online(&vm)?);
    // Nor taken once more and given back.
    let attempts = it.attempts(&line["fault"])?;
    let written = attempts.iter().filter(|attempt| attempt.asked.contains(" > "));
    ensure!(written.count() == 1, "{attempts:?}");
    it.wait_line("cpu", "2", "isolated")?;
    Ok(())
}

fn an_admin_takes_one_cpu_and_gives_it_back(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let dry = vm.json("bulkhead isolate cpu 3 --dry-run --json")?;
    ensure!(online(&vm)? == "0-3" && it.list()?.is_empty(), "a dry run did something: {dry}");
    for _ in 0..2 {
        vm.ce(3, 1, L1_DATA_CE, 0, 0)?;
    }
    it.wait_reports(2)?;
    vm.run("bulkhead isolate cpu 3 --reason 'it rattles'")?;
    ensure!(online(&vm)? == "0-2");
    let line = it.wait_line("cpu", "3", "isolated")?;
    ensure!(
        line["by"] == "admin" && line["why"].as_str().is_some_and(|w| w.contains("rattles")),
        "{line}"
    );
    vm.run("bulkhead release cpu 3")?;
    ensure!(online(&vm)? == "0-3");
    // Its window began anew: the third error is the first of it.
    vm.ce(3, 1, L1_DATA_CE, 0, 0)?;
    it.wait_reports(3)?;
    it.let_time_pass();
    ensure!(online(&vm)? == "0-3", "{:?}", it.list()?);
    Ok(())
}
