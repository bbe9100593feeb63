//! One thread that carries out orders one after the other, and is left behind
//! when the kernel does not return from one.

use super::reply::Reply;
use bulkhead_core::decide::{Answer, Order};
use bulkhead_core::model::{Stamp, Time};
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
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
    pub bell: Arc<Bell>,
}

/// Wakes the reader, once for all that came since it looked.
pub(super) struct Bell {
    event: EventFd,
    /// It was rung, and the reader has not looked since.
    is_rung: AtomicBool,
}

impl Bell {
    /// # Errors
    /// When the kernel has no file descriptor to spare.
    pub fn new() -> Result<Bell, Errno> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Bell { event: EventFd::from_flags(flags)?, is_rung: AtomicBool::new(false) })
    }

    /// To be called when there is something to look at.
    pub fn ring(&self) {
        // Whoever finds it rung was in time: the reader is yet to look.
        if !self.is_rung.swap(true, Ordering::SeqCst) {
            // A bell that cannot ring has been rung 2^64 - 2 times already.
            let _ = self.event.write(1);
        }
    }

    /// To be called before looking: what comes after rings again.
    pub fn silence(&self) {
        // EAGAIN says that it was silent, or is just being rung: then the reader wakes once more for nothing.
        let _ = self.event.read();
        self.is_rung.store(false, Ordering::SeqCst);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
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
    /// A thread sleeps until it is told of work.
    is_idle: bool,
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
        let mut state = self.shared.lock();
        state.waiting.push_back(job);
        // Each notification is a system call, and there may be many jobs.
        let is_idle = std::mem::take(&mut state.is_idle);
        drop(state);
        if is_idle {
            self.shared.work.notify_all();
        }
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
            outbox.bell.ring();
            if sent.is_err() {
                return;
            }
        }
    }

    /// The next job; `None` when this thread is no longer wanted.
    fn next(&self, generation: u64) -> Option<Job> {
        let idle = |state: &mut State| {
            let idle = state.generation == generation && state.waiting.is_empty();
            state.is_idle |= idle;
            idle
        };
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

    fn rings(bell: &Bell) -> bool {
        poll(&mut [PollFd::new(bell.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn a_bell_rings_again_for_what_comes_after_the_look() {
        let bell = Bell::new().unwrap();
        assert!(!rings(&bell));
        for _ in 0..2 {
            bell.ring();
            bell.ring();
            assert!(rings(&bell));
            bell.silence();
            assert!(!rings(&bell));
        }
    }

    #[test]
    fn nothing_that_was_sent_before_the_bell_is_left_unseen() {
        const JOBS: u64 = 20_000;
        let bell = Arc::new(Bell::new().unwrap());
        let (sender, done) = std::sync::mpsc::channel();
        let theirs = Arc::clone(&bell);
        let worker = thread::spawn(move || {
            for job in 0..JOBS {
                sender.send(job).unwrap();
                theirs.ring();
            }
        });
        let mut next = 0;
        while next < JOBS {
            let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut fds, 10_000_u16).unwrap(), 1, "asleep with {next} seen");
            bell.silence();
            while let Ok(job) = done.try_recv() {
                assert_eq!(job, next);
                next += 1;
            }
        }
        worker.join().unwrap();
    }
}
