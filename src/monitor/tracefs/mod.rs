//! A private trace instance, read as raw binary pages: for what is too rare to
//! be worth a BPF program, and the fallback for the rest.
//!
//! What is buffered while no daemon runs is read at the next start. Reading
//! takes records out of the kernel at once: those that were read and not yet
//! stored when the daemon is killed are gone. (The BPF source has no such gap.)

mod consumer;
mod firmware;
mod format;
#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod instance;
mod page;
mod record;
mod tally;

pub use instance::{has, Error};

use super::clock::Clock;
use super::{Drained, Note, SourceState, State, Via, ABSENT};
use bulkhead_core::model::{Report, Source};
use format::HeaderPage;
use instance::{Instance, Room};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use record::Decoder;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use tally::{Reported, Tally};

/// Pages read in one drain: 2 MiB of records, so that a storm cannot hold the
/// daemon's loop.
const PAGES_PER_DRAIN: usize = 512;

/// Notes of one drain on records that make no sense; all of them are counted.
const NOTES_PER_DRAIN: usize = 16;

/// Our instance's buffers.
pub struct Tracefs {
    instance: Instance,
    header: HeaderPage,
    buffers: Vec<Buffer>,
    probes: Vec<Probe>,
    reported: Reported,
    /// Readable when any buffer is.
    epoll: Epoll,
    /// Handed out and not known to be durable: the kernel has forgotten them.
    pending: Vec<Report>,
    /// Pages and records that could not be taken apart.
    unreadable: u64,
    /// Held open for as long as extended error logs are wanted.
    _consumer: Option<File>,
    /// Nothing is recorded any more.
    retired: bool,
    /// The last drain left nothing in the buffers.
    drained: bool,
}

struct Buffer {
    cpu: u32,
    file: File,
    lost: u64,
}

struct Probe {
    source: Source,
    /// Recorded on, not only read until empty.
    wanted: bool,
    /// Why the kernel keeps silent, though the tracepoint is there.
    silent: Option<String>,
    /// Or why not: absent, failed.
    decoder: Result<Decoder, (State, String)>,
    /// Records of its type that could not be taken apart.
    malformed: u64,
}

impl Tracefs {
    /// Records `sources` from here on, beside what was recorded since an
    /// earlier daemon ended. What that one recorded of others is stopped, and
    /// read until it is empty.
    ///
    /// # Errors
    /// No tracefs, no privilege, or a kernel that is not understood.
    pub fn open(sources: &[Source]) -> Result<Tracefs, Error> {
        let room = match sources.iter().any(|source| super::bpf::SOURCES.contains(source)) {
            true => Room::Storm,
            false => Room::Rare,
        };
        let instance = Instance::find_or_make(room)?;
        let wanted = |source: &Source| sources.contains(source);
        let others = Source::ALL.into_iter().filter(|source| !wanted(source));
        for source in others.clone() {
            instance.disable(source)?;
        }
        let left = others.map(|source| Probe { wanted: false, ..Probe::left(&instance, source) });
        let mut probes: Vec<Probe> = left.collect();
        let mut consumer = None;
        for source in sources {
            let mut probe = match instance.enable(*source) {
                Ok(format) => Probe::new(*source, format),
                Err(e) => Probe::failed(*source, e.to_string()),
            };
            if *source == Source::ExtlogMemEvent {
                match consumer::announce() {
                    Ok(file) => consumer = file,
                    Err(why) => probe.silent = Some(why),
                }
            }
            probes.push(probe);
        }
        Tracefs::with(instance, probes, consumer, false)
    }

    /// Stops what an earlier daemon left recording, and reads what there is;
    /// `None` if there is nothing. The instance goes once it is empty.
    ///
    /// # Errors
    /// Those of the files.
    pub fn retire() -> Result<Option<Tracefs>, Error> {
        let Some(instance) = Instance::find() else { return Ok(None) };
        instance.stop()?;
        let probes = Source::ALL.map(|source| Probe::left(&instance, source)).into();
        Tracefs::with(instance, probes, None, true).map(Some)
    }

