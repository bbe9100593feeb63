//! When all is well. Pure: what was seen, and how much time counts, are
//! arguments.
//!
//! ```text
//!                    half its limit          its limit
//!          ┌──────┐   silent   ┌─────────┐    silent   ┌────────┐
//!  probed  │ well │ ─────────▶ │ suspect │ ──────────▶ │ failed │
//! ───────▶ │      │ ◀───────── │         │             │        │
//!          └──────┘   heard    └─────────┘             └────────┘
//!             ▲                                             │
//!             └─────────── silent less than half ───────────┘
//!
//!  from each: not probed any more (off line, another's partition) ──▶ gone
//! ```
//!
//! All is well while nothing that has the policy `stop` is failed; a CPU that
//! does not run always has it. What is well again is fed again: a host that
//! recovered by itself needs no reset.
//!
//! **Starvation** is not silence: the kernel lets ordinary tasks run a
//! twentieth of the time beside a real-time hog (sched_rt_runtime_us; the fair
//! server since 6.12), so that their probe comes now and then. It is a leaky
//! bucket: the time that the probe was due and did not run fills it, a quarter
//! of the rest drains it, and at the limit the CPU starves. Of the rest, since
//! the probe sleeps most of it: beside a hog it was seen to wait a third of all
//! time. Under any load that has it wait less than a fifth it stays empty.

use crate::culprit::{culprit, Silent};
use crate::heartbeat::{Probe, Suspect, SUSPECTS};
use crate::last_words::Action;
use crate::note::{Change, Check, Note};

/// What part of the time that the probe did not wait drains the bucket.
const DRAIN: u64 = 4;

/// The limits, in ms, and which failures stop the feeding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Of a CPU's silence.
    pub cpu: u64,
    /// Of waiting.
    pub starved: u64,
    /// Of the daemon's silence.
    pub daemon: u64,
    /// Of the configured checks' failing.
    pub check: u64,
    /// Starvation stops the feeding.
    pub stop_when_starved: bool,
    /// The daemon's silence does.
    pub stop_without_daemon: bool,
    /// A configured check does.
    pub stop_on_check: bool,
}

/// A CPU, as its probes left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Since the real-time probe last ran there, in ms; none while it has no
    /// business there.
    pub silent: Option<u64>,
    /// It takes no interrupts.
    pub deaf: bool,
    /// How long, in all, the ordinary probe was due and did not run, in ms;
    /// none while it has no business there.
    pub waited: Option<u64>,
}

/// The state machine above, for all that is checked.
#[derive(Debug)]
pub struct Watch {
    rules: Rules,
    cpus: Vec<Cpu>,
    daemon: Stage,
    checks: Vec<(Check, Stage)>,
}

#[derive(Debug)]
struct Cpu {
    number: u32,
    stage: Stage,
    silent: u64,
    deaf: bool,
    starved: Stage,
    /// The bucket, in ms.
    debt: u64,
    /// [`Seen::waited`] at the last step.
    waited: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Well,
    Suspect,
    Failed,
}

impl Stage {
    /// One arrow of the diagram, if one is due.
    fn meet(&mut self, silent: Option<u64>, limit: u64) -> Option<Change> {
        let half = limit / 2;
        let (next, change) = match (*self, silent) {
            (Stage::Well, None) => return None,
            (_, None) => (Stage::Well, Change::Left),
            (Stage::Failed, Some(silent)) if silent >= half => return None,
            (_, Some(silent)) if silent >= limit => (Stage::Failed, Change::Failed),
            (Stage::Suspect, Some(silent)) if silent >= half => return None,
            (_, Some(silent)) if silent >= half => (Stage::Suspect, Change::Suspect),
            (Stage::Well, Some(_)) => return None,
            (_, Some(_)) => (Stage::Well, Change::Well),
        };
        *self = next;
        Some(change)
    }

    /// As [`Stage::meet`], for what is told only from its failure to its end.
    fn meet_quietly(&mut self, silent: Option<u64>, limit: u64) -> Option<Change> {
        let before = *self;
        let change = self.meet(silent, limit)?;
        (before == Stage::Failed || change == Change::Failed).then_some(change)
    }
}

impl Watch {
    /// All is well. `checks` are those of the configuration, in its order.
    pub fn new(rules: Rules, cpus: &[u32], checks: &[Check]) -> Watch {
        let cpu = |&number| Cpu {
            number,
            stage: Stage::Well,
            silent: 0,
            deaf: false,
            starved: Stage::Well,
            debt: 0,
            waited: None,
        };
        Watch {
            rules,
            cpus: cpus.iter().map(cpu).collect(),
            daemon: Stage::Well,
            checks: checks.iter().map(|check| (*check, Stage::Well)).collect(),
        }
    }

