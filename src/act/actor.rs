//! Takes orders and hands out what came of them, without ever waiting.

use super::lane::{Answered, CarryOut, Done, Job, Lane, Outbox};
use super::page::How;
use super::reply::Reply;
use super::{affinity, cpu, page, restore};
use crate::host::{topology, Root};
use bulkhead_core::decide::{Answer, Order, Outcome};
use bulkhead_core::model::{PageSize, Stamp, Time};
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{self, Receiver};
use std::sync::Arc;
use std::time::Instant;

/// The actor could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot create an eventfd: {0}")]
pub struct ActError(Errno);

/// Carries out orders beside the caller's loop.
///
/// Orders about pages, about CPUs and mere looks each have a lane of their own,
/// in which they are carried out in the order they came. One that the kernel
/// does not return from within [`TIME_LIMIT`](super::TIME_LIMIT) is answered
/// `TimedOut`, and nothing waits for it any longer; should it return after all,
/// a second outcome for the same order says what it came to.
///
/// Its threads inherit the signal mask: whoever handles signals blocks them
/// before the first order.
pub struct Actor {
    kernel: Kernel,
    write: bool,
    pages: Lane,
    cpus: Lane,
    looks: Lane,
    done: Receiver<Done>,
    bell: Arc<EventFd>,
    /// Outcomes that nobody has fetched yet.
    ready: Vec<Outcome>,
    /// Jobs in the lanes.
    under_way: usize,
    last_ticket: u64,
    /// See [`Actor::restored_at`].
    restored_at: Option<Instant>,
}

/// Where orders go, and how they are put there.
#[derive(Debug, Clone)]
struct Kernel {
    root: Root,
    page_size: PageSize,
}

impl Actor {
    /// With `write` false, in mode observe or under `--root`, only
    /// looks are carried out; anything else is answered
    /// `NotAllowed`.
    ///
    /// # Errors
    /// When the kernel has no file descriptor to spare.
    pub fn new(root: Root, write: bool) -> Result<Actor, ActError> {
        let kernel = Kernel { root, page_size: topology::page_size() };
        let theirs = kernel.clone();
        let carry_out = Arc::new(move |order: &Order| theirs.carry_out(order));
        Actor::carried_out_by(kernel, write, carry_out)
    }

