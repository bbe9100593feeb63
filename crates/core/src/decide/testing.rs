//! Common ground of the stories: a desk with a ledger on it.

use super::{
    answered, due, found, Answer, Apart, Checks, Context, HugetlbPolicy, Order, Outcome, Plan,
    Policy,
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
    /// What became of each fault.
    pub states: BTreeMap<Uuid, FaultState>,
}

impl Desk {
    pub fn new(policy: Policy, machine: Machine) -> Desk {
        let now = stamp(Time(0).after(Duration::from_secs(1_000_000)));
        let (ledger, checks) = (Ledger::new(), Checks::default());
        Desk { policy, machine, ledger, checks, now, states: BTreeMap::new() }
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

    pub fn enter(&mut self, plan: Plan) -> Plan {
        plan.record(&mut self.ledger);
        self.states.extend(plan.faults.iter().map(|note| (note.fault, note.state)));
        plan
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
    Outcome { order, answer, time, asked, answered, apart: Vec::new() }
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
