//! What all threads, and the helper, see of each other: atomics, and nothing
//! that one could wait for.

use crate::clock::{Counted, MS};
use crate::ear::Ear;
use bulkhead_watchdog::watch::Seen;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicU8, Ordering};

/// Checks that the configuration may come to: 64 of each of three kinds.
pub const CHECKS: usize = 192;

/// Shared with the helper, a process of its own.
#[derive(Debug)]
pub struct Shared {
    /// The time that counts.
    pub clock: Counted,
    /// When each check last passed, in counted ns.
    pub passed: [AtomicU64; CHECKS],
    /// No watchdog could be had.
    pub watching: AtomicBool,
    /// One could be had now.
    pub look_again: AtomicBool,
}

impl Shared {
    /// Of the process and those that it forks; for good.
    pub fn map() -> std::io::Result<&'static Shared> {
        // SAFETY: a fresh mapping, zeroed, aligned to a page and long enough;
        // all fields are atomics, for which zero is a value. It is never
        // unmapped.
        unsafe {
            let at = libc::mmap(
                std::ptr::null_mut(),
                size_of::<Shared>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if at == libc::MAP_FAILED {
                return Err(std::io::Error::last_os_error());
            }
            Ok(&*at.cast::<Shared>())
        }
    }
}

/// The two probes of one CPU. Of its own cache lines: each CPU writes its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Slot {
    /// The kernel's number.
    pub cpu: u32,
    /// The real-time one.
    pub fifo: Probe,
    /// The ordinary one.
    pub other: Probe,
    /// Set by the real-time one for when it is to run next.
    pub ear: Ear,
}

/// One probe.
#[derive(Debug, Default)]
pub struct Probe {
    /// A [`Place`].
    place: AtomicU8,
    /// Its thread; 0 until it runs.
    tid: AtomicI32,
    /// When it last ran where it belongs, in counted ns.
    seen: AtomicU64,
    /// How long it was due and did not run, in all, in counted ns.
    waited: AtomicU64,
}

/// Where a probe is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Place {
    /// On its way there: a busy CPU may not let it in. So is one that did not
    /// begin to run yet.
    Going = 0,
    /// Not on its CPU: that is off line, or another partition's.
    Away = 1,
    /// There.
    There = 2,
}

impl Probe {
    /// The thread says who it is.
    pub fn is(&self, tid: i32) {
        self.tid.store(tid, Ordering::SeqCst);
    }

    /// It is there at `counted`, or sets out then.
    pub fn go(&self, place: Place, counted: u64) {
        self.seen.store(counted, Ordering::SeqCst);
        self.place.store(place as u8, Ordering::SeqCst);
    }

    /// It runs there, and was due so many counted ns ago.
    pub fn stamp(&self, counted: u64, late: u64) {
        self.waited.fetch_add(late, Ordering::SeqCst);
        self.seen.store(counted, Ordering::SeqCst);
    }

    /// Since it last ran where it belongs, in counted ns.
    pub fn silence(&self, counted: u64) -> u64 {
        counted.saturating_sub(self.seen.load(Ordering::SeqCst))
    }

    /// It is elsewhere.
    pub fn leave(&self) {
        self.place.store(Place::Away as u8, Ordering::SeqCst);
    }

    /// Whether it is there.
    pub fn is_there(&self) -> bool {
        self.place.load(Ordering::SeqCst) == Place::There as u8
    }

    /// Whether it has been there, or found that it cannot.
    pub fn has_arrived(&self) -> bool {
        self.place.load(Ordering::SeqCst) != Place::Going as u8
    }

    /// Its thread, if it runs.
    pub fn tid(&self) -> Option<i32> {
        Some(self.tid.load(Ordering::SeqCst)).filter(|tid| *tid != 0)
    }

    /// Since it last ran where it belongs, in counted ns; none while it has no
    /// business there. `suspicious`: from when on the kernel is asked whether
    /// the CPU is still there for it.
    ///
    /// The kernel's answer is the thread's affinity: the CPU alone, while it is
    /// on line and the thread bound to it; nothing, or other CPUs, once it went
    /// off line or to another partition (kernel/sched/core.c,
    /// sched_getaffinity(), which takes no lock that can be waited for).
    fn silent(&self, cpu: u32, counted: u64, suspicious: u64) -> Option<u64> {
        if self.place.load(Ordering::SeqCst) == Place::Away as u8 {
            return None;
        }
        let silent = self.silence(counted);
        // A thread that never ran is of some CPU that lets nobody in.
        let bound = || self.tid().is_none_or(|tid| is_bound_to(tid, cpu));
        (silent < suspicious || bound()).then_some(silent)
    }
}

impl Slot {
    /// Of a CPU, its probes not there yet.
    pub fn new(cpu: u32) -> Slot {
        Slot { cpu, fifo: Probe::default(), other: Probe::default(), ear: Ear::new() }
    }

