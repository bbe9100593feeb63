//! Sources: what the kernel says, as [`Report`]s. Nothing else in the house
//! knows a tracepoint.

mod bpf;
mod channel;
mod clock;
mod file;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod kmsg;
mod tracefs;

use bpf::Bpf;
use bulkhead_core::model::time::Anchor;
use bulkhead_core::model::{Report, Source, Stamp};
use channel::{Channel, Way};
use clock::Clock;
use file::FileSource;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use tracefs::Tracefs;

/// Which source to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// BPF; where that cannot be had, tracefs.
    Auto,
    /// BPF, and tracefs for nothing but what BPF does not serve.
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
    /// It is part of what was counted in one go: the others are drained without
    /// a pause, for the kernel holds them until then.
    pub is_part: bool,
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

/// Why a source is absent.
const ABSENT: &str = "this kernel has no such tracepoint";

/// What one way to the reports brought.
#[derive(Default)]
struct Drained {
    /// In the order of their first records.
    reports: Vec<Report>,
    /// To be stored with them.
    cursor: Option<String>,
    /// There is more at once.
    more: bool,
    /// See [`Batch::is_part`].
    is_part: bool,
}

/// All sources.
pub struct Monitor {
    anchor: Anchor,
    channels: Vec<Channel>,
    /// Sources that no channel serves.
    unserved: Vec<SourceState>,
    /// For the next batch.
    notes: Vec<Note>,
    /// Readable when any channel is.
    epoll: Epoll,
}

impl Monitor {
    /// Without a source yet.
    ///
    /// # Errors
    /// Only if this process may have no further descriptor.
    pub fn new(anchor: Anchor) -> io::Result<Monitor> {
        Ok(Monitor {
            anchor,
            channels: Vec::new(),
            unserved: Vec::new(),
            notes: Vec::new(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        })
    }

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
        &mut self,
        choice: &Choice,
        saved_cursor: &dyn Fn(&str) -> Option<String>,
    ) -> io::Result<()> {
        match choice {
            Choice::None => self.nothing_to_open(),
            Choice::File(path) => self.open_file(path, saved_cursor),
            Choice::Auto | Choice::Bpf | Choice::Tracefs => {
                self.open_kernel(choice, saved_cursor);
            }
        }
        for channel in &self.channels {
            if let Some(fd) = channel.fd() {
                self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
            }
        }
        Ok(())
    }

    /// What was reported since the last drain. What the kernel holds of it
    /// stays until [`Monitor::done`], and comes again when that is not called.
    pub fn drain(&mut self, now: Stamp) -> Batch {
        let clock = Clock::new(self.anchor, now);
        let mut batch = Batch { notes: std::mem::take(&mut self.notes), ..Batch::default() };
        for channel in &mut self.channels {
            let drained = channel.drain(&clock, &mut batch.notes);
            batch.reports.extend(drained.reports);
            batch.cursors.extend(drained.cursor.map(|cursor| (channel.key(), cursor)));
            batch.more |= drained.more;
            batch.is_part |= drained.is_part;
        }
        self.close_spent();
        batch
    }

    /// The last batch is durable: the kernel's copy may go.
    pub fn done(&mut self) {
        for channel in &mut self.channels {
            channel.done(&mut self.notes);
        }
        self.close_spent();
    }

    /// How each source fares, in the order of [`Source::ALL`].
    pub fn states(&self) -> Vec<SourceState> {
        let mut states = self.unserved.clone();
        states.extend(self.channels.iter().flat_map(Channel::states));
        states.sort_by_key(|s| s.source);
        states
    }

    fn nothing_to_open(&mut self) {
        self.unserved.extend(Source::ALL.map(|source| SourceState {
            source,
            via: Via::Bpf,
            state: State::Absent,
            lost: 0,
            why: "another host's files are looked at, and they have no tracepoints".to_owned(),
        }));
    }

    fn open_file(&mut self, path: &Path, saved_cursor: &dyn Fn(&str) -> Option<String>) {
        match FileSource::open(path, saved_cursor(&channel::file_key(path)).as_deref()) {
            Ok(file) => self.channels.push(Channel::new(Way::File(file, path.to_owned()))),
            Err(e) => {
                let why = format!("cannot read {}: {e}", path.display());
                self.not_served(Source::ALL.map(|source| (source, why.clone())), Via::File);
            }
        }
    }

    /// Whatever is chosen, what the other way left behind is read and then
    /// stopped: both would count the same errors. Sources too rare to be worth
    /// a program in the kernel are read through tracefs beside BPF.
    fn open_kernel(&mut self, choice: &Choice, saved_cursor: &dyn Fn(&str) -> Option<String>) {
        let count = *choice != Choice::Tracefs;
        let (bpf, opened) = Bpf::open(count, saved_cursor(channel::BPF_KEY), &mut self.notes);
        let mut failures: Vec<(Source, String)> = match opened {
            _ if !count => bpf::SOURCES.map(|source| (source, String::new())).into(),
            Ok(()) => bpf.failures(),
            Err(e) => bpf::SOURCES.map(|source| (source, e.to_string())).into(),
        };
        self.channels.push(Channel::new(Way::Bpf(Box::new(bpf))));
        if *choice == Choice::Bpf {
            self.not_served(failures.drain(..), Via::Bpf);
        }
        let fallback = failures.first().map(|(_, why)| why.clone()).filter(|why| !why.is_empty());
        let rare = Source::ALL.into_iter().filter(|source| !bpf::SOURCES.contains(source));
        failures.extend(rare.map(|source| (source, String::new())));
        match self.open_tracefs(&failures) {
            Ok(()) => {
                if let Some(why) = fallback {
                    let text = format!("BPF cannot be used, so tracefs is read: {why}");
                    self.notes.push(Note::new(text));
                }
            }
            Err(e) => {
                let both = failures.into_iter().map(|(source, bpf)| match bpf.as_str() {
                    "" => (source, e.to_string()),
                    _ => (source, format!("{bpf}; {e}")),
                });
                self.not_served(both.collect::<Vec<_>>(), Via::Tracefs);
            }
        }
    }

    /// Reads those of `wanted` that this kernel has.
    fn open_tracefs(&mut self, wanted: &[(Source, String)]) -> Result<(), tracefs::Error> {
        let mut sources = Vec::new();
        let mut absent = Vec::new();
        for (source, _) in wanted {
            match tracefs::has(*source)? {
                true => sources.push(*source),
                false => absent.push(SourceState {
                    source: *source,
                    via: Via::Tracefs,
                    state: State::Absent,
                    lost: 0,
                    why: ABSENT.to_owned(),
                }),
            }
        }
        let tracefs = match sources.as_slice() {
            [] => Tracefs::retire()?,
            sources => Some(Tracefs::open(sources)?),
        };
        self.unserved.extend(absent);
        self.channels.extend(tracefs.map(|t| Channel::new(Way::Tracefs(t))));
        Ok(())
    }

    fn not_served(&mut self, failures: impl IntoIterator<Item = (Source, String)>, via: Via) {
        let state = State::Failed;
        let states = failures.into_iter().map(|(source, why)| SourceState {
            source,
            via,
            state,
            lost: 0,
            why,
        });
        self.unserved.extend(states);
    }

    /// Closes what has nothing more to tell.
    fn close_spent(&mut self) {
        let (spent, kept) =
            std::mem::take(&mut self.channels).into_iter().partition(Channel::is_spent);
        self.channels = kept;
        self.notes.extend(Vec::into_iter(spent).filter_map(|c| c.close().err()).map(Note::new));
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
