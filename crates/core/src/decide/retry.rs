//! Trying again: what did not come off, what has its time, and what finds room.

use super::budget::PageBudget;
use super::guard;
use super::settle::{capitalized, settle, targets_name, Verdict};
use super::{
    cpu, group, page, room, ue, Answer, Checks, Context, DecisionKind, HugetlbPolicy, Order,
    Outcome, Plan,
};
use crate::model::{
    Asked, By, FaultState, Isolation, IsolationState, Ledger, Pfn, Stamp, Target, Time,
};
use std::time::Duration;

/// Lines and looks handled by one call of [`due`]; the rest is due at once.
const MOST: usize = 256;

/// What is used for something that cannot be moved now is tried again so
/// often: of 200 page-table pages 199 came off once their owner had exited.
const HOURLY: Duration = Duration::from_secs(3600);

/// The longest wait after EBUSY.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

/// A page that answers EBUSY so often in a row is pinned: the waits between the
/// tries add up to a day, and what merely lost a race, or waited for a device
/// to be done with it, does not do so for a day.
const PINNED_TRIES: u32 = 297;

/// 1 s after the first failure, doubling to [`LONGEST_BACKOFF`].
fn backoff(failures: u32) -> Duration {
    let seconds = 1u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
    Duration::from_secs(seconds).min(LONGEST_BACKOFF)
}

/// When [`due`] has something to do next; a moment that has passed means now.
pub fn next_due(ledger: &Ledger, checks: &Checks) -> Option<Time> {
    ledger.next_try().into_iter().chain(checks.next()).min()
}

/// What is due now: looks, retries, and what a limit held back and now finds
/// room. Call it when [`next_due`] says so and after every event, since an
/// event may have made room.
///
/// One call orders at most 256 things, and at most one set of CPUs.
pub fn due(ctx: &Context, checks: &mut Checks) -> Plan {
    let mut plan = Plan { orders: checks.take_due(ctx.now.at, MOST), ..Plan::default() };
    let mut left = MOST - plan.orders.len();
    let mut pages = PageBudget::of(ctx);
    let mut cpus_decided = false;
    let timed = ctx.ledger.due(ctx.now.at).filter(|line| !room::is_queued(line));
    let held = ctx.ledger.cpus().filter(|line| guard::waits_for_an_event(line));
    for line in timed.chain(held) {
        if left == 0 {
            break;
        }
        let before = plan.isolations.len();
        match line.target {
            Target::Page(pfn) => page_again(ctx, &mut pages, &mut plan, line, pfn),
            // Sets are guarded by what the ledger says: one at a time.
            Target::Cpu(_) if cpus_decided => continue,
            Target::Cpu(_) => {
                cpu::again(ctx, &mut plan, line);
                cpus_decided = plan.isolations.len() > before;
            }
        }
        if plan.isolations.len() > before {
            left -= 1;
        }
    }
    room::fill(ctx, &mut pages, &mut plan, left);
    group::told(ctx, plan)
}

fn page_again(ctx: &Context, budget: &mut PageBudget, plan: &mut Plan, line: &Isolation, pfn: Pfn) {
    let mut line = line.clone();
    match line.state {
        // An uncorrected error was reported on it, and the look that tells
        // whether it is still off did not answer.
        IsolationState::Isolated if line.ue.is_some() && !line.is_under_way() => {
            line.next_try = Some(ctx.now.after(HOURLY));
            plan.isolations.push(line);
            plan.orders.push(Order::Inspect(pfn));
        }
        IsolationState::Isolated | IsolationState::Released | IsolationState::Stale => {
            line.next_try = None;
            plan.isolations.push(line);
        }
        _ if ue::has_ue(&line) => {
            line.next_try = None;
            if line.state != IsolationState::Failed && line.state != IsolationState::Wanted {
                line.state = IsolationState::Wanted;
                line.since = ctx.now;
            }
            plan.isolations.push(line);
            plan.orders.push(Order::Inspect(pfn));
        }
        _ => {
            let name = targets_name(ctx, &[line.target]);
            page::take(ctx, budget, plan, line, pfn, there_is_room(&name));
        }
    }
}