    fn with(
        instance: Instance,
        probes: Vec<Probe>,
        consumer: Option<File>,
        retired: bool,
    ) -> Result<Tracefs, Error> {
        let header = instance.header_page()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(watch_failed)?;
        let mut buffers = Vec::new();
        for cpu in instance.possible_cpus()? {
            let file = instance.buffer(cpu)?;
            epoll.add(&file, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(watch_failed)?;
            buffers.push(Buffer { cpu, file, lost: instance.lost(cpu)? });
        }
        Ok(Tracefs {
            instance,
            header,
            buffers,
            probes,
            reported: Reported::default(),
            epoll,
            pending: Vec::new(),
            unreadable: 0,
            _consumer: consumer,
            retired,
            drained: false,
        })
    }

    /// Read empty, with nothing to come: to be removed.
    pub fn is_spent(&self) -> bool {
        self.retired && self.drained && self.pending.is_empty()
    }

    /// Reads the buffers. What an earlier drain handed out comes again unless
    /// [`Tracefs::done`] was called.
    ///
    /// # Errors
    /// Those of the buffers. What was read up to then comes with the next
    /// drain.
    pub fn drain(&mut self, clock: &Clock, notes: &mut Vec<Note>) -> Result<Drained, Error> {
        // A storm that others count makes many a drain; asking each CPU's buffer every time would tell on it.
        if self.drained && !self.is_readable()? {
            return Ok(Drained {
                reports: self.pending.clone(),
                cursor: None,
                more: false,
                is_part: false,
            });
        }
        self.drained = false;
        let mut tally = Tally::default();
        let mut room = PAGES_PER_DRAIN;
        let mut result = Ok(());
        let mut bytes = vec![0; self.header.size];
        for i in 0..self.buffers.len() {
            while room > 0 && result.is_ok() {
                let Some(buffer) = self.buffers.get_mut(i) else { break };
                let cpu = buffer.cpu;
                match buffer.file.read(&mut bytes) {
                    Ok(0) => break,
                    Ok(n) => {
                        room -= 1;
                        let page = bytes.get(..n).unwrap_or_default();
                        self.take(page, cpu, clock, &mut tally, notes);
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(source) => {
                        let path = format!("per_cpu/cpu{cpu}/trace_pipe_raw").into();
                        result = Err(Error::Io { operation: "read", path, source });
                    }
                }
            }
        }
        self.pending.extend(tally.finish());
        self.count_losses(notes);
        result?;
        self.drained = room > 0;
        Ok(Drained { reports: self.pending.clone(), cursor: None, more: room == 0, is_part: false })
    }

    /// The last drain's reports are durable.
    pub fn done(&mut self) {
        self.pending.clear();
    }

    /// Removes an instance that was read empty.
    ///
    /// # Errors
    /// EBUSY while somebody else has a file of it open.
    pub fn remove(self) -> Result<(), Error> {
        drop(self.buffers);
        self.instance.remove()
    }

    /// How each source fares; nothing once it is only read until empty.
    pub fn states(&self) -> Vec<SourceState> {
        if self.retired {
            return Vec::new();
        }
        let lost_by_all: u64 = self.buffers.iter().map(|b| b.lost).sum::<u64>() + self.unreadable;
        let wanted = self.probes.iter().filter(|probe| probe.wanted);
        wanted.map(|probe| probe.state(lost_by_all)).collect()
    }

    /// Whether any buffer has a record.
    fn is_readable(&self) -> Result<bool, Error> {
        let waited = self.epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::ZERO);
        waited.map(|ready| ready > 0).or_else(|errno| match errno {
            Errno::EINTR => Ok(true),
            errno => Err(watch_failed(errno)),
        })
    }

    fn take(
        &mut self,
        bytes: &[u8],
        cpu: u32,
        clock: &Clock,
        tally: &mut Tally,
        notes: &mut Vec<Note>,
    ) {
        let page = page::parse(bytes, &self.header);
        for event in &page.events {
            let probe = self.probes.iter_mut().find_map(|probe| {
                let decoder = probe.decoder.as_ref().ok().filter(|d| d.is_of(event.data))?;
                Some((decoder, &mut probe.malformed))
            });
            match probe.map(|(decoder, malformed)| (decoder, decoder.decode(event.data), malformed))
            {
                Some((decoder, Some(decoded), _)) => tally.add(
                    decoder.source,
                    cpu,
                    event.time,
                    clock.stamp(event.time),
                    decoded,
                    &mut self.reported,
                ),
                Some((decoder, None, malformed)) => {
                    *malformed += 1;
                    let text = format!("a record on CPU {cpu} at {} ns is too short", event.time);
                    push(notes, Note::of(decoder.source, text));
                }
                None => {
                    let time = event.time;
                    push(
                        notes,
                        Note::new(format!(
                        "a trace record on CPU {cpu} at {time} ns is of no type that was asked for"
                    )),
                    );
                }
            }
        }
        if let Some(offset) = page.broken_at {
            self.unreadable += 1;
            push(
                notes,
                Note::new(format!(
                    "a trace page of CPU {cpu} makes no sense from byte {offset} on"
                )),
            );
        }
    }

    fn count_losses(&mut self, notes: &mut Vec<Note>) {
        for buffer in &mut self.buffers {
            match self.instance.lost(buffer.cpu) {
                Ok(lost) if lost > buffer.lost => {
                    notes.push(Note::new(format!(
                        "the trace buffer of CPU {} overran: {} records lost",
                        buffer.cpu,
                        lost - buffer.lost
                    )));
                    buffer.lost = lost;
                }
                Ok(_) => {}
                Err(e) => notes.push(Note::new(e.to_string())),
            }
        }
    }
}

fn watch_failed(errno: Errno) -> Error {
    Error::Io { operation: "watch", path: "trace_pipe_raw".into(), source: errno.into() }
}

fn push(notes: &mut Vec<Note>, note: Note) {
    if notes.len() < NOTES_PER_DRAIN {
        notes.push(note);
    }
}

impl AsFd for Tracefs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl Probe {
    fn new(source: Source, format: Option<String>) -> Probe {
        let decoder = match format {
            Some(text) => Decoder::new(source, &text).map_err(|why| (State::Failed, why)),
            None => Err((State::Absent, ABSENT.to_owned())),
        };
        Probe { source, wanted: true, silent: None, decoder, malformed: 0 }
    }

    /// For what is left in the buffers.
    fn left(instance: &Instance, source: Source) -> Probe {
        match instance.format(source) {
            Ok(format) => Probe::new(source, format),
            Err(e) => Probe::failed(source, e.to_string()),
        }
    }

    fn failed(source: Source, why: String) -> Probe {
        Probe { decoder: Err((State::Failed, why)), ..Probe::new(source, None) }
    }

    /// Records that were lost in a buffer are of no known source, and count
    /// for each.
    fn state(&self, lost_by_all: u64) -> SourceState {
        let lost = lost_by_all + self.malformed;
        let (state, why) = match (&self.decoder, &self.silent) {
            (Err((state, why)), _) => (*state, why.clone()),
            (Ok(_), Some(why)) => (State::Absent, why.clone()),
            (Ok(_), None) if lost > 0 => (
                State::Lossy,
                format!(
                    "{lost} trace records, of whichever source, were overwritten or unreadable"
                ),
            ),
            (Ok(_), None) => (State::Ok, String::new()),
        };
        SourceState { source: self.source, via: Via::Tracefs, state, lost, why }
    }
}
