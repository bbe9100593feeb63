//! What ended the boot before this one: all evidence is gathered, judged, kept
//! with that boot's row, and told.
//!
//! At the first start in a boot not everything is there: a watchdog's driver, or
//! that of the BMC, may be loaded later. So it is looked at again a few times.

use super::cycle::Cycle;
use super::kept;
use crate::event::{timestamp, Body, Event};
use crate::host::last_boot::{LastBoot, Trace};
use crate::host::{clock, ipmi, last_boot, watchdogs, Root};
use crate::state::{clean_end, last_words, BootRow, LAST_BOOT_CURSOR};
use bulkhead_core::analyze::mce;
use bulkhead_core::analyze::verdict::{self, BmcEvent, Evidence, Moment, Own, Said};
use bulkhead_core::model::{Ending, Record, Source, Stamp, Time, Verdict, Wall};
use bulkhead_watchdog::last_words::{Action, Words};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::mpsc::{channel, Receiver};
use std::thread;
use std::time::Duration;
use uuid::Uuid;

/// When it is looked at again, after the start: drivers are loaded by then.
const LOOKS: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
];

/// Words of the watchdog that count, the last ones.
const MOST_WORDS: usize = 64;

/// Logs and dumps that are remembered to be of a boot that was judged; the
/// oldest are forgotten first.
const MOST_USED: usize = 256;

/// How far the BMC's clock, as it was set against the host's, may be off.
const BMC_CLOCK: Duration = Duration::from_secs(120);

/// Names a log or a dump for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x5b0e_91c4_7d3a_4f0b_9e66_20ad_c58f_1b37);

/// The look at the last boot.
pub struct LastEnd {
    root: Root,
    state_dir: PathBuf,
    /// When this boot began.
    started: Wall,
    /// Where to look for files of the end: between these.
    window: (Wall, Wall),
    /// Looks that are to come, the next one last.
    looks: Vec<Time>,
    /// Which logs and dumps were of which boot's end.
    used: Vec<(Uuid, String)>,
    bmc: Bmc,
}

/// The BMC's log, which is read beside the loop.
enum Bmc {
    /// Not yet: there was no BMC when it was looked for last.
    Absent,
    /// It is being read.
    Asked(Receiver<Vec<BmcEvent>>),
    /// What it says.
    Read(Vec<BmcEvent>),
}

impl LastEnd {
    /// To be looked at from now on: four times more where `again`. `used` is
    /// what an earlier one saved.
    pub fn new(
        root: Root,
        state_dir: PathBuf,
        started: Wall,
        window: (Wall, Wall),
        used: Option<&String>,
        again: bool,
        now: Time,
    ) -> LastEnd {
        let used = kept::load(used);
        let looks = LOOKS.iter().rev().filter(|_| again).map(|wait| now.after(*wait)).collect();
        LastEnd { root, state_dir, started, window, looks, used, bmc: Bmc::Absent }
    }

    /// Under which name is saved what was used.
    pub fn key() -> String {
        format!("{LAST_BOOT_CURSOR}judged")
    }

    /// When to look again.
    pub fn next(&self) -> Option<Time> {
        self.looks.last().copied()
    }

    /// Looks again, if it is time. `boots` are those known, without this one.
    pub fn turn(&mut self, cycle: &mut Cycle, boots: &mut [BootRow], now: Stamp) {
        if self.next().is_some_and(|at| at <= now.at) {
            self.looks.pop();
            let found = last_boot::read(&self.root, self.window.0, self.window.1);
            self.look(&found, cycle, boots, now);
        }
    }

    /// Judges the last of `boots`, by what was `found` and all else there is.
    pub fn look(&mut self, found: &LastBoot, cycle: &mut Cycle, boots: &mut [BootRow], now: Stamp) {
        let last = boots.last_mut();
        // Of a row from before its end was marked, nobody knows how it ended.
        let Some(row) = last.filter(|row| row.up > 0) else {
            self.uses(found, "", cycle);
            return;
        };
        let evidence = self.evidence(found, row);
        self.uses(found, &row.boot_id, cycle);
        let ending = verdict::judge(&evidence);
        if row.ending.as_ref() == Some(&ending) {
            return;
        }
        let told = row.ending.replace(ending.clone());
        cycle.core.books.ended(row.clone());
        let same = |old: &Ending| {
            (old.verdict, &old.cause, old.cpu) == (ending.verdict, &ending.cause, ending.cpu)
        };
        if !told.as_ref().is_some_and(same) {
            tell(row, &ending, cycle, now);
        }
    }

    fn evidence(&mut self, found: &LastBoot, row: &BootRow) -> Evidence {
        let free = |name: Option<Uuid>| {
            let of = self.used.iter().find(|(used, _)| Some(*used) == name);
            of.is_none_or(|(_, boot)| *boot == row.boot_id)
        };
        let deaths = found.deaths.iter().filter(|death| free(name(&(death.up, &death.reason))));
        let dumps = found.dumps.iter().filter(|dump| free(name(&dump.place)));
        let errors = found.traces.iter().filter(|trace| free(name(&trace.record)));
        let errors = errors.filter_map(kept_by_hardware).collect();
        let (deaths, dumps) = (deaths.cloned().collect(), dumps.cloned().collect());
        let words = last_words::of(&self.state_dir, &row.boot_id);
        Evidence {
            own: Own {
                alive: Moment { up: row.up, wall: row.last.wall },
                stopping: row.stopping,
                clean: clean_end::of(&self.state_dir, &row.boot_id),
                armed: row.armed.clone(),
                silence: row.silence.clone(),
            },
            deaths,
            dumps,
            watchdogs: watchdogs::bootstatus(&self.root),
            bmc: self.bmc(row.last.wall),
            reset: found.reset.clone(),
            errors,
            words: said(&words),
        }
    }

