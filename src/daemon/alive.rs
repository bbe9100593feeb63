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

#[cfg(test)]
mod tests {
    use super::super::cycle::tests::{cycle, NOW};
    use super::*;
    use crate::host::Root;
    use crate::state::Saved;
    use std::fs;
    use std::path::Path;

    fn watchdog(root: &Path, state: &str) -> std::io::Result<()> {
        let device = root.join("sys/class/watchdog/watchdog0");
        fs::create_dir_all(&device)?;
        fs::write(device.join("state"), state)
    }

    #[test]
    fn word_is_left_about_once_a_minute_with_what_is_armed() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let root = Root::new(dir.path());
        let heard = Heartbeats::beside(&dir.path().join("api"));
        let mut books = cycle(&mut Saved::default()).core.books;
        let mut alive = Alive::default();
        alive.turn(&root, &heard, &mut books, NOW);
        assert!(books.is_dirty() && books.boot.armed.is_none());

        watchdog(dir.path(), "active")?;
        alive.turn(&root, &heard, &mut books, NOW.after(Duration::from_secs(50)));
        assert!(books.boot.armed.is_none(), "not yet");
        alive.turn(&root, &heard, &mut books, NOW.after(Duration::from_secs(60)));
        assert!(books.boot.armed.is_some());
        watchdog(dir.path(), "inactive")?;
        alive.turn(&root, &heard, &mut books, NOW.after(Duration::from_secs(120)));
        assert!(books.boot.armed.is_none(), "disarmed");
        Ok(())
    }

    #[test]
    fn a_stop_in_the_last_step_of_a_shutdown_is_remembered() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let mut books = cycle(&mut Saved::default()).core.books;
        let stopping = |books: &mut Memory| {
            Alive::default().stopping(&Root::new(dir.path()), books, NOW);
            books.boot.stopping.is_some()
        };
        assert!(!stopping(&mut books), "nobody can tell");
        fs::create_dir_all(dir.path().join("proc/1"))?;
        fs::write(dir.path().join("proc/1/comm"), "systemd-shutdow\n")?;
        assert!(stopping(&mut books));
        Ok(())
    }
}
