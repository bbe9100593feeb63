//! CPUs: taken by whole cores, given back, brought back.

use super::retry::{self, not_taken};
use super::settle::{cpus_name, settle, targets_name, Verdict};
use super::steps::{already_off, being_taken, hold, observe, order};
use super::{
    affinity, cpu_guard, guard, guard::Held, survey, Answer, Cause, Checks, Context, DecisionKind,
    Order, Outcome, Plan,
};
use crate::model::{Asked, By, CpuId, FaultState, Isolation, IsolationState, Survey, Target, Undo};
use std::collections::BTreeSet;
use std::time::Duration;

/// Half a core that does not come back is asked for again so often.
const HALF_AGAIN: Duration = Duration::from_secs(300);

/// A fault calls for these CPUs: with all hardware threads of their cores, or
/// not at all.
pub(super) fn found(ctx: &Context, cpus: &[CpuId], cause: &Cause) -> Plan {
    let mut plan = Plan::default();
    let set = whole_cores(ctx, cpus);
    let lines: Vec<Isolation> = set
        .iter()
        .filter_map(|cpu| ctx.ledger.get(&Target::Cpu(*cpu)))
        .filter(|line| line.state == IsolationState::Isolated || is_being_taken(line))
        .map(|line| Isolation { fault: cause.fault, ..line.clone() })
        .collect();
    let trying: Vec<Isolation> = lines.iter().filter(|l| is_being_taken(l)).cloned().collect();
    if !trying.is_empty() {
        being_taken(ctx, &mut plan, trying, cause);
        // An admin's order for one thread may be under way.
        hold_rest(ctx, &mut plan, &set, cause);
    } else if !set.is_empty() && lines.len() == set.len() {
        already_off(ctx, &mut plan, lines, cause);
    } else if set.iter().any(|cpu| is_under_way(ctx, *cpu)) {
        // On its way back, or released while it was being taken: the answer to
        // that order comes first.
        hold_rest(ctx, &mut plan, &set, cause);
    } else {
        take(ctx, &mut plan, &set, cause, None);
    }
    plan
}

fn is_under_way(ctx: &Context, cpu: CpuId) -> bool {
    ctx.ledger.get(&Target::Cpu(cpu)).is_some_and(Isolation::is_under_way)
}

/// Those of `set` that are neither off nor being taken wait for the order that
/// is under way for others. A line that has an order of its own out is left to
/// that; where there is no other, it remembers the fault, and its set.
fn hold_rest(ctx: &Context, plan: &mut Plan, set: &BTreeSet<CpuId>, cause: &Cause) {
    let settled_or_trying = |cpu: &CpuId| {
        let line = ctx.ledger.get(&Target::Cpu(*cpu));
        line.is_some_and(|l| l.state == IsolationState::Isolated || is_being_taken(l))
    };
    let rest = set.iter().filter(|cpu| !settled_or_trying(cpu));
    let (asked, mut lines): (Vec<Isolation>, Vec<Isolation>) =
        rest.map(|cpu| member(ctx, *cpu, set, cause)).partition(Isolation::is_under_way);
    if lines.is_empty() {
        lines = asked;
        for line in &mut lines {
            if let Some(old) = ctx.ledger.get(&line.target) {
                line.together.clone_from(&old.together);
            }
        }
    }
    if !lines.is_empty() {
        hold(ctx, plan, lines, after_other_order(ctx));
    }
}

pub(super) fn after_other_order(ctx: &Context) -> Held {
    Held {
        why: "Another order for a CPU of its core is under way.".to_owned(),
        next: "Nothing now: it is decided on again by itself.".to_owned(),
        next_try: Some(ctx.now.after(Checks::SETTLE)),
    }
}

fn is_being_taken(line: &Isolation) -> bool {
    matches!(line.state, IsolationState::Wanted | IsolationState::Failed)
}

fn is_refused(line: &Isolation) -> bool {
    line.state == IsolationState::Refused
}

/// A core fault belongs to all its hardware threads, whatever the finding
/// lists.
pub(super) fn whole_cores(ctx: &Context, cpus: &[CpuId]) -> BTreeSet<CpuId> {
    let threads = cpus.iter().filter_map(|cpu| ctx.machine.cpus.get(cpu)).flat_map(|c| &c.threads);
    cpus.iter().chain(threads).copied().collect()
}

