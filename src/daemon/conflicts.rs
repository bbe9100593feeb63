//! What on this host works against us, for `status`: read at the start and when
//! somebody asks, at most every few minutes, beside the loop.

use crate::doctor;
use crate::host::Root;
use bulkhead_core::model::Time;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// An answer is good for so long.
const GOOD_FOR: Duration = Duration::from_secs(300);

/// So long the client that asked first waits for a new answer, before it and
/// those after it get the last one. Reading takes some ms, more on a host with
/// thousands of processes, and may hang at a process that does.
const WAIT: Duration = Duration::from_millis(50);

/// Bytes; the thread reads files and formats.
const STACK: usize = 256 << 10;

/// The last answer, and perhaps one on its way.
pub struct Conflicts {
    root: Root,
    sentences: Vec<String>,
    read_at: Time,
    coming: Option<Receiver<Vec<String>>>,
    waited: bool,
}

impl Conflicts {
    /// Begins to read.
    pub fn new(root: Root, now: Time) -> Conflicts {
        let mut conflicts = Conflicts {
            root,
            sentences: Vec::new(),
            read_at: Time(0),
            coming: None,
            waited: false,
        };
        conflicts.begin(now);
        conflicts
    }

    /// The answer is too old: the next call of [`Conflicts::sentences`] reads
    /// anew.
    pub fn is_old(&self, now: Time) -> bool {
        self.coming.is_none() && now.since(self.read_at) >= GOOD_FOR
    }

    /// A sentence each, with the line that ends it.
    pub fn sentences(&mut self, now: Time) -> Vec<String> {
        if self.is_old(now) {
            self.begin(now);
        }
        if let Some(coming) = &self.coming {
            let wait = if self.waited { Duration::ZERO } else { WAIT };
            self.waited = true;
            match coming.recv_timeout(wait) {
                Ok(sentences) => self.take(sentences),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.coming = None,
            }
        }
        self.sentences.clone()
    }

    fn begin(&mut self, now: Time) {
        (self.read_at, self.waited) = (now, false);
        let (sender, coming) = mpsc::channel();
        let root = self.root.clone();
        // Nobody may ask any more.
        let work = move || sender.send(doctor::conflicts(&root)).unwrap_or_default();
        let thread = thread::Builder::new().name("conflicts".to_owned()).stack_size(STACK);
        self.coming = thread.spawn(work).is_ok().then_some(coming);
    }

    /// What is new is told once in the log, too.
    fn take(&mut self, sentences: Vec<String>) {
        self.coming = None;
        for new in sentences.iter().filter(|sentence| !self.sentences.contains(sentence)) {
            tracing::warn!("{new}");
        }
        self.sentences = sentences;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Instant;

    fn eventually(conflicts: &mut Conflicts, now: Time) -> Vec<String> {
        let start = Instant::now();
        while conflicts.coming.is_some() && start.elapsed() < Duration::from_secs(10) {
            conflicts.sentences(now);
        }
        conflicts.sentences(now)
    }

    #[test]
    fn an_answer_is_good_for_five_minutes() {
        let dir = tempfile::tempdir().unwrap();
        let (start, later) = (Time(0), Time(0).after(GOOD_FOR));
        let mut conflicts = Conflicts::new(Root::new(dir.path()), start);
        assert!(eventually(&mut conflicts, start).is_empty());
        fs::create_dir_all(dir.path().join("proc/812")).unwrap();
        fs::write(dir.path().join("proc/812/comm"), "rasdaemon\n").unwrap();
        assert!(eventually(&mut conflicts, start).is_empty());
        assert!(conflicts.is_old(later));
        conflicts.sentences(later);
        assert_eq!(eventually(&mut conflicts, later).len(), 1);
    }
}
