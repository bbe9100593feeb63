//! Whether a CPU takes interrupts. A timer belongs to the CPU that set it
//! (kernel/sched/core.c, get_nohz_timer_target(): one that is not idle keeps its
//! own, unless it is of `nohz_full`), so that of a CPU whose interrupts are off
//! never goes off. That of a CPU which only waits in the kernel for another's
//! answer does, and so does that of one which a real-time task keeps.

use crate::clock::timespec;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A timer (timerfd_create(2)) that the CPU's real-time probe sets, and that all
/// may look at: it is never read, so that it shows until it is set again that it
/// went off. To look takes no lock that is held for longer than a moment
/// (fs/timerfd.c, timerfd_poll()), and none of the CPU's own.
#[derive(Debug)]
pub struct Ear(Option<OwnedFd>);

impl Ear {
    /// One that has heard. Where there is no room for a descriptor it always has.
    pub fn new() -> Ear {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: the descriptor is nobody else's.
        let fd = unsafe {
            let fd = libc::timerfd_create(libc::CLOCK_MONOTONIC, flags);
            (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
        };
        let ear = Ear(fd);
        ear.listen(0);
        ear
    }

    /// Sets the timer of the CPU that the caller runs on, to when
    /// [`crate::clock::now`] is `at`. What was heard is forgotten.
    pub fn listen(&self, at: u64) {
        let Some(fd) = &self.0 else { return };
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // At zero it would never go off.
        let time = libc::itimerspec { it_interval: never, it_value: timespec(at.max(1)) };
        // SAFETY: the kernel reads one itimerspec, and returns none.
        unsafe {
            libc::timerfd_settime(
                fd.as_raw_fd(),
                libc::TFD_TIMER_ABSTIME,
                &time,
                std::ptr::null_mut(),
            )
        };
    }

    /// Whether it went off since. To be asked a while after it was due.
    pub fn has_heard(&self) -> bool {
        let Some(fd) = &self.0 else { return true };
        let mut fd = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: the kernel reads and writes one entry; it does not wait.
        let ready = unsafe { libc::poll(&mut fd, 1, 0) };
        ready != 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::clock::{now, MS};

    /// Waits until its timer goes off; whether it did within ten seconds.
    fn hears(ear: &Ear) -> bool {
        let fd = ear.0.as_ref().unwrap().as_raw_fd();
        let mut fd = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: the kernel reads and writes one entry.
        unsafe { libc::poll(&mut fd, 1, 10_000) == 1 }
    }

    #[test]
    fn a_new_one_has_heard() {
        assert!(hears(&Ear::new()));
    }

    #[test]
    fn it_hears_what_is_due_and_nothing_before_and_tells_all_who_ask() {
        let ear = Ear::new();
        ear.listen(now() + 100_000 * MS);
        assert!(!ear.has_heard());
        ear.listen(now() + MS);
        assert!(hears(&ear) && ear.has_heard() && ear.has_heard());
    }

    #[test]
    fn without_a_descriptor_nobody_is_deaf() {
        let ear = Ear(None);
        ear.listen(now() + 100_000 * MS);
        assert!(ear.has_heard());
    }
}
