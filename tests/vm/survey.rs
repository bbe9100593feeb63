//! What is bound to a CPU: looked at before it goes, put back when it is there again.

use anyhow::{ensure, Result};

use crate::bulkhead::{online, Bulkhead, LIMIT};
use crate::harness::mce::L1_DATA_CE;
use crate::harness::{wait_until, Machine, Process, Vm};

on_each_kernel!(
    a_bound_task_is_named_and_gets_its_cpu_back,
    a_cpuset_partition_keeps_its_cpus;
    long on 6.1:
    a_core_that_goes_gives_its_tasks_their_cpus_back,
    a_real_time_task_keeps_its_cpu,
    the_last_cpu_for_housekeeping_stays,
    every_socket_keeps_a_cpu,
    a_node_without_memory_needs_no_cpu,
);

/// A process that may run on `cpus` alone, and its id.
fn bound(vm: &Vm, arguments: &str) -> Result<(Process, i32)> {
    let mut process = vm.spawn(&format!("bulkhead-guest bind {arguments}"))?;
    process.wait_line("bound", LIMIT)?;
    let pid = process.pid()?;
    Ok((process, pid))
}

fn allowed(vm: &Vm, pid: i32) -> Result<String> {
    vm.run(&format!("sed -n 's/^Cpus_allowed_list:\t//p' /proc/{pid}/status"))
}

fn a_bound_task_is_named_and_gets_its_cpu_back(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let (_process, pid) = bound(&vm, "3")?;

    let dry = vm.json("bulkhead isolate cpu 3 --dry-run --json")?;
    let tasks = dry["plan"]["tasks"].as_array().cloned().unwrap_or_default();
    ensure!(
        tasks.iter().any(|task| task["pid"] == pid
            && task["name"] == "bulkhead-guest"
            && task["cpus"] == "3"),
        "{dry}"
    );
    ensure!(dry["state"] == "wanted" && dry["plan"]["unknown"] == serde_json::json!([]), "{dry}");
    let told = vm.run("bulkhead isolate cpu 3 --dry-run")?;
    ensure!(told.contains(&format!("process {pid} (bulkhead-guest, SCHED_OTHER)")), "{told}");
    ensure!(online(&vm)? == "0-3" && it.list()?.is_empty(), "a dry run did something");

    vm.run("bulkhead isolate cpu 3")?;
    wait_until("the task is driven off", LIMIT, || Ok(allowed(&vm, pid)? != "3"))?;
    vm.run("bulkhead release cpu 3")?;
    ensure!(online(&vm)? == "0-3");
    ensure!(allowed(&vm, pid)? == "3", "it may run on {}", allowed(&vm, pid)?);
    Ok(())
}

fn a_core_that_goes_gives_its_tasks_their_cpus_back(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let (_both, both) = bound(&vm, "2,3")?;
    let (_one, one) = bound(&vm, "3")?;
    let (_free, free) = bound(&vm, "1,3")?;
    for _ in 0..3 {
        vm.ce(2, 1, L1_DATA_CE, 0, 0)?;
    }
    let line = it.wait_line("cpu", "3", "isolated")?;
    let told = format!("{:?}", it.attempts(&line["fault"])?);
    for pid in [both, one] {
        ensure!(told.contains(&format!("bulkhead-guest (process {pid})")), "{told}");
        wait_until("the task is driven off", LIMIT, || {
            Ok(!["3", "2-3"].contains(&allowed(&vm, pid)?.as_str()))
        })?;
    }
    ensure!(!told.contains(&format!("process {free})")), "{told}");

    // Killed and started again, the daemon still knows where they belong.
    it.kill()?;
    let it = Bulkhead::start(&vm, "")?;
    vm.run("bulkhead release cpu 2")?;
    ensure!(online(&vm)? == "0-3");
    ensure!(allowed(&vm, both)? == "2-3" && allowed(&vm, one)? == "3", "{}", it.log()?);
    ensure!(allowed(&vm, free)? == "1,3");
    let told = format!("{:?}", it.attempts(&line["fault"])?);
    ensure!(told.contains("put back") || told.contains("as before already"), "{told}");
    Ok(())
}

