//! The clock, the kernel and the loop of a replay.

use super::books::ReplayBooks;
use super::machine;
use super::summary::Summary;
use super::{Options, Skipped, Watch};
use bulkhead_core::analyze::{Analyzer, Rules};
use bulkhead_core::cycle::Cycle;
use bulkhead_core::decide::{Answer, Order, Outcome, Policy};
use bulkhead_core::model::{CpuId, Pfn, Record, Report, Stamp, Target, Time, Wall};
use hashbrown::HashMap;
use std::time::Duration;

/// How long after its last record a log is followed: what was due in that time
/// is still done.
const AFTERMATH: Duration = Duration::from_secs(60);

/// Pages with evidence, at most: some 60 MiB. The daemon, which must spare its
/// host, has room for a quarter of them.
const MAX_PAGES: usize = 1 << 18;

/// memory_failure() did nothing (enum mf_result, include/linux/mm.h).
const IGNORED: i32 = 0;

/// The daemon's cycle, with a made-up host around it.
///
/// The host does what it is asked at once, and nothing by itself but what the
/// log says of memory_failure(). So no page is looked at for what the kernel
/// may have taken unasked, as the daemon does at every error.
pub(super) struct Simulation<'w> {
    cycle: Cycle<ReplayBooks<'w>>,
    clock: Stamp,
    failed_at: Option<Wall>,
    /// Pages out of service, and since when.
    off: HashMap<Pfn, Time>,
    /// When something is due next, unless the books have changed.
    due: Option<Time>,
    figures: Summary,
}

impl<'w> Simulation<'w> {
    pub(super) fn new(options: &Options, watch: &'w mut dyn Watch) -> Self {
        let policy = Policy { observe: false, ..options.policy.clone() };
        let analyzer = Analyzer::with_capacity(Rules::from(&policy), MAX_PAGES);
        let machine = machine::made_up(options.memory_bytes);
        Simulation {
            cycle: Cycle::new(ReplayBooks::new(watch), policy, machine, analyzer),
            clock: Stamp::default(),
            failed_at: options.failed_at,
            off: HashMap::default(),
            due: None,
            figures: Summary::default(),
        }
    }

    /// The next report of the log.
    ///
    /// One that is older than the newest so far counts at its own time, and is
    /// decided on at the newest: the clock never goes back.
    pub(super) fn report(&mut self, report: &Report) {
        if self.failed_at.is_some_and(|failed| report.last.wall >= failed) {
            self.figures.after_failure += 1;
            return;
        }
        self.figures.reports += 1;
        if report.last.at < self.clock.at {
            self.figures.out_of_order += 1;
        } else {
            self.pass_until(report.last);
        }
        self.span(report.last.wall);
        if let Record::Mce(record) = &report.record {
            machine::meet(&mut self.cycle.machine, record);
        }
        if let Record::MemoryFailure(failure) = &report.record {
            if failure.result != IGNORED {
                self.off.entry(failure.pfn).or_insert(report.last.at);
            }
        }
        let observed = self.cycle.observe(report);
        self.figures.undecodable += u64::from(observed.undecodable.is_some());
        let gone = observed.page.and_then(|page| self.off.get(&page));
        if observed.corrected && gone.is_some_and(|since| report.last.at >= *since) {
            self.figures.ces_after = self.figures.ces_after.saturating_add(observed.counted);
        }
        self.cycle.follow(report, observed, self.clock);
        self.carry_out();
    }

    /// A line or row that could not be read.
    pub(super) fn skipped(&mut self, skipped: &Skipped) {
        self.figures.skipped += 1;
        self.cycle.books.watch.skipped(skipped);
    }

    /// So much of so much is read. To be called now and then.
    pub(super) fn progress(&mut self, done: u64, total: u64) {
        self.cycle.analyzer.forget_changes();
        self.cycle.books.watch.progress(done, total);
    }

    /// The log has ended.
    pub(super) fn finish(mut self, notes: Vec<String>) -> Summary {
        self.pass_until(self.clock.after(AFTERMATH));
        let evictions = self.cycle.analyzer.evictions();
        let books = self.cycle.books;
        let pages = books.taken.iter().filter(|t| matches!(t.target, Target::Page(_))).count();
        let lead = self.failed_at.zip(books.first_sign).map(|(failed, sign)| {
            u64::try_from(failed.0.saturating_sub(sign.0)).unwrap_or(0) / 1_000_000_000
        });
        Summary {
            faults: books.cases,
            unlisted: books.unlisted,
            isolations: books.taken,
            pages: pages as u64,
            first_fault: books.first_fault,
            escalated_at: books.escalated_at,
            lead_s: lead,
            evictions,
            notes,
            ..self.figures
        }
    }

    /// Lets time pass, and what becomes due in it be done.
    fn pass_until(&mut self, then: Stamp) {
        while let Some(next) = self.next_due().filter(|next| *next <= then.at) {
            let wait = next.since(self.clock.at);
            self.clock = self.clock.after(wait);
            self.cycle.due(self.clock);
            self.carry_out();
            // Nothing came of it, and nothing will until something happens.
            if !self.cycle.books.changed {
                self.due = None;
            }
        }
        self.clock = then;
    }

    fn next_due(&mut self) -> Option<Time> {
        if std::mem::take(&mut self.cycle.books.changed) {
            self.due = self.cycle.next_due();
        }
        self.due
    }

    /// Answers every order, and those that come of the answers.
    fn carry_out(&mut self) {
        loop {
            let orders = self.cycle.take_orders();
            if orders.is_empty() {
                return;
            }
            for order in orders {
                let answer = self.answer(&order);
                let (asked, answered) = (String::new(), String::new());
                // Of the host that a log is of, nobody knows what was bound to which CPU.
                let survey = Some(Box::default());
                let (left_off, apart) = (Vec::new(), Vec::new());
                let time = self.clock;
                let outcome =
                    Outcome { order, answer, time, asked, answered, survey, left_off, apart };
                self.cycle.answered(&outcome, self.clock);
            }
        }
    }

    /// Does what `order` says.
    fn answer(&mut self, order: &Order) -> Answer {
        match order {
            // Its huge pages are never those that failed.
            Order::SoftOffline(page)
            | Order::SoftOfflineSparing(page, _)
            | Order::OfflineFree(page)
            | Order::HardOffline(page) => match self.off.insert(*page, self.clock.at) {
                Some(since) => {
                    self.off.insert(*page, since);
                    Answer::WasOff
                }
                None => Answer::Off,
            },
            Order::Restore(pages, _) => {
                for page in pages {
                    self.off.entry(*page).or_insert(self.clock.at);
                }
                Answer::Off
            }
            Order::Inspect(page) if self.off.contains_key(page) => Answer::Off,
            Order::Inspect(_) => Answer::On,
            Order::Unpoison(page) => {
                self.off.remove(page);
                Answer::On
            }
            Order::TakeCpus(cpus) => {
                self.set_online(cpus, false);
                Answer::Off
            }
            Order::GiveCpus(cpus) => {
                self.set_online(cpus, true);
                Answer::On
            }
            Order::Survey(_) | Order::PutBack(..) => Answer::On,
        }
    }

    fn set_online(&mut self, cpus: &[CpuId], online: bool) {
        for cpu in cpus {
            if let Some(cpu) = self.cycle.machine.cpus.get_mut(cpu) {
                cpu.online = online;
            }
        }
    }

    fn span(&mut self, wall: Wall) {
        let (first, last) = self.figures.span.unwrap_or((wall, wall));
        self.figures.span = Some((first.min(wall), last.max(wall)));
    }
}
