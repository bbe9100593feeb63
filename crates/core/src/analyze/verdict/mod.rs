//! What ended a boot: evidence in, a verdict out. Pure. The rules are numbered
//! in docs/verdict.md.
//!
//! A rule stands on what it names alone; what else is known is told beside it,
//! and never makes a hang into a clean end.

pub mod bmc;
mod evidence;
pub mod reset;
mod sentences;
pub mod signs;
#[cfg(test)]
mod tests;

pub use bmc::{BmcEvent, BmcKind};
pub use evidence::{
    Armed, Bootstatus, Death, Dump, Evidence, Moment, Own, Said, Sign, SignKind, Silence,
};
pub use reset::{Reset, ResetKind};

use crate::model::time::nanos;
use crate::model::{Ending, Verdict};

/// What the watchdog devices may say of the reset before (WDIOF_*,
/// include/uapi/linux/watchdog.h).
pub mod bits {
    /// Reset for heat.
    pub const OVERHEAT: u32 = 0x01;
    /// A fan failed.
    pub const FANFAULT: u32 = 0x02;
    /// An external relay.
    pub const EXTERN: u32 = 0x04 | 0x08;
    /// The power was bad.
    pub const POWERUNDER: u32 = 0x10;
    /// The watchdog reset the host.
    pub const CARDRESET: u32 = 0x20;
    /// Over voltage.
    pub const POWEROVER: u32 = 0x40;
}

/// A host that lived on for so long, in ns, after it was given up was not ended
/// by that: several times the longest limit that makes sense.
const LIVED_ON: u64 = 600 * 1_000_000_000;

/// How far the kernel's log may be behind CLOCK_MONOTONIC, which is steered to
/// the right frequency, and it is not: 500 ppm at most, and 5 s.
const LOG_SLACK_PPM: u64 = 500;
const LOG_SLACK: u64 = 5_000_000_000;

/// Decides what ended the boot that `evidence` is of.
pub fn judge(evidence: &Evidence) -> Ending {
    let case = Case::new(evidence);
    let found = case.rules();
    Ending {
        verdict: found.verdict,
        rule: found.rule.to_owned(),
        cause: sentences::bounded(&found.cause),
        cpu: found.cpu.or_else(|| case.suspect().filter(|_| found.verdict == Verdict::Stall)),
        percent: found.percent.clamp(1, 99),
        evidence: sentences::all(&case),
    }
}

/// What a rule found.
struct Found {
    rule: &'static str,
    verdict: Verdict,
    cause: String,
    cpu: Option<u32>,
    percent: u8,
}

/// The evidence, sifted: what cannot be of this boot's end is left out.
struct Case<'e> {
    all: &'e Evidence,
    /// The panic that ended it, if one did.
    death: Option<&'e Death>,
    /// The last words of the watchdog, where it gave the host up.
    gave_up: Option<&'e Said>,
    silence: Option<&'e Silence>,
}