/// Orders the set off if the guards allow it; without a survey, orders that
/// first. Members that are off line by somebody else's doing are listed as such,
/// and nothing is asked for them.
pub(super) fn take(
    ctx: &Context,
    plan: &mut Plan,
    set: &BTreeSet<CpuId>,
    cause: &Cause,
    survey: Option<&Survey>,
) {
    let mut members: Vec<Isolation> = set
        .iter()
        .filter(|cpu| !is_isolated(ctx, **cpu))
        .map(|cpu| member(ctx, *cpu, set, cause))
        .collect();
    if survey.is_some() {
        members.iter_mut().for_each(|line| line.asked = line.asked.and_then(Asked::unplanned));
    }
    let (off, mut on): (Vec<_>, Vec<_>) =
        members.iter().cloned().partition(|line| is_off_by_others(ctx, line));
    let cpus = numbers(&on);
    // What is off since an earlier boot goes again with others like it.
    let anew = members.iter().any(|line| !line.restores);
    let rate = cause.by != By::Admin && anew;
    let allowed = cpu_guard::cpus(ctx, set, &cpus, rate).and_then(|()| {
        survey.map_or(Ok(()), |survey| cpu_guard::surveyed(ctx, set, &cpus, survey))
    });
    if let Err(held) = allowed {
        // What an admin wants by itself goes on by itself.
        let held_lines: Vec<Isolation> =
            members.into_iter().filter(|line| !is_another_sets(ctx, line)).collect();
        hold(ctx, plan, held_lines, held);
        return;
    }
    if !off.is_empty() {
        off_by_others(ctx, plan, off, on.is_empty());
    }
    if on.is_empty() {
        return;
    }
    match survey {
        None => survey::order(ctx, plan, on, cause),
        Some(_) if ctx.policy.observe => observe(ctx, plan, on, cause.why.clone()),
        Some(survey) => {
            survey::remember(&mut on, survey);
            order(ctx, plan, on, cause.why.clone());
            plan.orders.push(Order::TakeCpus(cpus));
        }
    }
}

/// Being taken, or tried again, as part of another set than the line's.
fn is_another_sets(ctx: &Context, line: &Isolation) -> bool {
    ctx.ledger
        .get(&line.target)
        .is_some_and(|old| is_being_taken(old) && old.together != line.together)
}

/// The member's line, keeping what is known of earlier attempts.
fn member(ctx: &Context, cpu: CpuId, set: &BTreeSet<CpuId>, cause: &Cause) -> Isolation {
    let target = Target::Cpu(cpu);
    let mut line = ctx.fresh(target, cause);
    if let Some(old) = ctx.ledger.get(&target).filter(|old| is_being_taken(old)) {
        line.failures = old.failures;
        line.why.clone_from(&old.why);
    } else if let Some(old) = ctx.ledger.get(&target).filter(|old| is_refused(old)) {
        line.why.clone_from(&old.why);
    }
    line.together = set.iter().copied().collect();
    line
}

pub(super) fn numbers<'a>(lines: impl IntoIterator<Item = &'a Isolation>) -> Vec<CpuId> {
    lines.into_iter().filter_map(|line| line.target.cpu()).collect()
}

pub(super) fn is_isolated(ctx: &Context, cpu: CpuId) -> bool {
    ctx.ledger.get(&Target::Cpu(cpu)).is_some_and(|line| line.state == IsolationState::Isolated)
}

fn is_offline(ctx: &Context, line: &Isolation) -> bool {
    matches!(line.target, Target::Cpu(cpu) if ctx.machine.cpus.get(&cpu).is_some_and(|c| !c.online))
}

fn is_off_by_others(ctx: &Context, line: &Isolation) -> bool {
    is_offline(ctx, line) && line.asked.is_none()
}

/// Off line by somebody else's doing. The fault behind it is `contained` when
/// this is the last of its CPUs.
pub(super) fn off_by_others(
    ctx: &Context,
    plan: &mut Plan,
    mut lines: Vec<Isolation>,
    contained: bool,
) {
    for line in &mut lines {
        line.by = By::Admin;
        line.bound.clear();
        retry::clear(line);
    }
    let targets: Vec<Target> = lines.iter().map(|line| line.target).collect();
    let name = targets_name(ctx, &targets);
    settle(
        ctx,
        plan,
        lines,
        Verdict {
            state: IsolationState::Isolated,
            kind: DecisionKind::Taken,
            why: format!("Somebody else had taken {name} off line."),
            done: "It is listed as an admin's; nothing was asked for.".to_owned(),
            next: "Leave it off line until the processor is replaced.".to_owned(),
            human: false,
            fault: if contained { FaultState::Isolated } else { FaultState::Open },
        },
    );
}

