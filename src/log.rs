//! Messages for the admin: to the journal with fields, and to stderr without.
//!
//! Levels mean: ERROR is for decisions that a human must act on, and for
//! nothing else, so that its journal priority, crit (2), may page somebody.
//! WARN (4) is what went wrong and is looked after; INFO (notice, 5) is what
//! happened.

mod plain;

use bulkhead_core::decide::{Decision, DecisionKind};
use bulkhead_core::model::Target;
use nix::sys::stat::fstat;
use std::fmt::Write;
use std::io;
use tracing::level_filters::LevelFilter;
use tracing::{field, Level};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Sends what `tracing` is told from now on to the journal, where there is one,
/// and to stderr, unless that is the journal: who starts us by hand reads
/// there. Only the first call in a process counts.
pub fn init() {
    let journal = journal().ok();
    let told_twice = journal.is_some() && stderr_is_the_journal();
    let plain = (!told_twice).then(|| plain::layer(io::stderr));
    // An error means that another subscriber is set, as in tests: theirs counts.
    let _ =
        tracing_subscriber::registry().with(LevelFilter::INFO).with(journal).with(plain).try_init();
}

/// Whether systemd connected stderr to the journal, and it still is: the
/// variable alone is inherited by whoever is started from a service
/// (systemd.exec(5), JOURNAL_STREAM).
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

fn journal() -> io::Result<tracing_journald::Layer> {
    let priorities = PriorityMappings { error: Priority::Critical, ..PriorityMappings::new() };
    // Without the prefix, or MESSAGE_ID would be F_MESSAGE_ID.
    Ok(tracing_journald::layer()?.with_field_prefix(None).with_priority_mappings(priorities))
}

/// Tells one decision in one line, with its fields for the journal.
pub fn decision(d: &Decision) {
    let line = line(d);
    let (message_id, kind) = names(d.kind);
    let fault = d.fault.map(field::display);
    let target = d.target.map(|target| match target {
        Target::Cpu(cpu) => format!("cpu {cpu}"),
        Target::Page(pfn) => format!("pfn {:#x}", pfn.0),
    });
    macro_rules! tell {
        ($level:expr) => {
            tracing::event!(
                $level,
                message_id,
                bulkhead_decision = kind,
                bulkhead_component = d.component,
                bulkhead_fault = fault,
                bulkhead_target = target,
                "{line}"
            )
        };
    }
    match d.kind {
        _ if d.human => tell!(Level::ERROR),
        DecisionKind::Refused | DecisionKind::Failed | DecisionKind::Escalated => {
            tell!(Level::WARN)
        }
        _ => tell!(Level::INFO),
    }
}

/// Component, why, what was done, what to do next; what is empty is left out.
fn line(d: &Decision) -> String {
    let mut line = format!("{}:", d.component);
    for sentence in
        [&d.why, &d.done, &d.next].map(|s| s.trim()).into_iter().filter(|s| !s.is_empty())
    {
        let stop = if sentence.ends_with(['.', '!', '?']) { "" } else { "." };
        // Writing to a String cannot fail.
        let _ = write!(line, " {sentence}{stop}");
    }
    // Labels come from firmware.
    line.replace(char::is_control, " ")
}

/// The MESSAGE_ID and BULKHEAD_DECISION of each kind.
///
/// The ids are random 128-bit numbers, made once for this table
/// (systemd.journal-fields(7)); catalogs, filters and pagers know them, so a
/// kind keeps its id for ever, and a new kind gets a new one.
fn names(kind: DecisionKind) -> (&'static str, &'static str) {
    match kind {
        DecisionKind::Take => ("7e583cd6711f46cb80e36c32ddbc8697", "take"),
        DecisionKind::Taken => ("fbb3f1fff1e84567a532b5b7fe36da2b", "taken"),
        DecisionKind::KernelTook => ("94f24fb76cd04b8f9036c7c034f1b3ee", "kernel-took"),
        DecisionKind::Observed => ("373ff280d8584798af5154a576473929", "observed"),
        DecisionKind::Refused => ("6900a57ae40649b3b4b6973ad5e59b65", "refused"),
        DecisionKind::Failed => ("9d45a88f85c94f0096ce931efce921f5", "failed"),
        DecisionKind::Escalated => ("8758853d1dc049ea86ff908155c5d08d", "escalated"),
        DecisionKind::Reported => ("5a9721490330441990a4547bf5339596", "reported"),
        DecisionKind::Released => ("69963cfb1fb5470193c1a7942f7c4122", "released"),
        DecisionKind::BroughtBack => ("e1f7d169e1b143608a7cf269d6d42d03", "brought-back"),
    }
}

#[cfg(test)]
mod tests;
