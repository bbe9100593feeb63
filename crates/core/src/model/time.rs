//! Two kinds of time.
//!
//! Windows run on [`Time`], which never steps; people read [`Wall`], which may.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A moment on Bulkhead's own time line, in nanoseconds.
///
/// Within a boot it advances with CLOCK_BOOTTIME. At each boot it is anchored
/// to the wall clock, but never before the last moment already recorded: a
/// clock that comes back wrong makes the downtime count as zero, and never
/// makes time run backwards. See [`Anchor`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub u64);

/// Wall-clock time, nanoseconds since the Unix epoch. For people and logs only.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Wall(pub i64);

/// One moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// For windows, limits and retries.
    pub at: Time,
    /// For people.
    pub wall: Wall,
}

impl Time {
    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment plus `d`, saturating.
    pub fn after(self, d: Duration) -> Time {
        Time(self.0.saturating_add(nanos(d)))
    }

    /// This moment minus `d`, saturating at zero.
    pub fn before(self, d: Duration) -> Time {
        Time(self.0.saturating_sub(nanos(d)))
    }
}

impl Wall {
    /// This moment plus `d`, saturating.
    pub fn after(self, d: Duration) -> Wall {
        Wall(self.0.saturating_add(signed(d)))
    }

    /// This moment minus `d`, saturating.
    pub fn before(self, d: Duration) -> Wall {
        Wall(self.0.saturating_sub(signed(d)))
    }
}

impl Stamp {
    /// This moment plus `d`, on both clocks.
    pub fn after(self, d: Duration) -> Stamp {
        Stamp { at: self.at.after(d), wall: self.wall.after(d) }
    }
}

/// `d` in nanoseconds, as the clocks here and the kernel's count them; saturating
/// after 584 years.
pub fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

fn signed(d: Duration) -> i64 {
    i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)
}

/// Where the boot's CLOCK_BOOTTIME zero lies on Bulkhead's time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor(pub u64);

impl Anchor {
    /// The anchor of a boot that has none yet.
    ///
    /// `boottime` is now on CLOCK_BOOTTIME in ns, `wall` now on the wall clock,
    /// `last` the last moment recorded by an earlier boot. A wall clock behind
    /// `last` is not believed.
    pub fn of_new_boot(boottime: u64, wall: Wall, last: Option<Time>) -> Anchor {
        let now = u64::try_from(wall.0).unwrap_or(0).max(last.map_or(0, |t| t.0)).max(boottime);
        Anchor(now - boottime)
    }

    /// The moment at `boottime` ns of CLOCK_BOOTTIME.
    pub fn time(self, boottime: u64) -> Time {
        Time(self.0.saturating_add(boottime))
    }

    /// CLOCK_BOOTTIME in ns at `time`; zero for moments before the boot.
    pub fn boottime(self, time: Time) -> u64 {
        time.0.saturating_sub(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_goes_both_ways_and_stops_at_its_ends() {
        let second = Duration::from_secs(1);
        assert_eq!(Wall(7).after(second).before(second), Wall(7));
        assert_eq!(Wall(i64::MIN).before(Duration::MAX), Wall(i64::MIN));
        assert_eq!(Wall(1).after(Duration::MAX), Wall(i64::MAX));
    }

    #[test]
    fn downtime_counts_when_the_clock_is_believable() {
        let last = Time(1_000);
        let anchor = Anchor::of_new_boot(10, Wall(5_000), Some(last));
        assert_eq!(anchor.time(10).since(last), Duration::from_nanos(4_000));
    }

    #[test]
    fn a_clock_behind_the_last_record_makes_the_downtime_zero() {
        let last = Time(9_000);
        let anchor = Anchor::of_new_boot(10, Wall(5_000), Some(last));
        assert_eq!(anchor.time(10), last);
        let dead_battery = Anchor::of_new_boot(10, Wall(-5), Some(last));
        assert_eq!(dead_battery.time(10), last);
    }
}
