//! `bulkhead explain`: a case in the order of time, and what to do.

use super::clock::Clock;
use super::exit::Exit;
use super::output::{count, one_line, print, print_json};
use super::table::{styled, table, HEADING, PLAIN};
use super::{faults, record, FaultId, Json};
use crate::api::views::{CoverView, EvidenceView, Explanation, RuleView};
use crate::api::Client;
use bulkhead_core::model::CoverBy;
use jiff::Timestamp;
use serde_json::Value;

/// Pages of a cover that are shown.
const PAGES_SHOWN: usize = 4;

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
    if let Some(cover) = &case.cover {
        text += &covers(cover);
    }

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

/// What it covers and how that is known, with the first few pages.
fn covers(cover: &CoverView) -> String {
    let how = match cover.by {
        CoverBy::Exact => "known by the exact inverse of the address mapping",
        CoverBy::Learned => "known by what this host's errors taught of its address mapping",
        CoverBy::Seen => "known only by the errors seen",
    };
    // A u64 holds what a usize counts on every Linux.
    let mut text = format!("Covers {}, {how}", count(cover.pages.len() as u64, "page"));
    let first: Vec<String> = cover.pages.iter().take(PAGES_SHOWN).map(|p| p.to_string()).collect();
    if !first.is_empty() {
        text += &format!(": {}", first.join(", "));
    }
    match cover.pages.len().saturating_sub(PAGES_SHOWN) {
        0 => text + "\n",
        more => text + &format!(", … and {more} more: --json lists all\n"),
    }
}

fn rule(rule: &RuleView) -> String {
    let number = |(name, value): &(String, Value)| match value {
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {other}"),
    };
    let numbers: Vec<_> = rule.numbers.iter().map(number).collect();
    let mut text = rule.number.iter().map(|number| format!("{number} ")).collect::<String>();
    text += &rule.id;
    if !numbers.is_empty() {
        text += &format!(" ({})", numbers.join(", "));
    }
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
    use bulkhead_core::model::{PageSize, PhysAddr};

    #[test]
    fn a_row_is_told_with_what_it_covers() {
        let case = Explanation::of(&samples::row_fault(), PageSize::KIB_4, Vec::new());
        let text = render(&case, &noon());
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }

    #[test]
    fn a_cover_says_in_plain_words_how_it_is_known() {
        let pages = |count: u64| (1..=count).map(|n| PhysAddr(n << 12)).collect();
        for (by, count, told) in [
            (
                CoverBy::Exact,
                5,
                "Covers 5 pages, known by the exact inverse of the address mapping: 0x1000, \
                 0x2000, 0x3000, 0x4000, … and 1 more: --json lists all\n",
            ),
            (
                CoverBy::Learned,
                4,
                "Covers 4 pages, known by what this host's errors taught of its address mapping: \
                 0x1000, 0x2000, 0x3000, 0x4000\n",
            ),
            (CoverBy::Seen, 1, "Covers 1 page, known only by the errors seen: 0x1000\n"),
        ] {
            assert_eq!(covers(&CoverView { by, pages: pages(count) }), told);
        }
    }

    #[test]
    fn a_case_is_told_in_the_order_of_time_and_ends_with_what_to_do() {
        let text = render(&samples::explanation(), &noon());
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }
}
