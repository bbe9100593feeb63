//! CPUs, memory and who is whose sibling
//! (Documentation/ABI/stable/sysfs-devices-system-cpu).
//!
//! sysfs forgets an offline CPU: its `topology` and `cache` directories go
//! (drivers/base/topology.c, cacheinfo.c), and it leaves the lists of its
//! siblings. What was known of it earlier in this boot stands in.

use super::mpidr::{self, Madt};
use super::{cpuinfo, cpulist, dimms, masked, meminfo, memory_config, HostError, Root};
use bulkhead_core::model::{ApicId, Cpu, CpuId, Machine, MemoryConfigId, PageSize, Ppin, SocketId};
use nix::unistd::{sysconf, SysconfVar};
use std::collections::{BTreeMap, BTreeSet};

const CPUS: &str = "sys/devices/system/cpu";

/// Where sysfs does not say a CPU's core, it is in one of this number.
const UNKNOWN_CORE: u32 = u32::MAX;

/// The machine as it is now.
///
/// `known` is an earlier snapshot of the same boot, if there is one: it fills
/// in what sysfs forgets of CPUs that are off line, and keeps them among the
/// siblings of those that are not. A CPU that has changed its place since is
/// not looked up there.
///
/// A file that is missing or not understood costs what it says and no more: a
/// CPU is on line, of socket 0 and node 0, and its own only sibling, unless
/// something says otherwise; memory of unknown size counts as none.
///
/// # Errors
/// When not even the CPUs that are present can be told.
pub fn machine(root: &Root, known: Option<&Machine>) -> Result<Machine, HostError> {
    let info = cpuinfo::parse(&root.read("proc/cpuinfo").unwrap_or_default());
    let online = cpus_in(root, &format!("{CPUS}/online"));
    // Only x86 has APIC ids to show, and only ARM has to ask firmware.
    let madt = info.apic.is_empty().then(|| Madt::read(root));
    let mut cpus = BTreeMap::new();
    for id in present(root)? {
        let apic = match &madt {
            Some(madt) => mpidr::of(root, madt, id),
            None => info.apic.get(&id).copied(),
        };
        cpus.insert(id, cpu(root, id, online.as_ref(), apic));
    }
    if let Some(known) = known {
        remember(&mut cpus, &known.cpus);
    }
    for file in ["isolated", "nohz_full"] {
        // Without nohz_full= the kernel prints what is no list.
        for id in cpus_in(root, &format!("{CPUS}/{file}")).unwrap_or_default() {
            if let Some(cpu) = cpus.get_mut(&id) {
                cpu.isolated = true;
            }
        }
    }
    Ok(Machine {
        dimms: dimms::read(root, info.vendor),
        vendor: info.vendor,
        family: info.family,
        model: info.model,
        page_size: page_size(),
        memory_bytes: meminfo::bytes(root, "MemTotal").unwrap_or(0),
        masked: masked::read(root, page_size()),
        phys_bits: info.phys_bits,
        memoryless_nodes: memoryless_nodes(root, &cpus),
        cpus,
        memory: memory(root, known),
    })
}

/// Which memory is behind the addresses. It is that of the first look in this
/// boot: DIMMs do not change while the host runs, and memory that is plugged in,
/// which the kernel enters into firmware's map (firmware_map_add_hotplug() in
/// drivers/firmware/memmap.c), leaves the other addresses as they are.
fn memory(root: &Root, known: Option<&Machine>) -> MemoryConfigId {
    let nothing = MemoryConfigId::default();
    let known = known.map(|known| known.memory).filter(|memory| *memory != nothing);
    known.unwrap_or_else(|| memory_config::read(root).id())
}

/// The base page size of the running kernel, under any `--root`; 4 KiB if it
/// names one that Linux does not have.
pub fn page_size() -> PageSize {
    sysconf(SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|bytes| u64::try_from(bytes).ok())
        .and_then(PageSize::from_bytes)
        .unwrap_or(PageSize::KIB_4)
}