    /// What the BMC logged from shortly before the last sign of life to the
    /// start of this boot.
    fn bmc(&mut self, alive: Wall) -> Vec<BmcEvent> {
        let from = alive.before(BMC_CLOCK);
        match &self.bmc {
            Bmc::Absent if self.root == Root::default() && self.root.path(ipmi::PATH).exists() => {
                self.bmc = ask_bmc(from);
            }
            Bmc::Asked(answer) => {
                if let Ok(events) = answer.try_recv() {
                    self.bmc = Bmc::Read(events);
                }
            }
            Bmc::Absent | Bmc::Read(_) => {}
        }
        let Bmc::Read(events) = &self.bmc else { return Vec::new() };
        let to = self.started.after(BMC_CLOCK);
        let of_then = |event: &&BmcEvent| event.wall.is_some_and(|wall| from <= wall && wall <= to);
        events.iter().filter(of_then).cloned().collect()
    }

    /// A log or an error is of one boot's end, and is not evidence for the next one too.
    fn uses(&mut self, found: &LastBoot, boot_id: &str, cycle: &mut Cycle) {
        let deaths = found.deaths.iter().map(|death| name(&(death.up, &death.reason)));
        let dumps = found.dumps.iter().map(|dump| name(&dump.place));
        let errors = found.traces.iter().map(|trace| name(&trace.record));
        let names = deaths.chain(dumps).chain(errors).flatten();
        let before = self.used.len();
        for name in names {
            if !self.used.iter().any(|(used, _)| *used == name) {
                self.used.push((name, boot_id.to_owned()));
            }
        }
        if self.used.len() > before {
            kept::save(&mut self.used, MOST_USED, Self::key(), &mut cycle.core.books);
        }
    }
}

/// One event, and one line for the admin.
fn tell(row: &BootRow, ending: &Ending, cycle: &mut Cycle, now: Stamp) {
    let Ending { verdict, rule, cause, cpu, percent, evidence } = ending;
    let cpu = cpu.map_or(String::new(), |cpu| format!(" of CPU {cpu}"));
    let what = format!("The last boot ended: {}{cpu}, {percent}% sure: {cause}", verdict.name());
    match verdict {
        Verdict::Clean => tracing::info!("{what}"),
        _ => tracing::warn!(
            "{what} (rule {rule}; {}); more: bulkhead boots",
            evidence.first().map_or("", String::as_str)
        ),
    }
    cycle.core.books.happened(Event {
        time: timestamp(now.wall),
        body: Body::Boot { boot_id: row.boot_id.clone(), verdict: Some(*verdict), what },
    });
}

/// Reads the BMC's log in a thread of its own: a BMC may take seconds, or not
/// answer at all.
fn ask_bmc(from: Wall) -> Bmc {
    let (sender, receiver) = channel();
    let read = move || match ipmi::events(from) {
        Ok(events) => drop(sender.send(events)),
        Err(error) => {
            tracing::warn!("the BMC's event log is not read: {}: {error}", ipmi::PATH);
            drop(sender.send(Vec::new()));
        }
    };
    match thread::Builder::new().name("bmc".to_owned()).spawn(read) {
        Ok(_) => Bmc::Asked(receiver),
        Err(_) => Bmc::Absent,
    }
}

/// An error that was left for this boot's kernel to tell of, in a clause. One
/// that lies in a saved log belongs to that log's end.
fn kept_by_hardware(trace: &Trace) -> Option<String> {
    match &trace.record {
        _ if trace.source != Source::BootLog => None,
        Record::Mce(mce) => Some(format!("a machine check in {}", mce::describe(mce))),
        Record::Extlog(error) if error.fru_text.is_empty() => {
            Some("firmware's record of a memory error".to_owned())
        }
        Record::Extlog(error) => {
            Some(format!("firmware's record of a memory error in {}", error.fru_text))
        }
        _ => None,
    }
}

/// The watchdog's words; what was well again later gave nobody up.
fn said(words: &[Words]) -> Vec<Said> {
    let last = words.iter().skip(words.len().saturating_sub(MOST_WORDS));
    let mut said: Vec<(&Words, Said)> = Vec::new();
    for word in last {
        if word.action == Action::None {
            let same =
                |(old, _): &&mut (&Words, Said)| (&old.check, old.cpu) == (&word.check, word.cpu);
            said.iter_mut().filter(same).for_each(|(_, said)| said.gave_up = false);
        }
        let up = word.boottime_ms.saturating_mul(1_000_000);
        let gave_up = word.action.gives_up();
        said.push((word, Said { up, cpu: word.cpu, gave_up, text: word.text.clone() }));
    }
    said.into_iter().map(|(_, said)| said).collect()
}

fn name(identity: &impl Serialize) -> Option<Uuid> {
    Some(Uuid::new_v5(&NAMESPACE, &serde_json::to_vec(identity).ok()?))
}

/// When this boot began, by the wall clock of now.
pub fn boot_began(now: Stamp) -> Wall {
    now.wall.before(Duration::from_nanos(clock::boottime()))
}

#[cfg(test)]
mod tests;