impl<'e> Case<'e> {
    fn new(all: &'e Evidence) -> Case<'e> {
        let own = &all.own;
        let end = last_sign_of_life(own);
        let is_of_this_boot = |death: &&Death| {
            let up = death.up.map(nanos);
            up.is_none_or(|up| up.saturating_add(up / 1_000_000 * LOG_SLACK_PPM + LOG_SLACK) >= end)
        };
        // What came after it, by however little, is what ended the boot.
        let not_outlived = |up: u64| {
            own.clean.is_none_or(|clean| clean.up < up) && end <= up.saturating_add(LIVED_ON)
        };
        Case {
            all,
            death: all.deaths.iter().filter(is_of_this_boot).max_by_key(|death| death.up),
            gave_up: all.words.iter().rev().find(|said| said.gave_up && not_outlived(said.up)),
            silence: own.silence.as_ref().filter(|silence| not_outlived(silence.since.up)),
        }
    }

    /// The rules, in their order: the first that applies decides.
    fn rules(&self) -> Found {
        let rules = [
            Case::by_panic,
            Case::by_last_words,
            Case::by_watchdog,
            Case::by_silence,
            Case::by_dump,
            Case::by_shutdown,
            Case::by_hardware,
            Case::by_power,
            Case::by_error,
        ];
        rules.iter().find_map(|rule| rule(self)).unwrap_or_else(|| self.by_nothing())
    }

    /// V1, V2: a saved log ends in a panic.
    fn by_panic(&self) -> Option<Found> {
        let death = self.death?;
        let panic = format!("{}{}", signs::PANIC, death.reason);
        Some(match signs::hang(death) {
            Some(hang) => Found {
                rule: "V1",
                verdict: Verdict::Stall,
                cause: hang.by.map_or(panic, |sign| sign.text.clone()),
                cpu: hang.cpu,
                percent: match self.was_watched() {
                    true => hang.percent.saturating_add(10),
                    false => hang.percent,
                },
            },
            None => {
                Found { rule: "V2", verdict: Verdict::Panic, cause: panic, cpu: None, percent: 98 }
            }
        })
    }

    /// V3: the watchdog gave the host up, and it did not live on.
    fn by_last_words(&self) -> Option<Found> {
        let said = self.gave_up?;
        let confirmed = self.fired().is_some() || !self.all.dumps.is_empty();
        Some(Found {
            rule: "V3",
            verdict: Verdict::Stall,
            cause: said.text.clone(),
            cpu: said.cpu,
            percent: if confirmed { 97 } else { 85 },
        })
    }

    /// V4, V5: a watchdog reset the host.
    fn by_watchdog(&self) -> Option<Found> {
        let (fired, knows) = self.fired()?;
        let own = &self.all.own;
        let ended = own.stopping.or(own.clean);
        let (rule, verdict, cause, percent) = if ended.is_some() {
            let cause = format!("The shutdown hung until a watchdog reset the host: {fired}");
            ("V4", Verdict::Stall, cause, if own.clean.is_some() { 75 } else { 90 })
        } else if self.was_watched() || knows {
            let cause = format!("The host hung until a watchdog reset it: {fired}");
            ("V4", Verdict::Stall, cause, 90)
        } else {
            let cause = format!("A watchdog that nobody is known to have fed: {fired}");
            ("V5", Verdict::HardwareReset, cause, 60)
        };
        Some(Found { rule, verdict, cause, cpu: None, percent })
    }

    /// V6: the watchdog's process fell silent, and was not heard again.
    fn by_silence(&self) -> Option<Found> {
        let silence = self.silence?;
        let cause = format!(
            "bulkhead-watchdog, armed with {} s, fell silent and was not heard again",
            silence.timeout_s
        );
        Some(Found { rule: "V6", verdict: Verdict::Stall, cause, cpu: None, percent: 75 })
    }

    /// V7: a crash kernel ran, or the BMC was told of a panic, and no log says
    /// why.
    fn by_dump(&self) -> Option<Found> {
        let dump = self.all.dumps.first();
        let told = self.all.bmc.iter().any(|event| event.kind == BmcKind::OsStopped);
        let (cause, percent) = match (dump, told) {
            (Some(dump), _) if dump.complete => {
                (format!("A crash kernel saved {}, and no log in it says why", dump.place), 85)
            }
            (Some(dump), _) => {
                (format!("A crash kernel began {}, and was cut off", dump.place), 75)
            }
            (None, true) => ("The kernel told the BMC that it panicked".to_owned(), 80),
            (None, false) => return None,
        };
        Some(Found { rule: "V7", verdict: Verdict::Panic, cause, cpu: None, percent })
    }

    /// V8: the shutdown came to its end.
    fn by_shutdown(&self) -> Option<Found> {
        self.all.own.clean?;
        let cause = "The host was shut down in order".to_owned();
        Some(Found { rule: "V8", verdict: Verdict::Clean, cause, cpu: None, percent: 99 })
    }

    /// V9: the hardware says that it reset the host.
    fn by_hardware(&self) -> Option<Found> {
        let reset = bits::OVERHEAT | bits::FANFAULT | bits::EXTERN | bits::POWEROVER;
        let by_device = self.all.watchdogs.iter().find(|w| w.bits & reset != 0);
        let by_processor = self.all.reset.as_ref().filter(|r| r.kind == ResetKind::Hardware);
        let by_button = self.bmc(BmcKind::ResetButton);
        let cause = if let Some(reset) = by_processor {
            format!("The processor says: {}", reset.text)
        } else if let Some(device) = by_device {
            sentences::bootstatus(device)
        } else {
            by_button.map(sentences::bmc)?
        };
        let percent = 80;
        Some(Found { rule: "V9", verdict: Verdict::HardwareReset, cause, cpu: None, percent })
    }

    /// V10: the hardware says that the power failed.
    fn by_power(&self) -> Option<Found> {
        let device = self.all.watchdogs.iter().find(|w| w.bits & bits::POWERUNDER != 0);
        let told = self.bmc(BmcKind::PowerLost).map(sentences::bmc);
        let cause = told.or_else(|| device.map(sentences::bootstatus))?;
        Some(Found { rule: "V10", verdict: Verdict::PowerLoss, cause, cpu: None, percent: 90 })
    }

    /// V11: the hardware kept an uncorrected error for this boot's kernel.
    fn by_error(&self) -> Option<Found> {
        let error = self.all.errors.first()?;
        let cause = format!("An uncorrected error that only the hardware left word of: {error}");
        let percent = 60;
        Some(Found { rule: "V11", verdict: Verdict::HardwareReset, cause, cpu: None, percent })
    }

    /// V12, V13, V14: what is left.
    fn by_nothing(&self) -> Found {
        let own = &self.all.own;
        let by_software = self.all.reset.as_ref().is_some_and(|r| r.kind == ResetKind::Software);
        let (rule, verdict, cause, percent) = if own.stopping.is_some() {
            let cause = "A shutdown had begun, and nothing tells whether it came to its end";
            ("V12", Verdict::Unknown, cause, 50)
        } else if by_software {
            let cause = "Software reset the host without a shutdown: a reboot by force, or a \
                         panic that left no log";
            ("V13", Verdict::Unknown, cause, 50)
        } else {
            let cause = "The host stopped without a word, as it does when the power fails";
            ("V14", Verdict::PowerLoss, cause, if self.would_have_fired() { 75 } else { 55 })
        };
        Found { rule, verdict, cause: cause.to_owned(), cpu: None, percent }
    }

    fn bmc(&self, kind: BmcKind) -> Option<&'e BmcEvent> {
        self.all.bmc.iter().rev().find(|event| event.kind == kind)
    }

