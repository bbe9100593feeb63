//! The guard rails, each by its name: what no history may break.
//!
//! Three tables: for each order as it goes out, for each moment at which the
//! daemon has done all there is to do, and for the end, when everything was
//! answered with yes for hours.

use super::super::{Limits, Order};
use super::{is_write, overlap, Host};
use crate::model::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// What is wrong, if anything is.
type Breach = Option<String>;

/// For an order.
type OfOrder = fn(&Host, &Order) -> Breach;

/// For the host as it is.
type OfHost = fn(&Host) -> Breach;

/// For the order that just went out.
const ORDERED: &[(&str, OfOrder)] = &[
    ("mode observe writes nothing", observe_writes_nothing),
    ("no order beside another one for the same", no_order_beside_another),
    ("no page with an uncorrected error is soft-offlined", no_ue_is_soft_offlined),
    ("pages in all (limits.memory)", pages_in_all),
    ("pages a day (limits.pages_per_day)", pages_a_day),
    ("only what the kernel can take off line", only_what_can_go),
    ("the last CPU stays", the_last_cpu_stays),
    ("CPUs of a node that stay (limits.cpus_per_node)", cpus_of_a_node),
    ("CPUs in all (limits.cpus)", cpus_in_all),
    ("a core goes whole", a_core_goes_whole),
    ("one core in 10 minutes", one_core_in_10_minutes),
];

/// For a daemon with nothing to do.
const AT_REST: &[(&str, OfHost)] = &[
    ("the ledger says of each order whether it is out", the_ledger_knows_what_is_out),
    ("no error is waited for by nobody", no_error_is_left),
    ("what is off is not to be taken", nothing_off_is_to_be_taken),
    ("what was told of each row is true of its pages", rows_stand_as_told),
    ("no line names a closed fault", no_line_names_a_closed_fault),
];

/// For the end.
const IN_THE_END: &[(&str, OfHost)] = &[
    ("what we took is listed", what_we_took_is_listed),
    ("no half of a core is left off", no_half_of_a_core_is_left),
    ("what no open fault holds is on its way back", nothing_is_held_for_nothing),
];

pub(super) fn ordered(host: &Host) {
    let (order, _) = host.queue.last().unwrap();
    for (name, breach) in ORDERED {
        if let Some(breach) = breach(host, order) {
            panic!("{name}: {order:?}: {breach}");
        }
    }
}

pub(super) fn at_rest(host: &Host) {
    check(host, AT_REST);
}

pub(super) fn in_the_end(host: &Host) {
    check(host, IN_THE_END);
}

fn check(host: &Host, rails: &[(&str, OfHost)]) {
    for (name, breach) in rails {
        if let Some(breach) = breach(host) {
            panic!("{name}: {breach}");
        }
    }
}

fn breach(is_one: bool, what: impl FnOnce() -> String) -> Breach {
    is_one.then(what)
}

/// But what ends an order from before: our own half of a core is rolled back,
/// and the tasks of a core that came back are bound again.
fn observe_writes_nothing(host: &Host, order: &Order) -> Breach {
    let threads = |cpu| &host.desk.machine.cpus[cpu].threads;
    let is_half = |cpu| threads(cpu).iter().any(|cpu| host.is_online(*cpu));
    let ends = match order {
        Order::GiveCpus(cpus) => cpus.iter().all(is_half),
        Order::PutBack(..) => true,
        _ => false,
    };
    breach(host.desk.policy.observe && is_write(order) && !ends, String::new)
}

fn no_order_beside_another(host: &Host, order: &Order) -> Breach {
    let (_, earlier) = host.queue.split_last()?;
    let double = earlier.iter().find(|(out, _)| is_write(out) && overlap(out, order))?;
    breach(is_write(order), || format!("{double:?} is out"))
}

fn soft_offlined(order: &Order) -> Option<Pfn> {
    order.page().filter(|_| order.is_soft_offline())
}

/// Listed as off by a run that ended before it had seen that itself: asked
/// again, and not written to where it is off.
fn no_ue_is_soft_offlined(host: &Host, order: &Order) -> Breach {
    let pfn = soft_offlined(order)?;
    let seen = host.pages_off.contains(&pfn) || host.unpoisoned.contains(&pfn);
    let again = host.is_restored(Target::Page(pfn)) && seen;
    breach(!again && host.ue.contains(&pfn), String::new)
}

