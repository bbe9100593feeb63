//! The loop: looks at everything once a period, feeds, and talks to the daemon.

use crate::board::CHECKS;
use crate::clock::{self, MS};
use crate::guard::{pace, Guard, Mode};
use crate::link::Link;
use bulkhead_watchdog::heartbeat::{Heartbeat, Probe, State, Suspect, PERIOD, SUSPECTS};
use bulkhead_watchdog::last_words::Action;
use bulkhead_watchdog::note::{Change, Check, Note};
use bulkhead_watchdog::shutdown::{self, Shutdown};
use bulkhead_watchdog::watch::{Seen, Watch};
use std::borrow::Cow;
use std::sync::atomic::Ordering;

/// Changes of one round that are told; with more at once the rest is for the
/// heartbeat's `more_suspects`.
const NOTES: usize = 64;

/// What the loop has in hand. Nothing in it grows.
pub struct Round {
    guard: &'static Guard,
    link: Link,
    watch: Watch,
    shutdown: Shutdown,
    seen: Vec<Seen>,
    checks: usize,
    silent: [u64; CHECKS],
    notes: [Option<Note>; NOTES],
    heartbeat: Heartbeat,
    /// What was last told, and when, in ns.
    told: Option<(Told, u64)>,
    /// The last look, in counted ns.
    before: u64,
    pace: u64,
    /// What feeding failed with at the last look.
    errno: i32,
}

/// What the daemon is to hear of at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    suspects: usize,
    first: Option<(u32, Probe)>,
    failing: Option<&'static str>,
    last: bool,
}

impl Round {
    /// Looks by `watch`, whose checks are so many, at least every `feed_every`
    /// ns.
    pub fn new(
        guard: &'static Guard,
        link: Link,
        (watch, checks): (Watch, usize),
        shutdown: Shutdown,
        mut heartbeat: Heartbeat,
        feed_every: u64,
    ) -> Round {
        heartbeat.suspects = Vec::with_capacity(SUSPECTS);
        Round {
            guard,
            link,
            watch,
            shutdown,
            seen: Vec::with_capacity(guard.slots.len()),
            checks: checks.min(CHECKS),
            silent: [0; CHECKS],
            notes: [None; NOTES],
            heartbeat,
            told: None,
            before: guard.shared.clock.read(),
            pace: pace(guard.period, feed_every),
            errno: 0,
        }
    }

    /// To be waited on beside the time.
    pub fn fd(&self) -> i32 {
        self.link.fd()
    }

    /// From one look to the next, in ns.
    pub fn pace(&self) -> u64 {
        self.pace
    }

    /// One look, at `now`. Allocates nothing.
    pub fn look(&mut self, now: u64) {
        let guard = self.guard;
        let counted = guard.tick(now);
        guard.loop_is_here(counted);
        self.link.receive(counted);
        let stop = self.step(counted);
        let watching = guard.mode() == Mode::Watching;
        for note in self.notes.iter().flatten() {
            // What brings the host down is told by whoever does so.
            let told = stop.is_some_and(|stop| (stop.check, stop.id) == (note.check, note.id));
            if !told || watching || note.change != Change::Failed {
                guard.tell(note);
            }
        }
        match stop {
            Some(note) if !watching => guard.not_well(note, now),
            _ => guard.all_is_well(now),
        }
        self.look_at_device(now);
        let failing = stop.map(|note| note.check.name());
        self.beat(now, counted, failing, false);
    }

    /// Takes in an answer at once.
    pub fn hear(&mut self) {
        let counted = self.guard.tick(clock::now());
        self.link.receive(counted);
    }

    /// Tells the daemon that this is the end, in order.
    pub fn last(&mut self) {
        let now = clock::now();
        self.beat(now, self.guard.tick(now), None, true);
        self.link.unbind();
    }