/// A line's time has come, or there may be room for it.
pub(super) fn again(ctx: &Context, plan: &mut Plan, line: &Isolation) {
    let mut set: BTreeSet<CpuId> = line.together.iter().copied().chain(line.target.cpu()).collect();
    if line.by != By::Admin {
        set = whole_cores(ctx, &set.into_iter().collect::<Vec<_>>());
    }
    match line.state {
        IsolationState::Isolated if is_left_half(ctx, line) && !ctx.policy.observe => {
            let name = targets_name(ctx, &[line.target]);
            let why = format!("{name} is off line, and its siblings stay in service.");
            bring_half_back(ctx, plan, vec![line.clone()], why);
        }
        // What becomes of its siblings is not decided yet.
        IsolationState::Isolated if is_half(ctx, line) => {
            let next_try = Some(ctx.now.after(HALF_AGAIN));
            plan.isolations.push(Isolation { next_try, ..line.clone() });
        }
        IsolationState::Isolated | IsolationState::Released | IsolationState::Stale => {
            plan.isolations.push(Isolation { next_try: None, ..line.clone() });
        }
        // One of the set is being taken or given by itself: its answer first.
        _ if set.iter().any(|cpu| is_under_way(ctx, *cpu)) => {
            if line.next_try.is_some() {
                let next_try = Some(ctx.now.after(Checks::SETTLE));
                plan.isolations.push(Isolation { next_try, ..line.clone() });
            }
        }
        _ => {
            let targets: Vec<Target> = set.iter().map(|cpu| Target::Cpu(*cpu)).collect();
            let why = retry::there_is_room(&targets_name(ctx, &targets));
            let mut trial = Plan::default();
            let cause = Cause { by: line.by, fault: line.fault, why, urgency: line.urgency };
            take(ctx, &mut trial, &set, &cause, None);
            let still_held =
                trial.orders.is_empty() && trial.isolations.iter().all(guard::waits_for_an_event);
            // Still held back is no news, and no line to write.
            if !(guard::waits_for_an_event(line) && still_held) {
                plan.extend(trial);
            }
        }
    }
}

/// Off by an order of ours that did not take its siblings, which nobody is going
/// to take now: a half-done set, to be rolled back.
fn is_left_half(ctx: &Context, line: &Isolation) -> bool {
    is_half_beside(ctx, line, |state| state == IsolationState::Refused)
}

/// Off by an order of ours that did not take its siblings, which may go yet.
fn is_half(ctx: &Context, line: &Isolation) -> bool {
    use IsolationState::{Failed, Observed, Refused, Wanted};
    is_half_beside(ctx, line, |state| matches!(state, Wanted | Failed | Refused | Observed))
}

/// Off by an order of ours, with a sibling in service that stands so.
fn is_half_beside(
    ctx: &Context,
    line: &Isolation,
    stands_so: impl Fn(IsolationState) -> bool,
) -> bool {
    let is_in_service = |cpu: &CpuId| {
        let online = ctx.machine.cpus.get(cpu).is_some_and(|known| known.online);
        let line = ctx.ledger.get(&Target::Cpu(*cpu));
        online && line.is_some_and(|line| stands_so(line.state))
    };
    line.asked.is_none() && line.taken.is_some() && line.together.iter().any(is_in_service)
}

/// An order to take CPUs was answered: for all of them.
pub(super) fn taken(ctx: &Context, cpus: &[CpuId], outcome: &Outcome) -> Plan {
    let mut plan = Plan::default();
    let off = matches!(outcome.answer, Answer::Off | Answer::WasOff);
    let (isolated, mut lines): (Vec<Isolation>, Vec<Isolation>) = cpus
        .iter()
        .filter_map(|cpu| ctx.ledger.get(&Target::Cpu(*cpu)).cloned())
        .partition(|line| line.state == IsolationState::Isolated);
    if outcome.answer == Answer::Off {
        // Listed before this late answer said that it went by our doing.
        let taken = Some(ctx.now);
        plan.isolations.extend(isolated.into_iter().map(|line| Isolation { taken, ..line }));
    }
    if lines.is_empty() {
        return plan;
    }
    let released = lines.iter().any(|line| line.state == IsolationState::Released);
    // Off before the order, and before any order of unknown effect.
    let theirs = outcome.answer == Answer::WasOff
        && !lines.iter().any(|line| matches!(line.asked, Some(Asked::Unsure | Asked::Retake)));
    if theirs {
        off_by_others(ctx, &mut plan, lines, true);
    } else if off && released {
        for line in &mut lines {
            line.taken = Some(ctx.now);
            retry::clear(line);
        }
        went_after_release(ctx, &mut plan, lines, !ctx.policy.observe);
    } else if off {
        is_ours(ctx, &mut plan, lines);
    } else {
        is_not_off(ctx, &mut plan, lines, outcome);
    }
    affinity::follow(ctx, &mut plan);
    plan
}