    fn carried_out_by(
        kernel: Kernel,
        write: bool,
        carry_out: Arc<CarryOut>,
    ) -> Result<Actor, ActError> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = Arc::new(EventFd::from_flags(flags).map_err(ActError)?);
        let (sender, done) = mpsc::channel();
        let outbox = Outbox { done: sender, bell: Arc::clone(&bell) };
        let lane = |name| Lane::new(name, Arc::clone(&carry_out), outbox.clone());
        Ok(Actor {
            kernel,
            write,
            pages: lane("act-pages"),
            cpus: lane("act-cpus"),
            looks: lane("act-looks"),
            done,
            bell,
            ready: Vec::new(),
            under_way: 0,
            last_ticket: 0,
            restored_at: None,
        })
    }

    /// Whether orders that come from now on may be carried out, but for
    /// [`Order::Inspect`]. Those that came before are carried out.
    pub fn set_write(&mut self, write: bool) {
        self.write = write;
    }

    /// Sets to work on an order. Never blocks; what cannot be carried out has
    /// its outcome ready at once.
    pub fn submit(&mut self, order: Order, now: Stamp) {
        self.last_ticket += 1;
        let job = Job { ticket: self.last_ticket, order, asked_at: now };
        let refused = if self.write || job.order.is_look() {
            let lane = self.lane(&job.order);
            lane.submit(job, now.at)
        } else {
            Some((job, Reply::new(Answer::NotAllowed, "not asked: Bulkhead only observes here")))
        };
        match refused {
            Some(answered) => {
                self.hand_out(answered);
                // The caller may go to sleep on the descriptor now.
                let _ = self.bell.write(1);
            }
            None => self.under_way += 1,
        }
    }

    /// What came back since the last call, and what timed out by now. Never
    /// blocks.
    pub fn outcomes(&mut self, now: Stamp) -> Vec<Outcome> {
        // Silenced before looking: what comes after rings again. EAGAIN says
        // that it was silent.
        let _ = self.bell.read();
        while let Ok(Done { job, mut reply, at, late }) = self.done.try_recv() {
            if matches!(job.order, Order::Restore(..)) {
                self.restored_at = Some(at);
            }
            if late {
                self.lane(&job.order).returned(job.ticket);
                reply.answered = format!("late, after it had timed out: {}", reply.answered);
            } else {
                self.under_way = self.under_way.saturating_sub(1);
            }
            self.hand_out((job, reply));
        }
        for lane in [&mut self.pages, &mut self.cpus, &mut self.looks] {
            for (job, reply) in lane.expire(now.at) {
                self.under_way = self.under_way.saturating_sub(1);
                if matches!(job.order, Order::Restore(..)) {
                    self.restored_at = None;
                }
                self.ready.push(self.kernel.outcome(job, reply));
            }
        }
        std::mem::take(&mut self.ready)
    }

    /// When [`Actor::outcomes`] must be called even if nothing comes back.
    pub fn next_timeout(&self) -> Option<Time> {
        [&self.pages, &self.cpus, &self.looks].into_iter().filter_map(Lane::deadline).min()
    }

    /// When the last [`Order::Restore`] came back, however late it was fetched;
    /// `None` while none has, or where one timed out since.
    pub fn restored_at(&self) -> Option<Instant> {
        self.restored_at
    }

    /// Orders whose outcome has not been fetched.
    pub fn pending(&self) -> usize {
        self.under_way + self.ready.len()
    }

    fn lane(&mut self, order: &Order) -> &mut Lane {
        match order {
            Order::SoftOffline(_)
            | Order::SoftOfflineSparing(..)
            | Order::Restore(..)
            | Order::OfflineFree(_)
            | Order::HardOffline(_)
            | Order::Unpoison(_) => &mut self.pages,
            Order::TakeCpus(_) | Order::GiveCpus(_) | Order::PutBack(..) => &mut self.cpus,
            Order::Inspect(_) | Order::Survey(_) => &mut self.looks,
        }
    }

    fn hand_out(&mut self, (job, reply): Answered) {
        self.ready.push(self.kernel.outcome(job, reply));
    }
}

impl AsFd for Actor {
    /// Readable when there are outcomes.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl Kernel {
    fn carry_out(&self, order: &Order) -> Reply {
        match order {
            Order::SoftOffline(pfn) => page::offline(&self.root, self.page_size, *pfn, How::Soft),
            Order::SoftOfflineSparing(pfn, hugetlb) => {
                page::offline_sparing(&self.root, self.page_size, *pfn, *hugetlb)
            }
            Order::OfflineFree(pfn) => page::offline(&self.root, self.page_size, *pfn, How::Free),
            Order::HardOffline(pfn) => page::offline(&self.root, self.page_size, *pfn, How::Hard),
            Order::Restore(pages, hugetlb) => {
                restore::restore(&self.root, self.page_size, pages, *hugetlb)
            }
            Order::Inspect(pfn) => page::inspect(&self.root, *pfn),
            Order::Unpoison(pfn) => page::unpoison(&self.root, *pfn),
            Order::TakeCpus(cpus) => cpu::take(&self.root, cpus),
            Order::GiveCpus(cpus) => cpu::give(&self.root, cpus),
            Order::Survey(cpus) => cpu::look(&self.root, cpus),
            Order::PutBack(_, tasks) => affinity::put_back(&self.root, tasks),
        }
    }

