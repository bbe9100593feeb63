//! analyze and decide strung together: reports and answers in, orders out. Pure.
//!
//! What the two remember of components is kept here; the ledger and the cases
//! are kept by whoever drives the cycle, in [`Books`]: the daemon's go to disk,
//! those of a replay into a summary.

use crate::analyze::{self, Analyzer, FaultUpdate, Finding, Observed, Rules};
use crate::decide::{self, Boot, Checks, Context, Decision, FaultNote, Order, Outcome, Plan};
use crate::decide::{Policy, RestoreStep, Restoring};
use crate::model::{
    Fault, Group, Isolation, IsolationState, Ledger, Machine, MemoryConfigId, Pfn, Record, Report,
    Stamp, Target, Time,
};
use uuid::Uuid;

/// The ledger and the cases of a cycle.
pub trait Books {
    /// What is out of service, or should be.
    fn ledger(&self) -> &Ledger;

    /// A fault by its name; `None` where it is not known, or not kept whole.
    fn fault(&self, id: Uuid) -> Option<&Fault>;

    /// Inserts or replaces a line.
    fn put(&mut self, line: Isolation);

    /// The line of `pfn` is of an earlier boot, and its saved form stands, as
    /// isolated: memory alone shows how far the restoring of it has come.
    fn restoring(&mut self, pfn: Pfn, step: RestoreStep);

    /// Forgets a line.
    fn forget(&mut self, target: Target);

    /// Inserts, replaces, or ends the group of a fault.
    fn put_group(&mut self, group: Group);

    /// Forgets the lines that there is no room for, and the faults that were
    /// about nothing else. Answers these faults.
    fn trim(&mut self) -> Vec<Uuid>;

    /// A fault fired. One that is known by this id is replaced.
    fn opened(&mut self, fault: Fault, now: Stamp);

    /// An open fault got more errors. Answers the fault as it is now if it
    /// covers more than it did.
    fn updated(&mut self, update: FaultUpdate) -> Option<Fault>;

    /// What became of a fault.
    fn noted(&mut self, note: FaultNote, now: Stamp);

    /// To be told, after the lines and faults that it is about.
    fn decided(&mut self, decision: Decision, now: Stamp);
}

/// analyze and decide, with what they remember.
#[derive(Debug)]
pub struct Cycle<B> {
    /// The ledger and the cases.
    pub books: B,
    /// The numbers in force.
    pub policy: Policy,
    /// The host as last read.
    pub machine: Machine,
    /// What is remembered of components between their errors.
    pub analyzer: Analyzer,
    checks: Checks,
    orders: Vec<Order>,
    restoring: Option<Restoring>,
}

impl<B: Books> Cycle<B> {
    /// Goes on from what `books` and `analyzer` know.
    pub fn new(books: B, policy: Policy, machine: Machine, analyzer: Analyzer) -> Cycle<B> {
        let (checks, orders) = (Checks::default(), Vec::new());
        Cycle { books, policy, machine, analyzer, checks, orders, restoring: None }
    }

    /// Compares what should be with what is, after a start.
    pub fn start(&mut self, boot: Boot, now: Stamp) {
        let Cycle { books, policy, machine, checks, .. } = self;
        let ctx = Context { policy, machine, ledger: books.ledger(), now };
        let plan = decide::start(&ctx, checks, boot);
        self.restoring = if boot == Boot::Same { None } else { Restoring::of(&plan.orders) };
        self.enter(plan, now);
    }

    /// A source reported. What it came to is for [`Cycle::follow`].
    pub fn observe(&mut self, report: &Report) -> Observed {
        self.analyzer.observe(report, &self.machine)
    }

    /// What follows from a report.
    pub fn follow(&mut self, report: &Report, observed: Observed, now: Stamp) {
        if let Some(pfn) = observed.page {
            self.confirm(pfn, report, now);
        }
        for update in observed.updated {
            self.updated(update, now);
        }
        for finding in observed.findings {
            self.found(finding, now);
        }
        if let Record::MemoryFailure(failure) = &report.record {
            let plan = decide::page_reported_failed(&self.context(now), failure);
            self.enter(plan, now);
        }
    }