    /// For [`bulkhead_watchdog::watch::Watch::step`]. `suspicious` and `period`
    /// in ns.
    pub fn seen(&self, counted: u64, suspicious: u64, period: u64) -> Seen {
        let waited = self.other.silent(self.cpu, counted, suspicious).map(|silent| {
            let waited = self.other.waited.load(Ordering::SeqCst);
            waited.saturating_add(silent.saturating_sub(period)) / MS
        });
        let silent = self.fifo.silent(self.cpu, counted, suspicious);
        let deaf = silent.is_some_and(|ns| ns >= suspicious) && !self.ear.has_heard();
        Seen { silent: silent.map(|ns| ns / MS), deaf, waited }
    }
}

/// Words of a CPU mask that has room for as many CPUs as any kernel has
/// (NR_CPUS is at most 8192).
const MASK: usize = 8192 / 64;

/// Whether the kernel would run the thread on this CPU and no other.
fn is_bound_to(tid: i32, cpu: u32) -> bool {
    let mut mask = [0u64; MASK];
    // SAFETY: the kernel writes no more than the length of the mask. Not the
    // library's function, whose cpu_set_t ends at 1024 CPUs.
    let written = unsafe {
        libc::syscall(libc::SYS_sched_getaffinity, tid, size_of_val(&mask), mask.as_mut_ptr())
    };
    let bit = mask.get(cpu as usize / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1);
    written > 0 && bit && mask.iter().map(|word| word.count_ones()).sum::<u32>() == 1
}

/// Binds a thread (0: the caller) to a CPU; to all with `None`. The errno if
/// the kernel does not.
pub fn bind(tid: i32, cpu: Option<u32>) -> Result<(), i32> {
    let mut mask = [if cpu.is_none() { u64::MAX } else { 0 }; MASK];
    if let Some(cpu) = cpu {
        *mask.get_mut(cpu as usize / 64).ok_or(libc::EINVAL)? |= 1 << (cpu % 64);
    }
    // SAFETY: the kernel reads the mask.
    let done = unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, tid, size_of_val(&mask), mask.as_ptr())
    };
    if done == 0 {
        return Ok(());
    }
    Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL))
}

/// The caller's thread.
pub fn tid() -> i32 {
    // SAFETY: has no arguments and does not fail.
    unsafe { libc::gettid() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn here() -> u32 {
        // SAFETY: has no arguments.
        u32::try_from(unsafe { libc::sched_getcpu() }).unwrap()
    }

    #[test]
    fn a_probe_that_is_away_is_not_silent() {
        let slot = Slot::new(0);
        slot.fifo.leave();
        slot.other.leave();
        let nothing = Seen { silent: None, deaf: false, waited: None };
        assert_eq!(slot.seen(99 * MS, u64::MAX, MS), nothing);
    }

    #[test]
    fn a_probe_whose_thread_never_ran_is_silent() {
        let slot = Slot::new(0);
        assert!(!slot.fifo.has_arrived());
        assert_eq!(slot.seen(99 * MS, 10 * MS, MS).silent, Some(99));
    }

    #[test]
    fn a_probe_is_waited_for_until_it_is_there_or_cannot_be() {
        let probe = Probe::default();
        probe.go(Place::Going, 0);
        assert!(!probe.has_arrived());
        probe.leave();
        assert!(probe.has_arrived());
        probe.go(Place::There, 0);
        assert!(probe.has_arrived());
    }

    #[test]
    fn a_probe_that_the_kernel_moved_elsewhere_is_not_silent() {
        let (cpu, slot) = (here(), Slot::new(here()));
        slot.fifo.is(tid());
        slot.fifo.go(Place::There, 0);
        bind(0, Some(cpu)).unwrap();
        let silent = |at| slot.seen(at * MS, 10 * MS, MS).silent;
        assert_eq!(silent(50), Some(50));
        bind(0, None).unwrap();
        // On a machine of one CPU it could be nowhere else.
        if std::thread::available_parallelism().is_ok_and(|n| n.get() > 1) {
            assert_eq!(silent(50), None);
            assert_eq!(silent(9), Some(9), "it is not asked yet");
        }
    }

    #[test]
    fn what_waits_and_has_waited_is_added_up() {
        let slot = Slot::new(0);
        slot.other.go(Place::There, 0);
        slot.other.stamp(300 * MS, 200 * MS);
        let waited = |at| slot.seen(at * MS, u64::MAX, 100 * MS).waited;
        assert_eq!((waited(300), waited(400), waited(450)), (Some(200), Some(200), Some(250)));
    }

    #[test]
    fn a_cpu_that_is_not_there_is_refused() {
        assert_eq!(bind(0, Some(8191)), Err(libc::EINVAL));
        assert_eq!(bind(0, Some(8192)), Err(libc::EINVAL));
    }
}