fn pages_in_all(host: &Host, order: &Order) -> Breach {
    // What is off already is not taken by being asked for again.
    let takes = (order.is_soft_offline() || matches!(order, Order::Restore(..)))
        && order.pages().iter().any(|pfn| !host.pages_off.contains(pfn));
    let ours = host.our_pages.iter().filter(|pfn| !host.ue.contains(pfn)).copied();
    let all: BTreeSet<Pfn> = ours.chain(host.pages_going()).collect();
    let machine = &host.desk.machine;
    let most = host.desk.policy.limits.memory_bytes(machine.memory_bytes);
    let bytes = all.len() as u64 * machine.page_size.bytes();
    breach(takes && bytes > most, || format!("{all:?}"))
}

/// What an earlier boot had keeps its place of an earlier day.
fn pages_a_day(host: &Host, order: &Order) -> Breach {
    let is_restored = |pfn| host.is_restored(Target::Page(pfn));
    soft_offlined(order).filter(|pfn| !is_restored(*pfn))?;
    let day = Duration::from_secs(24 * 3600);
    let taken = host.pages_taken.iter().filter(|(_, at)| host.now().since(**at) < day);
    let taken = taken.map(|(pfn, _)| *pfn).filter(|pfn| !host.ue.contains(pfn));
    let going = host.pages_going().into_iter().filter(|pfn| !is_restored(*pfn));
    let today: BTreeSet<Pfn> = taken.chain(going).collect();
    breach(today.len() > host.desk.policy.limits.pages_per_day as usize, || format!("{today:?}"))
}

/// The CPUs that `order` takes.
fn taken(order: &Order) -> Option<&[CpuId]> {
    match order {
        Order::TakeCpus(cpus) => Some(cpus),
        _ => None,
    }
}

/// On line, and not about to go by an order of ours.
fn staying(host: &Host) -> impl Iterator<Item = &Cpu> {
    let going = host.going();
    host.desk.machine.online().filter(move |cpu| !going.contains(&cpu.id))
}

fn only_what_can_go(host: &Host, order: &Order) -> Breach {
    let stuck = taken(order)?.iter().find(|cpu| !host.desk.machine.cpus[cpu].removable)?;
    Some(format!("{stuck}"))
}

fn the_last_cpu_stays(host: &Host, order: &Order) -> Breach {
    taken(order)?;
    breach(staying(host).next().is_none(), String::new)
}

fn cpus_of_a_node(host: &Host, order: &Order) -> Breach {
    let least = host.desk.policy.limits.cpus_per_node as usize;
    let nodes = taken(order)?.iter().map(|cpu| host.desk.machine.cpus[cpu].node);
    let bare = nodes
        .into_iter()
        .find(|node| staying(host).filter(|cpu| cpu.node == *node).count() < least)?;
    Some(format!("fewer than {least} on node {bare}"))
}

fn cpus_in_all(host: &Host, order: &Order) -> Breach {
    taken(order)?;
    let all: BTreeSet<CpuId> = host.our_cpus.union(&host.going()).copied().collect();
    let most = host.desk.policy.limits.cpus(host.desk.machine.cpus.len());
    breach(all.len() > most, || format!("{all:?}, and {most} may be"))
}

/// What an admin asks for by number goes alone, and at once.
fn by_us(host: &Host, cpus: &[CpuId]) -> bool {
    cpus.iter().any(|cpu| host.desk.ledger[&Target::Cpu(*cpu)].by == By::Bulkhead)
}

fn a_core_goes_whole(host: &Host, order: &Order) -> Breach {
    let cpus = taken(order).filter(|cpus| by_us(host, cpus))?;
    let threads = cpus.iter().flat_map(|cpu| &host.desk.machine.cpus[cpu].threads);
    let left = threads.into_iter().find(|cpu| !cpus.contains(cpu) && host.is_online(**cpu))?;
    Some(format!("without {left}"))
}

fn one_core_in_10_minutes(host: &Host, order: &Order) -> Breach {
    let cpus = taken(order).filter(|cpus| by_us(host, cpus))?;
    // What was off in an earlier boot goes together with others like it.
    cpus.iter().find(|cpu| !host.is_restored(Target::Cpu(**cpu)))?;
    let of_it = |core| cpus.iter().all(|cpu| host.desk.machine.cpus[cpu].threads.contains(core));
    let (core, _) = host
        .cores_taken
        .iter()
        .find(|(core, at)| !of_it(core) && host.now().since(**at) < Limits::CORE_INTERVAL)?;
    Some(format!("right after {core}"))
}

fn lines(host: &Host) -> impl Iterator<Item = &Isolation> {
    host.desk.ledger.values()
}

fn the_ledger_knows_what_is_out(host: &Host) -> Breach {
    let wrong = lines(host).find(|line| match line.target {
        Target::Page(pfn) => !knows_page(host, line, pfn),
        Target::Cpu(cpu) => !knows_cpu(host, line, cpu),
    })?;
    Some(format!("{wrong:?}"))
}