/// What sysfs says of one CPU now.
fn cpu(root: &Root, id: CpuId, online: Option<&BTreeSet<CpuId>>, apic: Option<ApicId>) -> Cpu {
    let dir = format!("{CPUS}/cpu{id}");
    let own = root.read(&format!("{dir}/online"));
    let mut threads = cpus_in(root, &format!("{dir}/topology/core_cpus_list"))
        .or_else(|| cpus_in(root, &format!("{dir}/topology/thread_siblings_list")))
        .unwrap_or_default();
    threads.insert(id);
    Cpu {
        id,
        socket: SocketId(number(root, &format!("{dir}/topology/physical_package_id")).unwrap_or(0)),
        core: number(root, &format!("{dir}/topology/core_id")).unwrap_or(UNKNOWN_CORE),
        apic,
        ppin: root.read(&format!("{dir}/topology/ppin")).ok().and_then(|text| ppin(&text)),
        node: node(root, &dir).unwrap_or(0),
        online: online.map_or_else(
            || own.as_ref().map_or(true, |text| text.trim() != "0"),
            |online| online.contains(&id),
        ),
        removable: root.path(&format!("{dir}/online")).exists(),
        threads,
        caches: caches(root, &dir, id),
        ..Cpu::default()
    }
}

/// "0x2c2a7ac4f1f0b5d3\n"; zero where the processor tells none
/// (drivers/base/topology.c). Only root may read it.
pub(super) fn ppin(text: &str) -> Option<Ppin> {
    let number = u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()?;
    (number != 0).then_some(Ppin(number))
}

/// Fills in from `known`, and never takes a sibling away that only went off
/// line.
fn remember(cpus: &mut BTreeMap<CpuId, Cpu>, known: &BTreeMap<CpuId, Cpu>) {
    let same: BTreeMap<CpuId, &Cpu> = cpus
        .values()
        .filter_map(|now| Some((now, known.get(&now.id)?)))
        .filter(|(now, then)| placeless(now) || same_place(now, then))
        .map(|(now, then)| (now.id, then))
        .collect();
    let still = |then: &BTreeSet<CpuId>| -> Vec<CpuId> {
        then.iter().copied().filter(|cpu| same.contains_key(cpu)).collect()
    };
    for (id, then) in &same {
        let Some(now) = cpus.get_mut(id) else { continue };
        if placeless(now) {
            (now.socket, now.core, now.node) = (then.socket, then.core, then.node);
        }
        now.apic = now.apic.or(then.apic);
        now.ppin = now.ppin.or(then.ppin);
        now.threads.extend(still(&then.threads));
        for (level, sharing) in &then.caches {
            now.caches.entry(*level).or_default().extend(still(sharing));
        }
    }
}

/// Whether sysfs no longer says where a CPU is: it is off line, or went off
/// while it was being read.
fn placeless(cpu: &Cpu) -> bool {
    !cpu.online || cpu.core == UNKNOWN_CORE
}

/// Whether a CPU number still is the same hardware thread.
fn same_place(now: &Cpu, then: &Cpu) -> bool {
    (now.socket, now.core) == (then.socket, then.core)
        && (now.apic == then.apic || now.apic.is_none() || then.apic.is_none())
        && (now.ppin == then.ppin || now.ppin.is_none() || then.ppin.is_none())
}

/// All CPUs that are present, on or off line.
fn present(root: &Root) -> Result<BTreeSet<CpuId>, HostError> {
    if let Some(cpus) = cpus_in(root, &format!("{CPUS}/present")).filter(|c| !c.is_empty()) {
        return Ok(cpus);
    }
    let names = root.list(CPUS)?;
    let cpus: BTreeSet<CpuId> =
        names.iter().filter_map(|n| numbered(n, "cpu")).map(CpuId).collect();
    if cpus.is_empty() {
        return Err(HostError::unexpected(root.path(CPUS), "it has no CPUs"));
    }
    Ok(cpus)
}

/// The NUMA node by the link `cpuN/nodeM`, which stays while the CPU is off
/// line (register_cpu_under_node() in drivers/base/node.c), unlike its place in
/// `nodeM/cpulist`.
fn node(root: &Root, dir: &str) -> Option<u32> {
    root.list(dir).ok()?.iter().find_map(|name| numbered(name, "node"))
}

/// The nodes of `cpus` that have no memory. Where the kernel does not tell, none.
fn memoryless_nodes(root: &Root, cpus: &BTreeMap<CpuId, Cpu>) -> BTreeSet<u32> {
    let Some(with) = cpus_in(root, "sys/devices/system/node/has_memory") else {
        return BTreeSet::new();
    };
    // Nodes are listed as CPUs are.
    cpus.values().map(|cpu| cpu.node).filter(|node| !with.contains(&CpuId(*node))).collect()
}

