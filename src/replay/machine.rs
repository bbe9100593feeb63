//! The machine that a log is replayed on. A log does not say what it was read
//! on, so the least is made up that lets its faults be decided on, and of a
//! kind that would rather refuse than take.

use bulkhead_core::model::{ApicId, Cpu, CpuId, Machine, MceRecord, SocketId};
use std::collections::BTreeSet;

/// CPUs that are believed: the most that Debian's kernels are built for
/// (CONFIG_NR_CPUS). A record that names one beyond is not the kernel's.
const MAX_CPUS: u32 = 8192;

/// Base pages of 4 KiB, no CPUs yet, addresses of up to 52 bits. Which
/// processor it was each record says itself, so none is named here.
pub(super) fn made_up(memory_bytes: u64) -> Machine {
    Machine { memory_bytes, ..Machine::default() }
}

/// Learns from a record that there is such a CPU. The kernel numbers CPUs
/// without gaps, so those below it are there as well.
///
/// Each is a core of its own, all on one node: which share a core, a cache or a
/// node a record does not say. So where the daemon would have taken a core with
/// both its threads, the replay takes the thread that reported.
pub(super) fn meet(machine: &mut Machine, record: &MceRecord) {
    if record.cpu >= MAX_CPUS {
        return;
    }
    let known = u32::try_from(machine.cpus.len()).unwrap_or(u32::MAX);
    for n in known..=record.cpu {
        machine.cpus.insert(CpuId(n), alone(CpuId(n)));
    }
    if let Some(cpu) = machine.cpus.get_mut(&record.cpu()) {
        if cpu.apic.is_none() {
            cpu.apic = Some(ApicId(u64::from(record.apicid)));
            cpu.socket = SocketId(record.socketid);
        }
    }
}

fn alone(id: CpuId) -> Cpu {
    Cpu {
        id,
        socket: SocketId(0),
        core: id.0,
        node: 0,
        online: true,
        removable: true,
        threads: BTreeSet::from([id]),
        ..Cpu::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_record_shows_its_cpu_and_those_below_it() {
        let mut machine = made_up(1 << 30);
        meet(&mut machine, &MceRecord { cpu: 3, apicid: 6, socketid: 1, ..MceRecord::default() });
        assert_eq!(machine.cpus.len(), 4);
        let cpu = machine.by_apic(ApicId(6)).unwrap();
        assert_eq!((cpu.id, cpu.socket), (CpuId(3), SocketId(1)));
        meet(&mut machine, &MceRecord { cpu: 3, apicid: 8, ..MceRecord::default() });
        assert!(machine.by_apic(ApicId(8)).is_none(), "the first record stands");
    }

    #[test]
    fn a_cpu_that_no_kernel_has_is_not_made_up() {
        let mut machine = made_up(1 << 30);
        meet(&mut machine, &MceRecord { cpu: u32::MAX, ..MceRecord::default() });
        assert!(machine.cpus.is_empty());
    }
}
