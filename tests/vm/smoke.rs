//! The machines do what the other tests take for granted.

use std::thread;
use std::time::Duration;

use anyhow::{ensure, Result};

use crate::harness::mce::{L1_DATA_CE, L2_DATA_CE, MEMORY_CE, PHYSICAL_ADDRESS};
use crate::harness::{wait_for, wait_until, Disk, Kernel, Machine};

const LIMIT: Duration = Duration::from_secs(60);

const SIGTERM: i32 = 15;

on_each_kernel!(
    boots,
    machine_checks_come_through_the_banks,
    the_collector_takes_pages_on_6_12_alone,
    uncorrected_errors_kill_their_page,
    memory_errors_come_through_edac;
    long on 6.1:
    commands_run_side_by_side,
    cache_errors_come_with_their_cpu,
    memory_errors_come_from_interrupts,
    a_held_page_moves_with_its_data,
    a_huge_page_moves_with_its_data,
    cpus_go_and_come_back,
    topologies_are_as_asked,
    a_disk_outlives_the_boot,
    a_machine_ends,
);

fn boots(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let release = vm.run("uname -r")?;
    ensure!(release.starts_with(&format!("{}.", machine.kernel().series())), "{release}");
    ensure!(vm.console()?.contains(&release), "the console shows no kernel log");
    for path in ["/sys/fs/bpf", "/sys/kernel/tracing/events", "/sys/kernel/debug", "/run", "/tmp"] {
        vm.run(&format!("test -d {path}"))?;
    }
    vm.run("bulkheadd --help && bulkhead --help")?;
    Ok(())
}

fn commands_run_side_by_side(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let output = vm.sh("printf out; printf err >&2; exit 3")?;
    ensure!(
        (output.stdout.as_str(), output.stderr.as_str(), output.code) == ("out", "err", 3),
        "{output:?}"
    );
    ensure!(vm.sh("kill -9 $$")?.code == 128 + 9);
    ensure!(vm.json("echo '{ \"schema\": 1 }'")?["schema"] == 1);
    let much = vm.run("seq 1 200000")?;
    ensure!(much.lines().count() == 200_000 && much.ends_with("\n200000"), "{} bytes", much.len());
    let text = "it's 100% \\n \"quoted\" $HOME";
    vm.write_file("/tmp/text", text)?;
    ensure!(vm.run("cat /tmp/text")? == text);

    let mut cat = vm.spawn("sh -c 'mkfifo /tmp/f; echo ready; cat /tmp/f; sleep 1000'")?;
    cat.wait_line("ready", LIMIT)?;
    thread::scope(|scope| {
        let writer = scope.spawn(|| vm.run("echo hello > /tmp/f"));
        ensure!(cat.next_line(LIMIT)?.as_deref() == Some("hello"));
        writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?
    })?;
    let pid = cat.pid()?;
    vm.run(&format!("test -d /proc/{pid}"))?;
    cat.signal(SIGTERM)?;
    ensure!(cat.wait()?.code == 128 + SIGTERM);
    Ok(())
}

fn machine_checks_come_through_the_banks(machine: Machine) -> Result<()> {
    let vm = machine.arg("ras=cec_disable").boot()?;
    let trace = vm.trace("mce/mce_record")?;
    for n in 1..=3 {
        vm.memory_ce(0x800_0000 + n * 0x1000)?;
    }
    wait_until("three records", LIMIT, || Ok(trace.count()? == 3))?;
    let records = trace.records()?;
    ensure!(
        records[0].contains("CPU: 0") && records[0].contains("MC9: 8c0000000000009f"),
        "{}",
        records[0]
    );
    ensure!(records[2].contains("0000000008003000"), "{}", records[2]);
    wait_until("the kernel's log has them", LIMIT, || {
        Ok(vm.run("dmesg")?.contains("[Hardware Error]"))
    })
}

fn cache_errors_come_with_their_cpu(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let trace = vm.trace("mce/mce_record")?;
    vm.ce(2, 1, L1_DATA_CE, 0, 0)?;
    vm.ce(3, 2, L2_DATA_CE, 0, 0)?;
    let records = wait_for("two records", LIMIT, || {
        Ok(Some(trace.records()?).filter(|records| records.len() == 2))
    })?;
    for (record, parts) in records
        .iter()
        .zip([["CPU: 2", "MC1: 9000000000000135"], ["CPU: 3", "MC2: 9000000000000136"]])
    {
        ensure!(parts.iter().all(|part| record.contains(part)), "{record}");
    }
    Ok(())
}

fn the_collector_takes_pages_on_6_12_alone(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let address = vm.find_pages("buddy", 1)?[0];
    vm.memory_ce(address)?;
    vm.memory_ce(address)?;
    match machine.kernel() {
        Kernel::V6_12 => wait_until("the page is taken", LIMIT, || vm.is_poisoned(address)),
        Kernel::V6_1 => {
            ensure!(!vm.is_poisoned(address)?, "6.1 took a page");
            Ok(())
        }
    }
}

fn uncorrected_errors_kill_their_page(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let held = vm.hold_pages(1)?;
    let address = held.addresses[0];
    vm.memory_ue(address)?;
    wait_until("the page is poisoned", LIMIT, || vm.is_poisoned(address))?;
    // It reads its page all the time, and dies of it.
    ensure!(held.wait_killed()?.code == 128 + 7, "no SIGBUS");
    Ok(())
}

