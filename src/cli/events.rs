//! `bulkhead events`.

use super::clock::Clock;
use super::exit::Exit;
use super::output::{count, one_line, print, print_json_line};
use super::{faults, list, record, Json};
use crate::api::{Client, ClientError};
use crate::event::{Body, Event, ReportLine};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Go on with what happens, until interrupted
    #[arg(long)]
    follow: bool,
    /// Leave out what is older: a time (2026-03-01T12:00:00Z) or a duration
    /// back from now (2h, 3d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    json: Json,
}

pub(super) fn run(
    connect: impl FnOnce() -> Result<Client, ClientError>,
    arguments: &Arguments,
    clock: &Clock,
) -> Result<(), Exit> {
    let since = arguments.since.as_deref().map(|text| clock.parse(text)).transpose();
    let since = since.map_err(|reason| Exit::Usage(format!("--since: {reason}")))?;
    connect()?.events(arguments.follow, since, |event| {
        if arguments.json.json {
            print_json_line(&event)
        } else {
            print(&render(&event, clock))
        }
    })
}

fn render(event: &Event, clock: &Clock) -> String {
    let (kind, what) = match &event.body {
        Body::Report(report) => ("report", reported(report)),
        Body::Fault { fault, component, rule, state, severity, why } => {
            let severity = faults::severity(*severity);
            ("fault", format!("{component} {state}, {severity}, by {rule}: {why} ({fault})"))
        }
        Body::Isolation { kind, id, state, why, done, .. } => {
            let mut what = match (kind, id) {
                (Some(kind), Some(id)) => format!("{kind} {id}"),
                _ => String::new(),
            };
            if let Some(state) = state {
                what += &format!(" {}", list::state(*state));
            }
            if !what.is_empty() {
                what += ": ";
            }
            ("isolation", format!("{what}{why} {done}"))
        }
        Body::Source { source, state, why } => ("source", format!("{source} {state}: {why}")),
        Body::Boot { what, .. } => ("boot", what.clone()),
        Body::Watchdog { what, .. } => ("watchdog", what.clone()),
        Body::Config { what } => ("config", what.clone()),
    };
    format!("{}  {kind:9}  {}\n", clock.local(event.time), one_line(what.trim()))
}

fn reported(report: &ReportLine) -> String {
    let mut what = record::line(&report.record);
    if let Some(why) = &report.undecodable {
        what += &format!(" ({why})");
    }
    match report.errors {
        Some(errors) if errors != 1 => {
            format!("{}: {}, the last: {what}", report.source, count(errors, "error"))
        }
        _ => format!("{}: {what}", report.source),
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::tests::noon;
    use super::*;
    use crate::api::samples;
    use bulkhead_core::decide::DecisionKind;
    use bulkhead_core::model::{
        IsolationState, MceRecord, MemoryFailure, Pfn, Record, Report, Severity, Source,
    };

    fn report(source: Source, errors: u64, record: Record) -> Body {
        let (first, last) = (samples::stamp(-1), samples::stamp(0));
        let report = Report { source, first, last, records: errors, errors, decodes: 0, record };
        Event::of_report(&report, "bpf", None).body
    }

    #[test]
    fn every_kind_of_event_is_one_line() {
        let mce = MceRecord {
            status: 0x8c00_0000_0000_009f,
            addr: 0x800_0000,
            bank: 9,
            cpu: 1,
            ..MceRecord::default()
        };
        let case = samples::page_fault();
        let text = |text: &str| text.to_owned();
        let bodies = [
            Body::Config { what: text("read /etc/bulkhead/bulkhead.toml") },
            Body::Boot { boot_id: text("6d1b"), verdict: None, what: text("the daemon started") },
            Body::Watchdog {
                state: text("armed"),
                cpu: Some(3),
                what: text("CPU 3 leaves ordinary tasks no time: for 12 s now"),
            },
            report(Source::MceRecord, 500, Record::Mce(mce)),
            report(
                Source::McEvent,
                1,
                case.evidence
                    .into_iter()
                    .next()
                    .map_or_else(|| unreachable!("the sample has evidence"), |e| e.record),
            ),
            report(
                Source::MemoryFailure,
                1,
                Record::MemoryFailure(MemoryFailure { pfn: Pfn(5), page_type: 1, result: 3 }),
            ),
            Body::Fault {
                fault: case.id,
                component: text("page 0x8000000"),
                rule: text("page-ce"),
                state: text("open"),
                severity: Severity::Minor,
                why: text("2 corrected errors within 24h"),
            },
            Body::Isolation {
                kind: Some(text("page")),
                id: Some(text("0x8000000")),
                state: Some(IsolationState::Isolated),
                decision: DecisionKind::Taken,
                fault: Some(case.id),
                why: text("2 corrected errors within 24h."),
                done: text("Soft-offlined, read back."),
            },
            Body::Source {
                source: text("ras:mc_event"),
                state: text("lossy"),
                why: text("7 errors found no\nroom"),
            },
        ];
        let lines: String = bodies
            .into_iter()
            .map(|body| render(&Event { time: samples::time(0), body }, &noon()))
            .collect();
        assert_eq!(lines.lines().count(), 9);
        insta::assert_snapshot!(lines);
    }
}
