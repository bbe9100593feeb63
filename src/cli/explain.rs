//! `bulkhead explain`: a case in the order of time, and what to do.

use super::clock::Clock;
use super::exit::Exit;
use super::output::{count, one_line, print, print_json};
use super::table::{styled, table, HEADING, PLAIN};
use super::{faults, record, FaultId, Json};
use crate::api::views::{EvidenceView, Explanation, RuleView};
use crate::api::Client;
use jiff::Timestamp;
use serde_json::Value;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    fault: FaultId,
    #[command(flatten)]
    json: Json,
}

pub(super) fn run(mut client: Client, arguments: &Arguments, clock: &Clock) -> Result<(), Exit> {
    let case = client.explain(arguments.fault.id)?;
    if arguments.json.json {
        return print_json(&case);
    }
    print(&render(&case, clock))
}

fn render(case: &Explanation, clock: &Clock) -> String {
    let fault = &case.fault;
    let mut text = styled(HEADING, &one_line(&fault.component));
    if let Some(fru) = &fault.fru {
        text += &format!(" ({})", one_line(fru));
    }
    text += &format!(" is {}, severity {}\n", fault.state.name(), faults::severity(fault.severity));
    text += &format!("Fault {} by rule {}\n", fault.id, rule(&case.rule));
    text += &format!(
        "{} from {} to {} ({})\n",
        count(fault.errors, "error"),
        clock.local(fault.first),
        clock.local(fault.last),
        clock.ago(fault.last)
    );

    text += &format!("\n{}\n", styled(HEADING, "What happened"));
    let rows: Vec<_> = story(case)
        .into_iter()
        .map(|(time, who, what)| (PLAIN, [format!("  {}", clock.local(time)), who, what]))
        .collect();
    text += &table(None, &rows);
    for (heading, sentence) in [("Decision", &case.decision), ("What to do", &case.advice)] {
        text += &format!("\n{}\n  {}\n", styled(HEADING, heading), one_line(sentence));
    }
    text
}

fn rule(rule: &RuleView) -> String {
    let number = |(name, value): &(String, Value)| match value {
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {other}"),
    };
    let numbers: Vec<_> = rule.numbers.iter().map(number).collect();
    let text = match numbers.is_empty() {
        true => rule.id.clone(),
        false => format!("{} ({})", rule.id, numbers.join(", ")),
    };
    one_line(&text)
}

/// When, who and what, in the order of time; what fell together stays in the
/// order of cause and effect.
fn story(case: &Explanation) -> Vec<(Timestamp, String, String)> {
    let mut story: Vec<_> =
        case.evidence.iter().map(|e| (e.first, e.source.clone(), evidence(e))).collect();
    story.extend(case.attempts.iter().map(|attempt| {
        let what = format!("{}: {}", attempt.asked, attempt.answered);
        (attempt.time, "asked the kernel".to_owned(), what)
    }));
    story.sort_by_key(|(time, ..)| *time);
    story
}

fn evidence(evidence: &EvidenceView) -> String {
    let what = record::line(&evidence.record);
    if evidence.errors == 1 {
        return what;
    }
    format!("{}, the last: {what}", count(evidence.errors, "error"))
}

#[cfg(test)]
mod tests {
    use super::super::clock::tests::noon;
    use super::*;
    use crate::api::samples;

    #[test]
    fn a_case_is_told_in_the_order_of_time_and_ends_with_what_to_do() {
        let text = render(&samples::explanation(), &noon());
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }
}
