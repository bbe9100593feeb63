//! Who is fed, by whom, and how a host goes down. On files of our own: the real ones would end this host.

use super::*;
use crate::board::{tid, Place};
use bulkhead_watchdog::note::BYTES;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use tempfile::TempDir;

const PERIOD: u64 = 100 * MS;
const LIMIT: u64 = 1_000 * MS;
const EVERY: u64 = 300 * MS;

struct Host {
    dir: TempDir,
    guard: Guard,
    systemd: UnixDatagram,
    notes: UnixStream,
    _ours: (UnixDatagram, OwnedFd),
}

/// systemd feeds, and hears from us. One CPU, which is not probed yet.
fn host(crash_kernel: bool) -> Host {
    host_of(&[here()], crash_kernel)
}

fn host_of(cpus: &[u32], crash_kernel: bool) -> Host {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let write = |name| OpenOptions::new().append(true).open(file(name, "")).ok();
    let loaded = if crash_kernel { "1\n" } else { "0\n" };
    let doors = Doors {
        kmsg: write("kmsg"),
        sysrq: write("sysrq"),
        crash_kernel: File::open(file("loaded", loaded)).ok(),
    };
    let (notes, pipe) = UnixStream::pair().unwrap();
    let (systemd, ours) = UnixDatagram::pair().unwrap();
    for socket in [&systemd, &ours] {
        socket.set_nonblocking(true).unwrap();
    }
    let pipe = OwnedFd::from(pipe);
    let shared = Shared::map().unwrap();
    let guard = Guard::new(shared, cpus, vec![], (PERIOD, LIMIT), pipe.as_raw_fd(), doors);
    for slot in &guard.slots {
        slot.fifo.leave();
    }
    guard.tells_systemd(ours.as_raw_fd(), EVERY);
    guard.set_mode(Mode::Systemd);
    Host { dir, guard, systemd, notes, _ours: (ours, pipe) }
}

fn here() -> u32 {
    // SAFETY: has no arguments.
    u32::try_from(unsafe { libc::sched_getcpu() }).unwrap()
}