/// The release of CPUs came between the order and its effect: they are given
/// back `now`, or by the next boot.
fn went_after_release(ctx: &Context, plan: &mut Plan, mut lines: Vec<Isolation>, now: bool) {
    for line in &mut lines {
        line.asked = now.then_some(Asked::Give);
        line.release = Some(Undo::NextBoot);
    }
    if now {
        plan.orders.push(Order::GiveCpus(numbers(&lines)));
    }
    settle(ctx, plan, lines, retry::went_after_release(now));
}

/// Half of a set that act took, and could not bring back when the other half
/// did not go: it is tried again to bring it back, and the set goes whole if it
/// is still wanted.
///
/// Where somebody else took the other half meanwhile, there is none.
fn is_half_done(ctx: &Context, plan: &mut Plan, mut lines: Vec<Isolation>, outcome: &Outcome) {
    lines.iter_mut().for_each(|line| line.taken = Some(ctx.now));
    let name = cpus_name(ctx, &numbers(&lines));
    let is_whole = lines.iter().all(|line| all_off(ctx, line));
    let (lines, released): (Vec<_>, Vec<_>) = lines.into_iter().partition(is_being_taken);
    if !released.is_empty() {
        // Rolling back its own half is the end of an order.
        went_after_release(ctx, plan, released, !(is_whole && ctx.policy.observe));
    }
    if is_whole {
        is_ours(ctx, plan, lines);
    } else if !lines.is_empty() {
        let why = format!(
            "{name} went, its siblings did not, and it did not come back: {}.",
            outcome.answered
        );
        bring_half_back(ctx, plan, lines, why);
    }
}

/// All that go with it are off line.
pub(super) fn all_off(ctx: &Context, line: &Isolation) -> bool {
    line.together.iter().all(|c| ctx.machine.cpus.get(c).is_some_and(|cpu| !cpu.online))
}

fn bring_half_back(ctx: &Context, plan: &mut Plan, mut lines: Vec<Isolation>, why: String) {
    for line in &mut lines {
        line.failures = line.failures.saturating_add(1);
        line.next_try = Some(ctx.now.after(HALF_AGAIN));
        line.asked = Some(Asked::Give);
    }
    plan.orders.push(Order::GiveCpus(numbers(&lines)));
    settle(
        ctx,
        plan,
        lines,
        Verdict {
            state: IsolationState::Failed,
            kind: DecisionKind::Failed,
            why,
            done: "It is being brought back; then all are tried again.".to_owned(),
            next: "Look at the kernel log, and whether the CPU comes back.".to_owned(),
            human: true,
            fault: FaultState::Open,
        },
    );
}

fn is_not_off(ctx: &Context, plan: &mut Plan, mut lines: Vec<Isolation>, outcome: &Outcome) {
    let half: Vec<Isolation>;
    (half, lines) = lines.into_iter().partition(
        |line| matches!(line.target, Target::Cpu(cpu) if outcome.left_off.contains(&cpu)),
    );
    if !half.is_empty() {
        is_half_done(ctx, plan, half, outcome);
    }
    if !matches!(outcome.answer, Answer::TimedOut | Answer::Unconfirmed) {
        // act brought back what it took itself. Who took these meanwhile is not
        // fought; where an earlier order of ours may have, they count as ours.
        let off: Vec<Isolation>;
        (off, lines) = lines
            .into_iter()
            .partition(|line| is_offline(ctx, line) && line.state != IsolationState::Released);
        let (ours, theirs): (Vec<_>, Vec<_>) =
            off.into_iter().partition(|line| line.asked == Some(Asked::Retake));
        if !theirs.is_empty() {
            off_by_others(ctx, plan, theirs, lines.is_empty() && ours.is_empty());
        }
        if !ours.is_empty() {
            is_ours(ctx, plan, ours);
        }
    }
    let (trying, other): (Vec<_>, Vec<_>) = lines.into_iter().partition(is_being_taken);
    for mut line in other {
        line.asked = retry::asked_after(&line, outcome);
        plan.isolations.push(line);
    }
    if !trying.is_empty() {
        not_taken(ctx, plan, trying, outcome);
    }
}

