//! What holds for orders about pages.

use super::super::super::{HugetlbPolicy, Order, UePolicy};
use super::super::host::{Host, NOWHERE};
use super::super::stubborn::Tries;
use super::{breach, Breach};
use crate::model::{MemoryConfigId, Pfn, Target};
use std::collections::BTreeSet;
use std::time::Duration;

fn soft_offlined(order: &Order) -> Option<Pfn> {
    order.page().filter(|_| order.is_soft_offline())
}

/// It moves what is in its pages elsewhere.
fn moves(order: &Order) -> bool {
    order.is_soft_offline() || matches!(order, Order::Restore(..))
}

/// Listed as off by a run that ended before it had seen that itself: asked
/// again, and not written to where it is off.
pub fn no_ue_is_soft_offlined(host: &Host, order: &Order) -> Breach {
    let pfn = soft_offlined(order)?;
    let seen = host.pages_off.contains(&pfn) || host.unpoisoned.contains(&pfn);
    let again = host.is_restored(Target::Page(pfn)) && seen;
    breach(!again && host.ue.contains(&pfn), String::new)
}

/// Moving the page would read the cell.
pub fn no_bad_cell_is_read(host: &Host, order: &Order) -> Breach {
    let is_bad =
        |pfn: &&Pfn| host.bad_cells.contains(&(host.cells(), **pfn)) && !host.ue.contains(pfn);
    let bad = order.pages().iter().find(is_bad).filter(|_| moves(order))?;
    Some(format!("{bad:?}"))
}

/// Reported in this boot: in an earlier one, another got the page since.
pub fn only_ue_is_hard_offlined(host: &Host, order: &Order) -> Breach {
    let Order::HardOffline(pfn) = order else { return None };
    let allowed = host.desk.policy.page.ue == UePolicy::HardOffline;
    breach(!allowed || !host.reported.contains(pfn), || format!("allowed: {allowed}"))
}

/// Act looks at the pool in one step with the write, by what the order says.
pub fn huge_pages_stay(host: &Host, order: &Order) -> Breach {
    let told = match order {
        Order::SoftOffline(_) => HugetlbPolicy::Always,
        Order::SoftOfflineSparing(_, told) | Order::Restore(_, told) => *told,
        _ => return None,
    };
    let policy = host.desk.policy.page.hugetlb;
    breach(told != policy, || format!("{told:?} and not {policy:?}"))
}

pub fn in_all(host: &Host, order: &Order) -> Breach {
    // What is off already is not taken by being asked for again.
    let takes = moves(order) && order.pages().iter().any(|pfn| !host.pages_off.contains(pfn));
    let ours = host.our_pages.iter().filter(|pfn| !host.ue.contains(pfn)).copied();
    let all: BTreeSet<Pfn> = ours.chain(host.pages_going()).collect();
    let machine = &host.desk.machine;
    let most = host.desk.policy.limits.memory_bytes(machine.memory_bytes);
    let bytes = all.len() as u64 * machine.page_size.bytes();
    breach(takes && bytes > most, || format!("{all:?}"))
}

/// What an earlier boot had keeps its place of an earlier day.
pub fn a_day(host: &Host, order: &Order) -> Breach {
    let is_restored = |pfn| host.is_restored(Target::Page(pfn));
    soft_offlined(order).filter(|pfn| !is_restored(*pfn))?;
    let day = Duration::from_secs(24 * 3600);
    let here = host.pages_taken.iter().filter(|((memory, _), _)| *memory == host.cells());
    let taken = here.filter(|(_, at)| host.now().since(**at) < day);
    let taken = taken.map(|((_, pfn), _)| *pfn).filter(|pfn| !host.ue.contains(pfn));
    let going = host.pages_going().into_iter().filter(|pfn| !is_restored(*pfn));
    let today: BTreeSet<Pfn> = taken.chain(going).collect();
    breach(today.len() > host.desk.policy.limits.pages_per_day as usize, || format!("{today:?}"))
}

pub fn only_addresses(_: &Host, order: &Order) -> Breach {
    breach(!order.is_look() && order.pages().contains(&Pfn(NOWHERE)), String::new)
}

/// Not even a look: nothing that the kernel says of such a page means anything.
pub fn no_masked_page(host: &Host, order: &Order) -> Breach {
    let masked = |pfn: &&Pfn| host.desk.machine.masked.iter().any(|range| range.contains(pfn));
    order.pages().iter().find(masked).map(|pfn| format!("{pfn:?}"))
}

pub fn no_means_no(host: &Host, order: &Order) -> Breach {
    let pfn = soft_offlined(order)?;
    breach(host.forbidden.contains(&pfn), String::new)
}

pub fn hourly(host: &Host, order: &Order) -> Breach {
    let tries = host.stubborn.tries.get(&soft_offlined(order)?)?;
    breach(tries.is_too_early(host.now()), || format!("{tries:?}"))
}

/// Errors, or an admin, called for each page in the memory that is there; where
/// nobody can tell the memory, in this boot.
pub fn of_this_memory(host: &Host, order: &Order) -> Breach {
    let cells: MemoryConfigId = host.cells();
    let other = |pfn: &&Pfn| !host.called_for.contains(&(cells, **pfn));
    let other = order.pages().iter().find(other).filter(|_| order.is_take())?;
    Some(format!("{other:?}"))
}

/// A page of which a human should have been told, and was not.
pub fn untold(host: &Host, is_stuck: fn(&Tries) -> bool) -> Breach {
    let stuck = host.stubborn.tries.iter().filter(|(_, tries)| is_stuck(tries));
    let untold = stuck.map(|(pfn, _)| *pfn).find(|pfn| !host.told.contains(pfn))?;
    Some(format!("{untold:?}: {:?}", host.stubborn.tries[&untold]))
}
