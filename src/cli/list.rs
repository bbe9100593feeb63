//! `bulkhead list`.

use super::clock::Clock;
use super::exit::Exit;
use super::output::{print, print_json};
use super::table::{table, BAD, PLAIN, WARN};
use super::Json;
use crate::api::views::{FaultView, IsolationView};
use crate::api::{Client, TargetKind};
use anstyle::Style;
use bulkhead_core::model::{By, IsolationState, Undo};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only `cpus` or `pages`
    #[arg(value_parser = kind)]
    kind: Option<TargetKind>,
    #[command(flatten)]
    json: Json,
}

fn kind(text: &str) -> Result<TargetKind, String> {
    TargetKind::parse(text.strip_suffix('s').unwrap_or(text))
        .ok_or_else(|| "say `cpus`, `pages`, or nothing for both".to_owned())
}

pub(super) fn run(mut client: Client, arguments: &Arguments, clock: &Clock) -> Result<(), Exit> {
    let ledger = client.isolations(arguments.kind)?;
    if arguments.json.json {
        return print_json(&ledger);
    }
    if ledger.is_empty() {
        return print("Nothing is out of service.\n");
    }
    let faults = client.faults()?;
    print(&render(&ledger.iter().collect::<Vec<_>>(), &faults, clock))
}

/// A table of `ledger`, with the DIMM of each page where its fault knows it.
pub(super) fn render(ledger: &[&IsolationView], faults: &[FaultView], clock: &Clock) -> String {
    let row = |line: &&IsolationView| {
        let fault = line.fault.and_then(|id| faults.iter().find(|fault| fault.id == id));
        let part = fault.and_then(|fault| fault.fru.clone()).unwrap_or_default();
        let cells = [
            format!("{} {}", line.kind, line.id),
            state(line.state).to_owned(),
            by(line.by).to_owned(),
            clock.ago(line.since),
            part,
            next(line, clock),
            line.why.clone(),
        ];
        (style(line.state), cells)
    };
    let header = ["COMPONENT", "STATE", "BY", "SINCE", "PART", "NEXT", "WHY"];
    table(Some(header), &ledger.iter().map(row).collect::<Vec<_>>())
}

/// What will happen to it by itself.
fn next(line: &IsolationView, clock: &Clock) -> String {
    match (line.release, line.next_try) {
        (Some(Undo::NextBoot), _) => "back at next boot".to_owned(),
        (None, Some(time)) => format!("again {}", clock.ago(time)),
        (None, None) => String::new(),
    }
}

/// It says something of now, rather than of what once was.
pub(super) fn is_current(line: &IsolationView) -> bool {
    !matches!(line.state, IsolationState::Released | IsolationState::Stale)
}

/// What an admin should see first, lowest first.
pub(super) fn urgency(state: IsolationState) -> u8 {
    match state {
        IsolationState::Failed => 0,
        IsolationState::Refused => 1,
        IsolationState::Wanted => 2,
        IsolationState::Isolated => 3,
        IsolationState::Observed => 4,
        IsolationState::Stale => 5,
        IsolationState::Released => 6,
    }
}

fn style(state: IsolationState) -> Style {
    match state {
        IsolationState::Failed | IsolationState::Refused => BAD,
        IsolationState::Wanted => WARN,
        _ => PLAIN,
    }
}

/// As in the JSON.
pub(super) fn state(state: IsolationState) -> &'static str {
    match state {
        IsolationState::Wanted => "wanted",
        IsolationState::Isolated => "isolated",
        IsolationState::Observed => "observed",
        IsolationState::Refused => "refused",
        IsolationState::Failed => "failed",
        IsolationState::Stale => "stale",
        IsolationState::Released => "released",
    }
}

fn by(by: By) -> &'static str {
    match by {
        By::Bulkhead => "bulkhead",
        By::Kernel => "kernel",
        By::Admin => "admin",
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::tests::noon;
    use super::*;
    use crate::api::samples;

    #[test]
    fn a_page_is_shown_with_its_dimm() {
        let ledger = samples::ledger();
        let text = render(&ledger.iter().collect::<Vec<_>>(), &samples::faults(), &noon());
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }

    #[test]
    fn kinds_are_named_in_the_plural_or_not() {
        assert_eq!(kind("cpus"), Ok(TargetKind::Cpu));
        assert_eq!(kind("page"), Ok(TargetKind::Page));
        assert!(kind("dimms").is_err());
    }
}
