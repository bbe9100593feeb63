//! Now, on both clocks.

use bulkhead_core::model::time::Anchor;
use bulkhead_core::model::{Stamp, Wall};
use nix::time::{clock_gettime, ClockId};

/// CLOCK_BOOTTIME in ns: it runs on through suspend, and never steps.
pub fn boottime() -> u64 {
    u64::try_from(nanoseconds(ClockId::CLOCK_BOOTTIME)).unwrap_or(0)
}

/// CLOCK_MONOTONIC in ns: as the kernel's log counts, but for what the clock was
/// steered by. It stands still in suspend.
pub fn monotonic() -> u64 {
    u64::try_from(nanoseconds(ClockId::CLOCK_MONOTONIC)).unwrap_or(0)
}

/// The wall clock. It may step either way.
pub fn wall() -> Wall {
    Wall(nanoseconds(ClockId::CLOCK_REALTIME))
}

/// Now, in a boot whose CLOCK_BOOTTIME starts at `anchor`.
pub fn now(anchor: Anchor) -> Stamp {
    Stamp { at: anchor.time(boottime()), wall: wall() }
}

fn nanoseconds(clock: ClockId) -> i64 {
    // Neither clock can fail on a kernel that this program can be built for
    // (CLOCK_BOOTTIME came with 2.6.39).
    clock_gettime(clock)
        .map_or(0, |t| t.tv_sec().saturating_mul(1_000_000_000).saturating_add(t.tv_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_core::model::Time;

    #[test]
    fn now_lies_after_the_anchor_and_does_not_go_back() {
        let first = now(Anchor(1_000));
        let second = now(Anchor(1_000));
        assert!(first.at > Time(1_000));
        assert!(second.at >= first.at);
    }

    #[test]
    fn the_wall_clock_counts_from_1970() {
        let year_2020 = 1_577_836_800_000_000_000;
        assert!(wall().0 > year_2020);
    }
}