    /// Who says that a watchdog reset the host, and whether it knows that the
    /// system fed it, rather than firmware.
    fn fired(&self) -> Option<(String, bool)> {
        if let Some(event) = self.bmc(BmcKind::WatchdogFired) {
            return Some((sentences::bmc(event), true));
        }
        let device = self.all.watchdogs.iter().find(|w| w.bits & bits::CARDRESET != 0);
        let by_processor = self.all.reset.as_ref().filter(|r| r.kind == ResetKind::Watchdog);
        let said = by_processor.map(|reset| format!("the processor says: {}", reset.text));
        device.map(sentences::bootstatus).or(said).map(|said| (said, false))
    }

    /// A watchdog was armed in that boot.
    fn was_watched(&self) -> bool {
        self.all.own.armed.is_some() || self.silence.is_some() || self.gave_up.is_some()
    }

    /// The watchdog that was armed says that it did not reset the host. Where a
    /// device has said so before, or not at all, cannot be known: this makes
    /// surer, and decides nothing.
    fn would_have_fired(&self) -> bool {
        let armed = self.all.own.armed.as_ref();
        armed.is_some_and(|armed| self.all.watchdogs.iter().any(|w| w.identity == armed.identity))
    }

    /// Who was last suspected of stalling.
    fn suspect(&self) -> Option<u32> {
        let said = self.gave_up.and_then(|said| said.cpu);
        said.or_else(|| self.silence.and_then(|silence| silence.suspects.first().copied()))
    }
}

/// When the boot is known to have run last, in ns.
fn last_sign_of_life(own: &Own) -> u64 {
    let moments = [Some(own.alive), own.stopping, own.clean];
    moments.into_iter().flatten().map(|moment| moment.up).max().unwrap_or(0)
}
