//! A shutdown that hangs ends. Pure.
//!
//! ```text
//!            STOPPING is there                its limit
//!  running ────────────────────▶ stopping ─────────────▶ stalled
//!     ▲                             │
//!     └── STOPPING is gone again ───┘
//! ```
//!
//! That is while services stop: nothing stops this program then. Once they have,
//! systemd-shutdown becomes process 1 and ends every process. It opens the
//! hardware by itself for a reboot only (`RebootWatchdogSec=`, become_shutdown()
//! in systemd's src/core/main.c), and only after the last process has gone. So
//! for a reboot and a poweroff this program leaves the hardware armed, with the
//! rest of the limit as its timeout.

use std::path::Path;

/// It is there while the system stops (`bulkhead-stopping.service`), in memory.
pub const STOPPING: &str = "/run/bulkhead/stopping";

/// How process 1 was called: NUL after each word (proc_pid_cmdline(5)).
pub const PROCESS_1: &str = "/proc/1/cmdline";

/// How long a shutdown takes.
#[derive(Debug)]
pub struct Shutdown {
    limit: u64,
    taken: Option<u64>,
}

impl Shutdown {
    /// Nothing stops. `limit` in ms.
    pub fn new(limit: u64) -> Shutdown {
        Shutdown { limit, taken: None }
    }

    /// Looks at it once, `elapsed` ms of this program's own time after the last
    /// time, so that a host that slept is not late. Returns how many ms it has
    /// taken, once that is past the limit. Allocates nothing.
    pub fn step(&mut self, elapsed: u64, stopping: bool) -> Option<u64> {
        self.taken = stopping.then(|| self.taken.map_or(0, |taken| taken.saturating_add(elapsed)));
        self.taken.filter(|taken| *taken >= self.limit)
    }

    /// The ms that it may take.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The ms that are left of the limit.
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.taken.unwrap_or(0))
    }
}

/// What is to become of the hardware when the program is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// Nobody is to be reset.
    Disarm,
    /// It watches the rest of the shutdown.
    Leave,
}

/// Decides it by [`PROCESS_1`]. A host that is to stay halted must not be reset,
/// and a kernel that kexec starts may not know the watchdog.
pub fn parting(process_1: &[u8]) -> Parting {
    let mut words = process_1.split(|byte| *byte == 0);
    let program = words.next().and_then(|path| path.rsplit(|byte| *byte == b'/').next());
    match (program, words.next()) {
        (Some(b"systemd-shutdown"), Some(b"reboot" | b"poweroff")) => Parting::Leave,
        _ => Parting::Disarm,
    }
}

/// The timeout with which the hardware is left, in seconds: all that is `left` (in
/// ms), as far as a device goes that takes `max_timeout_s` at most (0: any). `None`
/// for one that is too short to tell a slow end from none: it is disarmed.
pub fn timeout(left: u64, max_timeout_s: u32) -> Option<u32> {
    let left = u32::try_from(left.div_ceil(1000)).unwrap_or(u32::MAX).max(LEAST);
    let most = if max_timeout_s == 0 { LONGEST } else { max_timeout_s.min(LONGEST) };
    (left <= most || most >= AMPLE).then(|| left.min(most))
}

/// What is left when the limit has all but passed, in seconds.
const LEAST: u32 = 5;

/// In seconds: systemd-shutdown gives the last processes DefaultTimeoutStopSec=
/// (90 s) to end, and as long again once it has killed them (broadcast_signal() in
/// systemd's src/shared/killall.c).
const AMPLE: u32 = 180;

/// watchdog_timeout_invalid() in include/linux/watchdog.h takes no more seconds.
const LONGEST: u32 = u32::MAX / 1000;

/// Whether [`STOPPING`] is there; it is no matter of a disk.
pub fn is_stopping() -> bool {
    Path::new(STOPPING).exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_shutdown_that_takes_its_limit_has_stalled() {
        let mut shutdown = Shutdown::new(10_000);
        assert_eq!(shutdown.step(60_000, false), None);
        // What came before it was seen is not counted.
        assert_eq!(shutdown.step(60_000, true), None);
        assert_eq!(shutdown.step(9_999, true), None);
        assert_eq!(shutdown.left(), 1);
        assert_eq!(shutdown.step(1, true), Some(10_000));
        assert_eq!((shutdown.step(1_000, true), shutdown.left()), (Some(11_000), 0));
    }

    #[test]
    fn one_that_is_called_off_is_forgotten() {
        let mut shutdown = Shutdown::new(10_000);
        shutdown.step(1_000, true);
        shutdown.step(9_000, true);
        assert_eq!((shutdown.step(9_000, false), shutdown.left()), (None, 10_000));
        shutdown.step(1_000, true);
        assert_eq!(shutdown.step(9_000, true), None);
    }

    #[test]
    fn the_hardware_is_left_armed_for_a_reboot_or_poweroff_and_no_other_end() {
        let process_1 = |line: &str| parting(line.replace(' ', "\0").as_bytes());
        for line in [
            "/lib/systemd/systemd-shutdown reboot --log-level 6",
            "/usr/lib/systemd/systemd-shutdown poweroff --timeout 90000000us",
            "systemd-shutdown reboot",
        ] {
            assert_eq!(process_1(line), Parting::Leave, "{line}");
        }
        for line in [
            "/lib/systemd/systemd-shutdown halt",
            "/lib/systemd/systemd-shutdown kexec",
            "/lib/systemd/systemd-shutdown exit",
            "/lib/systemd/systemd-shutdown",
            "/sbin/init",
            "/lib/systemd/systemd reboot",
            "",
        ] {
            assert_eq!(process_1(line), Parting::Disarm, "{line}");
        }
    }

    #[test]
    fn it_is_left_for_what_is_left_of_the_limit() {
        assert_eq!(timeout(17_200, 2046), Some(18));
        assert_eq!(timeout(17_200, 0), Some(18));
        assert_eq!(timeout(0, 0), Some(LEAST));
        // As long as it can, if that is long.
        assert_eq!(timeout(1_800_000, 600), Some(600));
        // One that would end a slow shutdown is disarmed, unless it reaches.
        assert_eq!(timeout(1_800_000, 63), None);
        assert_eq!(timeout(60_000, 63), Some(60));
    }

    proptest! {
        #[test]
        fn any_process_1_is_read(line: Vec<u8>) {
            parting(&line);
        }

        #[test]
        fn a_device_is_given_no_more_than_it_takes(left: u64, most: u32) {
            if let Some(timeout) = timeout(left, most) {
                prop_assert!(timeout > 0 && timeout <= LONGEST);
                prop_assert!(most == 0 || timeout <= most);
                prop_assert!(u64::from(timeout) <= left.div_ceil(1000).max(u64::from(LEAST)));
            }
        }

        #[test]
        fn only_time_in_which_the_system_stops_is_counted(
            steps in prop::collection::vec((0u64..5_000, any::<bool>()), 0..60),
        ) {
            let mut shutdown = Shutdown::new(20_000);
            let mut taken: Option<u64> = None;
            for (elapsed, stopping) in steps {
                taken = stopping.then(|| taken.map_or(0, |taken| taken + elapsed));
                let late = shutdown.step(elapsed, stopping);
                prop_assert_eq!(late, taken.filter(|taken| *taken >= 20_000));
            }
        }
    }
}