    fn step(&mut self, counted: u64) -> Option<Note> {
        let guard = self.guard;
        let suspicious = (guard.limit / 2).min(2 * guard.period);
        self.seen.clear();
        self.seen.extend(guard.slots.iter().map(|s| s.seen(counted, suspicious, guard.period)));
        for (silent, passed) in self.silent.iter_mut().zip(&guard.shared.passed) {
            *silent = counted.saturating_sub(passed.load(Ordering::SeqCst)) / MS;
        }
        let elapsed = counted.saturating_sub(std::mem::replace(&mut self.before, counted)) / MS;
        let mut daemon = self.link.silent(counted).map(|ns| ns / MS);
        let stopping = shutdown::is_stopping();
        let late = self.shutdown.step(elapsed, stopping);
        if stopping {
            // What is to be stopped in a shutdown is not missed in one.
            self.silent.fill(0);
            daemon = None;
        }
        let checks = self.silent.get(..self.checks).unwrap_or_default();
        self.notes = [None; NOTES];
        let mut room = self.notes.iter_mut();
        let stop = self.watch.step(elapsed, &self.seen, daemon, checks, |note| {
            if let Some(place) = room.next() {
                *place = Some(note);
            }
        });
        stop.or(late.map(|silent_ms| Note {
            check: Check::Shutdown,
            id: 0,
            change: Change::Failed,
            action: Action::Event,
            silent_ms,
            limit_ms: self.shutdown.limit(),
        }))
    }

    /// What is left of the time that a shutdown may take, in ms.
    pub fn shutdown_left(&self) -> u64 {
        self.shutdown.left()
    }

    /// Notes when the device begins to refuse what it is fed, and when it stops
    /// to.
    fn look_at_device(&mut self, now: u64) {
        let errno = self.guard.errno();
        let before = std::mem::replace(&mut self.errno, errno);
        if errno == before {
            return;
        }
        let (change, action) = match errno {
            0 => (Change::Well, Action::None),
            _ => (Change::Failed, Action::Event),
        };
        self.guard.tell(&Note {
            check: Check::Device,
            id: errno.unsigned_abs(),
            change,
            action,
            silent_ms: self.guard.fed(now).unwrap_or(0) / MS,
            limit_ms: 0,
        });
    }

    /// Sends a heartbeat if one is due.
    fn beat(&mut self, now: u64, counted: u64, failing: Option<&'static str>, last: bool) {
        let nobody = Suspect { cpu: 0, probe: Probe::Fifo, silent_ms: 0 };
        let mut list = [nobody; SUSPECTS];
        let suspects = self.watch.suspects(&mut list);
        let listed = list.get(..suspects.min(SUSPECTS)).unwrap_or_default();
        let first = listed.first().map(|suspect| (suspect.cpu, suspect.probe));
        let told = Told { suspects, first, failing, last };
        // Early by as much as the next look may be late.
        let every =
            u64::try_from(PERIOD.as_nanos()).unwrap_or(u64::MAX).saturating_sub(2 * self.pace);
        let due =
            self.told.is_none_or(|(before, at)| before != told || now.saturating_sub(at) >= every);
        if !due {
            return;
        }
        self.told = Some((told, now));
        let there = self.guard.slots.iter().filter(|slot| slot.fifo.is_there()).count();
        let heartbeat = &mut self.heartbeat;
        heartbeat.state = match self.guard.mode() {
            Mode::Off => State::Starting,
            Mode::Armed => State::Armed,
            Mode::Systemd => State::Systemd,
            Mode::Watching => State::Watching,
        };
        heartbeat.fed_ms = self.guard.fed(now).map(|ns| ns / MS);
        heartbeat.cpus = u32::try_from(there).unwrap_or(u32::MAX);
        heartbeat.suspects.clear();
        heartbeat.suspects.extend_from_slice(listed);
        let more = suspects.saturating_sub(SUSPECTS);
        heartbeat.more_suspects = u32::try_from(more).unwrap_or(u32::MAX);
        heartbeat.failing = failing.map(Cow::Borrowed);
        heartbeat.last = last;
        self.link.send(heartbeat, counted);
    }
}
