//! The source of choice: programs in the kernel count, and this reads what
//! they counted, exactly.
//!
//! Counts lie on one of two sides. A drain turns the programs to the other
//! side, waits until none of them still counts on this one, and reads it, a
//! part at a time; the side is emptied only when all parts are durable
//! ([`Bpf::done`]). The batch has a name, the set's and the generation, that
//! the store keeps with how much of it was read. So a kill at any point loses
//! nothing and counts nothing twice: whoever comes next finds a side that
//! nobody counts on, and reads what the store says was not read.
//!
//! Everything is pinned under [`PINS`], so counting goes on while no daemon
//! runs. A daemon with other programs (an upgrade) detaches the old ones,
//! reads what they left, and removes them; errors in the milliseconds between
//! detaching the old and attaching the new programs go unseen.

mod layout;
mod set;
mod sys;
mod table;
mod verdict;

pub use set::Error;

use super::clock::Clock;
use super::{Drained, Note, SourceState, State, Via, ABSENT};
use bulkhead_core::model::Source;
use libbpf_rs::{RingBuffer, RingBufferBuilder};
use nix::sys::statfs::{statfs, BPF_FS_MAGIC};
use set::{Attached, Set, Used, PROBES};
use std::collections::VecDeque;
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// What programs count. Other sources are too rare to be worth one.
pub const SOURCES: [Source; 3] = [PROBES[0].source, PROBES[1].source, PROBES[2].source];

/// Where the kernel's BPF file system is mounted.
const BPFFS: &str = "/sys/fs/bpf";

/// Where maps, programs and links are pinned, each set in its directory.
const PINS: &str = "/sys/fs/bpf/bulkhead";

/// Sets of maps to read: those of earlier programs, then our own.
pub struct Bpf {
    retired: VecDeque<Set>,
    current: Option<Current>,
    /// What is known of the side of the first set that is to stand still.
    idle: Idle,
    /// Look, even if nobody called.
    look: bool,
    /// Of which batch how much is known to be durable.
    committed: Option<Place>,
    /// Up to where it was handed out.
    outstanding: Option<Place>,
    /// Losses already told.
    told: [u64; 3],
}

/// The side that programs are not to count on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Idle {
    /// Nobody looked yet.
    Unknown,
    /// It stands still, with so much on it.
    Stands(Used),
    /// It is empty.
    Empty,
}

/// A place in a batch: behind so many of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    batch: String,
    taken: u32,
}

impl Place {
    /// `set:generation:taken`
    fn parse(cursor: &str) -> Option<Place> {
        let (batch, taken) = cursor.rsplit_once(':')?;
        Some(Place { batch: batch.to_owned(), taken: taken.parse().ok()? })
    }

    fn to_cursor(&self) -> String {
        format!("{}:{}", self.batch, self.taken)
    }
}

struct Current {
    set: Set,
    attached: [Attached; 3],
    ring: RingBuffer<'static>,
}

impl Bpf {
    /// Takes over what earlier daemons left in the kernel and, if `count`,
    /// sees to it that this build's programs count. `committed` is the name of
    /// the last batch that was stored.
    ///
    /// Without programs of its own it still reads what was left, until
    /// [`Bpf::is_empty`].
    pub fn open(
        count: bool,
        committed: Option<String>,
        notes: &mut Vec<Note>,
    ) -> (Bpf, Result<(), Error>) {
        verdict::listen();
        let pins = has_bpffs().then_some(Path::new(PINS));
        let (kept, mut retired) = pins.map_or_else(Default::default, |p| find(p, count, notes));
        let current = match (count, kept) {
            (false, _) => Ok(None),
            (true, Some(set)) => Ok(Some(set)),
            (true, None) => create(pins, carried(&retired), notes).map(Some),
        };
        // Even if there is nothing to take over: the fallback would count the same errors.
        for set in &mut retired {
            if let Err(e) = set.detach() {
                notes.push(Note::new(format!("programs of an earlier Bulkhead still run: {e}")));
            }
        }
        let (current, result) = match current.and_then(|set| set.map(Current::new).transpose()) {
            Ok(current) => (current, Ok(())),
            Err(e) => (None, Err(e)),
        };
        let bpf = Bpf {
            retired,
            current,
            idle: Idle::Unknown,
            look: true,
            committed: committed.as_deref().and_then(Place::parse),
            outstanding: None,
            told: [0; 3],
        };
        (bpf, result)
    }

