//! Lines of the ledger.

use super::PlanView;
use crate::event::timestamp;
use bulkhead_core::model::{By, Isolation, IsolationState, PageSize, Undo};
use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One line of `list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IsolationView {
    /// `cpu` or `page`.
    pub kind: String,
    /// A page's physical address in lower-case hex, page-aligned; a CPU's
    /// logical number now.
    pub id: String,
    /// Where it stands.
    pub state: IsolationState,
    /// On whose account.
    pub by: By,
    /// When it came into this state.
    pub since: Timestamp,
    /// One sentence.
    pub why: String,
    /// The fault behind it.
    pub fault: Option<Uuid>,
    /// Set when a release waits for a reboot.
    pub release: Option<Undo>,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
    /// Since when a page has failed to come off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
}

/// What became of an order to isolate or release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActReply {
    /// The line of the component that was named: as it is, or with `dry_run`
    /// as it would be.
    pub isolation: IsolationView,
    /// Nothing was touched.
    pub dry_run: bool,
    /// Ids of the components of the same kind that go or stay together with it,
    /// itself included; empty for pages.
    pub together: Vec<String>,
    /// Of a CPU's dry run: what has to move before it goes.
    #[serde(default)]
    pub plan: Option<Box<PlanView>>,
}

impl IsolationView {
    /// The line for `isolation`.
    pub fn of(isolation: &Isolation, page_size: PageSize) -> IsolationView {
        let (kind, id) = isolation.target.kind_and_id(page_size);
        IsolationView {
            kind: kind.to_owned(),
            id,
            state: isolation.state,
            by: isolation.by,
            since: timestamp(isolation.since.wall),
            why: why(isolation),
            fault: isolation.fault,
            release: isolation.release,
            next_try: isolation.next_try.map(|stamp| timestamp(stamp.wall)),
            failing_since: isolation.failing_since.map(|stamp| timestamp(stamp.wall)),
        }
    }
}

/// A page that does not come off is listed with since when.
fn why(isolation: &Isolation) -> String {
    match (isolation.state, isolation.failing_since) {
        (IsolationState::Wanted | IsolationState::Failed, Some(since)) => {
            let since = timestamp(since.wall).round(Unit::Second);
            let since = since.map(|time| format!("; it has not come off since {time}."));
            let why = isolation.why.strip_suffix('.').unwrap_or(&isolation.why);
            why.to_owned() + &since.unwrap_or_default()
        }
        _ => isolation.why.clone(),
    }
}

impl ActReply {
    /// The reply that shows `isolation`.
    pub fn of(isolation: &Isolation, page_size: PageSize, dry_run: bool) -> ActReply {
        ActReply {
            isolation: IsolationView::of(isolation, page_size),
            dry_run,
            together: isolation.together.iter().map(|cpu| cpu.to_string()).collect(),
            plan: None,
        }
    }
}
