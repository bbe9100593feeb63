//! What the API is told: read from memory, which is on disk when clients are
//! served.

use super::closings::Closings;
use super::conflicts::Conflicts;
use super::cycle::Cycle;
use super::edac::EdacCheck;
use super::heartbeat::Heartbeats;
use super::kernel_pages::KernelPages;
use super::requests::{Deed, Requests};
use crate::api::views::{
    AttemptView, BootView, CheckView, Explanation, FaultView, Health, IsolatedView, IsolationView,
    LimitsView, Mode, Saved, SourceState, SourceView, Status, SuspectView, TrackedView, Used,
    Verdict, WatchdogView,
};
use crate::api::{ActRequest, Answer, ApiError, Backlog, Handler, Resolution, TargetKind, Ticket};
use crate::event::{timestamp, wall};
use crate::host::Root;
use crate::monitor::{self, Monitor};
use crate::state::{BootRow, Store};
use bulkhead_core::model::{IsolationState, Stamp, Target};
use bulkhead_watchdog::heartbeat::{Probe, Suspect};
use jiff::Timestamp;
use std::borrow::Cow;
use std::ops::Bound;
use uuid::Uuid;

/// One turn's view of the daemon.
pub struct Answers<'a> {
    pub cycle: &'a mut Cycle,
    pub store: &'a mut Store,
    pub requests: &'a mut Requests,
    pub closings: &'a mut Closings,
    pub monitor: &'a Monitor,
    pub edac: &'a EdacCheck,
    pub kernel_pages: &'a mut KernelPages,
    pub conflicts: &'a mut Conflicts,
    pub heartbeats: &'a Heartbeats,
    pub root: &'a Root,
    pub boots: &'a [BootRow],
    pub kernel: &'a str,
    pub started: Stamp,
    pub now: Stamp,
}

impl Handler for Answers<'_> {
    fn status(&mut self) -> Status {
        if self.conflicts.is_old(self.now.at) {
            // Who isolates beside us leaves no word of it in the kernel log.
            let page_size = self.cycle.core.machine.page_size;
            self.kernel_pages.compare(self.cycle.pages_out(), page_size);
        }
        let conflicts = self.conflicts.sentences(self.now.at);
        let memory = &self.cycle.core.books;
        let lines = |is_cpu, state| memory.ledger.count(is_cpu, state) as u64;
        let in_state = |state| lines(true, state) + lines(false, state);
        let faults = memory.fault_figures();
        let usage = self.cycle.usage(self.now);
        let pages = lines(false, IsolationState::Isolated);
        let analyzer = &self.cycle.core.analyzer;
        let mut status = Status {
            schema: Status::SCHEMA,
            health: Health::Ok,
            mode: if self.cycle.core.policy.observe { Mode::Observe } else { Mode::Isolate },
            boot_id: memory.boot.boot_id.clone(),
            kernel: self.kernel.to_owned(),
            started: timestamp(self.started.wall),
            state: if memory.saved { Saved::Saved } else { Saved::NotSaved },
            isolated: IsolatedView {
                cpus: lines(true, IsolationState::Isolated),
                pages,
                memory_bytes: pages.saturating_mul(self.cycle.core.machine.page_size.bytes()),
            },
            pending: in_state(IsolationState::Wanted),
            failed: in_state(IsolationState::Failed),
            stuck: memory.ledger.pages().stuck(self.now.at) as u64,
            refused: in_state(IsolationState::Refused),
            unlisted: memory.ledger.forgotten(),
            open_faults: faults.open,
            escalated: faults.escalated,
            sources: self.sources(),
            checks: self.checks(),
            evidence: TrackedView {
                // A u64 holds what a usize counts on every Linux.
                tracked: analyzer.tracked() as u64,
                evicted: analyzer.evictions(),
                doubtful: analyzer.doubtful(),
            },
            limits: LimitsView {
                memory_bytes: Used { used: usage.memory_used, max: usage.memory_max },
                pages_today: used(usage.pages_today, usage.pages_per_day),
                cpus: used(usage.cpus_used, usage.cpus_max),
            },
            watchdog: self.watchdog(),
            last_boot: self.boots().into_iter().nth(1).unwrap_or_default(),
            conflicts,
        };
        status.health = status.assess();
        status
    }

    fn isolations(
        &mut self,
        kind: Option<TargetKind>,
        after: Option<Target>,
        limit: usize,
    ) -> Vec<(Target, IsolationView)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let wanted = |target: &Target| match kind {
            None => true,
            Some(TargetKind::Cpu) => matches!(target, Target::Cpu(_)),
            Some(TargetKind::Page) => matches!(target, Target::Page(_)),
        };
        let page_size = self.cycle.core.machine.page_size;
        let lines = self.cycle.core.books.ledger.lines().range((from, Bound::Unbounded));
        let lines = lines.filter(|(target, _)| wanted(target)).take(limit);
        lines.map(|(target, line)| (*target, IsolationView::of(line, page_size))).collect()
    }

    fn faults(&mut self, after: Option<Uuid>, limit: usize) -> Vec<FaultView> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let faults = self.cycle.core.books.faults.range((from, Bound::Unbounded)).take(limit);
        faults.map(|(_, fault)| FaultView::of(fault, self.cycle.core.machine.page_size)).collect()
    }

    fn explain(&mut self, id: Uuid) -> Result<Explanation, ApiError> {
        let fault = self.cycle.core.books.faults.get(&id).ok_or_else(|| no_fault(id))?;
        let mut attempts = match self.store.attempts(id) {
            Ok(attempts) => attempts,
            // What is known is told all the same.
            Err(_) if !self.cycle.core.books.saved => Vec::new(),
            Err(error) => return Err(ApiError::Failed(error.to_string())),
        };
        attempts.extend(self.cycle.core.books.unsaved_attempts(id).cloned());
        let attempts = attempts.into_iter().map(|a| AttemptView {
            time: timestamp(a.time.wall),
            asked: a.asked,
            answered: a.answered,
        });
        Ok(Explanation::of(fault, self.cycle.core.machine.page_size, attempts.collect()))
    }

    fn isolate(&mut self, ticket: Ticket, request: ActRequest) -> Answer {
        self.requests.queue(ticket, Deed::Isolate, request);
        Answer::Later
    }

    fn release(&mut self, ticket: Ticket, request: ActRequest) -> Answer {
        self.requests.queue(ticket, Deed::Release, request);
        Answer::Later
    }

    fn resolve(&mut self, ticket: Ticket, id: Uuid, word: Resolution) -> Answer {
        self.closings.queue(ticket, id, word);
        Answer::Later
    }

    fn boots(&mut self) -> Vec<BootView> {
        let running = &self.cycle.core.books.boot;
        let earlier = self.boots.iter().rev().map(|boot| {
            let view = BootView {
                boot_id: Some(boot.boot_id.clone()),
                started: Some(timestamp(boot.started)),
                ended: Some(timestamp(boot.last.wall)),
                ..BootView::default()
            };
            match &boot.ending {
                None => view,
                Some(ending) => view.of_ending(ending),
            }
        });
        let running = BootView {
            boot_id: Some(running.boot_id.clone()),
            started: Some(timestamp(running.started)),
            verdict: Verdict::Running,
            ..BootView::default()
        };
        std::iter::once(running).chain(earlier).collect()
    }

    fn events(&mut self, since: Option<Timestamp>, after: Option<i64>, limit: usize) -> Backlog {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        match self.store.events(since.map(wall), after.unwrap_or(0), limit) {
            Ok(page) => Backlog { events: page.events, next: page.more.then_some(page.last) },
            Err(error) => {
                tracing::warn!("stored events cannot be read: {error}");
                Backlog::default()
            }
        }
    }
}