    /// Turns readable when there is something to drain.
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        let fd = self.current.as_ref()?.ring.epoll_fd();
        // SAFETY: the descriptor belongs to the ring, which lives as long as this borrow.
        Some(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// Nothing counts and nothing is left to read.
    pub fn is_empty(&self) -> bool {
        self.current.is_none() && self.retired.is_empty()
    }

    /// Reads what was counted since the last drain, or again what a failed
    /// commit left behind.
    ///
    /// # Errors
    /// Those of bpf(2). Nothing is lost; the next drain tries again.
    pub fn drain(&mut self, clock: &Clock) -> Result<Drained, Error> {
        self.outstanding = None;
        let retired = !self.retired.is_empty();
        let (set, ring) = match (self.retired.front_mut(), &mut self.current) {
            (Some(set), _) => (set, None),
            (None, Some(current)) => (&mut current.set, Some(&current.ring)),
            (None, None) => return Ok(Drained::default()),
        };
        if self.idle == Idle::Unknown {
            set.wait()?;
            self.idle = Idle::Stands(set.used()?);
        }
        if let Idle::Stands(used) = self.idle {
            let known = self.committed.as_ref().filter(|place| place.batch == set.batch());
            let taken = known.map_or(0, |place| place.taken);
            if taken < used.total() {
                return self.hand_out(used, taken, true, clock);
            }
            set.clear_idle()?;
            self.idle = Idle::Empty;
        }
        if let Some(ring) = ring {
            // Emptied before the flag is cleared: else a token could be taken whose flag still keeps the next
            // program from calling.
            let called = ring.consume_raw() > 0;
            if !called && !self.look {
                return Ok(Drained::default());
            }
            self.look = true;
            set.allow_wake()?;
        }
        self.idle = Idle::Unknown;
        set.rotate()?;
        let used = set.used()?;
        self.idle = Idle::Stands(used);
        self.look = false;
        if used.total() > 0 {
            return self.hand_out(used, 0, retired, clock);
        }
        self.idle = Idle::Empty;
        if retired {
            self.look = true;
            self.idle = Idle::Unknown;
            if let Some(set) = self.retired.pop_front() {
                set.remove()?;
            }
        }
        Ok(Drained { more: retired, ..Drained::default() })
    }

    /// What was handed out last is durable: when that is all of a batch, the
    /// kernel's copy may go.
    ///
    /// # Errors
    /// Those of bpf(2); the next drain tries again.
    pub fn done(&mut self) -> Result<(), Error> {
        let Some(place) = self.outstanding.take() else { return Ok(()) };
        let taken = place.taken;
        self.committed = Some(place);
        match (self.idle, self.first()) {
            (Idle::Stands(used), Some(set)) if taken >= used.total() => {
                set.clear_idle()?;
                self.idle = Idle::Empty;
            }
            _ => {}
        }
        Ok(())
    }

    /// Sources that could not be attached to, and why.
    pub fn failures(&self) -> Vec<(Source, String)> {
        let attached = self.current.iter().flat_map(|c| PROBES.iter().zip(&c.attached));
        attached
            .filter_map(|(probe, attached)| match attached {
                Attached::No(e) => Some((probe.source, e.to_string())),
                Attached::Yes | Attached::Absent => None,
            })
            .collect()
    }

    /// How each source fares, but for the [`Bpf::failures`]; empty if this
    /// build's programs do not count.
    pub fn states(&self) -> Vec<SourceState> {
        let Some(current) = &self.current else { return Vec::new() };
        let lost = current.set.lost();
        let by_kind = lost.as_ref().map_or([0; 3], |lost| *lost);
        let states = PROBES.iter().zip(&current.attached).zip(by_kind);
        states
            .filter_map(|((probe, attached), lost_here)| {
                let (state, why) = match (attached, &lost) {
                    (Attached::No(_), _) => return None,
                    (Attached::Absent, _) => (State::Absent, ABSENT.to_owned()),
                    (Attached::Yes, Err(e)) => (State::Failed, e.to_string()),
                    (Attached::Yes, Ok(_)) if lost_here > 0 => (State::Lossy, losses(lost_here)),
                    (Attached::Yes, Ok(_)) => (State::Ok, String::new()),
                };
                let (source, via) = (probe.source, Via::Bpf);
                Some(SourceState { source, via, state, lost: lost_here, why })
            })
            .collect()
    }

    /// Losses that were not told yet.
    pub fn new_losses(&mut self) -> Vec<Note> {
        let Some(Ok(lost)) = self.current.as_ref().map(|c| c.set.lost()) else {
            return Vec::new();
        };
        let told = std::mem::replace(&mut self.told, lost);
        let news = PROBES.iter().zip(lost).zip(told).filter(|((_, lost), told)| lost > told);
        news.map(|((probe, lost), _)| Note::of(probe.source, losses(lost))).collect()
    }

    fn first(&self) -> Option<&Set> {
        self.retired.front().or(self.current.as_ref().map(|c| &c.set))
    }

    /// Of what is `used` a part that begins at `from`.
    fn hand_out(
        &mut self,
        used: Used,
        from: u32,
        more: bool,
        clock: &Clock,
    ) -> Result<Drained, Error> {
        let Some(set) = self.first() else { return Ok(Drained::default()) };
        let (reports, taken) = set.read_idle(used, from, clock)?;
        let place = Place { batch: set.batch(), taken };
        let cursor = Some(place.to_cursor());
        self.outstanding = Some(place);
        let is_part = taken < used.total();
        Ok(Drained { reports, cursor, more: more || is_part, is_part })
    }
}

impl Current {
    fn new(mut set: Set) -> Result<Current, Error> {
        let failed = |source| Error::Libbpf { operation: "map the ring buffer".into(), source };
        let mut builder = RingBufferBuilder::new();
        builder.add(&set.wake, |_| 0).map_err(failed)?;
        let ring = builder.build().map_err(failed)?;
        let attached = set.attach();
        Ok(Current { set, attached, ring })
    }
}

fn has_bpffs() -> bool {
    statfs(BPFFS).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC)
}

