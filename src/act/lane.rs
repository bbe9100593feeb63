//! One thread that carries out orders one after the other, and is left behind
//! when the kernel does not return from one.

use super::reply::Reply;
use bulkhead_core::decide::{Answer, Order};
use bulkhead_core::model::{Stamp, Time};
use nix::sys::eventfd::EventFd;
use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// An order that the kernel has not answered in so long counts as timed out.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// So many threads of a lane may be left behind in the kernel; beyond it the
/// lane is closed until one returns.
const MOST_LEFT_BEHIND: usize = 4;

/// So many orders may wait in a lane; at some 100 bytes each.
const MOST_WAITING: usize = 1 << 16;

/// Bytes; what a thread does here is open, read, write and format.
const STACK: usize = 128 << 10;

/// Does what an order says, however long it takes.
pub(super) type CarryOut = dyn Fn(&Order) -> Reply + Send + Sync;

/// An order on its way.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// Unique.
    pub ticket: u64,
    pub order: Order,
    pub asked_at: Stamp,
}

/// A job that came back from the kernel.
pub(super) struct Done {
    pub job: Job,
    pub reply: Reply,
    /// When it did.
    pub at: Instant,
    /// It was answered as timed out before.
    pub late: bool,
}

/// Where the threads of all lanes leave what they did.
#[derive(Clone)]
pub(super) struct Outbox {
    pub done: Sender<Done>,
    /// Wakes the reader.
    pub bell: Arc<EventFd>,
}

/// A job that needs no kernel to be answered.
pub(super) type Answered = (Job, Reply);

pub(super) struct Lane {
    name: &'static str,
    carry_out: Arc<CarryOut>,
    outbox: Outbox,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    left_behind: Vec<LeftBehind>,
    /// The ticket of the job that is (to be) carried out next or now, and
    /// since when it is known to be.
    head: Option<(u64, Time)>,
}

struct LeftBehind {
    job: Job,
    thread: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    running: Option<Job>,
    /// Counts the threads that were told to go. One of an older generation
    /// takes no more jobs.
    generation: u64,
}

impl Lane {
    /// Starts no thread yet: an idle daemon has none.
    pub fn new(name: &'static str, carry_out: Arc<CarryOut>, outbox: Outbox) -> Lane {
        let shared = Arc::new(Shared { state: Mutex::default(), work: Condvar::new() });
        Lane { name, carry_out, outbox, shared, thread: None, left_behind: Vec::new(), head: None }
    }

    /// Queues a job, or answers it at once where it cannot be carried out.
    pub fn submit(&mut self, job: Job, now: Time) -> Option<Answered> {
        if let Err(reply) = self.admit(&job) {
            return Some((job, reply));
        }
        self.head.get_or_insert((job.ticket, now));
        self.shared.lock().waiting.push_back(job);
        self.shared.work.notify_all();
        None
    }

    /// To be called when a late answer came in: its thread may not have ended
    /// yet, but it is out of the kernel.
    pub fn returned(&mut self, ticket: u64) {
        self.left_behind.retain(|left| left.job.ticket != ticket);
    }

    /// Follows the queue, and leaves the thread behind when it has been on one
    /// job for too long: that one, and what cannot be carried out because of
    /// it, is answered. A fresh thread goes on with the rest.
    pub fn expire(&mut self, now: Time) -> Vec<Answered> {
        // A thread that died has no late answer to wait for.
        self.left_behind.retain(|left| !left.thread.is_finished());
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let head = state.running.as_ref().or(state.waiting.front()).map(|job| job.ticket);
        let since = match self.head {
            Some((seen, since)) if Some(seen) == head => since,
            _ => now,
        };
        if now.since(since) < TIME_LIMIT {
            self.head = head.map(|ticket| (ticket, since));
            return Vec::new();
        }
        let Some(job) = state.running.take() else {
            // The thread has had no CPU time so far. It is not in the kernel,
            // and another one would fare no better.
            self.head = head.map(|ticket| (ticket, now));
            return Vec::new();
        };
        let rest = std::mem::take(&mut state.waiting);
        state.generation += 1;
        drop(state);
        self.head = None;
        if let Some(thread) = self.thread.take() {
            self.left_behind.push(LeftBehind { job: job.clone(), thread });
        }
        let limit = TIME_LIMIT.as_secs();
        let words = format!("no answer in {limit} s; the kernel may still be at it");
        let mut answered = vec![(job, Reply::new(Answer::TimedOut, words))];
        answered.extend(rest.into_iter().filter_map(|job| self.submit(job, now)));
        answered
    }