impl Answers<'_> {
    fn watchdog(&self) -> WatchdogView {
        let seen = self.heartbeats.seen();
        let Some(beat) = seen.beat else { return WatchdogView::not_running() };
        let ago = u64::try_from(seen.ago.as_millis()).unwrap_or(u64::MAX);
        let suspect = |suspect: &Suspect| SuspectView {
            cpu: suspect.cpu,
            probe: match suspect.probe {
                Probe::Fifo => "fifo".to_owned(),
                Probe::Other => "other".to_owned(),
            },
            silent_ms: suspect.silent_ms,
        };
        let text = |text: &Option<Cow<'static, str>>| text.as_deref().map(str::to_owned);
        WatchdogView {
            state: seen.state.to_owned(),
            pid: Some(beat.pid),
            device: text(&beat.device),
            identity: text(&beat.identity),
            timeout_s: beat.timeout_s,
            pretimeout_s: beat.pretimeout_s,
            cpu_limit_s: Some(beat.cpu_limit_s),
            fed_ms: beat.fed_ms.map(|fed| fed.saturating_add(ago)),
            cpus: beat.cpus,
            suspects: beat.suspects.iter().map(suspect).collect(),
            more_suspects: beat.more_suspects,
            failing: text(&beat.failing),
            silent_since: seen.silent_since.map(|since| timestamp(since.wall)),
        }
    }

    fn sources(&self) -> Vec<SourceView> {
        let view = |state: monitor::SourceState| {
            let count = self.cycle.core.books.counts.get(&state.source);
            SourceView {
                name: state.source.name().to_owned(),
                via: state.via.to_string(),
                state: match state.state {
                    monitor::State::Ok => SourceState::Ok,
                    monitor::State::Absent => SourceState::Absent,
                    monitor::State::Failed => SourceState::Failed,
                    monitor::State::Lossy => SourceState::Lossy,
                },
                reports: count.map_or(0, |c| c.reports),
                lost: count.map_or(0, |c| c.lost).max(state.lost),
                why: state.why,
            }
        };
        self.monitor.states().into_iter().map(view).collect()
    }

    fn checks(&self) -> Vec<CheckView> {
        let edac = self.edac.differs(self.root);
        let view = |differs| CheckView { name: "edac-sysfs".to_owned(), differs };
        edac.map(view).into_iter().collect()
    }
}

fn used(used: usize, max: usize) -> Used {
    // A u64 holds what a usize counts on every Linux.
    Used { used: used as u64, max: max as u64 }
}

fn no_fault(id: Uuid) -> ApiError {
    ApiError::NotFound(format!("fault {id}"))
}