/// Off line, by an order of ours as far as anybody can tell.
pub(super) fn is_ours(ctx: &Context, plan: &mut Plan, mut lines: Vec<Isolation>) {
    let Some(why) = lines.first().map(|first| retry::cause_of(ctx, first)) else { return };
    let these = numbers(&lines);
    let is_off = |cpu: &CpuId| {
        these.contains(cpu)
            || is_isolated(ctx, *cpu)
            || ctx.machine.cpus.get(cpu).is_some_and(|known| !known.online)
    };
    let whole = lines.iter().flat_map(|line| &line.together).all(is_off);
    for line in &mut lines {
        let restores = line.restores;
        line.taken = line.taken.filter(|_| restores).or(Some(ctx.now));
        retry::clear(line);
    }
    let fault = if whole { FaultState::Isolated } else { FaultState::Open };
    settle(ctx, plan, lines, Verdict { fault, ..retry::is_out(why) });
}

/// The CPUs that `plan` lists as off are looked at again: whether they are half
/// of a core that is left.
pub(super) fn look_again(ctx: &Context, plan: &mut Plan) {
    let is_off = |line: &&mut Isolation| {
        matches!(line.target, Target::Cpu(_)) && line.state == IsolationState::Isolated
    };
    for line in plan.isolations.iter_mut().filter(is_off) {
        line.next_try = Some(ctx.now.after(HALF_AGAIN));
    }
}

/// An order to give CPUs back was answered.
pub(super) fn given(ctx: &Context, cpus: &[CpuId], outcome: &Outcome) -> Plan {
    let mut plan = Plan::default();
    let (mut lines, halves): (Vec<Isolation>, Vec<Isolation>) = cpus
        .iter()
        .filter_map(|cpu| ctx.ledger.get(&Target::Cpu(*cpu)).cloned())
        .filter(|line| line.state == IsolationState::Isolated || line.asked == Some(Asked::Give))
        .partition(|line| line.state == IsolationState::Isolated);
    // Half a core that a restart left off line: it goes on as it is wanted.
    let back = outcome.answer == Answer::On;
    let (stuck, halves): (Vec<_>, Vec<_>) =
        halves.into_iter().partition(|line| !back && is_offline(ctx, line));
    plan.isolations.extend(halves.into_iter().map(|line| Isolation { asked: None, ..line }));
    is_ours(ctx, &mut plan, stuck);
    // Where the rest does not follow, it is tried again to bring it back.
    look_again(ctx, &mut plan);
    lines.iter_mut().for_each(retry::clear);
    if back && !lines.is_empty() {
        retry::released(ctx, &mut plan, lines);
    } else if !lines.is_empty() {
        not_given(ctx, &mut plan, lines, outcome);
    }
    affinity::follow(ctx, &mut plan);
    plan
}

fn not_given(ctx: &Context, plan: &mut Plan, lines: Vec<Isolation>, outcome: &Outcome) {
    // What somebody brought back meanwhile was taken for our own doing.
    let (back, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(|l| !is_offline(ctx, l));
    for line in back {
        retry::came_back(ctx, plan, line);
    }
    if lines.is_empty() {
        return;
    }
    let targets: Vec<Target> = lines.iter().map(|line| line.target).collect();
    settle(
        ctx,
        plan,
        lines,
        Verdict {
            state: IsolationState::Isolated,
            kind: DecisionKind::Failed,
            why: format!(
                "The kernel did not bring {} back: {}.",
                targets_name(ctx, &targets),
                outcome.answered
            ),
            done: "It stays out of service until the next boot.".to_owned(),
            next: "Look at the kernel log and release it again.".to_owned(),
            human: true,
            fault: FaultState::Isolated,
        },
    );
}

/// The kernel told that a CPU went on or off line. `online` is what is read
/// now rather than what the event said: events lag behind.
///
/// What we ordered ourselves is told apart by the order under way.
pub fn cpu_changed(ctx: &Context, cpu: CpuId, online: bool) -> Plan {
    let mut plan = Plan::default();
    let Some(line) = ctx.ledger.get(&Target::Cpu(cpu)) else { return plan };
    if line.asked.is_some() {
        return plan;
    }
    match line.state {
        IsolationState::Isolated if online => retry::came_back(ctx, &mut plan, line.clone()),
        IsolationState::Wanted | IsolationState::Failed | IsolationState::Refused if !online => {
            let others_off = line.together.iter().all(|c| *c == cpu || is_isolated(ctx, *c));
            off_by_others(ctx, &mut plan, vec![line.clone()], others_off);
        }
        _ => {}
    }
    affinity::follow(ctx, &mut plan);
    plan
}
