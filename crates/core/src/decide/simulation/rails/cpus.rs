//! What holds for orders about CPUs.

use super::super::super::{DedicatedPolicy, Limits, Order};
use super::super::host::Host;
use super::{breach, Breach};
use crate::model::{By, Cpu, CpuId, Target};
use std::collections::BTreeSet;

/// The CPUs that `order` takes.
fn taken(order: &Order) -> Option<&[CpuId]> {
    match order {
        Order::TakeCpus(cpus) => Some(cpus),
        _ => None,
    }
}

/// Of the CPUs that `order` takes those that the host has.
fn known<'a>(host: &'a Host, order: &'a Order) -> impl Iterator<Item = &'a Cpu> {
    let taken = taken(order).into_iter().flatten();
    taken.filter_map(|cpu| host.desk.machine.cpus.get(cpu))
}

/// On line, and not about to go by an order of ours.
fn staying(host: &Host) -> impl Iterator<Item = &Cpu> {
    let going = host.going();
    host.desk.machine.online().filter(move |cpu| !going.contains(&cpu.id))
}

pub fn present(host: &Host, order: &Order) -> Breach {
    let absent = taken(order)?.iter().find(|cpu| !host.desk.machine.cpus.contains_key(cpu))?;
    Some(format!("{absent}"))
}

pub fn switch(host: &Host, order: &Order) -> Breach {
    known(host, order).find(|cpu| !cpu.removable).map(|cpu| cpu.id.to_string())
}

pub fn last(host: &Host, order: &Order) -> Breach {
    taken(order)?;
    breach(staying(host).next().is_none(), String::new)
}

/// One stays that neither the command line nor a cgroup keeps for somebody.
pub fn housekeeping(host: &Host, order: &Order) -> Breach {
    taken(order)?;
    let is_kept = |cpu: &Cpu| cpu.isolated || host.keepers.is_partitioned(cpu.id);
    breach(staying(host).all(is_kept), || "all others are kept".to_owned())
}

/// A node without memory needs none of its CPUs.
pub fn of_a_node(host: &Host, order: &Order) -> Breach {
    let least = host.desk.policy.limits.cpus_per_node as usize;
    let nodes = known(host, order).map(|cpu| cpu.node);
    let bare = nodes
        .filter(|node| !host.desk.machine.memoryless_nodes.contains(node))
        .find(|node| staying(host).filter(|cpu| cpu.node == *node).count() < least)?;
    Some(format!("fewer than {least} on node {bare}"))
}

pub fn of_a_socket(host: &Host, order: &Order) -> Breach {
    let least = host.desk.policy.limits.cpus_per_socket as usize;
    let mut sockets = known(host, order).map(|cpu| cpu.socket);
    let bare =
        sockets.find(|socket| staying(host).filter(|cpu| cpu.socket == *socket).count() < least)?;
    Some(format!("fewer than {least} in socket {bare}"))
}

pub fn in_all(host: &Host, order: &Order) -> Breach {
    taken(order)?;
    let all: BTreeSet<CpuId> = host.our_cpus.union(&host.going()).copied().collect();
    let most = host.desk.policy.limits.cpus(host.desk.machine.cpus.len());
    breach(all.len() > most, || format!("{all:?}, and {most} may be"))
}

/// What an admin asks for by number goes alone, and at once.
fn by_us(host: &Host, cpus: &[CpuId]) -> bool {
    let line = |cpu: &CpuId| host.desk.ledger.get(&Target::Cpu(*cpu));
    cpus.iter().filter_map(line).any(|line| line.by == By::Bulkhead)
}

pub fn whole_core(host: &Host, order: &Order) -> Breach {
    let cpus = taken(order).filter(|cpus| by_us(host, cpus))?;
    let mut threads = known(host, order).flat_map(|cpu| &cpu.threads);
    let left = threads.find(|cpu| !cpus.contains(cpu) && host.is_online(**cpu))?;
    Some(format!("without {left}"))
}

pub fn one_core_in_10_minutes(host: &Host, order: &Order) -> Breach {
    let cpus = taken(order).filter(|cpus| by_us(host, cpus))?;
    // What was off in an earlier boot goes together with others like it.
    cpus.iter().find(|cpu| !host.is_restored(Target::Cpu(**cpu)))?;
    let of_it = |core| known(host, order).all(|cpu| cpu.threads.contains(core));
    let (core, _) = host
        .cores_taken
        .iter()
        .find(|(core, at)| !of_it(core) && host.now().since(**at) < Limits::CORE_INTERVAL)?;
    Some(format!("right after {core}"))
}

/// Nor what nobody can tell of.
pub fn dedicated(host: &Host, order: &Order) -> Breach {
    let cpus = taken(order)?;
    let refuses = host.desk.policy.cpu.dedicated == DedicatedPolicy::Refuse;
    let kept = host.keepers.keep(cpus, &host.online()).filter(|_| refuses)?;
    Some(kept.to_owned())
}