    /// When [`Lane::expire`] must be called next, if nothing comes back.
    pub fn deadline(&self) -> Option<Time> {
        self.head.map(|(_, since)| since.after(TIME_LIMIT))
    }

    fn admit(&mut self, job: &Job) -> Result<(), Reply> {
        // Over the same page or CPU, a second thread would hang beside the one
        // that is in the kernel, or undo what that may yet do.
        if self.left_behind.iter().any(|left| overlap(&left.job.order, &job.order)) {
            let words =
                "not asked: the kernel has not returned from an earlier order that timed out";
            return Err(Reply::new(Answer::TimedOut, words));
        }
        if self.shared.lock().waiting.len() >= MOST_WAITING {
            let words = format!("not asked: {MOST_WAITING} orders wait already");
            return Err(Reply::new(Answer::Busy, words));
        }
        if self.thread.is_none() {
            self.start()?;
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), Reply> {
        if self.left_behind.len() >= MOST_LEFT_BEHIND {
            let words = format!(
                "not asked: the kernel has not returned from {MOST_LEFT_BEHIND} earlier orders \
                 that timed out"
            );
            return Err(Reply::new(Answer::TimedOut, words));
        }
        let generation = self.shared.lock().generation;
        let (shared, outbox) = (Arc::clone(&self.shared), self.outbox.clone());
        let carry_out = Arc::clone(&self.carry_out);
        let thread = thread::Builder::new()
            .name(self.name.to_owned())
            .stack_size(STACK)
            .spawn(move || shared.work(generation, &*carry_out, &outbox))
            .map_err(|error| {
                let words = format!("not asked: cannot start a thread: {error}");
                Reply::new(Answer::Errno(error.raw_os_error().unwrap_or(libc::EAGAIN)), words)
            })?;
        self.thread = Some(thread);
        Ok(())
    }
}

impl Drop for Lane {
    /// Sends an idle thread home; one that is in the kernel goes when it
    /// returns, and nobody waits for it.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.generation += 1;
        state.waiting.clear();
        drop(state);
        self.shared.work.notify_all();
    }
}

impl Shared {
    /// The state holds plain data that is never left half changed, so a panic
    /// elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does.
    fn work(&self, generation: u64, carry_out: &CarryOut, outbox: &Outbox) {
        while let Some(job) = self.next(generation) {
            let reply = carry_out(&job.order);
            let mut state = self.lock();
            let late = state.generation != generation;
            if !late {
                state.running = None;
            }
            // Sent under the lock: whoever sees the job gone has its answer.
            let sent = outbox.done.send(Done { job, reply, at: Instant::now(), late });
            drop(state);
            // A bell that cannot ring has been rung 2^64 - 2 times already.
            let _ = outbox.bell.write(1);
            if sent.is_err() {
                return;
            }
        }
    }

    /// The next job; `None` when this thread is no longer wanted.
    fn next(&self, generation: u64) -> Option<Job> {
        let idle = |state: &mut State| state.generation == generation && state.waiting.is_empty();
        let mut state =
            self.work.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if state.generation != generation {
            return None;
        }
        let job = state.waiting.pop_front();
        state.running.clone_from(&job);
        job
    }
}

/// Whether two orders are about the same page or CPU.
fn overlap(a: &Order, b: &Order) -> bool {
    a.pages().iter().any(|page| b.pages().contains(page))
        || a.cpus().iter().any(|cpu| b.cpus().contains(cpu))
}
