//! Pages whose uncorrected error ended the boot before this one.
//!
//! In this boot nothing of the error is left but the cell: memory_failure()
//! knows nothing of it, and the page's content is that of somebody new. A free
//! page is taken without reading it. One in use is waited for: to move its
//! content would read the cell, and to hand it to memory_failure() kills whoever
//! got it, which early in a boot may be the kernel or process 1, at this boot
//! and at each after it.

use super::settle::{settle, targets_name, Verdict};
use super::{group, Cause, Context, Decision, DecisionKind, FaultNote, Plan};
use crate::model::{By, FaultState, Home, Isolation, IsolationState, Pfn, Target};

/// A fault was found in what the last boot left. Every line of the ledger is of
/// an earlier boot yet: this comes before [`start`](super::start), which orders
/// what is wanted.
pub(super) fn found(ctx: &Context, pfn: Pfn, home: Home, cause: &Cause) -> Plan {
    let target = Target::Page(pfn);
    if home == Home::Unknown || home != ctx.machine.home(target) {
        return elsewhere(ctx, target, home, cause);
    }
    let mut plan = Plan::default();
    let fault = cause.fault.or_else(|| ctx.fault_behind(target));
    let line = Isolation {
        fault,
        ue: None,
        asked: None,
        unreadable: true,
        next_try: Some(ctx.now),
        ..ctx.fresh(target, cause)
    };
    settle(
        ctx,
        &mut plan,
        vec![line],
        Verdict {
            state: IsolationState::Wanted,
            kind: DecisionKind::Take,
            why: cause.why.clone(),
            done: "It is taken as soon as nothing uses it.".to_owned(),
            next: "Nothing now: the outcome will be told.".to_owned(),
            human: false,
            fault: FaultState::Open,
        },
    );
    plan
}

/// The page of a fault that is open already ended the boot before this one.
pub fn fatal_again(ctx: &Context, pfn: Pfn, home: Home) -> Plan {
    let page = targets_name(ctx, &[Target::Page(pfn)]);
    let why = format!("An uncorrected error in {page} ended the boot before.");
    group::told(ctx, found(ctx, pfn, home, &Cause::plain(By::Bulkhead, None, why)))
}

