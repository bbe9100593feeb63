//! The service: strings the steps of the cycle together in one loop.
//!
//! ```text
//!   wait ─▶ gather: monitor, outcomes, hotplug, requests, what is due
//!    ▲          │  (analyze and decide: memory only)
//!    │          ▼
//!    │       commit: one transaction, the monitor's cursors in it
//!    │          ▼
//!    └── release the kernel's copy, hand out orders, tell, answer clients
//! ```
//!
//! One thread, no locks. Only the lanes of act run beside it.

mod alive;
mod answers;
mod clean_end;
mod closed;
mod closings;
mod conflicts;
mod cycle;
mod dimms;
mod edac;
mod heartbeat;
mod kept;
mod kernel_pages;
mod last_boot;
mod last_end;
mod memory;
mod options;
mod pace;
mod privileges;
mod progress;
mod requests;
mod search;
mod setup;
mod signals;

pub use options::Options;

use crate::act::Actor;
use crate::api::Server;
use crate::host::uevents::{Change, Uevents};
use crate::host::{self, clock, Root};
use crate::log;
use crate::monitor::{Monitor, State, Via};
use crate::state::{BootRow, Store};
use alive::Alive;
use anyhow::Context as _;
use bulkhead_core::model::time::Anchor;
use bulkhead_core::model::{Stamp, Time};
use closings::Closings;
use conflicts::Conflicts;
use cycle::Cycle;
use dimms::LateDimms;
use edac::EdacCheck;
use heartbeat::Heartbeats;
use kernel_pages::KernelPages;
use last_end::LastEnd;
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use pace::Pace;
use progress::Progress;
use requests::Requests;
use signals::{Signal, Signals};
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// A commit that failed is tried again so often while nothing else happens.
const COMMIT_AGAIN: Duration = Duration::from_secs(10);

/// So long at most the sources wait for what is restored. A kernel that loads
/// programs stops its CPUs to change its own code again and again: beside that a
/// page was seen to take ten times as long.
const RESTORE_FIRST: Duration = Duration::from_secs(2);

/// Runs until told to stop.
///
/// # Errors
/// What makes it impossible to start: a bad configuration, a state directory
/// or socket that cannot be used or is another daemon's. Once it runs, nothing
/// but a broken `poll` ends it.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if options.mark_clean_end {
        return clean_end::mark(options);
    }
    let signals = Signals::block()?;
    let (mut daemon, cursors) = setup::daemon(options)?;
    daemon.run(&signals, &cursors)
}

