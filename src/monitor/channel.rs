//! The ways by which reports reach us, behind one face.

use super::bpf::Bpf;
use super::clock::Clock;
use super::file::FileSource;
use super::tracefs::Tracefs;
use super::{Drained, Note, SourceState, State};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Key of the store for the name of the last BPF batch.
pub const BPF_KEY: &str = "bpf";

/// Key of the store for the place reached in a file.
pub fn file_key(path: &Path) -> String {
    format!("file:{}", path.display())
}

/// One of the ways.
pub enum Way {
    /// Counted by programs in the kernel.
    Bpf(Box<Bpf>),
    /// Read from the kernel's trace buffers.
    Tracefs(Tracefs),
    /// Read from the file of this name.
    File(FileSource, PathBuf),
}

/// A way, and whether it is passable.
pub struct Channel {
    way: Way,
    /// Why it was not the last time.
    broken: Option<String>,
}

impl Channel {
    /// A way that just opened.
    pub fn new(way: Way) -> Channel {
        Channel { way, broken: None }
    }

    /// Readable when there is something to drain.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.way {
            Way::Bpf(bpf) => bpf.wake_fd(),
            Way::Tracefs(tracefs) => Some(tracefs.as_fd()),
            Way::File(file, _) => Some(file.as_fd()),
        }
    }

    /// The key of the store for this way's cursor.
    pub fn key(&self) -> String {
        match &self.way {
            Way::Bpf(_) => BPF_KEY.to_owned(),
            Way::Tracefs(_) => "tracefs".to_owned(),
            Way::File(_, path) => file_key(path),
        }
    }

    /// What came since the last drain. A way that fails is shown by
    /// [`Channel::states`] and tried again the next time.
    pub fn drain(&mut self, clock: &Clock, notes: &mut Vec<Note>) -> Drained {
        let drained = match &mut self.way {
            Way::Bpf(bpf) => {
                let drained = bpf.drain(clock).map_err(|e| e.to_string());
                notes.extend(bpf.new_losses());
                drained
            }
            Way::Tracefs(tracefs) => tracefs.drain(clock, notes).map_err(|e| e.to_string()),
            Way::File(file, path) => {
                file.drain(notes).map_err(|e| format!("cannot read {}: {e}", path.display()))
            }
        };
        self.judge(drained, notes).unwrap_or_default()
    }

    /// What was drained last is durable.
    pub fn done(&mut self, notes: &mut Vec<Note>) {
        match &mut self.way {
            Way::Bpf(bpf) => {
                let done = bpf.done().map_err(|e| e.to_string());
                // Where it failed before, one deed that works is no recovery.
                if done.is_err() {
                    self.judge(done, notes);
                }
            }
            Way::Tracefs(tracefs) => tracefs.done(),
            Way::File(file, _) => file.done(),
        }
    }

    /// How its sources fare.
    pub fn states(&self) -> Vec<SourceState> {
        let mut states = match &self.way {
            Way::Bpf(bpf) => bpf.states(),
            Way::Tracefs(tracefs) => tracefs.states(),
            Way::File(file, _) => file.states(),
        };
        if let Some(why) = &self.broken {
            for state in states.iter_mut().filter(|s| s.state != State::Absent) {
                (state.state, state.why) = (State::Failed, why.clone());
            }
        }
        states
    }

    /// It was only there for what an earlier daemon left, and that was read.
    pub fn is_spent(&self) -> bool {
        match &self.way {
            Way::Bpf(bpf) => bpf.is_empty(),
            Way::Tracefs(tracefs) => tracefs.is_spent(),
            Way::File(..) => false,
        }
    }

    /// Clears away what is spent.
    ///
    /// # Errors
    /// A sentence, if it cannot be removed.
    pub fn close(self) -> Result<(), String> {
        match self.way {
            Way::Tracefs(tracefs) => tracefs.remove().map_err(|e| e.to_string()),
            Way::Bpf(_) | Way::File(..) => Ok(()),
        }
    }

    /// Tells a failure, once, and remembers it until it is over.
    fn judge<T>(&mut self, result: Result<T, String>, notes: &mut Vec<Note>) -> Option<T> {
        match result {
            Ok(value) => {
                self.broken = None;
                Some(value)
            }
            Err(why) => {
                if self.broken.as_ref() != Some(&why) {
                    notes.push(Note::new(why.clone()));
                }
                self.broken = Some(why);
                None
            }
        }
    }
}