/// The address may be another cell now: told, and nothing taken.
fn elsewhere(ctx: &Context, target: Target, home: Home, cause: &Cause) -> Plan {
    let reason = match (home, ctx.machine.home(target)) {
        (Home::Unknown, _) => "it is not known which memory the host had then",
        (_, Home::Unknown) => "the host's memory configuration cannot be read",
        _ => "the host's memory is not what it was then, so the address may be another cell now",
    };
    let done = format!("Nothing was taken: {reason}.");
    let faults = cause.fault.map(|fault| FaultNote {
        fault,
        state: FaultState::Open,
        decision: format!("{done} {}", cause.why),
        advice: None,
    });
    Plan {
        faults: faults.into_iter().collect(),
        decisions: vec![Decision {
            kind: DecisionKind::Reported,
            component: targets_name(ctx, &[target]),
            target: None,
            fault: cause.fault,
            why: cause.why.clone(),
            done,
            next: "Close the fault if its memory module was replaced; otherwise replace it."
                .to_owned(),
            human: true,
        }],
        ..Plan::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{machine, Desk};
    use super::super::{Answer, Boot, Order, Policy};
    use super::*;
    use crate::analyze::Response;
    use crate::model::{Asked, Machine, MemoryConfigId};
    use uuid::Uuid;

    const P: Pfn = Pfn(0x8000);

    fn memory(n: u128) -> MemoryConfigId {
        MemoryConfigId(Uuid::from_u128(n))
    }

    fn desk_in(policy: Policy, memory: MemoryConfigId) -> Desk {
        Desk::new(policy, Machine { memory, ..machine(1, 4) })
    }

    fn desk() -> Desk {
        desk_in(Policy::default(), memory(1))
    }

    fn died_of_it(home: Home) -> Response {
        Response::TakeFreePage { pfn: P, home }
    }

    /// The host boots, and finds that the boot before died of `P`.
    fn boots(desk: &mut Desk) -> Plan {
        desk.find(died_of_it(Home::Memory(memory(1))));
        desk.start(Boot::New);
        desk.due()
    }

    #[test]
    fn a_page_that_ended_the_last_boot_is_taken_while_it_is_free() {
        let mut desk = desk();
        assert_eq!(boots(&mut desk).orders, [Order::OfflineFree(P)]);
        let plan = desk.answer(Order::OfflineFree(P), Answer::Off);
        let line = desk.page(P.0);
        assert_eq!((line.state, line.by), (IsolationState::Isolated, By::Bulkhead));
        assert!(line.unreadable && line.taken.is_none(), "no limit binds it: {line:?}");
        assert_eq!(plan.faults.last().map(|note| note.state), Some(FaultState::Isolated));
    }

    #[test]
    fn one_in_use_is_waited_for_and_never_moved_nor_its_user_killed() {
        let mut desk = desk();
        boots(&mut desk);
        let mut waits = 0;
        for _ in 0..20 {
            desk.answer(Order::OfflineFree(P), Answer::InUse);
            assert_eq!(desk.page(P.0).state, IsolationState::Wanted);
            desk.pass(300);
            waits += usize::from(desk.due().orders == [Order::OfflineFree(P)]);
        }
        assert_eq!(waits, 20, "it is asked for again every five minutes at least");
    }

    #[test]
    fn the_address_means_nothing_in_other_memory() {
        for (then, now) in [
            (Home::Memory(memory(1)), memory(2)),
            (Home::Unknown, memory(1)),
            (Home::Memory(memory(1)), MemoryConfigId::default()),
            (Home::Unknown, MemoryConfigId::default()),
        ] {
            let mut desk = desk_in(Policy::default(), now);
            let plan = desk.find(died_of_it(then));
            assert_eq!((plan.isolations.len(), plan.orders.len()), (0, 0), "{then:?}");
            assert!(plan.decisions[0].human && plan.faults[0].state == FaultState::Open);
            assert_eq!(desk.due().orders, []);
        }
    }

    #[test]
    fn no_limit_holds_it_back() {
        let mut policy = Policy::default();
        policy.limits.pages_per_day = 0;
        let mut desk = desk_in(policy, memory(1));
        assert_eq!(boots(&mut desk).orders, [Order::OfflineFree(P)]);
    }

    #[test]
    fn observing_touches_nothing() {
        let mut desk = desk_in(Policy { observe: true, ..Policy::default() }, memory(1));
        assert_eq!(boots(&mut desk).orders, []);
        assert_eq!(desk.page(P.0).state, IsolationState::Observed);
    }

    #[test]
    fn what_was_asked_or_known_of_it_in_the_last_boot_has_no_part_in_this() {
        let mut desk = desk();
        desk.find(Response::EnsureFailedPage(P));
        let old = desk.page(P.0).clone();
        desk.ledger.insert(Isolation { asked: Some(Asked::Unsure), ..old });
        desk.pass(60);
        assert_eq!(boots(&mut desk).orders, [Order::OfflineFree(P)]);
        assert_eq!(desk.page(P.0).by, By::Bulkhead);
    }

    #[test]
    fn corrected_errors_do_not_move_a_page_that_must_not_be_read() {
        let mut desk = desk();
        boots(&mut desk);
        desk.answer(Order::OfflineFree(P), Answer::NotAllowed);
        let plan = desk.find(Response::TakePage(P));
        assert_eq!(plan.orders, [Order::OfflineFree(P)]);
    }

    #[test]
    fn an_open_fault_of_the_page_does_not_keep_it_in_service() {
        let mut desk = desk();
        desk.find(Response::EnsureFailedPage(P));
        let fault = desk.page(P.0).fault;
        let plan = fatal_again(&desk.ctx(), P, Home::Memory(memory(1)));
        desk.enter(plan);
        assert_eq!(desk.due().orders, [Order::OfflineFree(P)]);
        assert_eq!(desk.page(P.0).fault, fault);
    }
}
