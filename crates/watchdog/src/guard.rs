//! What any real-time thread can do: feed, and bring the host down.
//!
//! The loop does both, in time. Should it not run any more (it may sleep on a
//! timer of the very CPU whose interrupts are off), the probes of the other
//! CPUs notice and stand in for it. So nothing here may block, allocate, or
//! need a lock; what two threads do at once does no harm.

use crate::board::{bind, Shared, Slot};
use crate::clock::{now as clock_now, sleep_until, MS};
use crate::log;
use crate::text::Text;
use crate::{device, notify};
use bulkhead_watchdog::culprit::{culprit, Silent};
use bulkhead_watchdog::exit;
use bulkhead_watchdog::last_words::Action;
use bulkhead_watchdog::note::{Change, Check, Note};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicU8, Ordering};

/// How the host is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Nothing is fed yet, or any more.
    Off = 0,
    /// We feed the hardware.
    Armed = 1,
    /// systemd does, and hears from us.
    Systemd = 2,
    /// Somebody else does, or there is none.
    Watching = 3,
}

/// All of it.
#[derive(Debug)]
pub struct Guard {
    /// Shared with the helper.
    pub shared: &'static Shared,
    /// By the order of the configuration's CPUs.
    pub slots: Box<[Slot]>,
    /// Names of the configured checks, for sentences.
    pub names: Box<[String]>,
    /// From one look of a probe to the next, in ns.
    pub period: u64,
    /// What a CPU is allowed, in ns.
    pub limit: u64,
    /// See [`Mode`].
    mode: AtomicU8,
    /// The loop last ran, in counted ns.
    seen: AtomicU64,
    /// The loop found something that forbids to feed.
    held: AtomicBool,
    hardware: Fed,
    systemd: Fed,
    /// Where notes go; the helper reads them.
    pipe: RawFd,
    doors: Doors,
    /// When somebody set out to bring the host down, in ns; 0 for never.
    down: AtomicU64,
    /// What feeding failed with last.
    errno: AtomicI32,
}

/// What is needed at the end, open from the start.
#[derive(Debug, Default)]
pub struct Doors {
    kmsg: Option<File>,
    sysrq: Option<File>,
    /// /sys/kernel/kexec_crash_loaded.
    crash_kernel: Option<File>,
}

impl Doors {
    /// Those of this host; one that cannot be had is told, and done without.
    pub fn open() -> Doors {
        let write = |path| {
            let tell = |e: &std::io::Error| log::line(format_args!("{path}: {e}: done without"));
            OpenOptions::new().write(true).open(path).inspect_err(tell).ok()
        };
        Doors {
            kmsg: write("/dev/kmsg"),
            sysrq: write("/proc/sysrq-trigger"),
            crash_kernel: File::open("/sys/kernel/kexec_crash_loaded").ok(),
        }
    }
}

/// Somebody who wants to hear from us, in ns of [`crate::clock::now`].
#[derive(Debug)]
struct Fed {
    fd: AtomicI32,
    every: AtomicU64,
    /// When it was last begun.
    begun: AtomicU64,
    /// When it was last done; 0 for never.
    done: AtomicU64,
}

impl Fed {
    const fn nobody() -> Fed {
        Fed {
            fd: AtomicI32::new(-1),
            every: AtomicU64::new(u64::MAX),
            begun: AtomicU64::new(0),
            done: AtomicU64::new(0),
        }
    }

    fn is(&self, fd: RawFd, every: u64) {
        self.every.store(every, Ordering::SeqCst);
        self.fd.store(fd, Ordering::SeqCst);
    }

    /// Does it by `how` if `late` ns have gone by since it was due; one thread
    /// at a time, so that a driver that hangs takes one down with it and not
    /// all. When one hangs, the next tries its luck when it is due again.
    /// What it failed with, 0 if it did not; none when nobody was due.
    fn feed(&self, now: u64, late: u64, how: impl FnOnce(RawFd) -> Result<(), i32>) -> Option<i32> {
        let fd = self.fd.load(Ordering::SeqCst);
        let begun = self.begun.load(Ordering::SeqCst);
        let due = begun.saturating_add(self.every.load(Ordering::SeqCst)).saturating_add(late);
        if fd < 0 || now < due {
            return None;
        }
        self.begun.compare_exchange(begun, now, Ordering::SeqCst, Ordering::SeqCst).ok()?;
        let done = how(fd);
        if done.is_ok() {
            self.done.store(now, Ordering::SeqCst);
        }
        Some(done.err().unwrap_or(0))
    }
}

