//! `bulkhead faults`.

use super::clock::Clock;
use super::exit::Exit;
use super::output::{print, print_json};
use super::table::{table, BAD, PLAIN};
use crate::api::views::FaultView;
use crate::api::Client;
use bulkhead_core::model::{FaultState, Severity};

pub(super) fn run(mut client: Client, json: bool, clock: &Clock) -> Result<(), Exit> {
    let mut faults = client.faults()?;
    faults.sort_by_key(|fault| std::cmp::Reverse(fault.last));
    if json {
        return print_json(&faults);
    }
    if faults.is_empty() {
        return print("No faults.\n");
    }
    print(&render(&faults.iter().collect::<Vec<_>>(), clock))
}

/// A table of `faults`.
pub(super) fn render(faults: &[&FaultView], clock: &Clock) -> String {
    let row = |fault: &&FaultView| {
        let style = if fault.state == FaultState::Escalated { BAD } else { PLAIN };
        let cells = [
            fault.id.to_string(),
            fault.state.name().to_owned(),
            severity(fault.severity).to_owned(),
            fault.component.clone(),
            fault.errors.to_string(),
            clock.ago(fault.last),
            fault.rule.clone(),
            fault.fru.clone().unwrap_or_default(),
        ];
        (style, cells)
    };
    let header = ["ID", "STATE", "SEVERITY", "COMPONENT", "ERRORS", "LAST", "RULE", "PART"];
    table(Some(header), &faults.iter().map(row).collect::<Vec<_>>())
}

/// Not closed by an admin.
pub(super) fn is_open(fault: &FaultView) -> bool {
    matches!(fault.state, FaultState::Open | FaultState::Isolated | FaultState::Escalated)
}

/// As in the JSON.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Minor => "minor",
        Severity::Major => "major",
        Severity::Critical => "critical",
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::tests::noon;
    use super::*;
    use crate::api::samples;

    #[test]
    fn a_fault_is_one_line() {
        let faults = samples::faults();
        let text = render(&faults.iter().collect::<Vec<_>>(), &noon());
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }
}
