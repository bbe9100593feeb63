//! Of several CPUs that do not run, the one that holds up the others. Pure.
//!
//! A CPU that takes no interrupts does not answer its peers, and some of them
//! soon wait for it in the kernel, with preemption off: to flush a translation,
//! or to call a function there (kernel/smp.c, csd_lock_wait()). They are silent
//! as long as it is, and by the beat of their probes even a little longer, but
//! their own interrupts are on.

/// A CPU whose real-time probe is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silent {
    /// The kernel's number.
    pub cpu: u32,
    /// For how long, in ms.
    pub ms: u64,
    /// Its timer did not go off either.
    pub deaf: bool,
}

/// The one to be named of those that are silent for half their limit or longer:
/// one that is deaf before one that is not, then the longest silent. One that
/// waits for a deaf CPU may reach the limit ahead of it by a beat of the probes,
/// so that not only those count that have reached it.
pub fn culprit(silent: impl IntoIterator<Item = Silent>) -> Option<Silent> {
    silent.into_iter().max_by_key(|cpu| (cpu.deaf, cpu.ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_silent() -> impl Strategy<Value = Silent> {
        (any::<u32>(), 0u64..9, any::<bool>()).prop_map(|(cpu, ms, deaf)| Silent { cpu, ms, deaf })
    }

    proptest! {
        #[test]
        fn no_other_is_deaf_for_longer_nor_any_deaf_if_it_is_not(
            cpus in prop::collection::vec(any_silent(), 0..9),
        ) {
            let named = culprit(cpus.iter().copied());
            prop_assert_eq!(named.is_none(), cpus.is_empty());
            for (cpu, named) in cpus.iter().zip(named.iter().cycle()) {
                prop_assert!(cpus.contains(named));
                prop_assert!(named.deaf || !cpu.deaf);
                prop_assert!(cpu.ms <= named.ms || cpu.deaf != named.deaf);
            }
        }
    }
}
