//! Sources: what the kernel says, as [`Report`]s. Nothing else in the house
//! knows a tracepoint.

pub mod bpf;
pub mod clock;

use bpf::Bpf;
use bulkhead_core::model::time::Anchor;
use bulkhead_core::model::{Report, Source, Stamp};
use clock::Clock;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

/// Which source to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// BPF; where that cannot be had, tracefs.
    Auto,
    /// BPF or nothing.
    Bpf,
    /// tracefs or nothing.
    Tracefs,
    /// Event JSON lines out of a file; the kernel is left alone.
    File(PathBuf),
    /// Nothing: the machine looked at is not the one we run on.
    None,
}

/// How reports reach us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Counted by programs in the kernel.
    Bpf,
    /// Read from the kernel's trace buffers.
    Tracefs,
    /// Read from a file.
    File,
}

/// How a source fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing is known to be missing.
    Ok,
    /// This kernel or file has no such source.
    Absent,
    /// It should be there and cannot be used.
    Failed,
    /// It works, and lost something in this boot.
    Lossy,
}

/// One line of `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// Which.
    pub source: Source,
    /// By which way.
    pub via: Via,
    /// How it fares.
    pub state: State,
    /// Records lost since boot (for a file: lines that could not be read).
    pub lost: u64,
    /// One sentence; empty if all is well.
    pub why: String,
}

/// Something to tell the admin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is about, if one source.
    pub source: Option<Source>,
    /// One sentence.
    pub text: String,
}

/// What one drain brought.
#[derive(Debug, Default)]
pub struct Batch {
    /// Reports, in the order of their first records.
    pub reports: Vec<Report>,
    /// Keys and values to store in the same transaction as what follows from
    /// the reports; [`Monitor::open`] asks for them again.
    pub cursors: Vec<(String, String)>,
    /// There is more at once: drain again after [`Monitor::done`].
    pub more: bool,
    /// To be told.
    pub notes: Vec<Note>,
}

impl Note {
    fn new(text: impl Into<String>) -> Note {
        Note { source: None, text: text.into() }
    }

    fn of(source: Source, text: impl Into<String>) -> Note {
        Note { source: Some(source), text: text.into() }
    }
}

/// All sources.
pub struct Monitor {
    anchor: Anchor,
    bpf: Bpf,
    /// Sources that nothing serves.
    unserved: Vec<SourceState>,
    /// Why BPF could not be drained the last time, if so.
    broken: Option<String>,
    /// For the next batch.
    notes: Vec<Note>,
    /// Readable when any source is.
    epoll: Epoll,
}

impl Monitor {
    /// Opens the sources of `choice`. What cannot be had is told by
    /// [`Monitor::states`]. `saved_cursor` gives what the store keeps under a
    /// key of [`Batch::cursors`].
    ///
    /// Drain once after opening, whether the descriptor is readable or not:
    /// there may be something from before.
    ///
    /// # Errors
    /// Only if this process may have no further descriptor.
    pub fn open(
        choice: &Choice,
        anchor: Anchor,
        saved_cursor: &dyn Fn(&str) -> Option<String>,
    ) -> io::Result<Monitor> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut notes = Vec::new();
        let wanted = matches!(choice, Choice::Auto | Choice::Bpf);
        let (bpf, opened) = Bpf::open(wanted, saved_cursor(bpf::CURSOR), &mut notes);
        let mut unserved = Vec::new();
        if let Err(e) = opened {
            unserved.extend(Source::ALL.map(|source| SourceState {
                source,
                via: Via::Bpf,
                state: State::Failed,
                lost: 0,
                why: e.to_string(),
            }));
        }
        if let Some(fd) = bpf.wake_fd() {
            epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        }
        Ok(Monitor { anchor, bpf, unserved, broken: None, notes, epoll })
    }

    /// What was reported since the last drain. What the kernel holds of it
    /// stays until [`Monitor::done`], and comes again when that is not called.
    pub fn drain(&mut self, now: Stamp) -> Batch {
        let clock = Clock::new(self.anchor, now);
        let mut batch = Batch::default();
        match self.bpf.drain(&clock) {
            Ok(drained) => {
                self.broken = None;
                batch.reports.extend(drained.reports);
                batch.more |= drained.more;
                batch.cursors.extend(drained.cursor.map(|c| (bpf::CURSOR.to_owned(), c)));
            }
            Err(e) => self.tell_broken(e.to_string()),
        }
        self.notes.extend(self.bpf.new_losses());
        batch.notes = std::mem::take(&mut self.notes);
        batch
    }

    /// The last batch is durable: the kernel's copy may go.
    pub fn done(&mut self) {
        if let Err(e) = self.bpf.done() {
            self.tell_broken(e.to_string());
        }
    }

    /// How each source fares, in the order of [`Source::ALL`].
    pub fn states(&self) -> Vec<SourceState> {
        let mut states = self.bpf.states();
        if let Some(why) = &self.broken {
            for state in &mut states {
                (state.state, state.why) = (State::Failed, why.clone());
            }
        }
        states.extend(self.unserved.iter().cloned());
        states.sort_by_key(|s| s.source);
        states
    }

    fn tell_broken(&mut self, why: String) {
        if self.broken.as_ref() != Some(&why) {
            self.notes.push(Note::new(why.clone()));
        }
        self.broken = Some(why);
    }
}

impl AsFd for Monitor {
    /// Readable when there is something to drain.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Via::Bpf => "bpf",
            Via::Tracefs => "tracefs",
            Via::File => "file",
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Ok => "ok",
            State::Absent => "absent",
            State::Failed => "failed",
            State::Lossy => "lossy",
        })
    }
}
