//! The capabilities that the daemon works with; docs/security.md says what each
//! is for.
//!
//! The unit starts it with these and CAP_CHOWN, which the socket's group needs.
//! By hand it is started with all.

use caps::{CapSet, Capability, CapsHashSet};

/// What it needs until it ends.
const WORKING: [Capability; 4] = [
    // soft_offline_page and unpoison-pfn (mm/memory-failure.c), and loading BPF
    // programs, which covers CAP_BPF and CAP_PERFMON.
    Capability::CAP_SYS_ADMIN,
    // Affinities of other users' tasks (sched_setaffinity(2)).
    Capability::CAP_SYS_NICE,
    // /proc/PID/environ of programs with more capabilities (ptrace(2)).
    Capability::CAP_SYS_PTRACE,
    // /dev/kmsg where dmesg is restricted (kernel/printk/printk.c).
    Capability::CAP_SYSLOG,
];

/// Gives up all others, for good. To be called before there is a second thread:
/// a capability is a thread's, and each starts with its parent's.
pub(super) fn drop_others() {
    if let Err(error) = keep(&WORKING.into_iter().collect()) {
        tracing::warn!("capabilities that are not needed stay: {error}");
    }
}

fn keep(wanted: &CapsHashSet) -> Result<(), caps::errors::CapsError> {
    let held = caps::read(None, CapSet::Permitted)?;
    if held.contains(&Capability::CAP_SETPCAP) {
        for unwanted in caps::read(None, CapSet::Bounding)?.difference(wanted) {
            caps::drop(None, CapSet::Bounding, *unwanted)?;
        }
    }
    caps::clear(None, CapSet::Inheritable)?;
    let kept: CapsHashSet = held.intersection(wanted).copied().collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_does_not_come_back() {
        // In a thread of its own: other tests keep what they have.
        let one = [Capability::CAP_SYS_NICE].into_iter().collect();
        let held = std::thread::spawn(move || {
            let before = caps::read(None, CapSet::Permitted).unwrap();
            keep(&one).unwrap();
            let after = caps::read(None, CapSet::Effective).unwrap();
            assert_eq!(after, before.intersection(&one).copied().collect());
            assert_eq!(after, caps::read(None, CapSet::Permitted).unwrap());
            assert!(caps::raise(None, CapSet::Effective, Capability::CAP_CHOWN).is_err());
        });
        held.join().unwrap();
    }
}