fn a_real_time_task_keeps_its_cpu(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    let (_process, pid) = bound(&vm, "--fifo 3")?;
    let name = format!("bulkhead-guest (process {pid}) runs by SCHED_FIFO");
    for dry in ["", " --dry-run"] {
        let refused = vm.sh(&format!("bulkhead isolate cpu 3{dry}"))?;
        ensure!(refused.code == 4 && refused.stderr.contains(&name), "{refused:?}");
    }
    ensure!(it.list()?.is_empty(), "kept for later: {:?}", it.list()?);
    for _ in 0..3 {
        vm.ce(2, 1, L1_DATA_CE, 0, 0)?;
    }
    let line = it.wait_line("cpu", "3", "refused")?;
    let why = line["why"].as_str().unwrap_or_default();
    ensure!(why.contains(&name) && why.contains("(cpu.dedicated)"), "{line}");
    ensure!(line["next_try"].is_string() && online(&vm)? == "0-3", "{line}");
    ensure!(it.log()?.contains("(cpu.dedicated)"), "{}", it.log()?);

    it.stop()?;
    vm.write_file("/tmp/proceed.toml", "[cpu]\ndedicated = \"proceed\"\n")?;
    let it = Bulkhead::start(&vm, "--config /tmp/proceed.toml")?;
    vm.run("bulkhead isolate cpu 3")?;
    ensure!(online(&vm)? == "0-2");
    it.stop()
}

fn a_cpuset_partition_keeps_its_cpus(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let it = Bulkhead::start(&vm, "")?;
    vm.run(
        "cd /sys/fs/cgroup && echo +cpuset > cgroup.subtree_control && mkdir own \
         && echo 3 > own/cpuset.cpus && echo root > own/cpuset.cpus.partition",
    )?;
    ensure!(vm.run("cat /sys/fs/cgroup/own/cpuset.cpus.partition")? == "root");
    let refused = vm.sh("bulkhead isolate cpu 3")?;
    ensure!(
        refused.code == 4
            && refused.stderr.contains("cgroup /own")
            && refused.stderr.contains("(cpu.dedicated)"),
        "{refused:?}"
    );
    vm.run("echo member > /sys/fs/cgroup/own/cpuset.cpus.partition")?;
    vm.run("bulkhead isolate cpu 3")?;
    ensure!(online(&vm)? == "0-2");
    it.stop()
}

fn the_last_cpu_for_housekeeping_stays(machine: Machine) -> Result<()> {
    let vm = machine.smp("4,sockets=1,cores=4,threads=1").arg("isolcpus=0,2,3").boot()?;
    ensure!(vm.run("cat /sys/devices/system/cpu/isolated")? == "0,2-3");
    let it = Bulkhead::start(&vm, "")?;
    let refused = vm.sh("bulkhead isolate cpu 1")?;
    ensure!(refused.code == 4 && refused.stderr.contains("(guard.housekeeping)"), "{refused:?}");
    for _ in 0..3 {
        vm.ce(1, 1, L1_DATA_CE, 0, 0)?;
    }
    let line = it.wait_line("cpu", "1", "refused")?;
    ensure!(line["why"].as_str().is_some_and(|why| why.contains("(guard.housekeeping)")), "{line}");
    vm.run("bulkhead isolate cpu 2")?;
    ensure!(online(&vm)? == "0-1,3");
    Ok(())
}

fn every_socket_keeps_a_cpu(machine: Machine) -> Result<()> {
    let vm = machine.smp("8,sockets=2,cores=2,threads=2").boot()?;
    vm.write_file("/tmp/all.toml", "[limits]\ncpus = \"100%\"\n")?;
    let it = Bulkhead::start(&vm, "--config /tmp/all.toml")?;
    for cpu in [4, 5, 6] {
        vm.run(&format!("bulkhead isolate cpu {cpu}"))?;
    }
    let refused = vm.sh("bulkhead isolate cpu 7")?;
    ensure!(
        refused.code == 4
            && refused.stderr.contains("Socket 1")
            && refused.stderr.contains("(limits.cpus_per_socket)"),
        "{refused:?}"
    );
    ensure!(online(&vm)? == "0-3,7", "{}", online(&vm)?);
    it.stop()
}

fn a_node_without_memory_needs_no_cpu(machine: Machine) -> Result<()> {
    let vm = machine
        .smp("4,sockets=1,cores=2,threads=2")
        .qemu(&[
            "-object",
            "memory-backend-ram,id=m0,size=1024M",
            "-numa",
            "node,nodeid=0,memdev=m0,cpus=0-1",
            "-numa",
            "node,nodeid=1,cpus=2-3",
        ])
        .boot()?;
    ensure!(vm.run("cat /sys/devices/system/node/has_memory")? == "0");
    ensure!(vm.run("cat /sys/devices/system/node/node1/cpulist")? == "2-3");
    let it = Bulkhead::start(&vm, "")?;
    for cpu in [2, 3] {
        vm.run(&format!("bulkhead isolate cpu {cpu}"))?;
    }
    ensure!(online(&vm)? == "0-1", "{}", online(&vm)?);
    it.stop()
}