/// Held back by the kernel's policy or that for huge pages, and tried again at
/// its own pace.
pub(super) fn is_spared(line: &Isolation) -> bool {
    line.state == IsolationState::Refused
        && line.failures > 0
        && line.next_try.is_some()
        && line.ue.is_none()
}

/// Why something that was held back goes after all.
pub(super) fn there_is_room(name: &str) -> String {
    format!("A fault stands on {name}, and what held it back does so no more.")
}

/// What a wanted line goes for, told when it is off: why it was wanted, or,
/// where the words since told of a failure, that it is off at last.
pub(super) fn cause_of(ctx: &Context, line: &Isolation) -> String {
    if line.state == IsolationState::Wanted && line.failures == 0 && !line.why.is_empty() {
        line.why.clone()
    } else {
        format!("What kept {} in service has passed.", targets_name(ctx, &[line.target]))
    }
}

/// Settled: nothing is asked, nothing tried again, no error waits for a look.
pub(super) fn clear(line: &mut Isolation) {
    line.ue = None;
    line.next_try = None;
    line.failures = 0;
    line.failing_since = None;
    line.asked = None;
    line.restores = false;
}

/// What is still unanswered after this answer to an order to take, or to a look
/// beside it.
///
/// An effect on a page that was not known stays so until it is seen. For CPUs
/// an answer that tells anything settles what was asked before: act asks for no
/// CPU that an earlier order is still in the kernel for, and reads each.
pub(super) fn asked_after(line: &Isolation, outcome: &Outcome) -> Option<Asked> {
    match (&outcome.order, outcome.answer, line.asked) {
        (Order::Inspect(_), ..) => line.asked,
        (_, Answer::TimedOut | Answer::Unconfirmed, _) => Some(Asked::Unsure),
        (Order::TakeCpus(_), ..) => None,
        (_, _, Some(Asked::Unsure | Asked::Retake)) => Some(Asked::Unsure),
        _ => None,
    }
}

/// Read back as out of service.
pub(super) fn is_out(why: String) -> Verdict {
    Verdict {
        state: IsolationState::Isolated,
        kind: DecisionKind::Taken,
        why,
        done: "It is out of service, and read back as such.".to_owned(),
        next: String::new(),
        human: false,
        fault: FaultState::Isolated,
    }
}

/// Released while the order to take it was under way, and it went.
pub(super) fn went_after_release() -> Verdict {
    Verdict {
        state: IsolationState::Isolated,
        kind: DecisionKind::Taken,
        why: "It was released while it was being taken, and went all the same.".to_owned(),
        done: "It is being given back.".to_owned(),
        next: "Nothing now: the outcome will be told.".to_owned(),
        human: false,
        fault: FaultState::Open,
    }
}

/// Given back on an admin's request.
pub(super) fn released(ctx: &Context, plan: &mut Plan, mut lines: Vec<Isolation>) {
    for line in &mut lines {
        line.by = By::Admin;
        line.release = None;
        line.next_try = None;
        line.failures = 0;
        line.failing_since = None;
        // An order that may have an effect yet was given no place of the day.
        line.unreadable &= line.asked.is_some();
        line.restores &= line.asked.is_some();
    }
    let targets: Vec<Target> = lines.iter().map(|line| line.target).collect();
    let name = targets_name(ctx, &targets);
    settle(
        ctx,
        plan,
        lines,
        Verdict {
            state: IsolationState::Released,
            kind: DecisionKind::Released,
            why: format!("An admin asked for {name} back."),
            done: "It is in service; its error window starts anew.".to_owned(),
            next: "Close its fault if the part was repaired or replaced.".to_owned(),
            human: false,
            fault: FaultState::Open,
        },
    );
}

