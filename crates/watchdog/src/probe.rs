//! The probes: two threads for each CPU, one of the highest real-time priority
//! and one like any ordinary task. Each stamps the time when it runs where it
//! belongs, and looks whether the loop still runs.

use crate::board::{bind, tid, Place, Probe, Slot};
use crate::clock::{now, sleep_until, MS};
use crate::guard::Guard;
use std::ffi::c_void;
use std::io;

/// Where nothing is, it is looked again after so long: a CPU that comes on line
/// again.
const AWAY: u64 = 1_000 * MS;

/// Probes that have not arrived at their CPUs after so long are not waited for.
const ARRIVAL: u64 = 2_000 * MS;

/// The least that the library lets a thread have (PTHREAD_STACK_MIN); all of it
/// is resident.
const STACK: usize = 16 * 1024;

/// How a thread is scheduled (sched(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// SCHED_FIFO at its highest priority, 99.
    Fifo,
    /// SCHED_OTHER.
    Other,
}

impl Class {
    fn policy(self) -> (i32, i32) {
        match self {
            Class::Fifo => (libc::SCHED_FIFO, 99),
            Class::Other => (libc::SCHED_OTHER, 0),
        }
    }
}

struct Task {
    guard: &'static Guard,
    slot: &'static Slot,
    class: Class,
    /// When it first looks, so that not all look at once.
    first: u64,
}

/// Starts the probes of all CPUs, and waits until each is where it belongs, or
/// cannot be: one that is held up on its way, by a CPU that stalls just then,
/// could not tell of which. They run for good. After 2 s it goes on all the
/// same: a CPU that has not let its probe in by then counts as silent since.
///
/// # Errors
/// When a thread cannot be had, or not with its priority.
pub fn start(guard: &'static Guard) -> io::Result<()> {
    let n = u64::try_from(guard.slots.len()).unwrap_or(u64::MAX).max(1);
    let begin = now();
    for (i, slot) in (0u64..).zip(&guard.slots) {
        let first = begin.saturating_add(guard.period.saturating_mul(i) / n);
        for probe in [&slot.fifo, &slot.other] {
            probe.go(Place::Going, guard.tick(begin));
        }
        spawn(Task { guard, slot, class: Class::Fifo, first })?;
        spawn(Task { guard, slot, class: Class::Other, first: first + guard.period / 2 })?;
    }
    let on_the_way = |slot: &Slot| !slot.fifo.has_arrived() || !slot.other.has_arrived();
    while guard.slots.iter().any(on_the_way) && now().saturating_sub(begin) < ARRIVAL {
        sleep_until(now().saturating_add(MS));
    }
    Ok(())
}

/// Not std's thread: that would have a handler stack and a heap of its own.
fn spawn(task: Task) -> io::Result<()> {
    let (policy, priority) = task.class.policy();
    // It lives as long as the process.
    let task: *mut Task = Box::into_raw(Box::new(task));
    // SAFETY: the attributes live on this stack, are initialised before and
    // destroyed after use; the task is never freed.
    let failed = unsafe {
        let mut attributes = std::mem::zeroed::<libc::pthread_attr_t>();
        let mut thread = std::mem::zeroed::<libc::pthread_t>();
        let mut parameters = std::mem::zeroed::<libc::sched_param>();
        parameters.sched_priority = priority;
        let set = [
            libc::pthread_attr_init(&mut attributes),
            libc::pthread_attr_setstacksize(&mut attributes, STACK),
            libc::pthread_attr_setdetachstate(&mut attributes, libc::PTHREAD_CREATE_DETACHED),
            libc::pthread_attr_setinheritsched(&mut attributes, libc::PTHREAD_EXPLICIT_SCHED),
            libc::pthread_attr_setschedpolicy(&mut attributes, policy),
            libc::pthread_attr_setschedparam(&mut attributes, &parameters),
        ];
        let failed = set.into_iter().find(|errno| *errno != 0).unwrap_or_else(|| {
            libc::pthread_create(&mut thread, &attributes, run, task.cast::<c_void>())
        });
        libc::pthread_attr_destroy(&mut attributes);
        failed
    };
    if failed == 0 {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(failed))
}

extern "C" fn run(task: *mut c_void) -> *mut c_void {
    // SAFETY: it is what `spawn` gave, for this thread alone, and never freed.
    let task = unsafe { &*task.cast::<Task>() };
    let (guard, cpu) = (task.guard, task.slot.cpu);
    let probe = match task.class {
        Class::Fifo => &task.slot.fifo,
        Class::Other => &task.slot.other,
    };
    probe.is(tid());
    // At once, before it first sleeps: a timer would be of the CPU that it happens
    // to be on, and with that CPU it would not come, wherever it belongs.
    let mut there = go(guard, probe, cpu);
    let mut next = if there { task.first } else { now().saturating_add(AWAY) };
    let mut rest = guard.period;
    loop {
        if there && task.class == Class::Fifo {
            task.slot.ear.listen(next);
        }
        sleep_until(next);
        if !there {
            there = go(guard, probe, cpu);
            let pause = if there { guard.period } else { AWAY };
            next = now().saturating_add(pause);
            rest = guard.period;
            continue;
        }
        let at = now();
        let counted = guard.tick(at);
        if !is_on(cpu) {
            probe.leave();
            there = false;
            continue;
        }
        probe.stamp(counted, waited(at.saturating_sub(next), probe.silence(counted), rest));
        guard.stand_in(task.class == Class::Fifo, at, counted);
        next = after(next, at, guard.period);
        rest = next.saturating_sub(at);
    }
}

/// Moves to its CPU. Until it arrives it counts as silent: a busy CPU may not
/// let it in.
fn go(guard: &Guard, probe: &Probe, cpu: u32) -> bool {
    probe.go(Place::Going, guard.tick(now()));
    // EINVAL: it is off line, or of another partition (sched_setaffinity(2)).
    if bind(0, Some(cpu)).is_err() || !is_on(cpu) {
        probe.leave();
        return false;
    }
    probe.go(Place::There, guard.tick(now()));
    true
}

fn is_on(cpu: u32) -> bool {
    // SAFETY: has no arguments.
    u32::try_from(unsafe { libc::sched_getcpu() }) == Ok(cpu)
}

/// How long it waited that is `late`. What did not count for anybody does not count
/// as waiting: no more than it was silent for, beyond the `rest` that it took.
fn waited(late: u64, silence: u64, rest: u64) -> u64 {
    late.min(silence.saturating_sub(rest))
}

/// When it looks next: in the rhythm that it has, the beats that it missed left
/// out.
fn after(planned: u64, now: u64, period: u64) -> u64 {
    let late = now.saturating_sub(planned);
    now.saturating_add(period).saturating_sub(late.checked_rem(period).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn time_that_did_not_count_was_not_waited() {
        assert_eq!(waited(60_000, 1_000, 1_000), 0);
        assert_eq!(waited(60_000, 1_500, 1_000), 500);
    }

    /// To keep its rhythm it rests for less than a period after it was late.
    #[test]
    fn what_follows_a_short_rest_was_waited() {
        assert_eq!(waited(950, 1_000, 50), 950);
    }

    proptest! {
        #[test]
        fn the_next_look_is_within_a_period_and_in_rhythm(
            planned in 0u64..1_000_000, late in 0u64..100_000, period in 1u64..10_000,
        ) {
            let next = after(planned, planned + late, period);
            prop_assert!(next > planned + late && next <= planned + late + period);
            prop_assert_eq!((next - planned) % period, 0);
        }
    }
}
