//! What analyze and decide need to know of the host, as plain data.

use super::{
    ApicId, Component, CpuId, CpuIdentity, Dimm, Home, MemoryConfigId, PageSize, Pfn, Ppin,
    SocketId, Target,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Who made the processor, as far as machine-check formats differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// GenuineIntel.
    Intel,
    /// AuthenticAMD and HygonGenuine, which share SMCA.
    Amd,
    /// Any other, or not an x86.
    #[default]
    Other,
}

/// One hardware thread. Threads that are off line keep what was known of them
/// while they were on: sysfs forgets the topology of an offline CPU.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cpu {
    /// The kernel's number now.
    pub id: CpuId,
    /// Package, where known.
    pub socket: SocketId,
    /// Core number within the package, as in `topology/core_id`.
    pub core: u32,
    /// APIC id or MPIDR, where known.
    pub apic: Option<ApicId>,
    /// Serial number of its processor, where the processor tells it.
    #[serde(default)]
    pub ppin: Option<Ppin>,
    /// NUMA node.
    pub node: u32,
    /// On line now.
    pub online: bool,
    /// `cpuN/online` exists: the kernel lets it be taken.
    pub removable: bool,
    /// The kernel command line keeps it from general work: it is in `isolcpus`
    /// or `nohz_full`.
    #[serde(default)]
    pub isolated: bool,
    /// All hardware threads of its core, itself included.
    pub threads: BTreeSet<CpuId>,
    /// Per cache level (1, 2, 3, …): the CPUs that share the data or unified
    /// cache of that level, itself included.
    pub caches: BTreeMap<u8, BTreeSet<CpuId>>,
}

/// A snapshot of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor vendor.
    pub vendor: Vendor,
    /// CPUID family as displayed (extended included); 0 where not x86.
    pub family: u32,
    /// CPUID model as displayed (extended included).
    pub model: u32,
    /// Base page size.
    pub page_size: PageSize,
    /// MemTotal in bytes.
    pub memory_bytes: u64,
    /// Physical address width in bits (`address sizes` of /proc/cpuinfo);
    /// 52 where unknown, the architectural most.
    pub phys_bits: u8,
    /// All present CPUs.
    pub cpus: BTreeMap<CpuId, Cpu>,
    /// NUMA nodes without memory of their own.
    #[serde(default)]
    pub memoryless_nodes: BTreeSet<u32>,
    /// All DIMMs that EDAC or SMBIOS tell of.
    #[serde(default)]
    pub dimms: Vec<Dimm>,
    /// Which memory is behind its addresses.
    #[serde(default)]
    pub memory: MemoryConfigId,
    /// Pages that the kernel was booted without, and does not have: ranges in
    /// ascending order that do not touch each other.
    #[serde(default)]
    pub masked: Vec<Range<Pfn>>,
}

impl Default for Machine {
    /// A host of which nothing is known but that its pages are x86's.
    fn default() -> Self {
        Machine {
            vendor: Vendor::default(),
            family: 0,
            model: 0,
            page_size: PageSize::KIB_4,
            memory_bytes: 0,
            phys_bits: 52,
            cpus: BTreeMap::new(),
            memoryless_nodes: BTreeSet::new(),
            dimms: Vec::new(),
            memory: MemoryConfigId::default(),
            masked: Vec::new(),
        }
    }
}

impl Cpu {
    /// What it is, whatever number it has; `None` where firmware gives it no
    /// identity.
    pub fn identity(&self) -> Option<CpuIdentity> {
        Some(CpuIdentity { socket: self.socket, apic: self.apic?, ppin: self.ppin })
    }
}

impl Machine {
    /// The hardware that `target` names now.
    pub fn home(&self, target: Target) -> Home {
        match target {
            Target::Page(_) => self.memory_home(),
            Target::Cpu(cpu) => self.cpu_home(cpu),
        }
    }

    /// The hardware that `component` is of now; of a core, its first thread.
    pub fn home_of(&self, component: &Component) -> Home {
        match component.cpus().first() {
            Some(cpu) => self.cpu_home(*cpu),
            None if component.is_memory() => self.memory_home(),
            None => Home::Unknown,
        }
    }

    /// Whether `home` is hardware of this host as it is now; `None` where nobody
    /// can tell.
    pub fn has(&self, home: Home) -> Option<bool> {
        match home {
            Home::Unknown => None,
            Home::Memory(memory) => Some(memory == self.memory),
            Home::Thread(identity) => Some(self.by_identity(&identity).is_some()),
        }
    }

    /// The hardware that all memory is of now.
    pub fn memory_home(&self) -> Home {
        match self.memory == MemoryConfigId::default() {
            true => Home::Unknown,
            false => Home::Memory(self.memory),
        }
    }

    fn cpu_home(&self, cpu: CpuId) -> Home {
        self.cpus.get(&cpu).and_then(Cpu::identity).map_or(Home::Unknown, Home::Thread)
    }

    /// The CPU that is this hardware thread, on or off line.
    pub fn by_identity(&self, identity: &CpuIdentity) -> Option<&Cpu> {
        self.cpus.values().find(|cpu| cpu.identity().as_ref() == Some(identity))
    }

    /// The kernel was booted without the page.
    pub fn is_masked(&self, pfn: Pfn) -> bool {
        let next = self.masked.partition_point(|range| range.end <= pfn);
        self.masked.get(next).is_some_and(|range| range.contains(&pfn))
    }

    /// CPUs that are on line.
    pub fn online(&self) -> impl Iterator<Item = &Cpu> {
        self.cpus.values().filter(|c| c.online)
    }

    /// The CPU with this APIC id, on or off line.
    pub fn by_apic(&self, apic: ApicId) -> Option<&Cpu> {
        self.cpus.values().find(|c| c.apic == Some(apic))
    }
}
