//! Evidence of processors over a reboot.
//!
//! It is kept by socket and APIC id. But the kernel's numbers in it may be
//! other threads' now, and the processor in the socket another one.

use super::evidence::{CoreId, EvidenceKey, Part, Remembered};
use crate::model::{CacheLevel, Cpu, CpuId, Machine, Ppin, SocketId};

/// What was remembered under `key` in an earlier boot, as of the host as it is
/// now; `None` where it is of hardware that is gone, or may be. `before` is the
/// host as it was, where that is known.
///
/// Memory's is left as it is: it goes by the memory configuration.
pub fn over_a_boot(
    key: &EvidenceKey,
    mut remembered: Remembered,
    before: Option<&Machine>,
    now: &Machine,
) -> Option<Remembered> {
    match key {
        EvidenceKey::Page(_) | EvidenceKey::Memory { .. } | EvidenceKey::Row(_) => {}
        EvidenceKey::Bank { socket, .. } | EvidenceKey::Bus(socket) => {
            is_same_processor(*socket, before, now).then_some(())?;
        }
        EvidenceKey::Core { socket, core, part } => {
            is_same_processor(*socket, before, now).then_some(())?;
            // A number says nothing of which thread it was.
            let CoreId::Apic(apic) = core else { return None };
            let cpu = now.by_apic(*apic).filter(|cpu| cpu.socket == *socket)?;
            if let Remembered::Component(state) = &mut remembered {
                let cpus = threads(cpu, *part);
                state.change_rest(|rest| rest.cpus = cpus);
            }
        }
    }
    Some(remembered)
}

/// The threads that go with a structure of the core of `cpu`.
fn threads(cpu: &Cpu, part: Part) -> Vec<CpuId> {
    let sharing = match part {
        Part::Cache(CacheLevel::L3) => cpu.caches.get(&3).unwrap_or(&cpu.threads),
        _ => &cpu.threads,
    };
    sharing.iter().copied().collect()
}

/// Where both tell their serial numbers, they are the same.
fn is_same_processor(socket: SocketId, before: Option<&Machine>, now: &Machine) -> bool {
    let ppin = |machine: &Machine| -> Option<Ppin> {
        machine.cpus.values().filter(|cpu| cpu.socket == socket).find_map(|cpu| cpu.ppin)
    };
    match (before.and_then(ppin), ppin(now)) {
        (Some(before), Some(now)) => before == now,
        _ => true,
    }
}
