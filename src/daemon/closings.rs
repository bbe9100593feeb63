//! Faults that admins close: answered when what goes back into service is back,
//! or known to wait for a reboot.

use super::cycle::{Cycle, Resolved};
use crate::api::views::{FaultView, IsolationView, ResolveReply};
use crate::api::{ApiError, Resolution, Server, Ticket};
use bulkhead_core::model::{Asked, FaultState, IsolationState, Stamp, Target, Undo};
use uuid::Uuid;

/// Other faults of a replaced part that an answer names at most.
const MOST_NAMED: usize = 256;

/// Requests under way.
#[derive(Debug, Default)]
pub struct Closings {
    queued: Vec<(Ticket, Uuid, Resolution)>,
    waiting: Vec<(Ticket, Resolved)>,
    unknown: Vec<(Ticket, Uuid)>,
}

impl Closings {
    /// Takes a request up.
    pub fn queue(&mut self, ticket: Ticket, fault: Uuid, word: Resolution) {
        self.queued.push((ticket, fault, word));
    }

    /// [`Closings::act`] has something to do.
    pub fn is_waiting_to_act(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Closes what was asked for.
    pub fn act(&mut self, cycle: &mut Cycle, now: Stamp) {
        for (ticket, fault, word) in self.queued.drain(..) {
            let state = match word {
                Resolution::Repaired => FaultState::Repaired,
                Resolution::Replaced => FaultState::Replaced,
                Resolution::Acquitted => FaultState::Acquitted,
            };
            match cycle.resolve(fault, state, now) {
                Some(resolved) => self.waiting.push((ticket, resolved)),
                None => self.unknown.push((ticket, fault)),
            }
        }
    }

    /// Answers what is settled.
    pub fn answer(&mut self, cycle: &Cycle, server: &mut Server) {
        for (ticket, id) in self.unknown.drain(..) {
            server.complete::<ResolveReply>(ticket, Err(ApiError::NotFound(format!("fault {id}"))));
        }
        let waiting = std::mem::take(&mut self.waiting);
        let under_way = |(_, resolved): &(Ticket, Resolved)| {
            resolved.given.iter().any(|target| is_under_way(cycle, target))
        };
        let (waiting, settled): (Vec<_>, Vec<_>) = waiting.into_iter().partition(under_way);
        self.waiting = waiting;
        for (ticket, resolved) in settled {
            let reply = reply(cycle, &resolved);
            let unknown = || ApiError::NotFound(format!("fault {}", resolved.fault));
            server.complete(ticket, reply.ok_or_else(unknown));
        }
    }
}

fn is_under_way(cycle: &Cycle, target: &Target) -> bool {
    let line = cycle.core.books.ledger.get(target);
    line.is_some_and(|line| line.asked == Some(Asked::Give))
}

/// What became of all that the fault held; `None` if it is forgotten meanwhile.
fn reply(cycle: &Cycle, resolved: &Resolved) -> Option<ResolveReply> {
    let books = &cycle.core.books;
    let page_size = cycle.core.machine.page_size;
    let view = |target: &Target| {
        books.ledger.get(target).map(|line| (line, IsolationView::of(line, page_size)))
    };
    let fault = |id: &Uuid| books.faults.get(id).map(|fault| FaultView::of(fault, page_size));
    let mut reply = ResolveReply::of(fault(&resolved.fault)?);
    for (line, view) in resolved.given.iter().filter_map(view) {
        match line.state {
            IsolationState::Isolated if line.release == Some(Undo::NextBoot) => {
                reply.waiting.push(view);
            }
            IsolationState::Isolated => reply.failed.push(view),
            _ => reply.released.push(view),
        }
    }
    for kept in &resolved.kept {
        let kept_view = view(&kept.target).map(|(_, view)| view);
        reply.staying.extend(kept_view.map(|view| IsolationView { why: kept.why.clone(), ..view }));
    }
    reply.same_part = resolved.same_part.iter().filter_map(fault).take(MOST_NAMED).collect();
    Some(reply)
}
