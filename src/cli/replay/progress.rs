//! How far a long replay is, on a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// A replay shorter than this says nothing of its progress.
const LONG: Duration = Duration::from_secs(1);

/// Between two looks of the line.
const EVERY: Duration = Duration::from_millis(200);

/// One line on stderr, which is written over and removed in the end.
#[derive(Debug)]
pub(super) struct Progress {
    /// `None` where nobody looks.
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    pub(super) fn new() -> Progress {
        let next = io::stderr().is_terminal().then(|| Instant::now() + LONG);
        Progress { next, shown: false }
    }

    /// So much of so much is done.
    pub(super) fn at(&mut self, done: u64, total: u64) {
        let now = Instant::now();
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.next = Some(now + EVERY);
        self.shown = true;
        let percent = (u128::from(done) * 100).checked_div(u128::from(total)).unwrap_or(0);
        // Of no consequence if it cannot be shown.
        let _ = write!(io::stderr(), "\r\x1b[Kreplay: {}%", percent.min(100));
    }

    /// Makes room for another line on the terminal.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