/// The CPUs that share each level's data or unified cache.
fn caches(root: &Root, dir: &str, id: CpuId) -> BTreeMap<u8, BTreeSet<CpuId>> {
    let mut caches: BTreeMap<u8, BTreeSet<CpuId>> = BTreeMap::new();
    for index in root.list(&format!("{dir}/cache")).unwrap_or_default() {
        let dir = format!("{dir}/cache/{index}");
        let Some(level) = number(root, &format!("{dir}/level")) else { continue };
        if root.read(&format!("{dir}/type")).is_ok_and(|kind| kind.trim() == "Instruction") {
            continue;
        }
        let sharing = caches.entry(level).or_default();
        sharing.insert(id);
        sharing.extend(cpus_in(root, &format!("{dir}/shared_cpu_list")).unwrap_or_default());
    }
    caches
}

fn cpus_in(root: &Root, file: &str) -> Option<BTreeSet<CpuId>> {
    cpulist::parse(&root.read(file).ok()?)
}

/// The number in a file; the kernel's "-1" for unknown is none.
fn number<T: std::str::FromStr>(root: &Root, file: &str) -> Option<T> {
    root.read(file).ok()?.trim().parse().ok()
}

/// The N of "cpuN".
fn numbered(name: &str, kind: &str) -> Option<u32> {
    let digits = name.strip_prefix(kind)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::host::testing::Tree;
    use bulkhead_core::model::Vendor;

    /// A host of two sockets with two cores of two threads each, numbered as
    /// firmware usually does: first all first threads, then all second ones.
    /// CPU 0 cannot be taken.
    struct Host {
        tree: Tree,
    }

    impl Host {
        fn new() -> Host {
            let host = Host { tree: Tree::new() };
            host.tree.write("proc/meminfo", "MemTotal:        2014328 kB\nMemFree: 1 kB\n");
            host.tree.write("sys/devices/system/cpu/present", "0-7\n");
            for id in 0..8 {
                host.tree.write(&format!("sys/devices/system/cpu/cpu{id}/crash_notes"), "0");
                host.tree
                    .write(&format!("sys/devices/system/cpu/cpu{id}/node{}/x", id / 2 % 2), "");
                if id > 0 {
                    host.tree.write(&format!("sys/devices/system/cpu/cpu{id}/online"), "1\n");
                }
            }
            host.with_online(&[0, 1, 2, 3, 4, 5, 6, 7]);
            host
        }

        /// Makes sysfs look as the kernel makes it with these CPUs on line.
        fn with_online(&self, online: &[u32]) {
            let list = |cpus: &[u32]| {
                let on: Vec<_> =
                    cpus.iter().filter(|c| online.contains(c)).map(u32::to_string).collect();
                on.join(",") + "\n"
            };
            let mut info = String::new();
            self.tree.write("sys/devices/system/cpu/online", &list(online));
            for id in 0..8_u32 {
                let dir = format!("sys/devices/system/cpu/cpu{id}");
                if id > 0 {
                    let on = if online.contains(&id) { "1\n" } else { "0\n" };
                    self.tree.write(&format!("{dir}/online"), on);
                }
                self.tree.remove(&format!("{dir}/topology"));
                self.tree.remove(&format!("{dir}/cache"));
                if !online.contains(&id) {
                    continue;
                }
                let socket = id / 2 % 2;
                let first = id % 4;
                self.tree
                    .write(&format!("{dir}/topology/physical_package_id"), &format!("{socket}\n"));
                self.tree.write(&format!("{dir}/topology/core_id"), &format!("{}\n", id % 2));
                self.tree
                    .write(&format!("{dir}/topology/core_cpus_list"), &list(&[first, first + 4]));
                let package = [socket * 2, socket * 2 + 1, socket * 2 + 4, socket * 2 + 5];
                for (index, level, kind, shared) in [
                    (0, 1, "Data", vec![first, first + 4]),
                    (1, 1, "Instruction", package.to_vec()),
                    (2, 2, "Unified", vec![first, first + 4]),
                    (3, 3, "Unified", package.to_vec()),
                ] {
                    let cache = format!("{dir}/cache/index{index}");
                    self.tree.write(&format!("{cache}/level"), &format!("{level}\n"));
                    self.tree.write(&format!("{cache}/type"), &format!("{kind}\n"));
                    self.tree.write(&format!("{cache}/shared_cpu_list"), &list(&shared));
                }
                info += &format!(
                    "processor\t: {id}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\n\
                     model\t\t: 85\napicid\t\t: {0}\ninitial apicid\t: {0}\n\
                     address sizes\t: 46 bits physical, 48 bits virtual\n\n",
                    10 + id
                );
            }
            self.tree.write("proc/cpuinfo", &info);
        }

        fn machine(&self, known: Option<&Machine>) -> Machine {
            machine(&self.tree.root, known).unwrap()
        }
    }

    fn set(cpus: &[u32]) -> BTreeSet<CpuId> {
        cpus.iter().copied().map(CpuId).collect()
    }

    #[test]
    fn a_whole_machine_is_read() {
        let machine = Host::new().machine(None);
        assert_eq!((machine.vendor, machine.family, machine.model), (Vendor::Intel, 6, 85));
        assert_eq!((machine.phys_bits, machine.memory_bytes), (46, 2_014_328 << 10));
        assert_eq!(machine.cpus.len(), 8);
        let cpu = &machine.cpus[&CpuId(7)];
        assert_eq!((cpu.socket, cpu.core, cpu.node), (SocketId(1), 1, 1));
        assert_eq!(cpu.apic, Some(ApicId(17)));
        assert!(cpu.online && cpu.removable);
        assert_eq!(cpu.threads, set(&[3, 7]));
        assert_eq!(cpu.caches[&1], set(&[3, 7]), "the instruction cache is not the data cache");
        assert_eq!(cpu.caches[&3], set(&[2, 3, 6, 7]));
    }

    #[test]
    fn an_arm_processor_is_known_by_its_mpidr() {
        let host = Host::new();
        host.tree.write("proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41\n");
        host.tree.write("sys/devices/system/cpu/cpu5/of_node/reg", "\0\0\x01\x02");
        let machine = host.machine(None);
        assert_eq!(machine.by_apic(ApicId(0x102)).map(|cpu| cpu.id), Some(CpuId(5)));
        assert_eq!(machine.cpus[&CpuId(0)].apic, None);
    }

    #[test]
    fn a_processor_that_tells_its_number_keeps_it_while_it_is_off_line() {
        let host = Host::new();
        let ppin_of = |cpu: u32, text: &str| {
            host.tree.write(&format!("sys/devices/system/cpu/cpu{cpu}/topology/ppin"), text);
        };
        ppin_of(6, "0x0\n");
        ppin_of(7, "0x2c2a7ac4f1f0b5d3\n");
        let before = host.machine(None);
        assert_eq!(before.cpus[&CpuId(6)].ppin, None, "zero is none");
        assert_eq!(before.cpus[&CpuId(7)].ppin, Some(Ppin(0x2c2a_7ac4_f1f0_b5d3)));
        host.with_online(&[0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(host.machine(Some(&before)).cpus[&CpuId(7)].ppin, before.cpus[&CpuId(7)].ppin);
    }

    #[test]
    fn memory_plugged_in_is_no_other_configuration_before_a_reboot() {
        let host = Host::new();
        let map = |n: u32, start: u64, end: u64| {
            let dir = format!("sys/firmware/memmap/{n}");
            host.tree.write(&format!("{dir}/start"), &format!("{start:#x}\n"));
            host.tree.write(&format!("{dir}/end"), &format!("{end:#x}\n"));
            host.tree.write(&format!("{dir}/type"), "System RAM\n");
        };
        map(0, 0, 0x3fff_ffff);
        let before = host.machine(None);
        assert_ne!(before.memory, MemoryConfigId::default());
        map(1, 0x1_0000_0000, 0x1_3fff_ffff);
        assert_eq!(host.machine(Some(&before)).memory, before.memory);
        assert_ne!(host.machine(None).memory, before.memory);
    }

    #[test]
    fn a_cpu_without_an_online_file_cannot_be_taken() {
        let machine = Host::new().machine(None);
        assert!(machine.cpus[&CpuId(0)].online && !machine.cpus[&CpuId(0)].removable);
    }

    #[test]
    fn a_cpu_that_the_command_line_keeps_from_general_work_is_isolated() {
        let host = Host::new();
        host.tree.write("sys/devices/system/cpu/isolated", "2\n");
        host.tree.write("sys/devices/system/cpu/nohz_full", "5-6\n");
        let isolated = |machine: &Machine| -> Vec<u32> {
            machine.cpus.values().filter(|cpu| cpu.isolated).map(|cpu| cpu.id.0).collect()
        };
        assert_eq!(isolated(&host.machine(None)), [2, 5, 6]);
        host.tree.write("sys/devices/system/cpu/isolated", "\n");
        host.tree.write("sys/devices/system/cpu/nohz_full", " (null)\n");
        assert_eq!(isolated(&host.machine(None)), [0; 0]);
    }

    #[test]
    fn a_node_without_memory_is_known() {
        let host = Host::new();
        assert_eq!(host.machine(None).memoryless_nodes, BTreeSet::new(), "nobody tells");
        host.tree.write("sys/devices/system/node/has_memory", "1\n");
        assert_eq!(host.machine(None).memoryless_nodes, BTreeSet::from([0]));
    }

    #[test]
    fn an_offline_cpu_keeps_its_place_from_before() {
        let host = Host::new();
        let before = host.machine(None);
        host.with_online(&[0, 1, 2, 3, 4, 5, 6]);
        let after = host.machine(Some(&before));
        let expected = Cpu { online: false, ..before.cpus[&CpuId(7)].clone() };
        assert_eq!(after.cpus[&CpuId(7)], expected);
        assert_eq!(after.by_apic(ApicId(17)).map(|c| c.id), Some(CpuId(7)));
    }

    #[test]
    fn a_sibling_that_goes_off_line_stays_a_sibling() {
        let host = Host::new();
        let before = host.machine(None);
        host.with_online(&[0, 1, 2, 3, 4, 5, 6]);
        let after = host.machine(Some(&before));
        assert_eq!(after.cpus[&CpuId(3)].threads, set(&[3, 7]));
        assert_eq!(after.cpus[&CpuId(2)].caches[&3], set(&[2, 3, 6, 7]));
        let again = host.machine(Some(&after));
        assert_eq!(again, after, "however often it is read");
    }

    #[test]
    fn a_cpu_that_goes_off_line_while_it_is_read_loses_no_sibling() {
        let host = Host::new();
        let before = host.machine(None);
        host.with_online(&[0, 1, 2, 3, 4, 5, 6]);
        host.tree.write("sys/devices/system/cpu/online", "0-7\n");
        let after = host.machine(Some(&before));
        assert_eq!(after.cpus[&CpuId(7)], before.cpus[&CpuId(7)]);
        assert_eq!(after.cpus[&CpuId(3)].threads, set(&[3, 7]));
    }

    #[test]
    fn an_offline_cpu_of_which_nothing_is_known_is_alone_but_has_its_node() {
        let host = Host::new();
        host.with_online(&[0, 1, 2, 3, 4, 5, 6]);
        let machine = host.machine(None);
        let cpu = &machine.cpus[&CpuId(7)];
        assert!(!cpu.online && cpu.removable);
        assert_eq!((cpu.core, cpu.node, cpu.apic), (UNKNOWN_CORE, 1, None));
        assert_eq!((&cpu.threads, cpu.caches.len()), (&set(&[7]), 0));
    }

    #[test]
    fn a_cpu_in_another_place_than_before_is_not_mixed_up_with_the_one_that_was() {
        let host = Host::new();
        let mut before = host.machine(None);
        let moved = before.cpus.get_mut(&CpuId(7)).unwrap();
        moved.apic = Some(ApicId(99));
        moved.threads = set(&[2, 7]);
        before.cpus.get_mut(&CpuId(2)).unwrap().threads = set(&[2, 6, 7]);
        let after = host.machine(Some(&before));
        assert_eq!(after.cpus[&CpuId(7)].threads, set(&[3, 7]));
        assert_eq!(after.cpus[&CpuId(2)].threads, set(&[2, 6]));
    }

    #[test]
    fn what_is_missing_costs_no_more_than_what_it_says() {
        let host = Host::new();
        for gone in ["proc", "sys/devices/system/cpu/present", "sys/devices/system/cpu/online"] {
            host.tree.remove(gone);
        }
        host.tree.write("sys/devices/system/cpu/cpu5/online", "0\n");
        host.tree.write("sys/devices/system/cpu/cpu6/topology/physical_package_id", "-1\n");
        host.tree.write("sys/devices/system/cpu/cpu6/topology/core_cpus_list", "who knows\n");
        host.tree.write("sys/devices/system/cpu/cpu6/cache/index0/level", "\n");
        host.tree.write("sys/devices/system/cpu/cpufreq/x", "");
        let machine = host.machine(None);
        assert_eq!((machine.vendor, machine.memory_bytes), (Vendor::Other, 0));
        assert_eq!(machine.cpus.len(), 8);
        assert_eq!(machine.online().count(), 7);
        let cpu = &machine.cpus[&CpuId(6)];
        assert_eq!((cpu.socket, &cpu.threads), (SocketId(0), &set(&[6])));
    }

    #[test]
    fn a_root_without_cpus_is_an_error_that_names_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        let said = machine(&root, None).unwrap_err().to_string();
        assert!(said.contains("sys/devices/system/cpu") && said.contains("no CPUs"), "{said}");
    }
}
