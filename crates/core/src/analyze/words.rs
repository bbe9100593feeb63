//! Sentences for the admin who was paged.

use super::finding::Response;
use super::lead::Lead;
use super::rules::{span, RuleId};
use crate::model::{Component, Machine};

/// What was found, without a full stop.
pub(super) fn summary(lead: &Lead, errors: u64, machine: &Machine) -> String {
    let what = lead.component.name(machine.page_size);
    match lead.rule {
        RuleId::PageFatal => format!("An uncorrected error in {what} ended the boot before"),
        RuleId::PageUe | RuleId::MemoryUe | RuleId::CpuUe => {
            format!("An uncorrected error in {what}")
        }
        rule if rule.by_hardware() => {
            format!("The hardware says that the corrected errors in {what} passed its threshold")
        }
        _ => {
            let plural = if errors == 1 { "" } else { "s" };
            let window = span(lead.threshold.window);
            format!("{errors} corrected error{plural} in {what} within {window}")
        }
    }
}

/// What a finding calls for, after its summary: one sentence.
pub(super) fn decision(summary: &str, lead: &Lead, response: &Response) -> String {
    let called_for = match response {
        Response::TakePage(_) => "the page is to be taken out of use",
        Response::TakePages(_) => "its pages are to be taken out of use",
        Response::EnsureFailedPage(_) => {
            "the kernel takes the page by itself, which is to be verified"
        }
        Response::TakeFreePage { .. } => "the page is to be taken while nothing uses it",
        Response::TakeCpus(_) => "these CPUs are to be taken off line",
        Response::Report => match lead.component {
            Component::Memory { .. } => "nothing is taken, since no page is known",
            Component::Bus { .. } => "nothing is taken, since no CPU is to blame for a bus",
            Component::Shared { .. } => {
                "nothing is taken, since whoever read that bank is not known to be the culprit"
            }
            _ => "nothing is taken, as the policy says for this level",
        },
        Response::Escalate => match lead.rule {
            RuleId::CpuUe | RuleId::MemoryUe => "nothing that could be taken would contain it",
            _ => {
                "another core of this socket was called for by errors of the same kind of bank, \
                 so the socket is suspect and this core stays"
            }
        },
    };
    format!("{summary}: {called_for}.")
}

/// What the admin should do: one sentence.
pub(super) fn advice(lead: &Lead, response: &Response) -> String {
    let part = lead.fru.as_deref().unwrap_or("the DIMM");
    match (response, lead.rule) {
        (Response::TakePage(_), _) => {
            format!("Nothing for a single page; if more pages follow, plan to replace {part}.")
        }
        (Response::EnsureFailedPage(_), _) => {
            format!("Look for processes that were killed, and plan to replace {part} if it happens again.")
        }
        (Response::TakeFreePage { .. }, _) => {
            format!("Plan to replace {part}: its errors can take the host down.")
        }
        (Response::TakeCpus(_), _) => "Plan to replace the processor; until then the host runs \
                                       with fewer CPUs."
            .to_owned(),
        (_, RuleId::MemoryCe | RuleId::MemoryThreshold) => {
            format!(
                "Find out by the platform's own log where they lie, and plan to replace {part}."
            )
        }
        (_, RuleId::MemoryUe) => {
            format!("Move work away from this host now and replace {part}.")
        }
        (_, RuleId::CpuUe) => {
            "Move work away from this host now and have the processor and its board checked."
                .to_owned()
        }
        (Response::Escalate, _) => {
            "Move work away from this host and have the whole socket replaced: taking one core \
             after another would not end."
                .to_owned()
        }
        (_, RuleId::Bus) => {
            "Have the link, the board and the cards on it checked; no CPU needs to go.".to_owned()
        }
        _ => "Watch whether they go on; if so, have the processor replaced.".to_owned(),
    }
}