/// After so long somebody who set out to bring the host down has got stuck.
const STUCK: u64 = 2_000 * MS;

/// From a stall to the end of the process that ends the host, in ns.
const WORDS: u64 = 500 * MS;

impl Guard {
    /// Nothing is fed yet. `period` and `limit` in ns.
    pub fn new(
        shared: &'static Shared,
        cpus: &[u32],
        names: Vec<String>,
        (period, limit): (u64, u64),
        pipe: RawFd,
        doors: Doors,
    ) -> Guard {
        Guard {
            shared,
            slots: cpus.iter().map(|cpu| Slot::new(*cpu)).collect(),
            names: names.into(),
            period,
            limit,
            mode: AtomicU8::new(Mode::Off as u8),
            seen: AtomicU64::new(0),
            held: AtomicBool::new(false),
            hardware: Fed::nobody(),
            systemd: Fed::nobody(),
            pipe,
            doors,
            down: AtomicU64::new(0),
            errno: AtomicI32::new(0),
        }
    }

    /// systemd hears from us over `fd`.
    pub fn tells_systemd(&self, fd: RawFd, every: u64) {
        self.systemd.is(fd, every);
    }

    /// The hardware is fed through `fd`.
    pub fn feeds(&self, fd: RawFd, every: u64) {
        self.hardware.is(fd, every);
    }

    /// From now on.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// What it is now.
    pub fn mode(&self) -> Mode {
        let modes = [Mode::Off, Mode::Armed, Mode::Systemd, Mode::Watching];
        let mode = self.mode.load(Ordering::SeqCst);
        modes.into_iter().find(|known| *known as u8 == mode).unwrap_or(Mode::Off)
    }

    /// The time that counts, moved on to `now`, in ns.
    pub fn tick(&self, now: u64) -> u64 {
        self.shared.clock.tick(now, (self.limit / 4).max(2 * self.period))
    }

    /// The loop is here, and found whether it may feed.
    pub fn loop_is_here(&self, counted: u64) {
        self.seen.store(counted, Ordering::SeqCst);
    }

    /// All is well: feeds who is due.
    pub fn all_is_well(&self, now: u64) {
        self.held.store(false, Ordering::SeqCst);
        self.down.store(0, Ordering::SeqCst);
        self.feed(now, 0);
    }

    /// Something is not: the host is not held up any more, and goes down.
    pub fn not_well(&self, note: Note, now: u64) {
        self.held.store(true, Ordering::SeqCst);
        self.bring_down(note, now);
    }

    /// Since the hardware was last fed, in ns; none if it never was.
    pub fn fed(&self, now: u64) -> Option<u64> {
        let done = self.hardware.done.load(Ordering::SeqCst);
        (done != 0).then(|| now.saturating_sub(done))
    }

    /// What feeding the hardware failed with last; 0 while it does not.
    pub fn errno(&self) -> i32 {
        self.errno.load(Ordering::SeqCst)
    }

    fn feed(&self, now: u64, late: u64) {
        match self.mode() {
            Mode::Armed => {
                if let Some(errno) = self.hardware.feed(now, late, device::feed) {
                    self.errno.store(errno, Ordering::SeqCst);
                }
            }
            Mode::Systemd => {
                self.systemd.feed(now, late, |fd| {
                    notify::say(fd, b"WATCHDOG=1");
                    Ok(())
                });
            }
            Mode::Off | Mode::Watching => {}
        }
    }

    /// A probe ran, at `counted`: if the loop does not, it is stood in for.
    /// `may_feed`: the probe is a real-time one.
    pub fn stand_in(&self, may_feed: bool, now: u64, counted: u64) {
        let mode = self.mode();
        let absent = counted.saturating_sub(self.seen.load(Ordering::SeqCst));
        if mode == Mode::Off || mode == Mode::Watching || absent < 3 * self.period {
            return;
        }
        let (absent_ms, limit_ms) = (absent / MS, self.limit / MS);
        let mut longest = absent_ms;
        let silent = self.slots.iter().filter_map(|slot| {
            let seen = slot.seen(counted, self.limit / 2, self.period);
            let ms = seen.silent.filter(|ms| *ms >= limit_ms / 2)?;
            longest = longest.max(ms);
            Some(Silent { cpu: slot.cpu, ms, deaf: seen.deaf })
        });
        let culprit = culprit(silent);
        let failed = |check, id, silent_ms| Note {
            check,
            id,
            change: Change::Failed,
            action: Action::Event,
            silent_ms,
            limit_ms,
        };
        match culprit {
            // The loop sleeps on a timer of this CPU's, or waits for it.
            Some(silent) if longest >= limit_ms => {
                self.bring_down(failed(Check::Cpu, silent.cpu, silent.ms), now);
            }
            None if absent_ms >= limit_ms => {
                self.bring_down(failed(Check::Itself, 0, absent_ms), now);
            }
            _ if may_feed && !self.held.load(Ordering::SeqCst) => self.feed(now, self.period),
            _ => {}
        }
    }

