//! What a decision costs on a host that has lost much already: a finding, its
//! answer, and what is due after them.

use bulkhead_core::analyze::{Finding, Response};
use bulkhead_core::decide::{
    answered, due, found, start, Answer, Boot, Checks, Context, Order, Outcome, Policy,
};
use bulkhead_core::model::*;
use divan::Bencher;
use uuid::Uuid;

fn main() {
    divan::main();
}

/// Pages that may go: beyond them a finding is held back.
const ROOM: u64 = 65_536;

/// A host, and the pages found to fail on it so far.
struct Host {
    policy: Policy,
    machine: Machine,
    ledger: Ledger,
    checks: Checks,
    now: Stamp,
}

impl Host {
    fn new(pages: u64) -> Host {
        let mut policy = Policy::default();
        policy.limits.pages_per_day = ROOM as u32;
        let machine = Machine {
            vendor: Vendor::Intel,
            family: 6,
            model: 106,
            memory_bytes: 1 << 40,
            phys_bits: 46,
            memory: MemoryConfigId(Uuid::from_u128(1)),
            ..Machine::default()
        };
        let now = Stamp { at: Time(1 << 50), wall: Wall(0) };
        let (ledger, checks) = (Ledger::new(), Checks::default());
        let mut host = Host { policy, machine, ledger, checks, now };
        (0..pages).for_each(|n| host.find(&page_fault(n)));
        host
    }

    fn ctx(&self) -> Context<'_> {
        let Host { policy, machine, ledger, now, .. } = self;
        Context { policy, machine, ledger, now: *now }
    }

    fn took(&mut self, order: Order) {
        let outcome = Outcome {
            survey: None,
            left_off: Vec::new(),
            order,
            answer: Answer::Off,
            time: self.now,
            asked: String::new(),
            answered: String::new(),
            apart: Vec::new(),
        };
        answered(&self.ctx(), &outcome).record(&mut self.ledger);
    }

    fn find(&mut self, finding: &Finding) {
        let plan = found(&self.ctx(), finding);
        plan.record(&mut self.ledger);
        plan.orders.into_iter().for_each(|order| self.took(order));
        let Host { policy, machine, ledger, checks, now } = self;
        due(&Context { policy, machine, ledger, now: *now }, checks).record(ledger);
    }
}

fn fault(n: u64, component: Component) -> Fault {
    let at = Stamp::default();
    Fault {
        id: Uuid::from_u128(u128::from(n)),
        component,
        rule: Rule { id: "rule".into(), numbers: Vec::new() },
        severity: Severity::Minor,
        state: FaultState::Open,
        opened: at,
        first: at,
        last: at,
        errors: 2,
        fru: None,
        cover: None,
        home: Home::Unknown,
        evidence: Vec::new(),
        summary: "2 corrected errors".into(),
        decision: String::new(),
        advice: String::new(),
    }
}

/// Pages lie apart, as those of a failing rank do.
fn page_fault(n: u64) -> Finding {
    let pfn = Pfn(n * 7);
    Finding { fault: fault(n, Component::Page { pfn }), response: Response::TakePage(pfn) }
}

#[divan::bench(args = [0, 1_024, 65_535, 165_536])]
fn a_page(bencher: Bencher, before: u64) {
    let mut host = Host::new(before);
    let mut next = before;
    bencher.bench_local(|| {
        next += 1;
        host.find(&page_fault(next));
    });
}

#[divan::bench(args = [0, 1_024, 65_535, 165_536])]
fn a_row_of_128_pages(bencher: Bencher, before: u64) {
    let mut host = Host::new(before);
    let mut next = 0;
    bencher.bench_local(|| {
        next += 1;
        let first = (1 << 30) + next * 128;
        let pages: Vec<Pfn> = (first..first + 128).map(Pfn).collect();
        let place = DramPlace { row: Some(next as u32), ..DramPlace::default() };
        let row = Component::Row { place, label: String::new() };
        let cover = Some(Cover { by: CoverBy::Seen, pages: pages.clone() });
        let fault = Fault { cover, ..fault((1 << 40) + next, row) };
        host.find(&Finding { fault, response: Response::TakePages(pages) });
    });
}

/// Another boot: all is ordered again, and answered.
#[divan::bench(args = [1_000, 10_000, 60_000])]
fn a_reboot(bencher: Bencher, pages: u64) {
    let mut host = Host::new(pages);
    bencher.bench_local(|| {
        let mut checks = Checks::default();
        let plan = start(&host.ctx(), &mut checks, Boot::New);
        plan.record(&mut host.ledger);
        assert!(!plan.orders.is_empty());
        plan.orders.into_iter().for_each(|order| host.took(order));
    });
}
