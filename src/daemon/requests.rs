//! What admins ask for: taken up in the next turn, answered when it is settled.

use super::cycle::Cycle;
use crate::api::views::{ActReply, PlanView};
use crate::api::{ActRequest, ActTarget, ApiError, Server, Ticket};
use bulkhead_core::decide::{Order, Outcome, Plan, Refusal};
use bulkhead_core::model::{Asked, CpuId, Isolation, IsolationState, Stamp, Target, Undo};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Out of service.
    Isolate,
    /// Back into it.
    Release,
}

/// Requests under way.
#[derive(Debug, Default)]
pub struct Requests {
    queued: Vec<(Ticket, Deed, ActRequest)>,
    /// What is bound to the CPUs is looked at.
    surveying: Vec<(Vec<CpuId>, Ticket, ActRequest)>,
    waiting: Vec<(Ticket, Deed, Target)>,
    settled: Vec<(Ticket, Result<ActReply, ApiError>)>,
}

impl Requests {
    /// Takes a request up.
    pub fn queue(&mut self, ticket: Ticket, deed: Deed, request: ActRequest) {
        self.queued.push((ticket, deed, request));
    }

    /// [`Requests::act`] has something to do.
    pub fn is_waiting_to_act(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Decides on what was asked.
    pub fn act(&mut self, cycle: &mut Cycle, now: Stamp) {
        for (ticket, deed, request) in std::mem::take(&mut self.queued) {
            let target = target(cycle, &request);
            if let Target::Cpu(cpu) = target {
                if !cycle.core.machine.cpus.contains_key(&cpu) {
                    self.settled.push((ticket, Err(ApiError::NotFound(format!("CPU {cpu}")))));
                    continue;
                }
            }
            let decided = match deed {
                Deed::Isolate => {
                    cycle.isolate(target, request.reason.as_deref(), None, request.dry_run, now)
                }
                Deed::Release => cycle.release(target, request.dry_run, now),
            };
            match decided.as_ref().map(|plan| plan.orders.as_slice()) {
                Ok([Order::Survey(cpus)]) => {
                    self.surveying.push((cpus.clone(), ticket, request));
                }
                _ => self.decided(cycle, ticket, deed, &request, (decided, None)),
            }
        }
    }

    /// act answered: goes on with those who waited for this survey.
    pub fn surveyed(&mut self, cycle: &mut Cycle, outcome: &Outcome, now: Stamp) {
        let Order::Survey(cpus) = &outcome.order else { return };
        let (these, others) =
            std::mem::take(&mut self.surveying).into_iter().partition(|(of, ..)| of == cpus);
        self.surveying = others;
        for (_, ticket, request) in these {
            let (target, reason) = (target(cycle, &request), request.reason.as_deref());
            let decided = cycle.isolate(target, reason, Some(outcome), request.dry_run, now);
            let found = Box::new(PlanView::of(&outcome.surveyed(), cpus));
            self.decided(cycle, ticket, Deed::Isolate, &request, (decided, Some(found)));
        }
    }

    /// Surveys that are under way are lost: they are asked for again.
    pub fn survey_again(&mut self) {
        let lost = std::mem::take(&mut self.surveying).into_iter();
        self.queued.extend(lost.map(|(_, ticket, request)| (ticket, Deed::Isolate, request)));
    }

    fn decided(
        &mut self,
        cycle: &Cycle,
        ticket: Ticket,
        deed: Deed,
        request: &ActRequest,
        (decided, found): (Result<Plan, Refusal>, Option<Box<PlanView>>),
    ) {
        let target = target(cycle, request);
        match decided {
            Err(refusal) => self.settled.push((ticket, Err(ApiError::Refused(refusal.why)))),
            Ok(plan) if request.dry_run => {
                let reply = would_be(cycle, &plan, target);
                let reply = reply.map(|reply| ActReply { plan: found, ..reply });
                self.settled.push((ticket, reply));
            }
            Ok(_) => self.waiting.push((ticket, deed, target)),
        }
    }

    /// Answers what is settled.
    pub fn answer(&mut self, cycle: &Cycle, server: &mut Server) {
        for (ticket, deed, target) in std::mem::take(&mut self.waiting) {
            match settled(deed, cycle.core.books.ledger.get(&target), cycle) {
                Some(result) => self.settled.push((ticket, result)),
                None => self.waiting.push((ticket, deed, target)),
            }
        }
        for (ticket, result) in self.settled.drain(..) {
            server.complete(ticket, result);
        }
    }
}

fn target(cycle: &Cycle, request: &ActRequest) -> Target {
    match request.target {
        ActTarget::Cpu(cpu) => Target::Cpu(cpu),
        ActTarget::Page(addr) => Target::Page(cycle.core.machine.page_size.pfn(addr)),
    }
}

/// The answer to a request whose line stands like this; `None` while the kernel
/// is being asked.
fn settled(
    deed: Deed,
    line: Option<&Isolation>,
    cycle: &Cycle,
) -> Option<Result<ActReply, ApiError>> {
    let Some(line) = line else {
        return Some(Err(ApiError::Failed("it is not known any more".to_owned())));
    };
    let done = || Ok(ActReply::of(line, cycle.core.machine.page_size, false));
    let under_way = match deed {
        Deed::Isolate => line.asked.is_some_and(|asked| asked.is_take() || asked.is_plan()),
        Deed::Release => matches!(line.asked, Some(Asked::Give | Asked::PutBack)),
    };
    if under_way {
        return None;
    }
    Some(match (deed, line.state) {
        (Deed::Isolate, IsolationState::Isolated | IsolationState::Observed) => done(),
        (Deed::Isolate, IsolationState::Refused) => Err(ApiError::Refused(line.why.clone())),
        (Deed::Isolate, IsolationState::Wanted) => {
            Err(ApiError::Failed(format!("it is still wanted, and tried again: {}", line.why)))
        }
        (Deed::Isolate, _) => Err(ApiError::Failed(line.why.clone())),
        (Deed::Release, IsolationState::Released) => done(),
        (Deed::Release, IsolationState::Isolated) if line.release == Some(Undo::NextBoot) => done(),
        (Deed::Release, _) => Err(ApiError::Failed(line.why.clone())),
    })
}

/// The answer to a dry run.
fn would_be(cycle: &Cycle, plan: &Plan, target: Target) -> Result<ActReply, ApiError> {
    let planned = plan.isolations.iter().find(|line| line.target == target);
    match planned.or_else(|| cycle.core.books.ledger.get(&target)) {
        Some(line) if line.state == IsolationState::Refused => {
            Err(ApiError::Refused(line.why.clone()))
        }
        Some(line) => Ok(ActReply::of(line, cycle.core.machine.page_size, true)),
        None => Err(ApiError::Failed("nothing would be done".to_owned())),
    }
}
