//! Answers that take more than one reply, made a chunk at a time.

use super::super::handler::Handler;
use super::super::request::TargetKind;
use super::super::views::{BootView, FaultView, IsolationView};
use crate::event::Event;
use bulkhead_core::model::Target;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

/// Entries of a list in one reply.
pub(super) const CHUNK: usize = 256;

/// Events in one reply: they may be larger than the entries of a list.
const EVENTS: usize = 64;

/// Where in its answer a client is. It holds a position, never the answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stream {
    Isolations { kind: Option<TargetKind>, after: Option<Target> },
    Faults { after: Option<Uuid> },
    Events { follow: bool, since: Option<Timestamp>, after: Option<i64> },
}

/// The parameters of a reply that is one named thing: `{ "isolations": […] }`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Body {
    Isolations(Vec<IsolationView>),
    Faults(Vec<FaultView>),
    Events(Vec<Event>),
    Boots(Vec<BootView>),
}

/// What follows a chunk.
#[derive(Debug, PartialEq)]
pub(super) enum Then {
    /// This.
    More(Stream),
    /// Events as they happen.
    Live,
    /// Nothing.
    End,
}

impl Stream {
    pub(super) fn next(self, handler: &mut dyn Handler) -> (Body, Then) {
        match self {
            Stream::Isolations { kind, after } => {
                let page = handler.isolations(kind, after, CHUNK);
                let then = match page.last() {
                    Some((last, _)) if page.len() >= CHUNK => {
                        Then::More(Stream::Isolations { kind, after: Some(*last) })
                    }
                    _ => Then::End,
                };
                (Body::Isolations(page.into_iter().map(|(_, view)| view).collect()), then)
            }
            Stream::Faults { after } => {
                let page = handler.faults(after, CHUNK);
                let then = match page.last() {
                    Some(last) if page.len() >= CHUNK => {
                        Then::More(Stream::Faults { after: Some(last.id) })
                    }
                    _ => Then::End,
                };
                (Body::Faults(page), then)
            }
            Stream::Events { follow, since, after } => {
                let page = handler.events(since, after, EVENTS);
                let then = match page.next {
                    Some(next) => Then::More(Stream::Events { follow, since, after: Some(next) }),
                    None if follow => Then::Live,
                    None => Then::End,
                };
                (Body::Events(page.events), then)
            }
        }
    }
}