/// Somebody brought it back; who does so is not fought.
pub(super) fn came_back(ctx: &Context, plan: &mut Plan, mut line: Isolation) {
    line.by = By::Admin;
    line.release = None;
    clear(&mut line);
    let name = targets_name(ctx, &[line.target]);
    settle(
        ctx,
        plan,
        vec![line],
        Verdict {
            state: IsolationState::Released,
            kind: DecisionKind::BroughtBack,
            why: format!("Somebody brought {name} back into service."),
            done: "It is listed as released and left alone.".to_owned(),
            next: "Close its fault if the part is sound; it is taken again only if it fails anew."
                .to_owned(),
            human: false,
            fault: FaultState::Open,
        },
    );
}

/// An order to take `lines` was answered with anything but off.
pub(super) fn not_taken(
    ctx: &Context,
    plan: &mut Plan,
    mut lines: Vec<Isolation>,
    outcome: &Outcome,
) {
    let failures = lines.iter().map(|line| line.failures).max().unwrap_or(0).saturating_add(1);
    let targets: Vec<Target> = lines.iter().map(|line| line.target).collect();
    let name = targets_name(ctx, &targets);
    let mut verdict = verdict_of(&name, outcome);
    for line in lines.iter_mut().filter(|line| matches!(line.target, Target::Page(_))) {
        let failed = matches!(verdict.state, IsolationState::Wanted | IsolationState::Failed);
        line.failing_since = failed.then(|| line.failing_since.unwrap_or(ctx.now));
        match outcome.answer {
            // One that is taken only while it is free waits for that, however long.
            Answer::Busy if failures >= PINNED_TRIES && !line.unreadable => {
                verdict = pinned(&name);
            }
            Answer::Unhandlable if line.fails_for_long(ctx.now.at) => verdict = stuck(&name),
            _ => {}
        }
    }
    let wait = match verdict.state {
        IsolationState::Refused if outcome.answer == Answer::Spared => Some(HOURLY),
        IsolationState::Wanted => Some(backoff(failures)),
        IsolationState::Failed => Some(HOURLY),
        _ => None,
    };
    let next_try: Option<Stamp> = wait.map(|wait| ctx.now.after(wait));
    for line in &mut lines {
        line.asked = asked_after(line, outcome);
        line.failures = failures;
        line.next_try = next_try;
    }
    settle(ctx, plan, lines, verdict);
}

/// Without the figures of the moment, which each attempt keeps: the sentence is
/// news only once.
fn spared(name: &str, order: &Order) -> String {
    let name = capitalized(name.to_owned());
    match order {
        Order::SoftOfflineSparing(_, HugetlbPolicy::KeepFree(keep)) => {
            format!("{name} is part of a huge page, of which {keep} must stay free (page.hugetlb).")
        }
        _ => format!("{name} is part of a huge page, which the policy keeps (page.hugetlb)."),
    }
}

/// EBUSY for ever.
fn pinned(name: &str) -> Verdict {
    Verdict {
        state: IsolationState::Failed,
        kind: DecisionKind::Escalated,
        why: format!(
            "Something keeps {name} pinned: for a day the kernel could not take it (EBUSY), \
             whenever it was asked."
        ),
        done: "It stays in service, and is tried again by itself every hour.".to_owned(),
        next: "Restart what pins memory (a device passed to a guest, RDMA, io_uring), or keep \
               the page out of the next boot: see `bulkhead bootmask`."
            .to_owned(),
        human: true,
        fault: FaultState::Escalated,
    }
}

/// EIO for more than a day.
fn stuck(name: &str) -> Verdict {
    Verdict {
        state: IsolationState::Failed,
        kind: DecisionKind::Escalated,
        why: format!(
            "The kernel has used {name} for what it cannot move (EIO) for more than a day."
        ),
        done: "It stays in service, and is tried again by itself every hour.".to_owned(),
        next: "Reboot when it suits, which tries it first of all, or keep it out of the next \
               boot: see `bulkhead bootmask`."
            .to_owned(),
        human: true,
        fault: FaultState::Escalated,
    }
}