    /// Looks at everything once, `elapsed` ms after the last time. `cpus` and
    /// `checks` are in the order of [`Watch::new`]; `daemon` and `checks` are
    /// times of silence in ms. Each change is noted once. Returns what forbids
    /// to feed, the gravest first; of CPUs the [`culprit`]. Allocates nothing.
    pub fn step(
        &mut self,
        elapsed: u64,
        cpus: &[Seen],
        daemon: Option<u64>,
        checks: &[u64],
        mut tell: impl FnMut(Note),
    ) -> Option<Note> {
        let rules = self.rules;
        let mut worst: Option<Note> = None;
        let mut stop = |note: Note| worst = worst.or(Some(note));
        for (cpu, seen) in self.cpus.iter_mut().zip(cpus) {
            let was = cpu.silent;
            cpu.silent = seen.silent.unwrap_or(0);
            cpu.deaf = seen.deaf;
            if let Some(change) = cpu.stage.meet(seen.silent, rules.cpu) {
                let silent = if change == Change::Well { was } else { cpu.silent };
                tell(note(Check::Cpu, cpu.number, change, silent, rules.cpu));
            }
        }
        if self.cpus.iter().any(|cpu| cpu.stage == Stage::Failed) {
            let silent = self.cpus.iter().filter(|cpu| cpu.stage != Stage::Well);
            let silent =
                silent.map(|cpu| Silent { cpu: cpu.number, ms: cpu.silent, deaf: cpu.deaf });
            if let Some(named) = culprit(silent) {
                stop(note(Check::Cpu, named.cpu, Change::Failed, named.ms, rules.cpu));
            }
        }
        for (cpu, seen) in self.cpus.iter_mut().zip(cpus) {
            cpu.fill(elapsed, seen.waited, rules.starved);
            let debt = seen.waited.map(|_| cpu.debt);
            if let Some(change) = cpu.starved.meet_quietly(debt, rules.starved) {
                tell(note(Check::Starved, cpu.number, change, cpu.debt, rules.starved));
            }
            if cpu.starved == Stage::Failed && rules.stop_when_starved {
                let failed = Change::Failed;
                stop(note(Check::Starved, cpu.number, failed, cpu.debt, rules.starved));
            }
        }
        let silent = daemon.unwrap_or(0);
        if let Some(change) = self.daemon.meet_quietly(daemon, rules.daemon) {
            tell(note(Check::Heartbeat, 0, change, silent, rules.daemon));
        }
        if self.daemon == Stage::Failed && rules.stop_without_daemon {
            stop(note(Check::Heartbeat, 0, Change::Failed, silent, rules.daemon));
        }
        for (id, ((check, stage), silent)) in (0..).zip(self.checks.iter_mut().zip(checks)) {
            if let Some(change) = stage.meet_quietly(Some(*silent), rules.check) {
                tell(note(*check, id, change, *silent, rules.check));
            }
            if *stage == Stage::Failed && rules.stop_on_check {
                stop(note(*check, id, Change::Failed, *silent, rules.check));
            }
        }
        worst
    }

    /// The CPUs that are not well, the longest silent first, into `list`, of
    /// which as many are used as there is room for; how many there are.
    pub fn suspects(&self, list: &mut [Suspect; SUSPECTS]) -> usize {
        let mut found = 0;
        let fifo = self.cpus.iter().filter(|cpu| cpu.stage != Stage::Well).map(|cpu| Suspect {
            cpu: cpu.number,
            probe: Probe::Fifo,
            silent_ms: cpu.silent,
        });
        let other = self.cpus.iter().filter(|cpu| cpu.starved != Stage::Well);
        let other =
            other.map(|cpu| Suspect { cpu: cpu.number, probe: Probe::Other, silent_ms: cpu.debt });
        for suspect in fifo.chain(other) {
            // Sorted by insertion; the shortest falls off the end.
            let mut carried = suspect;
            for (at, place) in list.iter_mut().enumerate() {
                if at >= found || carried.silent_ms > place.silent_ms {
                    std::mem::swap(place, &mut carried);
                }
                if at >= found {
                    break;
                }
            }
            found += 1;
        }
        found
    }
}

impl Cpu {
    /// Fills and drains the bucket.
    fn fill(&mut self, elapsed: u64, waited: Option<u64>, limit: u64) {
        let before = std::mem::replace(&mut self.waited, waited);
        let (Some(before), Some(now)) = (before, waited) else {
            // The debt of a probe that left is told once, and then gone.
            if waited.is_none() && self.starved == Stage::Well {
                self.debt = 0;
            }
            return;
        };
        let waited = now.saturating_sub(before).min(elapsed);
        let drained = (elapsed - waited) / DRAIN;
        self.debt = self.debt.saturating_add(waited).saturating_sub(drained).min(limit);
    }
}

fn note(check: Check, id: u32, change: Change, silent_ms: u64, limit_ms: u64) -> Note {
    let action =
        if change == Change::Well || change == Change::Left { Action::None } else { Action::Event };
    Note { check, id, change, action, silent_ms, limit_ms }
}

#[cfg(test)]
mod tests;