impl Host {
    /// How often systemd heard from us since.
    fn heard(&self) -> usize {
        let mut buffer = [0; 32];
        std::iter::from_fn(|| self.systemd.recv(&mut buffer).ok())
            .inspect(|n| assert_eq!(*n, b"WATCHDOG=1".len()))
            .count()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    fn note(&mut self) -> Note {
        let mut bytes = [0; BYTES];
        self.notes.read_exact(&mut bytes).unwrap();
        Note::from_bytes(&bytes).unwrap()
    }

    /// The only CPU's probe is there, and ran last at 0.
    fn probed(&self) {
        let (slot, cpu) = (&self.guard.slots[0], self.guard.slots[0].cpu);
        bind(0, Some(cpu)).unwrap();
        slot.fifo.is(tid());
        slot.fifo.go(Place::There, 0);
    }
}

/// Three CPUs of which nobody runs here, so that the kernel is asked about none:
/// silent since these times, the last deaf.
fn waiting_for_the_last(since: [u64; 3]) -> Host {
    let host = host_of(&[10, 11, 12], true);
    for (slot, at) in host.guard.slots.iter().zip(since) {
        slot.fifo.go(Place::Going, at);
    }
    host.guard.slots[2].ear.listen(clock_now().saturating_add(1_000_000 * MS));
    host
}

fn stall() -> Note {
    let (check, change, action) = (Check::Cpu, Change::Failed, Action::Event);
    Note { check, id: 3, change, action, silent_ms: 1_000, limit_ms: 1_000 }
}

#[test]
fn who_is_due_is_fed_and_nobody_twice() {
    let host = host(true);
    host.guard.all_is_well(EVERY);
    host.guard.all_is_well(EVERY + 1);
    assert_eq!(host.heard(), 1);
    host.guard.all_is_well(2 * EVERY);
    assert_eq!(host.heard(), 1);
}

#[test]
fn nobody_is_fed_while_nothing_is_armed() {
    let host = host(true);
    for mode in [Mode::Off, Mode::Watching] {
        host.guard.set_mode(mode);
        host.guard.all_is_well(EVERY);
        host.guard.not_well(stall(), EVERY);
    }
    assert_eq!(
        (host.heard(), host.text("sysrq"), host.text("kmsg")),
        (0, String::new(), String::new())
    );
}

#[test]
fn a_stall_is_said_and_crashes_a_host_that_has_a_crash_kernel() {
    let mut host = host(true);
    host.guard.not_well(stall(), 5_000 * MS);
    assert_eq!(host.text("sysrq"), "c");
    assert_eq!(
        host.text("kmsg"),
        "<2>bulkhead-watchdog: stall: cpu 3: no task of the highest priority ran for 1.0 s\n"
    );
    assert_eq!(host.note(), Note { action: Action::Crash, ..stall() });
}

#[test]
fn who_got_stuck_at_it_is_followed_by_another_who_says_nothing() {
    let host = host(true);
    host.guard.not_well(stall(), 5_000 * MS);
    host.guard.not_well(stall(), 6_000 * MS);
    assert_eq!(host.text("sysrq"), "c");
    host.guard.not_well(stall(), 7_000 * MS);
    assert_eq!(host.text("sysrq"), "cc");
    assert_eq!(host.text("kmsg").matches("stall").count(), 1);
}

#[test]
fn without_a_crash_kernel_the_hardware_is_left_unfed_until_all_is_well() {
    let mut host = host(false);
    host.guard.set_mode(Mode::Armed);
    host.guard.not_well(stall(), 5_000 * MS);
    assert_eq!(host.text("sysrq"), "");
    assert_eq!(host.note().action, Action::StopFeeding);
    host.guard.stand_in(true, 6_000 * MS, 500 * MS);
    host.guard.set_mode(Mode::Systemd);
    assert_eq!(host.heard(), 0);
    host.guard.all_is_well(7_000 * MS);
    assert_eq!(host.heard(), 1);
}

#[test]
fn a_probe_feeds_while_the_loop_does_not_run_and_an_ordinary_one_does_not() {
    let host = host(true);
    host.guard.loop_is_here(0);
    host.guard.stand_in(true, 3_000 * MS, 2 * PERIOD);
    assert_eq!(host.heard(), 0, "the loop is there");
    host.guard.stand_in(false, 3_000 * MS, 3 * PERIOD);
    assert_eq!(host.heard(), 0, "an ordinary task may run where no real-time one does");
    host.guard.stand_in(true, 3_000 * MS, 3 * PERIOD);
    assert_eq!(host.heard(), 1);
}

#[test]
fn a_probe_finds_a_stall_that_the_loop_does_not_live_to_see() {
    let host = host(true);
    host.probed();
    host.guard.loop_is_here(LIMIT / 2);
    host.guard.stand_in(false, 5_000 * MS, LIMIT);
    let cpu = host.guard.slots[0].cpu;
    assert!(host.text("kmsg").contains(&format!("stall: cpu {cpu}: ")), "{}", host.text("kmsg"));
    assert_eq!(host.text("sysrq"), "c");
    bind(0, None).unwrap();
}

#[test]
fn a_probe_that_stands_in_names_the_deaf_cpu_before_those_that_wait_for_it() {
    let host = waiting_for_the_last([0, LIMIT / 5, LIMIT / 10]);
    host.guard.loop_is_here(LIMIT / 5);
    host.guard.stand_in(true, 5_000 * MS, LIMIT);
    assert!(host.text("kmsg").contains("stall: cpu 12: "), "{}", host.text("kmsg"));
}

/// The loop sleeps on a timer of that CPU's, and looked last before it did.
#[test]
fn a_loop_that_does_not_run_is_laid_to_the_cpu_that_is_silent_with_it() {
    let host = waiting_for_the_last([LIMIT, LIMIT, LIMIT / 10]);
    host.guard.loop_is_here(0);
    host.guard.stand_in(true, 5_000 * MS, LIMIT - 1);
    assert_eq!(host.text("kmsg"), "");
    host.guard.stand_in(true, 5_000 * MS, LIMIT);
    assert!(host.text("kmsg").contains("stall: cpu 12: "), "{}", host.text("kmsg"));
}

#[test]
fn a_loop_that_does_not_run_where_all_cpus_do_is_a_stall_of_its_own() {
    let host = host(true);
    host.guard.loop_is_here(0);
    host.guard.stand_in(true, 5_000 * MS, LIMIT - 1);
    assert_eq!(host.text("kmsg"), "");
    host.guard.stand_in(true, 5_000 * MS, LIMIT);
    assert!(host.text("kmsg").contains("stall: the watchdog itself did not run for 1.0 s"));
}

#[test]
fn hardware_is_fed_four_times_before_its_alarm() {
    assert_eq!(feed_every(60, 10), 5_000 * MS);
    assert_eq!(feed_every(60, 56), 1_000 * MS);
    assert_eq!(feed_every(8, 2), 1_500 * MS);
    assert_eq!(pace(1_000 * MS, feed_every(5, 4)), 250 * MS);
}
