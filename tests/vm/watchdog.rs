//! The watchdog itself: what it arms, what it disarms, what it needs. What ends a host that has stalled is in `stall`.

use std::time::Duration;

use anyhow::{ensure, Context, Result};

use crate::harness::{wait_until, Machine, Process, Vm};

on_each_kernel!(
    the_hardware_is_armed_and_disarmed_by_the_magic_close,
    a_cpu_that_comes_back_is_fed_again_and_one_that_is_off_line_is_not_missed;
    only 6.12:
    a_device_that_somebody_else_has_is_taken_once_it_is_free,
    a_hundred_clean_stops_leave_nothing_armed,
);

const LIMIT: Duration = Duration::from_secs(30);

/// What sysfs says of the only watchdog.
fn state(vm: &Vm) -> Result<String> {
    vm.run("cat /sys/class/watchdog/watchdog0/state")
}

fn with_i6300esb(machine: Machine) -> Result<Vm> {
    let vm = machine.qemu(&["-device", "i6300esb"]).boot()?;
    vm.run("modprobe i6300esb")?;
    ensure!(state(&vm)? == "inactive");
    Ok(vm)
}

/// Starts it, and returns when it says what it does.
fn start(vm: &Vm, options: &str) -> Result<(Process, String)> {
    let mut watchdog = vm.spawn(&format!("bulkhead-watchdog {options} 2>&1"))?;
    let said = watchdog.wait_line("bulkhead-watchdog: ", LIMIT)?;
    watchdog.wait_line("bulkhead-watchdog: 4 CPUs are probed", LIMIT)?;
    Ok((watchdog, said))
}

/// SIGTERM.
fn stop(watchdog: Process) -> Result<String> {
    watchdog.signal(15)?;
    let ended = watchdog.wait()?;
    ensure!(ended.code == 0, "{ended:?}");
    Ok(ended.stdout)
}

fn the_hardware_is_armed_and_disarmed_by_the_magic_close(machine: Machine) -> Result<()> {
    let vm = with_i6300esb(machine)?;
    vm.write_file("/tmp/brief.toml", "watchdog = { timeout = \"8s\", pretimeout = \"2s\" }")?;
    let (mut watchdog, said) = start(&vm, "--config /tmp/brief.toml")?;
    let armed = "armed /dev/watchdog0 (i6300ESB timer), timeout 8 s, pretimeout 2 s";
    ensure!(said.starts_with(armed), "{said}");
    ensure!(state(&vm)? == "active");
    let sysfs =
        "cd /sys/class/watchdog/watchdog0 && cat timeout pretimeout pretimeout_governor | xargs";
    ensure!(vm.run(sysfs)? == "8 2 panic", "{}", vm.run(sysfs)?);

    // It is fed, in time, by nobody who allocates: a debug build would have ended.
    let pid = watchdog.pid()?;
    vm.run("sleep 12")?;

    // Small, and all of it resident.
    let of = |name: &str| -> Result<u64> {
        let line = vm.run(&format!("grep {name}: /proc/{pid}/status"))?;
        line.split_whitespace().nth(1).context("a number")?.parse().context(line.clone())
    };
    let (resident, locked, threads) = (of("VmRSS")?, of("VmLck")?, of("Threads")?);
    println!("resident {resident} KiB, locked {locked} KiB, {threads} threads");
    ensure!(threads == 9 && locked > 0, "{threads} threads, {locked} KiB locked");
    ensure!(resident <= 6 * 1024 + 4 * 48, "{resident} KiB");

    let said = stop(watchdog)?;
    ensure!(said.contains("disarmed") && state(&vm)? == "inactive", "{said}");
    Ok(())
}

fn a_device_that_somebody_else_has_is_taken_once_it_is_free(machine: Machine) -> Result<()> {
    let vm = with_i6300esb(machine)?;
    // It disarms it when it is told to end.
    let other = vm.spawn(
        "sh -c 'exec 3>/dev/watchdog0; trap \"printf V >&3; exit\" TERM; \
         while sleep 1; do echo >&3; done'",
    )?;
    wait_until("somebody has it", LIMIT, || Ok(state(&vm)? == "active"))?;
    let (mut watchdog, said) = start(&vm, "")?;
    ensure!(
        said == "watching only, nothing is armed: somebody else feeds /dev/watchdog0",
        "{said}"
    );
    // Past the first look at whether that has changed, which it then has.
    vm.run("sleep 12")?;
    ensure!(state(&vm)? == "active");
    other.signal(15)?;
    watchdog.wait_line("bulkhead-watchdog: armed /dev/watchdog0", LIMIT)?;
    stop(watchdog)?;
    ensure!(state(&vm)? == "inactive");
    Ok(())
}

fn a_cpu_that_comes_back_is_fed_again_and_one_that_is_off_line_is_not_missed(
    machine: Machine,
) -> Result<()> {
    let vm = with_i6300esb(machine)?;
    let limits = "watchdog = { timeout = \"40s\", pretimeout = \"0s\", cpu_limit = \"2s\" }";
    vm.write_file("/tmp/brief.toml", limits)?;
    let (mut watchdog, _) = start(&vm, "--config /tmp/brief.toml --state-dir /var/lib/bulkhead")?;
    let log = || vm.run("dmesg | grep bulkhead-watchdog: || true");

    // What nobody ran is nobody's silence.
    vm.run(&format!("kill -STOP {0}; sleep 6; kill -CONT {0}; sleep 3", watchdog.pid()?))?;
    // An admin's, not a stall.
    vm.run("echo 0 > /sys/devices/system/cpu/cpu3/online; sleep 6")?;
    vm.run("echo 1 > /sys/devices/system/cpu/cpu3/online; sleep 6")?;
    ensure!(log()?.is_empty(), "{}", log()?);

    // Ended from a CPU that it leaves alone: our own way there may be kept by it.
    vm.spawn("taskset 3 sh -c 'bulkhead-guest hog 99 3 & sleep 6; kill -9 $!'")?;
    wait_until("its end is told", 2 * LIMIT, || Ok(log()?.contains("cpu 3: runs again")))?;
    ensure!(log()?.contains("stall: cpu 3: ") && state(&vm)? == "active", "{}", log()?);
    vm.run("sleep 45")?;

    // On the disk for the next boot.
    let words =
        vm.run("cat /var/lib/bulkhead/last-words/$(cat /proc/sys/kernel/random/boot_id).jsonl")?;
    ensure!(
        words.contains("\"action\":\"stop feeding\"") && words.contains("\"cpu\":3"),
        "{words}"
    );
    stop(watchdog)?;
    ensure!(state(&vm)? == "inactive");
    Ok(())
}

fn a_hundred_clean_stops_leave_nothing_armed(machine: Machine) -> Result<()> {
    let vm = with_i6300esb(machine)?;
    for _ in 0..100 {
        let (watchdog, said) = start(&vm, "")?;
        ensure!(said.starts_with("armed") && state(&vm)? == "active", "{said}");
        stop(watchdog)?;
        ensure!(state(&vm)? == "inactive");
    }
    Ok(())
}
