//! The object of `bulkhead replay --json`.

use crate::api::views::FaultView;
use crate::event::timestamp;
use crate::replay::{Case, Summary, Taken};
use bulkhead_core::model::{PageSize, Wall};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Keys may be added; those that are there stay.
#[derive(Debug, Serialize)]
pub(super) struct ReplayView<'s> {
    reports: u64,
    skipped: u64,
    #[serde(serialize_with = "faults")]
    faults: &'s [Case],
    #[serde(serialize_with = "isolations")]
    isolations: &'s [Taken],
    pages: u64,
    ces_after: u64,
    first_fault: Option<Timestamp>,
    escalated_at: Option<Timestamp>,
    lead_s: Option<u64>,
    after_failure: u64,
    out_of_order: u64,
    undecodable: u64,
    faults_unlisted: u64,
    evidence_evicted: u64,
    notes: &'s [String],
}

#[derive(Debug, Serialize)]
struct IsolationLine<'s> {
    time: Timestamp,
    kind: &'static str,
    id: String,
    rule: Option<&'s str>,
}

impl<'s> ReplayView<'s> {
    pub(super) fn of(summary: &'s Summary) -> Self {
        let time = |wall: Option<Wall>| wall.map(timestamp);
        ReplayView {
            reports: summary.reports,
            skipped: summary.skipped,
            faults: &summary.faults,
            isolations: &summary.isolations,
            pages: summary.pages,
            ces_after: summary.ces_after,
            first_fault: time(summary.first_fault),
            escalated_at: time(summary.escalated_at),
            lead_s: summary.lead_s,
            after_failure: summary.after_failure,
            out_of_order: summary.out_of_order,
            undecodable: summary.undecodable,
            faults_unlisted: summary.unlisted,
            evidence_evicted: summary.evictions,
            notes: &summary.notes,
        }
    }
}

/// One at a time: there may be very many.
fn faults<S: Serializer>(cases: &&[Case], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(cases.iter().map(|case| FaultView {
        id: case.id,
        kind: case.kind,
        component: case.component.name(PageSize::KIB_4),
        rule: case.rule.as_ref().to_owned(),
        severity: case.severity,
        state: case.state,
        first: timestamp(case.first),
        last: timestamp(case.last),
        errors: case.errors,
        fru: case.fru.clone(),
    }))
}

fn isolations<S: Serializer>(taken: &&[Taken], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(taken.iter().map(|taken| {
        let (kind, id) = taken.target.kind_and_id(PageSize::KIB_4);
        IsolationLine { time: timestamp(taken.time), kind, id, rule: taken.rule.as_deref() }
    }))
}
