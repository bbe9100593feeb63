//! How a simulated host is built.

use super::super::testing::machine;
use crate::model::{CpuId, Machine};
use proptest::prelude::*;

/// Cores in each part of the host, of two threads each.
const CORES: u32 = 4;

/// The most CPUs that a host has.
pub(super) const MOST_CPUS: u32 = 2 * 2 * CORES;

/// What does not change between boots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Build {
    /// Parts, each a socket and a NUMA node of its own unless said otherwise.
    parts: u32,
    /// Firmware interleaves all memory: one NUMA node.
    one_node: bool,
    /// All parts lie in one package.
    one_socket: bool,
    /// The last node, of several, has no memory.
    memoryless: bool,
    /// The kernel can take CPU 0, as on ARM.
    all_removable: bool,
    /// A bit for each CPU that is in neither `isolcpus` nor `nohz_full`; none at
    /// all: the command line isolates nothing.
    general: u16,
}

pub(super) fn build() -> impl Strategy<Value = Build> {
    let general = prop_oneof![3 => Just(0), 1 => (0..MOST_CPUS).prop_map(|n| 1 << n),
        1 => (0..MOST_CPUS, 0..MOST_CPUS).prop_map(|(n, m)| 1 << n | 1 << m)];
    let flag = prop::bool::weighted;
    (1u32..=2, flag(0.3), flag(0.3), flag(0.3), any::<bool>(), general).prop_map(
        |(parts, one_node, one_socket, memoryless, all_removable, general)| Build {
            parts,
            one_node,
            one_socket,
            memoryless,
            all_removable,
            general,
        },
    )
}

impl Build {
    /// As the kernel shows it.
    pub fn machine(self) -> Machine {
        let mut machine = machine(self.parts, CORES);
        let bit = |cpu: CpuId| self.general & 1 << cpu.0 != 0;
        let isolates = machine.cpus.keys().any(|cpu| bit(*cpu));
        for cpu in machine.cpus.values_mut() {
            cpu.isolated = isolates && !bit(cpu.id);
            cpu.removable |= self.all_removable;
            if self.one_node {
                cpu.node = 0;
            }
            if self.one_socket {
                // Cores are numbered within their package.
                cpu.core += cpu.socket.0 * CORES;
                cpu.socket.0 = 0;
            }
        }
        if self.memoryless && !self.one_node && self.parts > 1 {
            machine.memoryless_nodes.insert(self.parts - 1);
        }
        machine
    }
}
