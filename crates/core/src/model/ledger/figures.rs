//! Figures over the lines of the ledger, kept line by line.

use super::times::Times;
use crate::model::{Asked, By, Isolation, IsolationState, Target, Time};

const STATES: usize = 7;

/// How many lines there are of each kind and state, and what the pages among
/// them use of the limits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Figures {
    states: [[usize; STATES]; 2],
    pub(super) pages: PageFigures,
}

/// What pages use of the limits.
///
/// What would have been taken counts in mode observe only, so it is kept apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageFigures {
    /// Pages that may go at any moment: each has a place of the day.
    going: usize,
    /// Pages that count against the memory in all.
    ours: usize,
    /// Pages that do so in mode observe, besides.
    observed: usize,
    /// When each page was taken that is neither going nor observed.
    taken: Times,
    /// When each observed page was taken before.
    observed_taken: Times,
    /// Since when each observed page would have been taken.
    observed_since: Times,
    /// When each page that a limit holds back is to be tried again.
    alarms: Times,
    /// Since when each page that is to come off has failed to.
    failing: Times,
}

impl Figures {
    pub(super) fn count(&self, is_cpu: bool, state: IsolationState) -> usize {
        let [pages, cpus] = &self.states;
        let counts = if is_cpu { cpus } else { pages };
        counts.get(state as usize).copied().unwrap_or(0)
    }

    /// A line that came to `from` comes to `to`.
    pub(super) fn change(&mut self, from: &Share, to: &Share) {
        if from.state != to.state {
            if let Some(count) = self.state_of(from) {
                *count = count.saturating_sub(1);
            }
            if let Some(count) = self.state_of(to) {
                *count += 1;
            }
        }
        self.pages.change(&from.page, &to.page);
    }

    fn state_of(&mut self, share: &Share) -> Option<&mut usize> {
        let (is_cpu, state) = share.state?;
        let [pages, cpus] = &mut self.states;
        let counts = if is_cpu { cpus } else { pages };
        counts.get_mut(state as usize)
    }
}

/// What one line comes to in the figures; that of no line is the default.
#[derive(Debug, Clone, Default)]
pub(super) struct Share {
    /// Whether it is a CPU's, and its state.
    state: Option<(bool, IsolationState)>,
    page: PageShare,
}

/// The part of a page's line in each of [`PageFigures`].
#[derive(Debug, Clone, Copy, Default)]
struct PageShare {
    going: bool,
    ours: bool,
    observed: bool,
    taken: Option<Time>,
    observed_taken: Option<Time>,
    observed_since: Option<Time>,
    alarm: Option<Time>,
    failing: Option<Time>,
}

impl Share {
    pub(super) fn of(line: &Isolation) -> Share {
        let is_cpu = matches!(line.target, Target::Cpu(_));
        let page = if is_cpu { PageShare::default() } else { PageShare::of(line) };
        Share { state: Some((is_cpu, line.state)), page }
    }
}

impl PageShare {
    fn of(line: &Isolation) -> PageShare {
        let kernels = line.by == By::Kernel;
        let observed = line.state == IsolationState::Observed && !kernels;
        // No limit binds what can take the host down.
        let capped = !kernels && !line.unreadable;
        let alarm = line.next_try.filter(|_| line.waits_for_room());
        let failing = line.failing_since.filter(|_| line.is_failing());
        let mut share = PageShare {
            alarm: alarm.map(|stamp| stamp.at),
            failing: failing.map(|stamp| stamp.at),
            ..PageShare::default()
        };
        if capped && line.may_go() && !line.restores {
            share.going = true;
            share.ours = true;
            return share;
        }
        // What is restored has the place of the day that it had.
        let held = line.asked == Some(Asked::Give)
            || (line.taken.is_some() && (line.state == IsolationState::Isolated || line.may_go()));
        share.ours = capped && held;
        share.observed = observed && !share.ours;
        let taken = line.taken.map(|stamp| stamp.at);
        if observed {
            share.observed_taken = taken;
            share.observed_since = if line.restores { taken } else { Some(line.since.at) };
        } else {
            share.taken = taken;
        }
        share
    }
}

impl PageFigures {
    /// Pages that may go at any moment.
    pub(crate) fn going(&self) -> usize {
        self.going
    }

    /// Pages that count against the memory in all.
    pub(crate) fn ours(&self, observe: bool) -> usize {
        self.ours + if observe { self.observed } else { 0 }
    }

    /// When the pages that are not going took their places of the day, but for
    /// those that did so `earlier`: two lists, each in order.
    pub(crate) fn places(
        &self,
        observe: bool,
        earlier: impl Fn(Time) -> bool,
    ) -> (&[Time], &[Time]) {
        let observed = if observe { &self.observed_since } else { &self.observed_taken };
        (self.taken.rest(&earlier), observed.rest(&earlier))
    }

    /// Pages that a limit holds back and that are to be tried after `now`.
    pub(crate) fn alarms(&self, now: Time) -> usize {
        self.alarms.rest(|at| at <= now).len()
    }

    /// Pages that have failed to come off for more than a day: see
    /// [`Isolation::is_stuck`].
    pub fn stuck(&self, now: Time) -> usize {
        let all = self.failing.rest(|_| false).len();
        all - self.failing.rest(|at| now.since(at) > Isolation::STUCK_AFTER).len()
    }

    fn change(&mut self, from: &PageShare, to: &PageShare) {
        count(&mut self.going, from.going, to.going);
        count(&mut self.ours, from.ours, to.ours);
        count(&mut self.observed, from.observed, to.observed);
        self.taken.change(from.taken, to.taken);
        self.observed_taken.change(from.observed_taken, to.observed_taken);
        self.observed_since.change(from.observed_since, to.observed_since);
        self.alarms.change(from.alarm, to.alarm);
        self.failing.change(from.failing, to.failing);
    }
}

fn count(all: &mut usize, was: bool, is: bool) {
    match (was, is) {
        (false, true) => *all += 1,
        (true, false) => *all = all.saturating_sub(1),
        _ => {}
    }
}
