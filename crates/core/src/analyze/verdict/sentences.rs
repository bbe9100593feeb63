//! What speaks for a verdict, in words: sentences without a full stop.

use super::{bits, last_sign_of_life, BmcEvent, BmcKind, Bootstatus, Case, Death, SignKind};
use crate::model::time::nanos;

/// Sentences, at most.
const MOST: usize = 16;

/// Signs of one log that are quoted, at most; the last ones tell.
const MOST_SIGNS: usize = 6;

/// Characters of a sentence, at most.
const LONGEST: usize = 400;

/// As long as a sentence may be.
pub(super) fn bounded(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

/// All that is known, the weightiest first.
pub(super) fn all(case: &Case) -> Vec<String> {
    let evidence = case.all;
    let own = &evidence.own;
    let mut said = Vec::new();
    if let Some(found) = case.death {
        death(found, &mut said);
    }
    if let Some(words) = case.gave_up {
        said.push(format!("Last words of the watchdog at {}: {}", uptime(words.up), words.text));
    }
    said.extend(case.silence.map(|silence| {
        format!("The daemon last heard the watchdog at {}", uptime(silence.since.up))
    }));
    said.extend(evidence.watchdogs.iter().map(bootstatus));
    said.extend(evidence.reset.iter().map(|reset| format!("The processor says: {}", reset.text)));
    said.extend(evidence.errors.iter().take(4).map(|error| format!("Kept for this boot: {error}")));
    said.extend(evidence.bmc.iter().rev().take(4).map(bmc));
    said.extend(evidence.dumps.iter().take(2).map(|dump| {
        let whole = if dump.complete { "holds a dump" } else { "holds a dump that is cut off" };
        format!("{} {whole}", dump.place)
    }));
    if let Some(armed) = &own.armed {
        let (device, identity) = (&armed.device, &armed.identity);
        said.push(format!("{device} ({identity}) was armed with {} s", armed.timeout_s));
    }
    said.extend(own.stopping.map(|at| format!("A shutdown had begun at {}", uptime(at.up))));
    said.push(match own.clean {
        Some(at) => format!("The shutdown came to its end at {}", uptime(at.up)),
        None => format!(
            "No end of a shutdown is recorded; the daemon last left word at {}",
            uptime(last_sign_of_life(own))
        ),
    });
    said.truncate(MOST);
    said.iter().map(|text| bounded(text)).collect()
}

fn death(death: &Death, said: &mut Vec<String>) {
    let at = death.up.map_or(String::new(), |up| format!(" at {}", uptime(nanos(up))));
    said.push(format!("{} ends{at} with \"{}{}\"", death.place, super::signs::PANIC, death.reason));
    let told = death.signs.iter().filter(|sign| sign.kind != SignKind::Sysrq);
    let skipped = told.clone().count().saturating_sub(MOST_SIGNS);
    said.extend(told.skip(skipped).map(|sign| format!("Before it: \"{}\"", sign.text)));
}

/// What a device says of the reset before.
pub(super) fn bootstatus(status: &Bootstatus) -> String {
    let names = [
        (bits::CARDRESET, "it reset the host (CARDRESET)"),
        (bits::OVERHEAT, "the host was reset for heat (OVERHEAT)"),
        (bits::FANFAULT, "a fan failed (FANFAULT)"),
        (bits::EXTERN, "an external relay reset the host (EXTERN)"),
        (bits::POWERUNDER, "the power was bad (POWERUNDER)"),
        (bits::POWEROVER, "there was over voltage (POWEROVER)"),
    ];
    let told: Vec<&str> =
        names.into_iter().filter(|(bit, _)| status.bits & bit != 0).map(|(_, s)| s).collect();
    let told = match told.is_empty() {
        true => "nothing of the last reset".to_owned(),
        false => told.join(", and "),
    };
    format!("{} ({}) says {told}", status.device, status.identity)
}

/// What the BMC logged.
pub(super) fn bmc(event: &BmcEvent) -> String {
    let what = match event.kind {
        BmcKind::WatchdogFired => "the system's watchdog reset the host",
        BmcKind::WatchdogWarned => "the system's watchdog ran out, or warned",
        BmcKind::OsStopped => "the system stopped at an error",
        BmcKind::OsShutDown => "the system shut down",
        BmcKind::PowerLost => "the power failed",
        BmcKind::ResetButton => "the reset button was pressed",
    };
    format!("The BMC says: {what} (record {:#06x})", event.id)
}

/// How long the host had been up: "42 s", "3 h 25 min".
fn uptime(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s after boot"),
        (0, 0, _) => format!("{minutes} min {} s after boot", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min after boot"),
        _ => format!("{days} d {hours} h after boot"),
    }
}
