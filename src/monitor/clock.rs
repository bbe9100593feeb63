//! From the kernel's clock to ours.

use bulkhead_core::model::time::Anchor;
use bulkhead_core::model::{Stamp, Wall};

/// One look at both clocks, to date what happened on CLOCK_BOOTTIME.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    anchor: Anchor,
    now: Stamp,
}

impl Clock {
    /// A clock that shows `now`, in the boot that `anchor` belongs to.
    pub fn new(anchor: Anchor, now: Stamp) -> Clock {
        Clock { anchor, now }
    }

    /// The moment at `boottime` ns of CLOCK_BOOTTIME.
    ///
    /// Its wall time is counted back from now, so that events dated before a
    /// step of the wall clock are shown by the corrected clock.
    pub fn stamp(&self, boottime: u64) -> Stamp {
        let ago = i128::from(self.anchor.boottime(self.now.at)) - i128::from(boottime);
        let wall = i128::from(self.now.wall.0) - ago;
        let wall = wall.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Stamp { at: self.anchor.time(boottime), wall: Wall(wall as i64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_core::model::Time;

    #[test]
    fn wall_time_is_counted_back_from_now() {
        let anchor = Anchor(1_000_000);
        let clock = Clock::new(anchor, Stamp { at: Time(1_000_500), wall: Wall(90_000) });
        assert_eq!(clock.stamp(200), Stamp { at: Time(1_000_200), wall: Wall(89_700) });
        assert_eq!(clock.stamp(600), Stamp { at: Time(1_000_600), wall: Wall(90_100) });
    }

    #[test]
    fn an_absurd_time_saturates() {
        let clock = Clock::new(Anchor(5), Stamp::default());
        assert_eq!(clock.stamp(u64::MAX).at, Time(u64::MAX));
        assert_eq!(clock.stamp(u64::MAX).wall, Wall(i64::MAX));
    }
}
