//! Common ground of the stories: a desk with a ledger on it.

use super::{
    answered, closed, due, found, isolate, isolate_surveyed, start, Answer, Apart, Boot, Checks,
    Closing, Context, HugetlbPolicy, Order, Outcome, Plan, Policy, Refusal,
};
use crate::analyze::{Finding, Response};
use crate::model::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// A host of `nodes` × `cores` × 2 threads; thread 0 of core n is CPU n, its
/// sibling is CPU n + half. CPU 0 cannot be taken.
pub fn machine(nodes: u32, cores: u32) -> Machine {
    let half = nodes * cores;
    let cpus = (0..2 * half).map(|n| {
        let core = n % half;
        let cpu = Cpu {
            id: CpuId(n),
            socket: SocketId(core / cores),
            core: core % cores,
            node: core / cores,
            apic: Some(ApicId(n.into())),
            online: true,
            removable: n != 0,
            threads: BTreeSet::from([CpuId(core), CpuId(core + half)]),
            ..Cpu::default()
        };
        (CpuId(n), cpu)
    });
    Machine {
        vendor: Vendor::Intel,
        family: 6,
        model: 85,
        memory_bytes: 8 << 30,
        phys_bits: 46,
        cpus: cpus.collect(),
        memory: MemoryConfigId(Uuid::from_u128(1)),
        ..Machine::default()
    }
}

pub fn stamp(time: Time) -> Stamp {
    Stamp { at: time, wall: Wall(time.0 as i64) }
}

/// The daemon's part of a story: it enters every plan before the next.
pub struct Desk {
    pub policy: Policy,
    pub machine: Machine,
    pub ledger: Ledger,
    pub checks: Checks,
    pub now: Stamp,
    /// What every survey finds at once; `None`: the story answers it itself.
    pub survey: Option<Survey>,
    /// What became of each fault.
    pub states: BTreeMap<Uuid, FaultState>,
}

impl Desk {
    pub fn new(policy: Policy, machine: Machine) -> Desk {
        let now = stamp(Time(0).after(Duration::from_secs(1_000_000)));
        let (ledger, checks) = (Ledger::new(), Checks::default());
        let survey = Some(Survey::default());
        Desk { policy, machine, ledger, checks, now, survey, states: BTreeMap::new() }
    }