/// Our own pinned set, if `count`, and those to retire. What cannot be read is
/// removed: its programs would go on counting for nobody.
fn find(pins: &Path, count: bool, notes: &mut Vec<Note>) -> (Option<Set>, VecDeque<Set>) {
    let (mut kept, mut retired) = (None, VecDeque::new());
    for entry in fs::read_dir(pins).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let set = match set::is_readable(&name) {
            true => Set::open(&path).map_err(|e| e.to_string()),
            false => Err("another version wrote it".to_owned()),
        };
        match set {
            Ok(set) if count && name == set::directory_name() => kept = Some(set),
            Ok(set) => retired.push_back(set),
            Err(why) => {
                if name != set::UNFINISHED {
                    notes.push(Note::new(format!(
                        "what was counted in {} cannot be read and is dropped: {why}",
                        path.display()
                    )));
                }
                if let Err(e) = set::remove(&path) {
                    notes.push(Note::new(e.to_string()));
                }
            }
        }
    }
    (kept, retired)
}

/// A new set, pinned if it can be.
fn create(pins: Option<&Path>, carried: [u64; 3], notes: &mut Vec<Note>) -> Result<Set, Error> {
    let mut set = Set::load(carried)?;
    let pinned = match pins {
        Some(pins) => set::make_directory(pins)
            .and_then(|()| set.pin(&pins.join(set::directory_name())))
            .map_err(|e| e.to_string()),
        None => Err(format!("no BPF file system is mounted on {BPFFS}")),
    };
    if let Err(why) = pinned {
        notes.push(Note::new(format!(
            "errors are not counted while no daemon runs, since the BPF programs cannot be \
             pinned: {why}"
        )));
    }
    Ok(set)
}

/// Records that programs to be replaced lost, per kind.
fn carried(retired: &VecDeque<Set>) -> [u64; 3] {
    let mut sum = [0; 3];
    for lost in retired.iter().filter_map(|set| set.lost().ok()) {
        for (sum, lost) in sum.iter_mut().zip(lost) {
            *sum += lost;
        }
    }
    sum
}

fn losses(lost: u64) -> String {
    format!("{lost} records found no room in the kernel's table, or came while another was counted")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_batch_is_found_again() {
        let place = Place { batch: "67e5504410b1426f9247bb680e5fe0c8:7".into(), taken: 4_096 };
        assert_eq!(Place::parse(&place.to_cursor()).unwrap(), place);
        assert_eq!(Place::parse("no place"), None);
    }
}
