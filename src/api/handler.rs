//! What the server asks of the daemon.

use super::error::ApiError;
use super::request::{ActRequest, Resolution, TargetKind};
use super::views::{ActReply, BootView, Explanation, FaultView, IsolationView, Status};
use crate::event::Event;
use bulkhead_core::model::Target;
use jiff::Timestamp;
use uuid::Uuid;

/// Answers the calls. Each answer must come at once: the loop waits for it.
///
/// Lists are asked for in pages, so that neither a long ledger nor many callers
/// cost more than a page each.
pub trait Handler {
    /// The state of the host and of the daemon.
    fn status(&mut self) -> Status;

    /// At most `limit` ledger lines of `kind` (of all kinds if `None`), in
    /// ascending order of their targets, from the first target above `after`.
    fn isolations(
        &mut self,
        kind: Option<TargetKind>,
        after: Option<Target>,
        limit: usize,
    ) -> Vec<(Target, IsolationView)>;

    /// At most `limit` faults in ascending order of their ids, from the first
    /// id above `after`.
    fn faults(&mut self, after: Option<Uuid>, limit: usize) -> Vec<FaultView>;

    /// One fault with everything known about it.
    fn explain(&mut self, id: Uuid) -> Result<Explanation, ApiError>;

    /// Takes a component out of service. The caller is root. When the outcome
    /// takes time, keep the ticket and give it to [`super::Server::complete`].
    fn isolate(&mut self, ticket: Ticket, request: ActRequest) -> Answer;

    /// Gives a component back; like [`Handler::isolate`].
    fn release(&mut self, ticket: Ticket, request: ActRequest) -> Answer;

    /// Closes a fault. The caller is root. The answer is a
    /// [`super::views::ResolveReply`], like [`Handler::isolate`]'s when the
    /// outcome takes time.
    fn resolve(&mut self, ticket: Ticket, id: Uuid, word: Resolution) -> Answer;

    /// The boots known, newest first.
    fn boots(&mut self) -> Vec<BootView>;

    /// At most `limit` stored events, oldest first, none before `since`, and
    /// only those after the position `after`.
    fn events(&mut self, since: Option<Timestamp>, after: Option<i64>, limit: usize) -> Backlog;
}

/// A page of stored events.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Backlog {
    /// Oldest first.
    pub events: Vec<Event>,
    /// The position after the last of them; `None` when no later event is
    /// stored.
    pub next: Option<i64>,
}

/// How an order to act is answered.
#[derive(Debug)]
pub enum Answer {
    /// With this.
    Now(Result<ActReply, ApiError>),
    /// Through [`super::Server::complete`].
    Later,
}

/// The right to answer one call, once. It stays valid, and does nothing, when
/// the client is gone.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Which connection.
    pub(super) client: u64,
    /// Which of its calls.
    pub(super) call: u64,
}
