//! `bulkhead check`: a plug-in for Nagios, Icinga and their kin, by
//! <https://www.monitoring-plugins.org/doc/guidelines.html>.

use super::exit::Exit;
use super::health::reasons;
use super::output::{one_line, print, print_json};
use crate::api::views::{Health, Status};
use crate::api::{Client, ClientError};
use serde::Serialize;
use std::process::ExitCode;

/// What a monitoring system wants to know.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Answer {
    result: &'static str,
    exit: u8,
    summary: String,
    #[serde(skip)]
    figures: String,
}

pub(super) fn run(client: Result<Client, ClientError>, json: bool) -> Result<ExitCode, Exit> {
    let answer = match client.and_then(|mut client| client.status()) {
        Ok(status) => Answer::of(&status),
        Err(error) => Answer::unknown(&Exit::from(error)),
    };
    if json {
        print_json(&answer)?;
    } else {
        print(&answer.line())?;
    }
    Ok(ExitCode::from(answer.exit))
}

impl Answer {
    fn of(status: &Status) -> Answer {
        let (result, exit) = match status.health {
            Health::Ok => ("OK", 0),
            Health::Degraded => ("WARNING", 1),
            Health::Faulted => ("CRITICAL", 2),
        };
        let mut summary = reasons(status).join(", ");
        if summary.is_empty() {
            summary = "nothing is out of service".to_owned();
        }
        Answer { result, exit, summary, figures: figures(status) }
    }

    /// Whoever cannot be asked may be well or not.
    fn unknown(exit: &Exit) -> Answer {
        let summary = exit.message().unwrap_or_default().to_owned();
        Answer { result: "UNKNOWN", exit: 3, summary, figures: String::new() }
    }

    fn line(&self) -> String {
        // A bar begins the figures.
        let text = one_line(&self.summary).replace('|', "/");
        let bar = if self.figures.is_empty() { "" } else { "|" };
        format!("BULKHEAD {} - {text}{bar}{}\n", self.result, self.figures)
    }
}

/// `label=value[unit];warn;crit;min;max`; `c` marks a counter.
fn figures(status: &Status) -> String {
    let limits = &status.limits;
    let errors: u64 = status.sources.iter().map(|source| source.reports).sum();
    let lost: u64 = status.sources.iter().map(|source| source.lost).sum();
    [
        format!("cpus={};;;0;{}", status.isolated.cpus, limits.cpus.max),
        format!("memory={}B;;;0;{}", limits.memory_bytes.used, limits.memory_bytes.max),
        format!("pages_today={};;;0;{}", limits.pages_today.used, limits.pages_today.max),
        format!("pages={};;;0", status.isolated.pages),
        format!("pending={};;;0", status.pending),
        format!("failed={};;;0", status.failed),
        format!("refused={};;;0", status.refused),
        format!("open_faults={};;;0", status.open_faults),
        format!("errors={errors}c;;;0"),
        format!("lost={lost}c;;;0"),
    ]
    .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::samples;

    #[test]
    fn health_is_told_in_one_line_with_figures() {
        let mut degraded = samples::ailing();
        degraded.health = Health::Degraded;
        let answers =
            [samples::healthy(), degraded, samples::ailing()].map(|status| Answer::of(&status));
        assert_eq!(
            answers.each_ref().map(|a| (a.result, a.exit)),
            [("OK", 0), ("WARNING", 1), ("CRITICAL", 2)]
        );
        insta::assert_snapshot!(answers.map(|answer| answer.line()).concat());
    }

    #[test]
    fn a_bar_in_the_text_begins_no_figures() {
        let answer = Answer::unknown(&Exit::Failed("a|b\nc".to_owned()));
        assert_eq!(answer.line(), "BULKHEAD UNKNOWN - a/b\u{fffd}c\n");
    }
}
