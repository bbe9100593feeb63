//! What happened, as JSON lines: the form that `events` prints, the store
//! keeps, `replay` and `--source file:` read.

use bulkhead_core::decide::DecisionKind;
use bulkhead_core::model::{
    IsolationState, Record, Report, Severity, Source, Stamp, Time, Verdict, Wall,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest line that is read, bytes, its newline included.
pub const MAX_LINE: usize = 1 << 20;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Wall time: of the last record for a report, of the deed for others.
    pub time: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Body {
    /// A source reported.
    Report(ReportLine),
    /// A fault was opened or changed its state.
    Fault {
        /// Which.
        fault: Uuid,
        /// Its component, for people.
        component: String,
        /// The rule that found it.
        rule: String,
        /// Its state, as in `faults`.
        state: String,
        /// Its severity.
        severity: Severity,
        /// One sentence.
        why: String,
    },
    /// A decision about a page or CPU, or an outcome.
    Isolation {
        /// `page` or `cpu`, where it is about one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        kind: Option<String>,
        /// As in `list`.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        id: Option<String>,
        /// The state it came to.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        state: Option<IsolationState>,
        /// Which kind of decision.
        decision: DecisionKind,
        /// The fault behind it.
        fault: Option<Uuid>,
        /// One sentence: why.
        why: String,
        /// One sentence: what was or will be done.
        done: String,
    },
    /// A source changed its state, or lost something.
    Source {
        /// Its name.
        source: String,
        /// `ok`, `absent`, `failed`, `lossy`.
        state: String,
        /// One sentence.
        why: String,
    },
    /// The daemon started or stopped, or knows what ended an earlier boot.
    Boot {
        /// Of this boot, or of the one that ended.
        boot_id: String,
        /// What ended it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        verdict: Option<Verdict>,
        /// One sentence.
        what: String,
    },
    /// The watchdog came or went, fell silent, or saw a CPU that does not run.
    Watchdog {
        /// `armed`, `systemd`, `watching`, `starting`, `silent`, `not running`.
        state: String,
        /// The CPU, where it is about one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        cpu: Option<u32>,
        /// One sentence.
        what: String,
    },
    /// The configuration was read, or refused.
    Config {
        /// One sentence.
        what: String,
    },
}

/// A report, with every raw field.
///
/// Only `source` and `record` must be there on reading; a line without the
/// rest stands for one record at `time`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportLine {
    /// Tracepoint.
    pub source: Source,
    /// How it reached us: `bpf`, `tracefs` or `file`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub via: Option<String>,
    /// See [`Report::records`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub records: Option<u64>,
    /// See [`Report::errors`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub errors: Option<u64>,
    /// See [`Report::decodes`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub decodes: Option<u64>,
    /// Wall time of the first record.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first: Option<Timestamp>,
    /// First and last record on Bulkhead's time line, ns.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at: Option<[u64; 2]>,
    /// What could not be used of it, and why; one sentence without a full stop.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub undecodable: Option<String>,
    /// The latest record.
    pub record: Record,
}

impl Event {
    /// The line for `report`, of which `undecodable` says what could not be
    /// used.
    pub fn of_report(report: &Report, via: &str, undecodable: Option<String>) -> Event {
        Event {
            time: timestamp(report.last.wall),
            body: Body::Report(ReportLine {
                source: report.source,
                via: Some(via.to_owned()),
                records: Some(report.records),
                errors: Some(report.errors),
                decodes: Some(report.decodes),
                first: Some(timestamp(report.first.wall)),
                at: Some([report.first.at.0, report.last.at.0]),
                undecodable,
                record: report.record.clone(),
            }),
        }
    }
}

impl ReportLine {
    /// The report that was logged at `time`.
    pub fn into_report(self, time: Timestamp) -> Report {
        let last = wall(time);
        let first = self.first.map_or(last, wall).min(last);
        let [first_at, last_at] = self.at.unwrap_or([line_time(first), line_time(last)]);
        let records = self.records.unwrap_or(1).max(1);
        Report {
            source: self.source,
            first: Stamp { at: Time(first_at.min(last_at)), wall: first },
            last: Stamp { at: Time(last_at), wall: last },
            records,
            errors: self.errors.unwrap_or_else(|| records.saturating_mul(self.record.errors())),
            decodes: self.decodes.unwrap_or(0).min(records),
            record: self.record,
        }
    }
}

/// The report in a line, if it holds one: other events, and empty lines, are
/// passed over.
///
/// # Errors
/// What is wrong with the line.
pub fn report_in(line: &[u8]) -> Result<Option<Report>, String> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let event: Event = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    Ok(match event.body {
        Body::Report(line) => Some(line.into_report(event.time)),
        _ => None,
    })
}

/// Wall time as a timestamp. Beyond the years that jiff knows (-9999 to 9999),
/// which no clock of a host shows, the epoch.
pub fn timestamp(wall: Wall) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(wall.0)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A timestamp as wall time, saturating at the years 1677 and 2262.
pub fn wall(time: Timestamp) -> Wall {
    let ns = time.as_nanosecond();
    Wall(i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX }))
}

/// Logs without a time line of their own run on their wall clock.
fn line_time(wall: Wall) -> u64 {
    u64::try_from(wall.0).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_being_written_and_read() {
        let line = r#"{"time":"2026-01-02T03:04:05.5Z","event":"report","source":"mce:mce_record","record":{"mce":{"status":"0x8c0000000000009f","addr":"0x8000000","misc":"0x8c","bank":9}}}"#;
        let event: Event = serde_json::from_str(line).unwrap();
        let Body::Report(short) = event.body else { panic!("not a report: {line}") };
        let report = short.into_report(event.time);
        assert_eq!((report.records, report.errors), (1, 1));

        let whole = serde_json::to_string(&Event::of_report(&report, "file", None)).unwrap();
        let event: Event = serde_json::from_str(&whole).unwrap();
        let Body::Report(line) = event.body else { panic!("not a report: {whole}") };
        assert_eq!(line.into_report(event.time), report);
    }
}
