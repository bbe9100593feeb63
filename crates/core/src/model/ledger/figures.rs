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

    pub(super) fn add(&mut self, line: &Isolation) {
        if let Some(count) = self.state_of(line) {
            *count += 1;
        }
        if matches!(line.target, Target::Page(_)) {
            self.pages.change(line, |count| *count += 1, Times::insert);
        }
    }

    pub(super) fn remove(&mut self, line: &Isolation) {
        if let Some(count) = self.state_of(line) {
            *count = count.saturating_sub(1);
        }
        if matches!(line.target, Target::Page(_)) {
            self.pages.change(line, |count| *count = count.saturating_sub(1), Times::remove);
        }
    }

    fn state_of(&mut self, line: &Isolation) -> Option<&mut usize> {
        let [pages, cpus] = &mut self.states;
        let counts = if matches!(line.target, Target::Cpu(_)) { cpus } else { pages };
        counts.get_mut(line.state as usize)
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

    /// Enters or takes out a line: what counts in it is changed by `count`, its
    /// moments by `time`.
    fn change(
        &mut self,
        line: &Isolation,
        count: impl Fn(&mut usize),
        time: impl Fn(&mut Times, Time),
    ) {
        let kernels = line.by == By::Kernel;
        let observed = line.state == IsolationState::Observed && !kernels;
        if !kernels && line.may_go() && !line.restores {
            count(&mut self.going);
            count(&mut self.ours);
        } else {
            // What is restored has the place of the day that it had.
            let held = line.asked == Some(Asked::Give)
                || (line.taken.is_some()
                    && (line.state == IsolationState::Isolated || line.may_go()));
            if !kernels && held {
                count(&mut self.ours);
            } else if observed {
                count(&mut self.observed);
            }
            let taken = if observed { &mut self.observed_taken } else { &mut self.taken };
            if let Some(at) = line.taken {
                time(taken, at.at);
            }
            let since = if line.restores { line.taken } else { Some(line.since) };
            if let Some(since) = since.filter(|_| observed) {
                time(&mut self.observed_since, since.at);
            }
        }
        if let (true, Some(next)) = (line.waits_for_room(), line.next_try) {
            time(&mut self.alarms, next.at);
        }
        if let (true, Some(since)) = (line.is_failing(), line.failing_since) {
            time(&mut self.failing, since.at);
        }
    }
}