fn knows_page(host: &Host, line: &Isolation, pfn: Pfn) -> bool {
    let mut writes = host.queue.iter().map(|(order, _)| order).filter(|order| is_write(order));
    let out = writes.find(|order| order.pages().contains(&pfn)).map(Order::is_take);
    let known = line.asked.filter(|asked| asked.is_under_way());
    known.map(|asked| asked != Asked::Give) == out
}

fn knows_cpu(host: &Host, line: &Isolation, cpu: CpuId) -> bool {
    let orders = host.queue.iter().map(|(order, _)| order);
    let (writes, looks): (Vec<_>, Vec<_>) =
        orders.filter(|order| order.cpus().contains(&cpu)).partition(|order| is_write(order));
    let known = line.asked.filter(|asked| asked.is_under_way());
    match writes.first() {
        None if known.is_some_and(Asked::is_plan) => !looks.is_empty(),
        // A late answer may have come before that of a look.
        None => known.is_none(),
        Some(Order::TakeCpus(_)) => known.is_some_and(Asked::is_take),
        Some(Order::PutBack(..)) => known == Some(Asked::PutBack),
        Some(_) => known == Some(Asked::Give),
    }
}

fn no_error_is_left(host: &Host) -> Breach {
    let over = |line: &&Isolation| {
        matches!(line.state, IsolationState::Released | IsolationState::Stale) && line.ue.is_some()
    };
    lines(host).find(over).map(|line| format!("{line:?}"))
}

fn nothing_off_is_to_be_taken(host: &Host) -> Breach {
    let both = |line: &&Isolation| line.state == IsolationState::Isolated && line.may_go();
    lines(host).find(both).map(|line| format!("{line:?}"))
}

fn rows_stand_as_told(host: &Host) -> Breach {
    host.rows.values().find_map(|fault| {
        let pages = &fault.cover.as_ref()?.pages;
        let lines: Vec<_> =
            pages.iter().map(|pfn| &host.desk.ledger[&Target::Page(*pfn)]).collect();
        let off = |line: &&Isolation| {
            line.is_restoring()
                || line.state == IsolationState::Isolated && line.asked != Some(Asked::Give)
        };
        let expected = if lines.iter().all(off) {
            FaultState::Isolated
        } else if lines.iter().any(|line| line.state == IsolationState::Refused) {
            FaultState::Escalated
        } else {
            FaultState::Open
        };
        let told = host.desk.states[&fault.id];
        breach(told != expected, || format!("{told:?} and not {expected:?}: {lines:#?}"))
    })
}

fn no_line_names_a_closed_fault(host: &Host) -> Breach {
    let is_open = |id| host.faults.contains_key(&id) || host.rows.values().any(|row| row.id == id);
    let named = lines(host).find(|line| line.fault.is_some_and(|id| !is_open(id)))?;
    Some(format!("{named:?}"))
}

fn what_we_took_is_listed(host: &Host) -> Breach {
    let line = |cpu: &CpuId| &host.desk.ledger[&Target::Cpu(*cpu)];
    let mut ours = host.our_cpus.iter().map(line);
    ours.find(|line| line.state != IsolationState::Isolated).map(|line| format!("{line:?}"))
}

/// Unless a human had a hand in it since it went, or it did not come back, or
/// may not be brought back.
fn no_half_of_a_core_is_left(host: &Host) -> Breach {
    let half = host.our_cpus.iter().find(|cpu| {
        let threads = &host.desk.machine.cpus[cpu].threads;
        let excused = |cpu: &CpuId| {
            let line = host.desk.ledger.get(&Target::Cpu(*cpu));
            host.by_hand.contains(cpu)
                || host.stayed_off.contains(cpu)
                || line.is_some_and(|line| line.by == By::Admin)
        };
        !host.desk.policy.observe
            && threads.iter().any(|cpu| host.is_online(*cpu))
            && !threads.iter().any(excused)
    })?;
    Some(format!("{:?}", host.desk.ledger[&Target::Cpu(*half)]))
}

/// Of what we took ourselves, but for a CPU that did not come back, and a page
/// that memory_failure() should have taken.
fn nothing_is_held_for_nothing(host: &Host) -> Breach {
    let held = lines(host).find(|line| {
        let ours = line.by == By::Bulkhead && line.taken.is_some();
        let excused = match line.target {
            Target::Cpu(cpu) => host.stayed_off.contains(&cpu),
            Target::Page(pfn) => host.had_ue.contains(&pfn),
        };
        line.state == IsolationState::Isolated
            && ours
            && line.fault.is_none()
            && line.release.is_none()
            && !excused
    })?;
    Some(format!("{held:?}"))
}
