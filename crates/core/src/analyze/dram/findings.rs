//! Modes as faults, in the words of the house.

use super::modes::{
    Mode, BANK_MODES, COLUMN_ROWS, DIMM_BANKS_OF_RANK, DIMM_RANKS, RANK_BANKS, RANK_BANKS_OF_DEVICE,
};
use super::scope::Scope;
use super::DramRules;
use crate::analyze::finding::{Finding, Response};
use crate::analyze::rules::span;
use crate::model::dimms::part_name;
use crate::model::{Fault, FaultState, Home, PageSize, Rule, Severity};
use std::time::Duration;

/// The fault of a mode, and what it calls for. `label` is the DIMM's, may be
/// empty; `fru` names the part to replace, where known; `home` is the memory
/// configuration.
pub(in crate::analyze) fn finding(
    mode: Mode,
    label: &str,
    fru: Option<String>,
    rules: &DramRules,
    page_size: PageSize,
    home: Home,
) -> Finding {
    let response = response(&mode);
    let summary = summary(&mode, label, rules, page_size);
    let decision = format!("{summary}: {}.", called_for(&mode, &response));
    let part = fru.as_deref().unwrap_or(label);
    let advice = advice(&mode, part, rules);
    let fault = Fault {
        id: mode.id,
        component: mode.scope.component(mode.device, label),
        home,
        rule: rule(&mode, rules),
        severity: severity(&mode),
        state: FaultState::Open,
        opened: mode.last,
        first: mode.first,
        last: mode.last,
        errors: mode.rate.errors,
        fru,
        cover: mode.cover,
        evidence: mode.evidence,
        summary,
        decision,
        advice,
    };
    Finding { fault, response }
}

fn response(mode: &Mode) -> Response {
    match (&mode.scope, &mode.cover) {
        (Scope::Row(_), Some(cover)) => Response::TakePages(cover.pages.clone()),
        (Scope::Row(_), None) | (Scope::Bits(_), _) => Response::Report,
        _ => Response::Escalate,
    }
}

/// A row is contained; one whose bit patterns are wide is what comes before
/// UEs. What is wider than a row cannot be contained here, and the wider it is,
/// the nearer is the UE.
fn severity(mode: &Mode) -> Severity {
    match mode.scope {
        Scope::Row(_) if mode.wide => Severity::Major,
        Scope::Row(_) | Scope::Bits(_) => Severity::Minor,
        Scope::Column(..) | Scope::Bank(_) => Severity::Major,
        Scope::Rank(..) | Scope::Dimm(_) => Severity::Critical,
    }
}

fn rule(mode: &Mode, rules: &DramRules) -> Rule {
    let window = span(rules.row.threshold.window);
    let numbers: Vec<(&str, String)> = match mode.scope {
        Scope::Row(_) => vec![
            ("errors", rules.row.threshold.errors.max(1).to_string()),
            ("columns", rules.row.columns.max(1).to_string()),
            ("window", window),
        ],
        Scope::Column(..) => vec![("rows", COLUMN_ROWS.to_string()), ("window", window)],
        Scope::Bank(_) => {
            vec![("rows and columns at fault", BANK_MODES.to_string()), ("window", window)]
        }
        Scope::Rank(..) => {
            let banks = if mode.device.is_some() { RANK_BANKS_OF_DEVICE } else { RANK_BANKS };
            vec![("banks at fault", banks.to_string()), ("window", window)]
        }
        Scope::Dimm(_) => vec![
            ("ranks", DIMM_RANKS.to_string()),
            ("banks at fault in each", DIMM_BANKS_OF_RANK.to_string()),
            ("window", window),
        ],
        Scope::Bits(_) => vec![
            ("errors", "1".to_owned()),
            ("DQ", "more than 1".to_owned()),
            ("beats", "more than 1".to_owned()),
        ],
    };
    let numbers = numbers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Rule { id: mode.scope.rule().name().to_owned(), numbers }
}

/// What was found, without a full stop.
fn summary(mode: &Mode, label: &str, rules: &DramRules, page_size: PageSize) -> String {
    let what = mode.scope.component(mode.device, label).name(page_size);
    let errors = count(mode.rate.errors, "corrected error");
    let window = span(rules.row.threshold.window);
    match mode.scope {
        Scope::Row(_) => {
            let columns = count(mode.columns as u64, "column");
            format!("{errors} at {columns} of {what} within {window}")
        }
        Scope::Column(..) => {
            format!("{errors} in {} of {what} within {window}", rows(mode))
        }
        Scope::Bank(_) => {
            format!("{BANK_MODES} or more rows and columns at fault in {what} within {window}")
        }
        Scope::Rank(..) | Scope::Dimm(_) => {
            format!("Several banks at fault in {what} within {window}")
        }
        Scope::Bits(_) => {
            format!("A corrected error with several wrong DQ and beats in {what}")
        }
    }
}

fn called_for(mode: &Mode, response: &Response) -> String {
    match (response, &mode.scope) {
        (Response::TakePages(pages), _) => format!(
            "{} to be taken out of use",
            match pages.len() {
                1 => "the 1 page known to lie in it is".to_owned(),
                n => format!("the {n} pages known to lie in it are"),
            }
        ),
        (_, Scope::Row(_)) => "nothing is taken, since no page of it is known".to_owned(),
        (_, Scope::Bits(_)) => {
            "nothing is taken, since such a pattern alone seldom means a failure; it ranks the \
             rows that show it"
                .to_owned()
        }
        _ => "no affordable set of pages would contain it, so no more rows of it are taken; \
              pages past their own threshold still are"
            .to_owned(),
    }
}

/// What the admin should do: one sentence.
fn advice(mode: &Mode, part: &str, rules: &DramRules) -> String {
    let part = match part {
        "" => Scope::Dimm(mode.scope.dimm()).component(None, "").to_string(),
        named => part_name(named),
    };
    match mode.scope {
        Scope::Row(_) if mode.wide => {
            format!("Plan to replace {part}: errors like these come before uncorrected ones.")
        }
        Scope::Row(_) => {
            format!("Nothing for a single row; if more of them follow, plan to replace {part}.")
        }
        Scope::Bits(_) => format!("Watch {part}; replace it when rows of it follow."),
        _ => {
            let outlook = outlook(mode, rules);
            match severity(mode) {
                Severity::Critical => {
                    format!("Move work away from this host and replace {part}{outlook}.")
                }
                _ => format!("Replace {part}{outlook}."),
            }
        }
    }
}

/// How long the limit on pages would last.
fn outlook(mode: &Mode, rules: &DramRules) -> String {
    let Some(lasts) = mode.rate.lasts(rules.page_limit) else { return String::new() };
    format!(
        "; at the present rate ({} in {} on {} within {}) the limit of {} would be used up in \
         about {}",
        count(mode.rate.errors, "error"),
        rows(mode),
        count(mode.rate.pages as u64, "page"),
        about(mode.rate.span),
        count(rules.page_limit, "page"),
        about(lasts),
    )
}

fn rows(mode: &Mode) -> String {
    count(mode.rate.rows as u64, "row")
}

fn count(n: u64, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// A duration in its largest unit, rounded.
fn about(duration: Duration) -> String {
    let secs = duration.as_secs();
    let (unit, of) = match secs {
        0..=119 => ("second", 1),
        120..=7_199 => ("minute", 60),
        7_200..=172_799 => ("hour", 3_600),
        172_800..=63_071_999 => ("day", 86_400),
        _ => ("year", 31_536_000),
    };
    count(secs.saturating_add(of / 2) / of, unit)
}