    pub fn ctx(&self) -> Context<'_> {
        Context {
            policy: &self.policy,
            machine: &self.machine,
            ledger: &self.ledger,
            now: self.now,
        }
    }

    /// The context beside the checks, which some calls change.
    pub fn split(&mut self) -> (Context<'_>, &mut Checks) {
        let Desk { policy, machine, ledger, checks, now, .. } = self;
        (Context { policy, machine, ledger, now: *now }, checks)
    }

    /// The daemon starts.
    pub fn start(&mut self, boot: Boot) -> Plan {
        let (ctx, checks) = self.split();
        let plan = start(&ctx, checks, boot);
        self.enter(plan)
    }

    /// Enters it, and what surveys that it orders come to.
    pub fn enter(&mut self, mut plan: Plan) -> Plan {
        plan.record(&mut self.ledger);
        self.states.extend(plan.faults.iter().map(|note| (note.fault, note.state)));
        if let Some(survey) = self.survey.clone() {
            let (surveys, orders): (Vec<_>, Vec<_>) =
                plan.orders.into_iter().partition(|order| matches!(order, Order::Survey(_)));
            plan.orders = orders;
            for order in surveys {
                plan.extend(self.surveyed(order, survey.clone()));
            }
        }
        plan
    }

    /// A survey was answered.
    pub fn surveyed(&mut self, order: Order, survey: Survey) -> Plan {
        let outcome =
            Outcome { survey: Some(Box::new(survey)), ..outcome(order, Answer::On, self.now) };
        let plan = answered(&self.ctx(), &outcome);
        self.enter(plan)
    }

    /// An admin asks for a target, and its survey finds what all do.
    pub fn ask(&mut self, target: Target, reason: Option<&str>) -> Result<Plan, Refusal> {
        let mut plan = isolate(&self.ctx(), target, reason)?;
        if let [order @ Order::Survey(_)] = plan.orders.as_slice() {
            let outcome = Outcome {
                survey: self.survey.clone().map(Box::new),
                ..outcome(order.clone(), Answer::On, self.now)
            };
            plan = isolate_surveyed(&self.ctx(), target, reason, &outcome)?;
        }
        Ok(self.enter(plan))
    }

    pub fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    pub fn find(&mut self, response: Response) -> Plan {
        let plan = found(&self.ctx(), &finding(response));
        self.enter(plan)
    }

    pub fn find_row(&mut self, fault: &Fault) -> Plan {
        let pages = fault.cover.iter().flat_map(|cover| cover.pages.clone()).collect();
        let response = Response::TakePages(pages);
        let plan = found(&self.ctx(), &Finding { fault: fault.clone(), response });
        self.enter(plan)
    }

    /// An admin closes `fault`, while those of `open` stand.
    pub fn close(&mut self, fault: &Fault, open: &[&Fault]) -> Closing {
        let closing = closed(&self.ctx(), fault, open.iter().copied());
        self.enter(closing.plan.clone());
        closing
    }

    pub fn answer(&mut self, order: Order, answer: Answer) -> Plan {
        let outcome = outcome(order, answer, self.now);
        let plan = answered(&self.ctx(), &outcome);
        self.enter(plan)
    }

    /// A batch came off, but for some of its pages.
    pub fn answer_batch(&mut self, order: Order, but: &[(u64, Answer)]) -> Plan {
        let apart = |(pfn, answer): &(u64, Answer)| Apart {
            pfn: Pfn(*pfn),
            answer: *answer,
            asked: "asked".into(),
            answered: format!("{answer:?}"),
        };
        let apart = but.iter().map(apart).collect();
        let outcome = Outcome { apart, ..outcome(order, Answer::Off, self.now) };
        let plan = answered(&self.ctx(), &outcome);
        self.enter(plan)
    }

    pub fn due(&mut self) -> Plan {
        let (ctx, checks) = self.split();
        let plan = due(&ctx, checks);
        self.enter(plan)
    }

    pub fn set_online(&mut self, cpu: u32, online: bool) {
        if let Some(cpu) = self.machine.cpus.get_mut(&CpuId(cpu)) {
            cpu.online = online;
        }
    }

    /// The line of page `pfn`; panics without one, as a test should.
    pub fn page(&self, pfn: u64) -> &Isolation {
        &self.ledger[&Target::Page(Pfn(pfn))]
    }

    /// The line of CPU `cpu`.
    pub fn cpu(&self, cpu: u32) -> &Isolation {
        &self.ledger[&Target::Cpu(CpuId(cpu))]
    }
}

pub fn outcome(order: Order, answer: Answer, time: Stamp) -> Outcome {
    let (asked, answered) = ("asked".into(), format!("{answer:?}"));
    let (survey, left_off, apart) = (None, Vec::new(), Vec::new());
    Outcome { order, answer, time, asked, answered, survey, left_off, apart }
}

/// The order that restores these pages.
pub fn restore(pages: std::ops::Range<u64>) -> Order {
    Order::Restore(pages.map(Pfn).collect(), HugetlbPolicy::Always)
}

/// Row `number` fails, all of whose pages had errors.
pub fn row(number: u32, pages: std::ops::Range<u64>) -> Fault {
    let place = DramPlace { row: Some(number), ..DramPlace::default() };
    Fault {
        id: Uuid::from_u128(u128::from(number) + 1),
        component: Component::Row { place, label: "A1".into() },
        cover: Some(Cover { by: CoverBy::Seen, pages: pages.map(Pfn).collect() }),
        ..finding(Response::Report).fault
    }
}

/// One fault per response: the same one fires under the same name.
pub fn finding(response: Response) -> Finding {
    let component = match &response {
        Response::TakePage(pfn)
        | Response::EnsureFailedPage(pfn)
        | Response::TakeFreePage { pfn, .. } => Component::Page { pfn: *pfn },
        Response::TakePages(pages) => {
            Component::Page { pfn: pages.first().copied().unwrap_or(Pfn(0)) }
        }
        Response::TakeCpus(cpus) => Component::Cpu { cpus: cpus.clone() },
        Response::Report | Response::Escalate => Component::Bus { socket: SocketId(0) },
    };
    let at = stamp(Time(1));
    let fault = Fault {
        cover: None,
        home: Home::Unknown,
        id: Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{response:?}").as_bytes()),
        component,
        rule: Rule { id: "rule".into(), numbers: vec![("errors".into(), "2".into())] },
        severity: Severity::Major,
        state: FaultState::Open,
        opened: at,
        first: at,
        last: at,
        errors: 2,
        fru: None,
        evidence: Vec::new(),
        decision: String::new(),
        summary: "2 corrected errors in a test".into(),
        advice: "Look.".into(),
    };
    Finding { fault, response }
}
