//! Pages that the kernel was booted without: out of service, and nothing of
//! them is ever asked of it.

use super::retry;
use super::settle::{capitalized, settle, targets_name, Verdict};
use super::{Context, DecisionKind, Plan};
use crate::model::{By, FaultState, Home, Isolation, IsolationState, Target, Undo};

/// A line, found at a start, whose page is masked. Not one that is over, or
/// whose address was another cell when it was decided on.
pub(super) fn is_certain(ctx: &Context, line: &Isolation) -> bool {
    if !matches!(line.target, Target::Page(pfn) if ctx.machine.is_masked(pfn)) {
        return false;
    }
    let over = matches!(line.state, IsolationState::Released | IsolationState::Stale);
    let home = ctx.machine.home(line.target);
    let moved = line.home != Home::Unknown && home != Home::Unknown && line.home != home;
    !over && !moved
}

/// The page of `line` is masked. It counts against no limit: whoever masked it
/// has given it up.
pub(super) fn is_out(ctx: &Context, plan: &mut Plan, mut line: Isolation) {
    line.by = By::Admin;
    line.taken = None;
    retry::clear(&mut line);
    let page = capitalized(targets_name(ctx, &[line.target]));
    let why = match line.release {
        Some(Undo::NextBoot) => line.why.clone(),
        None => format!("{page} was masked at boot (memmap= on the kernel command line)."),
    };
    settle(
        ctx,
        plan,
        vec![line],
        Verdict {
            state: IsolationState::Isolated,
            kind: DecisionKind::Taken,
            why,
            done: "It is out of service: the kernel was booted without it.".to_owned(),
            next: String::new(),
            human: false,
            fault: FaultState::Isolated,
        },
    );
}

/// An admin wants a masked page back.
pub(super) fn released(ctx: &Context, plan: &mut Plan, mut line: Isolation) {
    line.release = Some(Undo::NextBoot);
    line.unreadable = false;
    let page = targets_name(ctx, &[line.target]);
    settle(
        ctx,
        plan,
        vec![line],
        Verdict {
            state: IsolationState::Isolated,
            kind: DecisionKind::Released,
            why: format!(
                "The release of {page} waits for a boot without the memmap= that masks it."
            ),
            done: "It stays out of service until then.".to_owned(),
            next: "Take the page out of memmap= on the kernel command line, which \
                   `bulkhead bootmask` tells anew, and reboot."
                .to_owned(),
            human: false,
            fault: FaultState::Isolated,
        },
    );
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::{machine, Desk};
    use super::super::*;
    use crate::analyze::Response;
    use crate::model::*;

    const P: u64 = 0x8000;

    /// A desk on a host that was booted without page `P`.
    fn masked() -> Desk {
        let machine = Machine { masked: vec![Pfn(P)..Pfn(P + 1)], ..machine(1, 4) };
        Desk::new(Policy::default(), machine)
    }

    /// The desk of a failed page, after a boot without it.
    fn rebooted() -> Desk {
        let mut desk = Desk::new(Policy::default(), machine(1, 4));
        desk.find(Response::TakePage(Pfn(P)));
        desk.answer(Order::SoftOffline(Pfn(P)), Answer::Unhandlable);
        desk.machine = masked().machine;
        desk.start(Boot::New);
        desk
    }

    fn is_out(desk: &Desk) {
        let line = desk.page(P);
        assert_eq!((line.state, line.by), (IsolationState::Isolated, By::Admin));
        assert!(line.why.contains("masked at boot"), "{}", line.why);
        assert_eq!((line.taken, line.failing_since, line.next_try), (None, None, None));
        assert_eq!(usage(&desk.ctx()).memory_used, 0);
    }

    #[test]
    fn a_stuck_page_is_isolated_after_a_boot_without_it() {
        let desk = rebooted();
        is_out(&desk);
        assert!(desk.states.values().all(|state| *state == FaultState::Isolated));
    }

    #[test]
    fn a_masked_page_stays_isolated_over_restarts_and_looks_and_nothing_is_asked() {
        let mut desk = rebooted();
        for _ in 0..3 {
            let plan = desk.start(Boot::Same);
            assert_eq!((plan.orders.len(), plan.decisions.len()), (0, 0), "{plan:?}");
            assert_eq!(desk.due().orders, []);
            desk.answer(Order::Inspect(Pfn(P)), Answer::On);
            is_out(&desk);
        }
    }

    #[test]
    fn errors_on_a_masked_page_ask_nothing_of_the_kernel() {
        for response in [Response::TakePage(Pfn(P)), Response::EnsureFailedPage(Pfn(P))] {
            let mut desk = masked();
            assert_eq!(desk.find(response.clone()).orders, []);
            is_out(&desk);
            // Nor is it looked at when they go on.
            assert_eq!(desk.find(response).orders, []);
            let (ctx, checks) = desk.split();
            touched(&ctx, checks, Pfn(P));
            assert_eq!(desk.due().orders, []);
        }
    }

    #[test]
    fn an_uncorrected_error_is_remembered_for_a_boot_without_the_mask() {
        let mut desk = masked();
        desk.find(Response::EnsureFailedPage(Pfn(P)));
        desk.machine.masked.clear();
        desk.start(Boot::New);
        assert_eq!(desk.due().orders, [Order::OfflineFree(Pfn(P))]);
    }

    #[test]
    fn an_admin_gets_a_masked_page_back_by_booting_with_it() {
        let mut desk = rebooted();
        let plan = release(&desk.ctx(), Target::Page(Pfn(P))).unwrap();
        assert_eq!(plan.orders, []);
        desk.enter(plan);
        for _ in 0..2 {
            assert_eq!(desk.page(P).release, Some(Undo::NextBoot));
            assert!(desk.page(P).why.contains("memmap="), "{}", desk.page(P).why);
            desk.start(Boot::New);
            assert_eq!(desk.page(P).state, IsolationState::Isolated);
        }
        desk.machine.masked.clear();
        desk.start(Boot::New);
        assert_eq!(desk.page(P).state, IsolationState::Released);
    }

    #[test]
    fn a_mask_says_nothing_of_a_page_whose_memory_was_moved() {
        let mut desk = Desk::new(Policy::default(), machine(1, 4));
        desk.machine.memory = MemoryConfigId(uuid::Uuid::from_u128(1));
        desk.find(Response::TakePage(Pfn(P)));
        desk.machine =
            Machine { memory: MemoryConfigId(uuid::Uuid::from_u128(2)), ..masked().machine };
        desk.start(Boot::New);
        assert_ne!(desk.page(P).state, IsolationState::Isolated);
    }
}