    fn outcome(&self, job: Job, reply: Reply) -> Outcome {
        let root = &self.root;
        let asked = match &job.order {
            Order::SoftOffline(pfn) | Order::SoftOfflineSparing(pfn, _) => {
                page::asked_offline(root, self.page_size, *pfn, How::Soft)
            }
            Order::OfflineFree(pfn) => page::asked_offline(root, self.page_size, *pfn, How::Free),
            Order::HardOffline(pfn) => page::asked_offline(root, self.page_size, *pfn, How::Hard),
            Order::Restore(pages, _) => restore::asked(root, pages),
            Order::Inspect(pfn) => page::asked_inspect(root, *pfn),
            Order::Unpoison(pfn) => page::asked_unpoison(root, *pfn),
            Order::TakeCpus(cpus) => cpu::asked(root, cpus, false),
            Order::GiveCpus(cpus) => cpu::asked(root, cpus, true),
            Order::Survey(cpus) => cpu::asked_look(cpus),
            Order::PutBack(_, tasks) => affinity::asked(tasks),
        };
        Outcome {
            order: job.order,
            answer: reply.answer,
            time: job.asked_at,
            asked,
            answered: reply.answered,
            survey: reply.survey,
            left_off: reply.left_off,
            apart: reply.apart,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::TIME_LIMIT;
    use super::*;
    use bulkhead_core::decide::HugetlbPolicy;
    use bulkhead_core::model::{CpuId, Pfn, Wall};
    use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    /// A kernel that answers `Off`, except that it does not return from orders
    /// that are stuck until they no longer are.
    #[derive(Default)]
    struct FakeKernel {
        stuck: Mutex<Vec<Order>>,
        freed: Condvar,
        entered: Mutex<Vec<Order>>,
        entry: Condvar,
    }

    impl FakeKernel {
        fn carry_out(&self, order: &Order) -> Reply {
            self.entered.lock().unwrap().push(order.clone());
            self.entry.notify_all();
            let stuck = self.stuck.lock().unwrap();
            drop(self.freed.wait_while(stuck, |stuck| stuck.contains(order)).unwrap());
            Reply::new(Answer::Off, "done")
        }

        fn hang_on(&self, order: &Order) {
            self.stuck.lock().unwrap().push(order.clone());
        }

        fn free(&self, order: &Order) {
            self.stuck.lock().unwrap().retain(|stuck| stuck != order);
            self.freed.notify_all();
        }

        fn free_all(&self) {
            self.stuck.lock().unwrap().clear();
            self.freed.notify_all();
        }

        fn wait_until_entered(&self, order: &Order) {
            let entered = self.entered.lock().unwrap();
            drop(self.entry.wait_while(entered, |entered| !entered.contains(order)).unwrap());
        }
    }

    fn actor(write: bool) -> (Arc<FakeKernel>, Actor) {
        let kernel = Arc::new(FakeKernel::default());
        let real = Kernel { root: Root::default(), page_size: PageSize::KIB_4 };
        let theirs = Arc::clone(&kernel);
        let carry_out = Arc::new(move |order: &Order| theirs.carry_out(order));
        (kernel, Actor::carried_out_by(real, write, carry_out).unwrap())
    }

    fn at(seconds: u64) -> Stamp {
        Stamp { at: Time(0), wall: Wall(0) }.after(Duration::from_secs(seconds))
    }

    fn soft(pfn: u64) -> Order {
        Order::SoftOffline(Pfn(pfn))
    }

    fn take(cpu: u32) -> Order {
        Order::TakeCpus(vec![CpuId(cpu)])
    }

    /// Waits until the descriptor is readable, as the daemon's loop does.
    fn woken(actor: &Actor) -> bool {
        let mut fds = [PollFd::new(actor.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(10_000_u16)).unwrap() > 0
    }

    fn wait_for(actor: &mut Actor, n: usize, now: Stamp) -> Vec<Outcome> {
        let mut outcomes = actor.outcomes(now);
        while outcomes.len() < n {
            assert!(woken(actor), "only {outcomes:?} of {n}");
            outcomes.extend(actor.outcomes(now));
        }
        outcomes
    }

    fn answers(outcomes: &[Outcome]) -> Vec<(Order, Answer)> {
        outcomes.iter().map(|o| (o.order.clone(), o.answer)).collect()
    }

    #[test]
    fn orders_of_a_lane_are_carried_out_as_they_came() {
        let (_kernel, mut actor) = actor(true);
        for pfn in 0..100 {
            actor.submit(soft(pfn), at(pfn));
        }
        assert_eq!(actor.pending(), 100);
        let outcomes = wait_for(&mut actor, 100, at(100));
        let expected: Vec<_> = (0..100).map(|pfn| (soft(pfn), Answer::Off)).collect();
        assert_eq!(answers(&outcomes), expected);
        assert_eq!(outcomes[7].time, at(7), "the time is when it was asked");
        assert_eq!(outcomes[7].asked, "0x7000 > /sys/devices/system/memory/soft_offline_page");
        assert_eq!((actor.pending(), actor.next_timeout()), (0, None));
    }

    #[test]
    fn nothing_waits_for_an_order_that_hangs() {
        let (kernel, mut actor) = actor(true);
        kernel.hang_on(&soft(1));
        for order in [soft(1), soft(2), take(3), Order::Inspect(Pfn(1))] {
            actor.submit(order, at(0));
        }
        let beside = wait_for(&mut actor, 2, at(1));
        assert!(beside.iter().all(|o| o.order != soft(1) && o.order != soft(2)), "{beside:?}");

        kernel.wait_until_entered(&soft(1));
        assert_eq!(actor.next_timeout(), Some(at(60).at));
        assert_eq!(actor.outcomes(at(59)), []);
        let outcomes = wait_for(&mut actor, 2, at(60));
        assert_eq!(answers(&outcomes), [(soft(1), Answer::TimedOut), (soft(2), Answer::Off)]);
        assert_eq!(actor.pending(), 0);
        kernel.free_all();
    }

    #[test]
    fn the_limit_runs_from_when_an_order_is_begun_not_from_when_it_was_queued() {
        let (kernel, mut actor) = actor(true);
        kernel.hang_on(&soft(1));
        kernel.hang_on(&soft(2));
        actor.submit(soft(1), at(0));
        actor.submit(soft(2), at(0));
        kernel.free(&soft(1));
        assert_eq!(answers(&wait_for(&mut actor, 1, at(50))), [(soft(1), Answer::Off)]);
        kernel.wait_until_entered(&soft(2));
        assert_eq!(actor.outcomes(at(61)), []);
        assert_eq!(answers(&actor.outcomes(at(110))), [(soft(2), Answer::TimedOut)]);
        kernel.free_all();
    }

    #[test]
    fn a_late_answer_is_handed_out_too() {
        let (kernel, mut actor) = actor(true);
        kernel.hang_on(&soft(1));
        actor.submit(soft(1), at(0));
        kernel.wait_until_entered(&soft(1));
        assert_eq!(answers(&actor.outcomes(at(60))), [(soft(1), Answer::TimedOut)]);
        kernel.free_all();
        let late = wait_for(&mut actor, 1, at(70));
        assert_eq!(answers(&late), [(soft(1), Answer::Off)]);
        assert!(late[0].answered.starts_with("late"), "{}", late[0].answered);
        assert_eq!(actor.pending(), 0);
    }

    #[test]
    fn only_what_restores_says_when_restoring_was_over() {
        let (kernel, mut actor) = actor(true);
        let restore = |pfn| Order::Restore(vec![Pfn(pfn)], HugetlbPolicy::Always);
        actor.submit(restore(1), at(0));
        wait_for(&mut actor, 1, at(1));
        let over = actor.restored_at();
        assert!(over.is_some());
        actor.submit(Order::Inspect(Pfn(1)), at(2));
        wait_for(&mut actor, 1, at(3));
        assert_eq!(actor.restored_at(), over, "a look restores nothing");

        kernel.hang_on(&restore(2));
        actor.submit(restore(2), at(4));
        kernel.wait_until_entered(&restore(2));
        assert_eq!(actor.outcomes(at(64)).len(), 1);
        assert_eq!(actor.restored_at(), None, "it timed out");
        kernel.free_all();
    }

    #[test]
    fn a_late_answer_does_not_cover_for_the_next_order_that_hangs() {
        let (kernel, mut actor) = actor(true);
        for pfn in [1, 2] {
            kernel.hang_on(&soft(pfn));
            actor.submit(soft(pfn), at(0));
        }
        kernel.wait_until_entered(&soft(1));
        assert_eq!(answers(&actor.outcomes(at(60))), [(soft(1), Answer::TimedOut)]);
        kernel.wait_until_entered(&soft(2));
        kernel.free(&soft(1));
        assert_eq!(answers(&wait_for(&mut actor, 1, at(61))), [(soft(1), Answer::Off)]);
        assert_eq!(answers(&actor.outcomes(at(120))), [(soft(2), Answer::TimedOut)]);
        kernel.free_all();
    }

    #[test]
    fn what_hangs_is_not_asked_again_until_it_returns() {
        let (kernel, mut actor) = actor(true);
        let both = Order::TakeCpus(vec![CpuId(1), CpuId(5)]);
        let back = Order::GiveCpus(vec![CpuId(5)]);
        kernel.hang_on(&both);
        actor.submit(both.clone(), at(0));
        actor.submit(back.clone(), at(1));
        kernel.wait_until_entered(&both);
        let outcomes = actor.outcomes(at(60));
        let refused = [(both.clone(), Answer::TimedOut), (back.clone(), Answer::TimedOut)];
        assert_eq!(answers(&outcomes), refused, "neither what waited behind it");
        assert!(outcomes[1].answered.starts_with("not asked"), "{}", outcomes[1].answered);
        actor.submit(both.clone(), at(61));
        assert_eq!(answers(&actor.outcomes(at(61))), [(both, Answer::TimedOut)], "nor it");

        kernel.free_all();
        wait_for(&mut actor, 1, at(62));
        actor.submit(back.clone(), at(63));
        assert_eq!(answers(&wait_for(&mut actor, 1, at(63))), [(back, Answer::Off)]);
    }

    #[test]
    fn a_lane_with_four_threads_in_the_kernel_is_closed_until_one_returns() {
        let (kernel, mut actor) = actor(true);
        for pfn in 1..=4 {
            kernel.hang_on(&soft(pfn));
            actor.submit(soft(pfn), at(pfn * 100));
            kernel.wait_until_entered(&soft(pfn));
            let outcomes = actor.outcomes(at(pfn * 100 + 60));
            assert_eq!(answers(&outcomes), [(soft(pfn), Answer::TimedOut)]);
        }
        actor.submit(soft(9), at(500));
        assert!(woken(&actor), "a refusal wakes the loop");
        let outcomes = actor.outcomes(at(500));
        assert_eq!(answers(&outcomes), [(soft(9), Answer::TimedOut)]);
        assert!(outcomes[0].answered.contains("4 earlier"), "{}", outcomes[0].answered);

        actor.submit(take(1), at(501));
        assert_eq!(answers(&wait_for(&mut actor, 1, at(501))), [(take(1), Answer::Off)]);

        kernel.free_all();
        wait_for(&mut actor, 4, at(502));
        actor.submit(soft(9), at(503));
        assert_eq!(answers(&wait_for(&mut actor, 1, at(503))), [(soft(9), Answer::Off)]);
    }

    #[test]
    fn who_only_observes_only_looks() {
        let (kernel, mut actor) = actor(false);
        let orders = [
            soft(1),
            Order::HardOffline(Pfn(1)),
            Order::Unpoison(Pfn(1)),
            take(1),
            Order::GiveCpus(vec![CpuId(1)]),
            Order::Inspect(Pfn(1)),
        ];
        for order in &orders {
            actor.submit(order.clone(), at(0));
        }
        let outcomes = wait_for(&mut actor, orders.len(), at(0));
        for outcome in &outcomes[..5] {
            assert_eq!(outcome.answer, Answer::NotAllowed);
        }
        assert_eq!(*kernel.entered.lock().unwrap(), [Order::Inspect(Pfn(1))]);
    }

    #[test]
    fn a_flood_beyond_what_may_wait_is_answered_busy() {
        let (kernel, mut actor) = actor(true);
        kernel.hang_on(&soft(0));
        actor.submit(soft(0), at(0));
        kernel.wait_until_entered(&soft(0));
        for pfn in 1..=(1 << 16) + 3 {
            actor.submit(soft(pfn), at(0));
        }
        let outcomes = actor.outcomes(at(0));
        assert_eq!(outcomes.len(), 3);
        assert!(outcomes.iter().all(|o| o.answer == Answer::Busy));
        kernel.free_all();
        let rest = wait_for(&mut actor, (1 << 16) + 1, at(1));
        let distinct: BTreeSet<_> = rest.iter().map(|o| o.asked.clone()).collect();
        assert_eq!(distinct.len(), (1 << 16) + 1, "none lost, none twice");
    }

    #[test]
    fn an_actor_that_goes_does_not_wait_for_what_hangs() {
        let (kernel, mut actor) = actor(true);
        kernel.hang_on(&soft(1));
        actor.submit(soft(1), at(0));
        kernel.wait_until_entered(&soft(1));
        drop(actor);
        kernel.free_all();
    }

    #[test]
    fn orders_reach_the_files_of_their_kind() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        for sub in ["proc", "sys/devices/system/cpu/cpu1"] {
            std::fs::create_dir_all(root.path(sub)).unwrap();
        }
        std::fs::write(root.path("proc/kpageflags"), (1_u64 << 19).to_ne_bytes()).unwrap();
        std::fs::write(root.path("sys/devices/system/cpu/online"), "0-1\n").unwrap();
        std::fs::write(root.path("sys/devices/system/cpu/cpu1/online"), "1\n").unwrap();
        let mut actor = Actor::new(root, true).unwrap();
        for (order, expected) in [
            (soft(0), Answer::WasOff),
            (Order::HardOffline(Pfn(0)), Answer::WasOff),
            (Order::Inspect(Pfn(0)), Answer::Off),
            (Order::Unpoison(Pfn(0)), Answer::NoSuch),
            (take(1), Answer::Off),
            (Order::GiveCpus(vec![CpuId(1)]), Answer::On),
        ] {
            actor.submit(order.clone(), at(0));
            let outcomes = wait_for(&mut actor, 1, at(0));
            assert_eq!(answers(&outcomes), [(order, expected)]);
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Submit(Order),
        Hang(Order),
        FreeAll,
        Pass(u64),
    }

    fn order() -> impl Strategy<Value = Order> {
        prop_oneof![
            (0_u64..3).prop_map(soft),
            (0_u64..3).prop_map(|pfn| Order::Inspect(Pfn(pfn))),
            (0_u32..3).prop_map(take),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => order().prop_map(Step::Submit),
            1 => order().prop_map(Step::Hang),
            1 => Just(Step::FreeAll),
            2 => (0_u64..90).prop_map(Step::Pass),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_hangs_each_order_is_answered_once_and_late_at_most_once(
            steps in prop::collection::vec(step(), 1..60)
        ) {
            let (kernel, mut actor) = actor(true);
            let (mut submitted, mut now) = (0, 0);
            let mut outcomes = Vec::new();
            for step in steps {
                match step {
                    Step::Submit(order) => {
                        actor.submit(order, at(now));
                        submitted += 1;
                    }
                    Step::Hang(order) => kernel.hang_on(&order),
                    Step::FreeAll => kernel.free_all(),
                    Step::Pass(seconds) => now += seconds,
                }
                outcomes.extend(actor.outcomes(at(now)));
                // Else the loop would sleep on an unfetched outcome.
                prop_assert!(
                    actor.pending() == 0 || actor.next_timeout().is_some() || woken(&actor)
                );
            }
            kernel.free_all();
            while actor.pending() > 0 {
                prop_assert!(woken(&actor), "{} of {submitted} never answered", actor.pending());
                outcomes.extend(actor.outcomes(at(now)));
            }
            let late = outcomes.iter().filter(|o| o.answered.starts_with("late")).count();
            let timed_out = outcomes.iter().filter(|o| o.answered.starts_with("no answer")).count();
            prop_assert_eq!(outcomes.len() - late, submitted);
            prop_assert!(late <= timed_out);
        }
    }

    #[test]
    fn the_limit_is_a_minute() {
        assert_eq!(TIME_LIMIT, Duration::from_secs(60));
    }
}
