//! What holds of the ledger, as against the host.

use super::super::super::Order;
use super::super::host::{is_write, Host};
use super::{breach, Breach};
use crate::model::{Asked, By, CpuId, FaultState, Isolation, IsolationState, Pfn, Target};

fn lines(host: &Host) -> impl Iterator<Item = &Isolation> {
    host.desk.ledger.values()
}

pub fn knows_what_is_out(host: &Host) -> Breach {
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

pub fn no_error_is_left(host: &Host) -> Breach {
    let over = |line: &&Isolation| {
        matches!(line.state, IsolationState::Released | IsolationState::Stale) && line.ue.is_some()
    };
    lines(host).find(over).map(|line| format!("{line:?}"))
}

pub fn nothing_off_is_to_be_taken(host: &Host) -> Breach {
    let both = |line: &&Isolation| line.state == IsolationState::Isolated && line.may_go();
    lines(host).find(both).map(|line| format!("{line:?}"))
}

pub fn rows_stand_as_told(host: &Host) -> Breach {
    host.rows_here().find_map(|fault| {
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

pub fn no_line_names_a_closed_fault(host: &Host) -> Breach {
    let is_open = |id| host.faults.contains_key(&id) || host.rows.values().any(|row| row.id == id);
    let named = lines(host).find(|line| line.fault.is_some_and(|id| !is_open(id)))?;
    Some(format!("{named:?}"))
}

pub fn what_we_took_is_listed(host: &Host) -> Breach {
    let line = |cpu: &CpuId| &host.desk.ledger[&Target::Cpu(*cpu)];
    let mut ours = host.our_cpus.iter().map(line);
    ours.find(|line| line.state != IsolationState::Isolated).map(|line| format!("{line:?}"))
}

/// Unless a human had a hand in it since it went, or it did not come back, or
/// may not be brought back.
pub fn no_half_of_a_core_is_left(host: &Host) -> Breach {
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
pub fn nothing_is_held_for_nothing(host: &Host) -> Breach {
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
