//! Several pages of one fault: a row's.

use super::budget::PageBudget;
use super::{group, page, Cause, Context, Plan};
use crate::model::{CoverBy, Fault, Group, IsolationState, Pfn, PhysAddr, Record, Target, Urgency};
use std::collections::BTreeSet;

/// A fault calls for all of `pages`, each for itself, and is contained when all
/// that it covers is out of service.
pub(super) fn found(ctx: &Context, fault: &Fault, pages: &[Pfn]) -> Plan {
    let covered = fault.cover.iter().flat_map(|cover| &cover.pages);
    let all: BTreeSet<Pfn> = covered.chain(pages).copied().collect();
    take(ctx, fault, &pages.iter().copied().collect(), all)
}

/// What follows when an open fault covers more than it did: `fault.cover` is
/// what it covers now. Of a fault that took no pages nothing does.
pub fn grown(ctx: &Context, fault: &Fault) -> Plan {
    let (Some(cover), Some((group, _))) = (&fault.cover, ctx.ledger.group(fault.id)) else {
        return Plan::default();
    };
    let old: BTreeSet<Pfn> = group.pages.iter().copied().collect();
    let new: BTreeSet<Pfn> = cover.pages.iter().filter(|pfn| !old.contains(pfn)).copied().collect();
    if new.is_empty() || !fault.is_open() {
        return Plan::default();
    }
    let all = old.union(&new).copied().collect();
    group::told(ctx, take(ctx, fault, &new, all))
}

/// Takes `pages` of the group `all`: first those that errors were seen on,
/// since the room may end before the pages do.
fn take(ctx: &Context, fault: &Fault, pages: &BTreeSet<Pfn>, all: BTreeSet<Pfn>) -> Plan {
    let mut plan = Plan::default();
    let mut budget = PageBudget::of(ctx);
    let seen = seen(ctx, fault, pages);
    let rest = pages.iter().filter(|pfn| !seen.contains(pfn));
    for pfn in seen.iter().chain(rest) {
        let old = ctx.ledger.get(&Target::Page(*pfn));
        // The page's own fault stays the one behind it, unless it was done with.
        let own = old
            .filter(|l| !matches!(l.state, IsolationState::Released | IsolationState::Stale))
            .and_then(|line| line.fault);
        let urgency = Urgency { severity: fault.severity, seen: seen.contains(pfn) };
        let cause = Cause { fault: own.or(Some(fault.id)), urgency, ..Cause::of(fault) };
        page::found(ctx, &mut budget, &mut plan, *pfn, &cause);
    }
    let group = Group::new(fault, ctx.machine.page_size, all);
    group::taken_up(ctx, &mut plan, group);
    plan
}

/// Those of `pages` that errors were seen on, as far as the fault's evidence
/// tells.
fn seen(ctx: &Context, fault: &Fault, pages: &BTreeSet<Pfn>) -> BTreeSet<Pfn> {
    if fault.cover.as_ref().is_none_or(|cover| cover.by == CoverBy::Seen) {
        return pages.clone();
    }
    let addresses = fault.evidence.iter().filter_map(|piece| match &piece.record {
        Record::Mce(record) => Some(PhysAddr(record.addr)),
        Record::MemoryController(event) => Some(PhysAddr(event.address)),
        Record::Extlog(event) => Some(PhysAddr(event.pa)),
        Record::CxlDram(event) => event.media.hpa,
        Record::CxlGeneralMedia(event) => event.media.hpa,
        Record::Logged(error) => error.addr,
        Record::MemoryFailure(_) | Record::NonStandard(_) | Record::Arm(_) => None,
    });
    // What is no address of memory lies in no page of the fault.
    addresses
        .map(|addr| ctx.machine.page_size.pfn(addr))
        .filter(|pfn| pages.contains(pfn))
        .collect()
}
