//! What the figures and queues of the ledger hold of a line.

use super::figures::Share;
use super::group::Standing;
use crate::model::{Isolation, IsolationState, Target, Time, Urgency};
use std::cmp::Reverse;
use uuid::Uuid;

/// What goes first has the least: the most urgent, and of these the one that
/// has waited longest.
pub(super) type Turn = (Reverse<Urgency>, Time, Target);

/// All that is kept of one line beside it: what does not change with the line
/// need not be touched. That of no line is the default.
pub(super) struct Listed {
    pub share: Share,
    pub standing: Standing,
    pub next_try: Option<Time>,
    pub fault: Option<Uuid>,
    /// Where it is stale: since when.
    pub stale: Option<Time>,
    /// Where a limit holds a page back.
    pub waiting: Option<Turn>,
    /// Where there is not room for all.
    pub spare: Option<Turn>,
}

impl Default for Listed {
    fn default() -> Listed {
        Listed {
            share: Share::default(),
            standing: Standing::of(None),
            next_try: None,
            fault: None,
            stale: None,
            waiting: None,
            spare: None,
        }
    }
}

impl Listed {
    pub(super) fn of(line: &Isolation) -> Listed {
        let turn = turn(line);
        let is_page = matches!(line.target, Target::Page(_));
        Listed {
            share: Share::of(line),
            standing: Standing::of(Some(line)),
            next_try: line.next_try.map(|next| next.at),
            fault: line.fault,
            stale: (line.state == IsolationState::Stale).then_some(line.since.at),
            waiting: (is_page && line.waits_for_room()).then_some(turn),
            spare: (is_page && is_spare(line)).then_some(turn),
        }
    }
}

pub(super) fn turn(line: &Isolation) -> Turn {
    (Reverse(line.urgency), line.since.at, line.target)
}

/// Nothing but the wish would be lost with the line: not an order, nor an
/// uncorrected error, nor a page that counts among the day's.
pub(super) fn is_spare(line: &Isolation) -> bool {
    matches!(line.state, IsolationState::Refused | IsolationState::Failed)
        && line.asked.is_none()
        && line.ue.is_none()
        && line.taken.is_none()
}
