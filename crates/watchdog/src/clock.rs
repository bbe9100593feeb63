//! The clock, sleeping by it, and the time that counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// A millisecond in ns.
pub const MS: u64 = 1_000_000;

/// CLOCK_MONOTONIC in ns: not set by anybody, and standing still while the
/// host is suspended.
pub fn now() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// CLOCK_BOOTTIME in ms.
pub fn boottime_ms() -> u64 {
    read(libc::CLOCK_BOOTTIME) / MS
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec; with a clock that exists this
    // does not fail.
    unsafe { libc::clock_gettime(clock, &mut time) };
    let (s, ns) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    s.saturating_mul(1_000_000_000).saturating_add(ns)
}

/// A time in ns, for the kernel.
pub fn timespec(ns: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::try_from(ns % 1_000_000_000).unwrap_or(0),
    }
}

/// Sleeps until [`now`] is `at`.
pub fn sleep_until(at: u64) {
    let time = timespec(at);
    // SAFETY: reads one timespec, and returns no rest of an absolute time.
    let interrupted = || unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &time,
            std::ptr::null_mut(),
        ) == libc::EINTR
    };
    while interrupted() {}
}

/// Time as silence is measured in it. It goes on by whoever looks at the clock,
/// and no further at once than a cap: when nobody at all looked for a while
/// (the virtual machine was paused or moved, the process was stopped), that
/// while is nobody's silence.
#[derive(Debug)]
pub struct Counted {
    raw: AtomicU64,
    counted: AtomicU64,
}

impl Counted {
    /// Begins to count at `now`, in ns.
    pub fn begin(&self, now: u64) {
        self.raw.store(now, Ordering::SeqCst);
    }

    /// Goes on to `now`, by `cap` at most, both in ns. The time that counts, in
    /// ns.
    ///
    /// Many threads may do so at once. One that is held up on its way takes
    /// its own piece of time with it, which then does not count: the safe side.
    pub fn tick(&self, now: u64, cap: u64) -> u64 {
        let before = self.raw.load(Ordering::SeqCst);
        let forward = now.checked_sub(before).filter(|gap| *gap > 0);
        if let Some(gap) = forward {
            let moved = self.raw.compare_exchange(before, now, Ordering::SeqCst, Ordering::SeqCst);
            if moved.is_ok() {
                self.counted.fetch_add(gap.min(cap), Ordering::SeqCst);
            }
        }
        self.read()
    }

    /// The time that counts, in ns, as of the last tick.
    pub fn read(&self) -> u64 {
        self.counted.load(Ordering::SeqCst)
    }

    #[cfg(test)]
    fn new() -> Counted {
        Counted { raw: AtomicU64::new(0), counted: AtomicU64::new(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_gap_of_everything_counts_no_more_than_its_cap() {
        let clock = Counted::new();
        clock.begin(1_000);
        assert_eq!(clock.tick(1_010, 20), 10);
        assert_eq!(clock.tick(90_000, 20), 30);
        assert_eq!(clock.tick(90_010, 20), 40);
    }

    #[test]
    fn a_clock_read_late_turns_nothing_back() {
        let clock = Counted::new();
        clock.begin(0);
        assert_eq!(clock.tick(100, 1_000), 100);
        assert_eq!(clock.tick(90, 1_000), 100);
        assert_eq!(clock.tick(110, 1_000), 110);
    }

    proptest! {
        #[test]
        fn it_never_runs_faster_than_the_clock(gaps in prop::collection::vec(0u64..100, 1..50), cap in 1u64..80) {
            let clock = Counted::new();
            clock.begin(0);
            let (mut now, mut before) = (0, 0);
            for gap in gaps {
                now += gap;
                let counted = clock.tick(now, cap);
                prop_assert_eq!(counted - before, gap.min(cap));
                before = counted;
            }
        }
    }
}
