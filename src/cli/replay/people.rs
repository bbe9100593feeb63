//! A replay as people read it.

use super::super::clock::{words, Clock};
use super::super::exit::Exit;
use super::super::faults::severity;
use super::super::output::{bytes, count, one_line, print};
use super::super::table::{styled, table, BAD, HEADING, PLAIN};
use super::progress::Progress;
use crate::event::timestamp;
use crate::replay::{Case, Happening, Options, Skipped, Summary, Taken, Watch};
use bulkhead_core::model::{FaultState, PageSize, Wall};
use std::io::{self, Write};
use std::path::Path;

/// Skipped lines that are told one by one, unless all are asked for.
const SKIPPED_TOLD: u64 = 5;

/// Rows shown of a table.
const ROWS: usize = 40;

/// Tells what happens while it happens.
pub(super) struct Teller<'c> {
    clock: &'c Clock,
    all_skipped: bool,
    time_line: bool,
    skipped: u64,
    progress: Progress,
    /// The first failure to write.
    failed: Option<Exit>,
}

impl<'c> Teller<'c> {
    pub(super) fn new(clock: &'c Clock, all_skipped: bool, time_line: bool) -> Self {
        let progress = Progress::new();
        Teller { clock, all_skipped, time_line, skipped: 0, progress, failed: None }
    }

    /// Whether all could be told.
    pub(super) fn finish(mut self) -> Result<(), Exit> {
        self.progress.clear();
        self.failed.map_or(Ok(()), Err)
    }

    fn say(&mut self, line: &str) {
        self.progress.clear();
        // With stderr gone there is nobody left to tell.
        let _ = writeln!(io::stderr(), "{}", one_line(line));
    }
}

impl Watch for Teller<'_> {
    fn happened(&mut self, time: Wall, what: &Happening) {
        if !self.time_line || self.failed.is_some() {
            return;
        }
        self.progress.clear();
        let (kind, text) = match what {
            Happening::Fault(case, summary) => {
                let part = case.fru.iter().map(|fru| format!(", part {fru}")).collect::<String>();
                let severity = severity(case.severity);
                ("fault", format!("{summary} ({severity}, rule {}{part})", case.rule))
            }
            Happening::Decision(decision) => {
                ("decision", format!("{}: {} {}", decision.component, decision.done, decision.why))
            }
        };
        let time = self.clock.local(timestamp(time));
        let line = format!("{time}  {kind:8}  {}\n", one_line(&text));
        self.failed = print(&line).err();
    }

    fn skipped(&mut self, skipped: &Skipped) {
        self.skipped += 1;
        if self.all_skipped || self.skipped <= SKIPPED_TOLD {
            self.say(&format!("{}: skipped: {}", skipped.place, skipped.why));
        } else if self.skipped == SKIPPED_TOLD + 1 {
            self.say("more is skipped; --verbose tells all of it");
        }
    }

    fn progress(&mut self, done: u64, total: u64) {
        self.progress.at(done, total);
    }
}

/// The summary.
pub(super) fn render(file: &Path, options: &Options, summary: &Summary, clock: &Clock) -> String {
    let mut text = read(file, summary, clock);
    text += &found(options, summary, clock);
    text += &given_up(summary);
    for note in &summary.notes {
        text += &format!("Note: {}\n", one_line(note));
    }
    if !summary.faults.is_empty() {
        text += &format!("\n{}\n", styled(HEADING, "Faults"));
        text += &fault_table(&summary.faults, clock);
    }
    if !summary.isolations.is_empty() {
        text += &format!("\n{}\n", styled(HEADING, "Would have been taken"));
        text += &isolation_table(&summary.isolations, clock);
    }
    text
}

fn read(file: &Path, summary: &Summary, clock: &Clock) -> String {
    let mut line = format!("{}: {}", file.display(), count(summary.reports, "report"));
    if let Some((first, last)) = summary.span {
        let (first, last) = (timestamp(first), timestamp(last));
        line += &format!(" from {} to {}", clock.local(first), clock.local(last));
    }
    for (n, what) in [
        (summary.skipped, "skipped"),
        (summary.after_failure, "not diagnosed, for they came when it had failed"),
        (summary.out_of_order, "older than one before them"),
        (summary.undecodable, "not usable in full"),
    ] {
        if n > 0 {
            line += &format!("; {n} {what}");
        }
    }
    one_line(&line) + "\n"
}

fn found(options: &Options, summary: &Summary, clock: &Clock) -> String {
    let mut line = match summary.faults.len() as u64 + summary.unlisted {
        0 => "No faults".to_owned(),
        n => count(n, "fault"),
    };
    if let Some(first) = summary.first_fault {
        line += &format!(", the first at {}", clock.local(timestamp(first)));
    }
    if let Some(escalated) = summary.escalated_at {
        let time = clock.local(timestamp(escalated));
        line += &format!("; a human was needed from {time}");
    }
    line += "\n";
    if let Some(failed) = options.failed_at {
        let time = clock.local(timestamp(failed));
        line += &match summary.lead_s {
            Some(lead) => {
                let lead = words(i64::try_from(lead).unwrap_or(i64::MAX));
                format!("Found {lead} before the failure at {time}\n")
            }
            None => format!("No row, bits or escalation told of the failure at {time} before\n"),
        };
    }
    line
}

fn given_up(summary: &Summary) -> String {
    let cpus = summary.isolations.len() as u64 - summary.pages;
    let mut line = format!(
        "Given up: {} ({})",
        count(summary.pages, "page"),
        bytes(summary.pages.saturating_mul(PageSize::KIB_4.bytes()))
    );
    if cpus > 0 {
        line += &format!(", {}", count(cpus, "CPU"));
    }
    line += &format!(
        "\nWould not have happened: {}, on pages that were out of service by then\n",
        count(summary.ces_after, "corrected error")
    );
    line
}

fn fault_table(faults: &[Case], clock: &Clock) -> String {
    let row = |case: &Case| {
        let style = if case.state == FaultState::Escalated { BAD } else { PLAIN };
        let cells = [
            clock.local(timestamp(case.opened)),
            case.state.name().to_owned(),
            severity(case.severity).to_owned(),
            case.component.name(PageSize::KIB_4),
            case.errors.to_string(),
            case.rule.as_ref().to_owned(),
            case.fru.clone().unwrap_or_default(),
        ];
        (style, cells)
    };
    let header = ["FOUND", "STATE", "SEVERITY", "COMPONENT", "ERRORS", "RULE", "PART"];
    let rows: Vec<_> = faults.iter().take(ROWS).map(row).collect();
    table(Some(header), &rows) + &more(faults.len())
}

fn isolation_table(taken: &[Taken], clock: &Clock) -> String {
    let row = |taken: &Taken| {
        let (kind, id) = taken.target.kind_and_id(PageSize::KIB_4);
        let cells = [
            clock.local(timestamp(taken.time)),
            format!("{kind} {id}"),
            taken.rule.as_deref().unwrap_or_default().to_owned(),
        ];
        (PLAIN, cells)
    };
    let rows: Vec<_> = taken.iter().take(ROWS).map(row).collect();
    table(Some(["TIME", "COMPONENT", "RULE"]), &rows) + &more(taken.len())
}

fn more(rows: usize) -> String {
    match rows.saturating_sub(ROWS) {
        0 => String::new(),
        n => format!("… and {n} more: --json lists all\n"),
    }
}