    /// For the helper. It is not waited for: what does not fit is lost.
    pub fn tell(&self, note: &Note) {
        let bytes = note.to_bytes();
        // SAFETY: the kernel reads the bytes.
        unsafe { libc::write(self.pipe, bytes.as_ptr().cast(), bytes.len()) };
    }

    /// Says so, and makes the kernel crash if that gives a dump. If not, the
    /// hardware does the rest, unfed; where systemd feeds it, systemd does, when
    /// we end.
    fn bring_down(&self, mut note: Note, now: u64) {
        let mode = self.mode();
        if mode == Mode::Off || mode == Mode::Watching {
            return;
        }
        let begun = self.down.load(Ordering::SeqCst);
        if begun != 0 && now.saturating_sub(begun) < STUCK {
            return;
        }
        let ours =
            self.down.compare_exchange(begun, now.max(1), Ordering::SeqCst, Ordering::SeqCst);
        if ours.is_err() {
            return;
        }
        let crash = self.doors.sysrq.as_ref().filter(|_| self.has_crash_kernel());
        // Once: who comes after one that got stuck here must not do so too.
        if begun == 0 {
            note.action = if crash.is_some() { Action::Crash } else { Action::StopFeeding };
            self.tell(&note);
            self.say(&note);
        }
        match crash {
            Some(sysrq) => write(sysrq, b"c"),
            None if mode == Mode::Systemd => {
                // systemd kills the helper with us: so long it has for its words.
                sleep_until(clock_now().saturating_add(WORDS));
                self.leave(exit::STALL)
            }
            None => {}
        }
    }

    fn has_crash_kernel(&self) -> bool {
        let Some(file) = &self.doors.crash_kernel else { return false };
        let mut byte = [0u8];
        // SAFETY: the kernel writes one byte.
        let read = unsafe { libc::pread(file.as_raw_fd(), byte.as_mut_ptr().cast(), 1, 0) };
        read == 1 && byte == *b"1"
    }

    /// The stall's line in the kernel log, priority crit, which reaches a dump
    /// and pstore.
    fn say(&self, note: &Note) {
        let sentence = note.sentence(self.name_of(note));
        let line = Text::<256>::line(format_args!("<2>bulkhead-watchdog: stall: {sentence}"));
        if let Some(kmsg) = &self.doors.kmsg {
            write(kmsg, line.bytes());
        }
    }

    fn name_of(&self, note: &Note) -> &str {
        match note.check {
            Check::File | Check::Unit | Check::Command => {
                let name = usize::try_from(note.id).ok().and_then(|id| self.names.get(id));
                name.map_or("", String::as_str)
            }
            _ => "",
        }
    }

    /// Ends the process. Its threads may not run where they are bound, and it
    /// is not gone before each has ended: they are set free.
    pub fn leave(&self, status: i32) -> ! {
        self.set_mode(Mode::Off);
        self.set_free();
        // SAFETY: nothing is to be cleaned up that the kernel does not.
        unsafe { libc::_exit(status) }
    }

    /// Lets the probes run on any CPU.
    pub fn set_free(&self) {
        for tid in self.slots.iter().flat_map(|slot| [slot.fifo.tid(), slot.other.tid()]).flatten()
        {
            // It may be gone already.
            let _ = bind(tid, None);
        }
    }
}

fn write(file: &File, bytes: &[u8]) {
    // SAFETY: the kernel reads the bytes. Who calls has no other way left.
    unsafe { libc::write(file.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
}

/// When the next look of the loop is due: the least of what must be done.
pub fn pace(period: u64, feed_every: u64) -> u64 {
    period.min(feed_every).max(100 * MS)
}

/// How often the hardware is fed, in ns: four times before the alarm, and at
/// least every 5 s.
pub fn feed_every(timeout_s: u32, pretimeout_s: u32) -> u64 {
    let alarm = u64::from(timeout_s.saturating_sub(pretimeout_s)).max(1) * 1_000 * MS;
    (alarm / 4).min(5_000 * MS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
