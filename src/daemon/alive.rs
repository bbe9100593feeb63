//! What the daemon leaves of this boot for the next one to judge by: that it was
//! still there, what was armed, and that a shutdown began.

use super::heartbeat::Heartbeats;
use super::memory::Memory;
use crate::host::shutdown::{self, Shutdown};
use crate::host::{clock, watchdogs, Root};
use bulkhead_core::analyze::verdict::Moment;
use bulkhead_core::model::{Stamp, Time};
use std::time::Duration;

/// So long after the last word another one is left, when the loop turns anyway:
/// it is not woken for it, and writes no more often for it. A little less than
/// half of the unit's WatchdogSec, after which systemd is told at the latest.
const AGAIN: Duration = Duration::from_secs(55);

/// When the last word was left.
#[derive(Debug, Default)]
pub struct Alive {
    said: Option<Time>,
}

impl Alive {
    /// Leaves word, if it is time.
    pub fn turn(&mut self, root: &Root, heard: &Heartbeats, books: &mut Memory, now: Stamp) {
        if self.said.is_some_and(|said| now.at < said.after(AGAIN)) {
            return;
        }
        self.said = Some(now.at);
        if !heard.is_armed() {
            // systemd's, or another's.
            books.boot.armed = watchdogs::armed(root);
        }
        books.boot_changed();
    }

    /// The daemon was told to stop: perhaps with the whole system.
    pub fn stopping(&self, root: &Root, books: &mut Memory, now: Stamp) {
        if shutdown::state(root) == Shutdown::UnderWay {
            books.boot.stopping = Some(Moment { up: clock::monotonic(), wall: now.wall });
            books.boot_changed();
        }
    }
}