/// Returns to the kernel what the allocator keeps for later. Loading the BPF
/// programs takes some 20 MiB for a moment, for the kernel's description of its
/// types: more than the daemon needs ever after.
fn give_back() {
    // SAFETY: it may be called at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Everything that runs.
struct Daemon {
    options: Options,
    root: Root,
    anchor: Anchor,
    started: Stamp,
    kernel: String,
    store: Store,
    monitor: Monitor,
    actor: Actor,
    server: Server,
    uevents: Option<Uevents>,
    cycle: Cycle,
    requests: Requests,
    closings: Closings,
    edac: EdacCheck,
    late_dimms: LateDimms,
    kernel_pages: KernelPages,
    conflicts: Conflicts,
    /// Earlier boots, oldest first, as the store knew them at the start; but for
    /// what ended the last one.
    boots: Vec<BootRow>,
    last_end: LastEnd,
    heartbeats: Heartbeats,
    alive: Alive,
    pace: Pace,
    /// The monitor was drained, and its copy is not released yet.
    drained: bool,
    /// It said it had more.
    more: bool,
    /// The rest of which is to come without a pause.
    part: bool,
    commit_again: Option<Time>,
    /// How often the service manager wants to hear from us, and when next.
    keep_alive: Option<(Duration, Time)>,
    progress: Progress,
}

/// Which descriptors were readable.
#[derive(Default)]
struct Ready {
    monitor: bool,
    uevents: bool,
    /// The kernel log, or the search for what it does not tell.
    kernel_pages: bool,
    heartbeats: bool,
    signals: bool,
}

impl Daemon {
    /// `cursors`: where the sources were left.
    fn run(&mut self, signals: &Signals, cursors: &HashMap<String, String>) -> anyhow::Result<()> {
        self.restore()?;
        clean_end::begin(&self.options.state_dir, &self.cycle.core.books.boot.boot_id);
        self.watch(cursors)?;
        // There may be something from before we started.
        let mut ready = Ready { monitor: true, ..Ready::default() };
        loop {
            if ready.signals {
                for signal in signals.take() {
                    match signal {
                        Signal::Stop => return self.stop(),
                        Signal::Reload => self.reload(),
                    }
                }
            }
            self.turn(&ready);
            ready = self.wait(signals)?;
        }
    }

    /// Orders what is to be out of service again, and gives that its time.
    fn restore(&mut self) -> anyhow::Result<()> {
        let until = self.now().at.after(RESTORE_FIRST);
        self.decide(&Ready::default(), self.now());
        self.progress.expect(self.cycle.core.restoring());
        while self.cycle.core.restoring().is_some() && self.now().at < until {
            let mut fds = [PollFd::new(self.actor.as_fd(), PollFlags::POLLIN)];
            wait_for(&mut fds, rounded_up(until.since(self.now().at)))?;
            self.decide(&Ready::default(), self.now());
        }
        Ok(())
    }

    /// Opens the sources, and tells what each is like from the start: a failed one
    /// must not be found out only when somebody asks.
    fn watch(&mut self, cursors: &HashMap<String, String>) -> anyhow::Result<()> {
        self.monitor
            .open(&self.options.choice(), &|key| cursors.get(key).cloned())
            .context("open the sources")?;
        let now = self.now();
        for source in self.monitor.states() {
            let (name, state, why) = (source.source.name(), source.state.to_string(), source.why);
            match source.state {
                State::Ok => {}
                State::Absent => tracing::info!("source {name} is absent: {why}"),
                State::Failed | State::Lossy => tracing::warn!("source {name} is {state}: {why}"),
            }
            self.cycle.source_event(name, &state, why, now);
        }
        tracing::info!(
            mode = if self.cycle.core.policy.observe { "observe" } else { "isolate" },
            "watching; state in {}",
            self.options.state_dir.display()
        );
        give_back();
        Ok(())
    }

    /// One turn of the cycle, and of those who ask for it; never waits for
    /// anything but the disk.
    fn turn(&mut self, ready: &Ready) {
        let start = self.now();
        self.decide(ready, start);
        self.requests.answer(&self.cycle, &mut self.server);
        self.closings.answer(&self.cycle, &mut self.server);
        self.serve(start);
        self.keep_alive(start.at);
        let now = self.now().at;
        let answered = self.actor.restored_at().map_or(now, |at| now.before(at.elapsed()));
        self.progress.follow(self.cycle.core.restoring(), answered, now);
    }

    /// From what came to the orders that follow from it.
    fn decide(&mut self, ready: &Ready, start: Stamp) {
        self.more |= ready.monitor;
        if self.more && self.pace.allows(start.at) {
            self.drain(start);
        }
        for outcome in self.actor.outcomes(start) {
            if !outcome.order.cpus().is_empty() {
                self.read_machine();
            }
            self.cycle.outcome(&outcome, start);
            self.requests.surveyed(&mut self.cycle, &outcome, start);
        }
        if ready.uevents {
            self.hotplug(start);
        }
        for pfn in self.kernel_pages.take(ready.kernel_pages, start.at) {
            self.cycle.core.touched(pfn, start);
        }
        if self.kernel_pages.has_missed() {
            let page_size = self.cycle.core.machine.page_size;
            self.kernel_pages.compare(self.cycle.pages_out(), page_size);
        }
        self.heartbeats.turn(ready.heartbeats, &mut self.cycle, start);
        self.last_end.turn(&mut self.cycle, &mut self.boots, start);
        self.alive.turn(&self.root, &self.heartbeats, &mut self.cycle.core.books, start);
        self.requests.act(&mut self.cycle, start);
        self.closings.act(&mut self.cycle, start);
        self.cycle.due(start);
        self.commit(start);
        if self.drained {
            self.monitor.done();
            self.drained = false;
            if !self.part {
                self.pace.drained(start.at, self.now().at);
            }
        }
        let (orders, told) = self.cycle.take_orders();
        for order in orders {
            self.actor.submit(order, start);
        }
        for decision in &told {
            log::decision(decision);
        }
    }

    fn drain(&mut self, now: Stamp) {
        let batch = self.monitor.drain(now);
        (self.more, self.part) = (batch.more, batch.is_part);
        self.drained = true;
        let states = self.monitor.states();
        for report in &batch.reports {
            if self.late_dimms.call_for_a_look(report, &self.cycle.core.machine) {
                self.read_machine();
            }
            let via =
                states.iter().find(|s| s.source == report.source).map_or(Via::File, |s| s.via);
            // A log is decided on in its own time: what would have been done then.
            let then = if via == Via::File { report.last } else { now };
            self.edac.saw(report);
            self.cycle.report(report, &via.to_string(), then);
        }
        self.cycle.reported(now);
        for (name, place) in batch.cursors {
            self.cycle.core.books.cursor(name, place);
        }
        if let Some((name, place)) = self.edac.cursor() {
            self.cycle.core.books.cursor(name, place);
        }
        for state in &states {
            self.cycle.core.books.lost(state.source, state.lost);
        }
        for note in batch.notes {
            let name = note.source.map_or("bulkhead", |s| s.name());
            let state = states.iter().find(|s| Some(s.source) == note.source);
            let word = state.map_or_else(|| "ok".to_owned(), |s| s.state.to_string());
            tracing::warn!("{name}: {}", note.text);
            self.cycle.source_event(name, &word, note.text, now);
        }
    }

    fn hotplug(&mut self, now: Stamp) {
        let Some(uevents) = &mut self.uevents else { return };
        let changes = match uevents.changes() {
            Ok(changes) => changes,
            Err(error) => {
                tracing::warn!(
                    "CPUs that others bring on or off line are not noticed any more: {error}"
                );
                self.uevents = None;
                return;
            }
        };
        let before = self.cycle.core.machine.clone();
        self.read_machine();
        for change in changes {
            match change {
                Change::Cpu { cpu, online } => self.cycle.cpu_changed(cpu, online, now),
                Change::Anything => {
                    for cpu in self.cycle.core.machine.cpus.clone().into_values() {
                        if before.cpus.get(&cpu.id).is_none_or(|b| b.online != cpu.online) {
                            self.cycle.cpu_changed(cpu.id, cpu.online, now);
                        }
                    }
                }
            }
        }
    }

    /// Reads the machine again; what cannot be read stays as it was known.
    fn read_machine(&mut self) {
        match host::topology::machine(&self.root, Some(&self.cycle.core.machine)) {
            Ok(machine) if machine != self.cycle.core.machine => self.cycle.set_machine(machine),
            Ok(_) => {}
            Err(error) => tracing::warn!("the machine cannot be read again: {error}"),
        }
    }

    /// Makes memory durable. When that fails the host is protected all the
    /// same, from memory, and `status` says so.
    fn commit(&mut self, now: Stamp) {
        let due = self.commit_again.is_some_and(|at| at <= now.at);
        let worth = due || self.cycle.core.books.saved || self.cycle.has_orders();
        if !(worth && self.cycle.is_dirty()) {
            return;
        }
        self.cycle.core.books.boot.reached(now, clock::monotonic());
        let was_saved = self.cycle.core.books.saved;
        match self.cycle.commit(&mut self.store) {
            Ok(events) => {
                self.commit_again = None;
                if !was_saved {
                    let dropped = self.cycle.core.books.take_dropped();
                    let what = format!(
                        "the state is saved again in {}; {dropped} events and attempts found no \
                         room meanwhile",
                        self.options.state_dir.display()
                    );
                    tracing::info!("{what}");
                    self.cycle.config_event(&what, now);
                }
                let at = Instant::now();
                for event in &events {
                    self.server.publish(at, event);
                }
            }
            Err(error) => {
                self.commit_again = Some(now.at.after(COMMIT_AGAIN));
                if was_saved {
                    tracing::error!(
                        "the state is not saved, and goes on in memory: {error}. Make room, or mend \
                         the disk; a restart before that forgets what came since"
                    );
                }
                if error.must_reopen() {
                    self.reopen(was_saved);
                }
            }
        }
    }

    /// The store's file is damaged or gone, or there was none: begins another,
    /// with all we know. Failing again is no news.
    fn reopen(&mut self, news: bool) {
        match self.store.reopen() {
            Ok(notes) => {
                for note in notes {
                    tracing::warn!("{note}");
                }
                self.cycle.save_all();
                self.commit_again = Some(Time(0));
            }
            Err(error) if news => tracing::warn!("no new state file can be begun: {error}"),
            Err(error) => tracing::debug!("no new state file can be begun: {error}"),
        }
    }

    fn serve(&mut self, now: Stamp) {
        let mut answers = answers::Answers {
            cycle: &mut self.cycle,
            store: &mut self.store,
            requests: &mut self.requests,
            closings: &mut self.closings,
            monitor: &self.monitor,
            edac: &self.edac,
            kernel_pages: &mut self.kernel_pages,
            conflicts: &mut self.conflicts,
            heartbeats: &self.heartbeats,
            root: &self.root,
            boots: &self.boots,
            kernel: &self.kernel,
            started: self.started,
            now,
        };
        self.server.turn(Instant::now(), &mut answers);
    }

    fn keep_alive(&mut self, now: Time) {
        if let Some((every, next)) = &mut self.keep_alive {
            if now >= *next {
                *next = now.after(*every);
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
            }
        }
    }

    fn reload(&mut self) {
        let now = self.now();
        match setup::policy(&self.options) {
            Ok(policy) => {
                let other_mode = policy.observe != self.cycle.core.policy.observe;
                self.cycle.set_policy(policy);
                self.cycle.config_event("read again", now);
                tracing::info!("the configuration was read again and is in force");
                if other_mode {
                    self.change_mode(now);
                }
            }
            Err(error) => {
                self.cycle
                    .config_event(&format!("refused, the old one stays in force: {error}"), now);
                tracing::warn!("the configuration stays as it was: {error}");
            }
        }
    }

    /// From now on things may be touched, or not any more. Orders that are out
    /// are finished, and their answers told.
    fn change_mode(&mut self, now: Stamp) {
        self.actor.set_write(!self.cycle.core.policy.observe);
        self.cycle.mode_changed(now);
    }

    /// Takes what is there, saves it, and ends. Isolations stay.
    fn stop(&mut self) -> anyhow::Result<()> {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let now = self.now();
        self.drain(now);
        while self.part && self.cycle.commit(&mut self.store).is_ok() {
            self.monitor.done();
            self.drain(now);
        }
        self.cycle.boot_event("bulkheadd stopped", now);
        self.alive.stopping(&self.root, &mut self.cycle.core.books, now);
        self.cycle.core.books.boot.reached(now, clock::monotonic());
        let saved = self.cycle.commit(&mut self.store);
        if saved.is_ok() {
            self.monitor.done();
        }
        saved.map(drop).context("what is known could not be saved at the end")
    }

    /// Waits until something can be done.
    fn wait(&self, signals: &Signals) -> anyhow::Result<Ready> {
        let drain_at = self.pace.not_before();
        // While a drain must not start yet, its descriptor is not looked at:
        // it would only say again what is known.
        let watch_monitor = !self.more && self.pace.allows(self.now().at);
        let mut fds = vec![
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.actor.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.server.as_fd(), PollFlags::POLLIN),
        ];
        let uevents_at = self.uevents.as_ref().map(|uevents| {
            fds.push(PollFd::new(uevents.as_fd(), PollFlags::POLLIN));
            fds.len() - 1
        });
        let monitor_at = watch_monitor.then(|| {
            fds.push(PollFd::new(self.monitor.as_fd(), PollFlags::POLLIN));
            fds.len() - 1
        });
        let heartbeats_at = self.heartbeats.fd().map(|fd| {
            fds.push(PollFd::new(fd, PollFlags::POLLIN));
            fds.len() - 1
        });
        let kernel_pages_from = fds.len();
        let kernel_pages = self.kernel_pages.fds(self.now().at);
        fds.extend(kernel_pages.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let timeout = self.timeout((!watch_monitor).then_some(drain_at));
        wait_for(&mut fds, timeout)?;
        let ready = |at: usize| fds.get(at).is_some_and(|fd| fd.any().unwrap_or(true));
        Ok(Ready {
            monitor: monitor_at.is_some_and(ready),
            uevents: uevents_at.is_some_and(ready),
            kernel_pages: (kernel_pages_from..fds.len()).any(ready),
            heartbeats: heartbeats_at.is_some_and(ready),
            signals: ready(0),
        })
    }

    /// How long nothing needs to be done.
    fn timeout(&self, drain_at: Option<Time>) -> PollTimeout {
        let asked = self.requests.is_waiting_to_act() || self.closings.is_waiting_to_act();
        if asked || self.cycle.has_orders() {
            return PollTimeout::ZERO;
        }
        let now = self.now().at;
        let moments = [
            drain_at,
            self.cycle.next_due(),
            self.kernel_pages.next_due(),
            self.actor.next_timeout(),
            self.commit_again,
            self.keep_alive.map(|(_, next)| next),
            self.progress.next(),
            self.last_end.next(),
        ];
        let first = moments.into_iter().flatten().min().map(|at| at.since(now));
        let first = first.into_iter().chain(self.heartbeats.next()).min();
        let client =
            self.server.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        match [first, client].into_iter().flatten().min() {
            Some(wait) => rounded_up(wait),
            None => PollTimeout::NONE,
        }
    }

    fn now(&self) -> Stamp {
        clock::now(self.anchor)
    }
}

/// A signal ends the waiting, too.
fn wait_for(fds: &mut [PollFd], timeout: PollTimeout) -> anyhow::Result<()> {
    match poll(fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno).context("poll"),
    }
}

/// Waking a millisecond early would only wake twice.
fn rounded_up(wait: Duration) -> PollTimeout {
    PollTimeout::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
}