fn verdict_of(name: &str, outcome: &Outcome) -> Verdict {
    use DecisionKind::{Failed, Refused};
    let (state, kind, human, why) = match outcome.answer {
        Answer::InUse => (
            IsolationState::Wanted,
            Failed,
            false,
            format!("{name} is in use, and moving its content would read an uncorrected error."),
        ),
        Answer::Busy => (
            IsolationState::Wanted,
            Failed,
            false,
            format!("The kernel could not take {name} at this moment (EBUSY)."),
        ),
        Answer::Unhandlable => (
            IsolationState::Failed,
            Failed,
            false,
            format!("The kernel uses {name} for what it cannot move now (EIO)."),
        ),
        Answer::NotAllowed => (
            IsolationState::Refused,
            Refused,
            true,
            format!("The kernel's policy does not let {name} be taken: {}.", outcome.answered),
        ),
        Answer::Spared => (IsolationState::Refused, Refused, true, spared(name, &outcome.order)),
        Answer::NoSuch => (
            IsolationState::Refused,
            Refused,
            true,
            format!("The kernel knows no such thing as {name}, or has no file to take it by."),
        ),
        Answer::TimedOut => (
            IsolationState::Failed,
            Failed,
            true,
            format!("The kernel did not answer in time when asked to take {name}."),
        ),
        Answer::Errno(errno) => (
            IsolationState::Failed,
            Failed,
            true,
            format!("The kernel did not take {name} (errno {errno})."),
        ),
        Answer::Unconfirmed | Answer::On | Answer::Off | Answer::WasOff => (
            IsolationState::Failed,
            Failed,
            true,
            format!("The kernel was asked to take {name}, and it reads back as in service."),
        ),
    };
    let (done, next, fault) = match state {
        IsolationState::Wanted => (
            "It is tried again by itself, after 1 s and up to 5 min apart.",
            "Nothing now: what uses it may let go of it.",
            FaultState::Open,
        ),
        IsolationState::Failed => (
            "It is tried again by itself every hour.",
            if human {
                "Look at the kernel log; move the work away if the errors go on."
            } else {
                "Nothing now: a reboot or the end of its user lets it be taken."
            },
            FaultState::Open,
        ),
        _ if outcome.answer == Answer::Spared => (
            "It stays in service, and is tried again by itself every hour.",
            "Give the pool more huge pages, set page.hugetlb = \"always\", or plan the \
             replacement of the memory module.",
            FaultState::Escalated,
        ),
        _ => (
            "It stays in service, and is tried again at the next start of the daemon.",
            "Change the kernel's setting (vm.enable_soft_offline, lockdown, privileges), or plan \
             the replacement of the part.",
            FaultState::Escalated,
        ),
    };
    Verdict { state, kind, why, done: done.to_owned(), next: next.to_owned(), human, fault }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_wait_doubles_from_1_s_until_it_is_5_min(failures in 1u32..) {
            let (wait, next) = (backoff(failures), backoff(failures.saturating_add(1)));
            prop_assert!(wait >= backoff(1) && wait <= LONGEST_BACKOFF);
            prop_assert_eq!(next, (wait * 2).min(LONGEST_BACKOFF));
        }
    }

    #[test]
    fn a_page_is_pinned_when_it_was_busy_for_a_day() {
        let day = Duration::from_secs(24 * 3600);
        let waited = |tries| (1..tries).map(backoff).sum::<Duration>();
        assert!(waited(PINNED_TRIES) >= day && waited(PINNED_TRIES - 1) < day);
    }

    #[test]
    fn the_first_wait_is_1_s() {
        assert_eq!(backoff(1), Duration::from_secs(1));
    }
}