    /// The boot before this one ended by what `report` tells, on `then`: the
    /// machine as it was. Call it before [`Cycle::start`]. Answers what could
    /// not be used of it, and why.
    pub fn ended_by(&mut self, report: &Report, then: &Machine, now: Stamp) -> Option<String> {
        // Of other memory it is a fault, and no evidence against what is there now.
        let mut elsewhere = Analyzer::with_capacity(Rules::from(&self.policy), 1);
        let is_here =
            then.memory == self.machine.memory && then.memory != MemoryConfigId::default();
        let analyzer = if is_here { &mut self.analyzer } else { &mut elsewhere };
        let Observed { findings, updated, page, undecodable, .. } = analyzer.observe(report, then);
        for update in updated {
            self.updated(update, now);
        }
        if let (true, Some(pfn)) = (findings.is_empty(), page) {
            // A fault that is open already speaks for its page.
            let home = then.home(Target::Page(pfn));
            let plan = decide::fatal_again(&self.context(now), pfn, home);
            self.enter(plan, now);
        }
        for finding in findings {
            self.found(finding, now);
        }
        undecodable
    }

    /// The memory changed since `pfn` was isolated, and `report` may tell that
    /// it still is the same cells.
    fn confirm(&mut self, pfn: Pfn, report: &Report, now: Stamp) {
        let ledger = self.books.ledger();
        let stale = ledger.get(&Target::Page(pfn)).filter(|l| l.state == IsolationState::Stale);
        let Some(fault) = stale.and_then(|line| self.books.fault(line.fault?)) else { return };
        if fault.is_open() && analyze::is_where_it_was(fault, report, &self.machine) {
            let plan = decide::confirmed(&self.context(now), pfn);
            self.enter(plan, now);
        }
    }

    /// A fault fired.
    pub fn found(&mut self, finding: Finding, now: Stamp) {
        let plan = decide::found(&self.context(now), &finding);
        self.books.opened(finding.fault, now);
        self.enter(plan, now);
    }

    /// An open fault got more errors.
    pub fn updated(&mut self, update: FaultUpdate, now: Stamp) {
        if let Some(grown) = self.books.updated(update) {
            let plan = decide::grown(&self.context(now), &grown);
            self.enter(plan, now);
        }
    }

    /// A page erred, or may have been taken unseen: it is to be looked at.
    pub fn touched(&mut self, pfn: Pfn, now: Stamp) {
        let Cycle { books, policy, machine, checks, .. } = self;
        decide::touched(&Context { policy, machine, ledger: books.ledger(), now }, checks, pfn);
    }

    /// An order was answered. For CPUs, bring [`Cycle::machine`] up to date
    /// before.
    pub fn answered(&mut self, outcome: &Outcome, now: Stamp) {
        let plan = decide::answered(&self.context(now), outcome);
        self.enter(plan, now);
        if let Some(done) = self.restoring.take_if(|restoring| restoring.answered(outcome)) {
            self.enter(decide::restored(&done), now);
        }
    }

    /// How far the restoring of what earlier boots had out of service has come;
    /// `None` when all of it was tried.
    pub fn restoring(&self) -> Option<&Restoring> {
        self.restoring.as_ref()
    }

    /// Does what is due now, or has found room.
    pub fn due(&mut self, now: Stamp) {
        let Cycle { books, policy, machine, checks, .. } = self;
        let plan = decide::due(&Context { policy, machine, ledger: books.ledger(), now }, checks);
        self.enter(plan, now);
    }

    /// When [`Cycle::due`] has something to do.
    pub fn next_due(&self) -> Option<Time> {
        decide::next_due(self.books.ledger(), &self.checks)
    }

    /// Orders wait for [`Cycle::take_orders`].
    pub fn has_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    /// Orders since the last call.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// Enters a plan into the books: lines first, then what becomes of the
    /// faults, then what is told.
    pub fn enter(&mut self, plan: Plan, now: Stamp) {
        for target in plan.gone {
            self.books.forget(target);
        }
        for (pfn, step) in plan.restoring {
            self.books.restoring(pfn, step);
        }
        for line in plan.isolations {
            let before = self.books.ledger().get(&line.target).map(|old| old.state);
            let is_gone = self.machine.has(line.home) == Some(false);
            let is_back = matches!(line.state, IsolationState::Released | IsolationState::Stale);
            // Whoever brought it back, an old fault must not take it again, and
            // new errors must be able to.
            // What is known of the target is of what has taken its place, though.
            if is_back && !is_gone && before != Some(line.state) || line.release.is_some() {
                self.analyzer.release(&line.target);
            }
            self.books.put(line);
        }
        for group in plan.groups {
            self.books.put_group(group);
        }
        for fault in self.books.trim() {
            self.analyzer.forget(fault);
        }
        for note in plan.faults {
            self.books.noted(note, now);
        }
        for decision in plan.decisions {
            self.books.decided(decision, now);
        }
        self.orders.extend(plan.orders);
    }

    /// All that a decision looks at.
    pub fn context(&self, now: Stamp) -> Context<'_> {
        let Cycle { books, policy, machine, .. } = self;
        Context { policy, machine, ledger: books.ledger(), now }
    }
}