fn memory_errors_come_through_edac(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    let trace = vm.trace("ras/mc_event")?;
    vm.edac("ce addr=0x8001040 top=1 mid=0 syndrome=0x1f count=3 label=read detail=rank:0 row:0x2a col:7")?;
    vm.edac("ue")?;
    vm.edac("ce n=1000 pages=10 addr=0x9000000")?;
    ensure!(vm.sh("echo nonsense > /sys/kernel/debug/bulkhead_test/raise")?.code != 0);

    let records = trace.records()?;
    let first =
        "3 Corrected errors: read on DIMM_B1 (mc:0 location:1:0:-1 address:0x08001040 grain:8 \
                 syndrome:0x0000001f rank:0 row:0x2a col:7)";
    ensure!(records[0].contains(first), "{}", records[0]);
    ensure!(records[1].contains("1 Uncorrected error: test on DIMM_A1"), "{}", records[1]);
    ensure!(records[1].contains("address:0x00000000"), "{}", records[1]);
    ensure!(trace.count()? == 1002);
    let counts = vm.run("cd /sys/devices/system/edac/mc/mc0 && cat mc_name ce_count ue_count")?;
    ensure!(counts == "bulkhead_test\n1003\n1", "{counts}");
    Ok(())
}

fn memory_errors_come_from_interrupts(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    vm.run(
        "echo 0 > /sys/module/edac_core/parameters/edac_mc_log_ce; modprobe bulkhead_edac_test",
    )?;
    let trace = vm.trace("ras/mc_event")?;
    vm.edac("ce n=2000 pages=4 addr=0x8000000 irq=2 batch=5 gap=50000")?;
    ensure!(trace.count()? == 2000, "{} of 2000", trace.count()?);
    // Fields: task, [cpu], flags whose third letter says what was interrupted, …
    let strange: Vec<_> = trace
        .records()?
        .into_iter()
        .filter(|record| {
            let flags = record.split("[002] ").nth(1).and_then(|rest| rest.chars().nth(2));
            !matches!(flags, Some('h' | 'H'))
        })
        .take(3)
        .collect();
    ensure!(strange.is_empty(), "not from an interrupt of cpu2: {strange:#?}");
    Ok(())
}

fn a_held_page_moves_with_its_data(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let mut held = vm.hold_pages(3)?;
    let before = held.addresses.clone();
    vm.soft_offline(before[1])?;
    ensure!(vm.poisoned(&before)? == 1 && vm.is_poisoned(before[1])?);
    let now = held.intact()?;
    ensure!(now[0] == before[0] && now[1] != before[1] && now[2] == before[2], "{now:x?}");
    held.release()
}

fn a_huge_page_moves_with_its_data(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    vm.run("echo 4 > /proc/sys/vm/nr_hugepages")?;
    let mut held = vm.hold_huge_page()?;
    let address = held.addresses[0] + 0x5000;
    vm.soft_offline(address)?;
    ensure!(vm.is_poisoned(address)?);
    ensure!(held.intact()? != held.addresses);
    ensure!(vm.run("cat /proc/sys/vm/nr_hugepages")? == "3");
    Ok(())
}

fn cpus_go_and_come_back(machine: Machine) -> Result<()> {
    let vm = machine.boot()?;
    let online = || vm.run("cat /sys/devices/system/cpu/online");
    ensure!(online()? == "0-3");
    vm.run("echo 0 > /sys/devices/system/cpu/cpu2/online")?;
    ensure!(online()? == "0-1,3");
    vm.run("echo 1 > /sys/devices/system/cpu/cpu2/online")?;
    ensure!(online()? == "0-3");
    Ok(())
}

fn topologies_are_as_asked(machine: Machine) -> Result<()> {
    let vm = machine.clone().smp("8,sockets=2,cores=2,threads=2").memory(768).boot()?;
    let topology = "cd /sys/devices/system/cpu/cpu5/topology && \
                    cat thread_siblings_list physical_package_id ../../online";
    ensure!(vm.run(topology)? == "4-5\n1\n0-7");
    let kilobytes: u64 = vm.run("awk '/MemTotal/ { print $2 }' /proc/meminfo")?.parse()?;
    ensure!((500_000..768 * 1024).contains(&kilobytes), "{kilobytes} KiB");
    drop(vm);

    let vm = machine.amd().boot()?;
    vm.run("grep -q AuthenticAMD /proc/cpuinfo")?;
    Ok(())
}

fn a_disk_outlives_the_boot(machine: Machine) -> Result<()> {
    let disk = Disk::new()?;
    let machine = machine.disk(&disk).reboots();
    let vm = machine.boot()?;
    let forever = vm.spawn("sleep 10000")?;
    vm.run("echo kept > /var/lib/bulkhead/file; sync")?;
    vm.spawn("reboot -f")?;
    vm.wait_reboot()?;
    ensure!(vm.run("cat /var/lib/bulkhead/file")? == "kept");
    ensure!(vm.event("RESET").is_some(), "{:?}", vm.events());
    ensure!(forever.wait().is_err(), "a process outlived the reboot");
    drop(vm);

    let vm = machine.boot()?;
    ensure!(vm.run("cat /var/lib/bulkhead/file")? == "kept");
    Ok(())
}

fn a_machine_ends(machine: Machine) -> Result<()> {
    let mut vm = machine.boot()?;
    vm.spawn("poweroff -f")?;
    vm.wait_end(LIMIT)?;
    let mut vm = machine.qemu(&["-device", "i6300esb"]).boot()?;
    vm.run("modprobe i6300esb && test -c /dev/watchdog0")?;
    vm.mce(1, 9, MEMORY_CE | 7 << 60, 0x4, 0x800_0000, PHYSICAL_ADDRESS)?;
    vm.wait_end(LIMIT)?;
    ensure!(
        vm.console()?.contains("Kernel panic"),
        "an uncorrected error without a broadcast panics"
    );
    Ok(())
}
