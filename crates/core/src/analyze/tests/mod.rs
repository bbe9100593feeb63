//! The rules, told by examples.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bookkeeping;
mod carry;
mod closing;
mod confirm;
mod counting;
mod last_boot;
mod memory;
mod places;
mod processor;

use super::*;
use crate::decide::Policy;
use crate::model::*;
use std::time::Duration;

pub const SECOND: u64 = 1_000_000_000;
pub const HOUR: u64 = 3600 * SECOND;
/// Where the tests' time line begins.
pub const START: u64 = 1_700_000_000 * SECOND;

/// Corrected memory read, channel unspecified, with address and MISC.
pub const CE: u64 = 0x8c00_0000_0000_009f;
/// Uncorrected, found by the memory scrubber.
pub const UE: u64 = 0xbd00_0000_0000_00c0;
/// Corrected, L1 data cache, data read.
pub const L1: u64 = 0x9000_0000_0000_0135;
/// Corrected, L2 data.
pub const L2: u64 = 0x9000_0000_0000_0136;
/// Corrected, level not said.
pub const ANY_LEVEL: u64 = 0x9000_0000_0000_0137;
/// Corrected, L1 data TLB.
pub const TLB: u64 = 0x9000_0000_0000_0015;
/// Corrected, internal parity.
pub const PARITY: u64 = 0x9000_0000_0000_0005;
/// Corrected, bus.
pub const BUS: u64 = 0x9000_0000_0000_0e0b;
/// "Yellow" in bits 54:53.
pub const YELLOW: u64 = 2 << 53;

pub fn rules() -> Rules {
    Rules::from(&Policy::default())
}

/// What is to be kept, and is.
pub fn take_changes(analyzer: &mut Analyzer) -> Vec<(EvidenceKey, Option<Remembered>)> {
    let changes = analyzer.changes().collect();
    analyzer.kept();
    changes
}

pub fn analyzer() -> Analyzer {
    Analyzer::new(rules())
}

/// Two sockets of two cores of two threads; thread siblings are n and n+4.
/// Each thread lists its L1 as its own, as some machines do.
pub fn machine() -> Machine {
    let cpu = |id: u32| {
        let first = id % 4;
        let (socket, core) = (first / 2, first % 2);
        let threads = [CpuId(first), CpuId(first + 4)].into();
        let l3 = [0, 1, 4, 5].map(|n| CpuId(n + socket * 2)).into();
        let caches =
            [(1, [CpuId(id)].into()), (2, [CpuId(first), CpuId(first + 4)].into()), (3, l3)];
        let cpu = Cpu {
            id: CpuId(id),
            socket: SocketId(socket),
            core,
            apic: Some(apic(id)),
            node: socket,
            online: true,
            removable: id != 0,
            threads,
            caches: caches.into(),
            ..Cpu::default()
        };
        (cpu.id, cpu)
    };
    Machine {
        vendor: Vendor::Intel,
        family: 6,
        model: 85,
        memory_bytes: 4 << 30,
        phys_bits: 46,
        cpus: (0..8).map(cpu).collect(),
        ..Machine::default()
    }
}

pub fn apic(cpu: u32) -> ApicId {
    let first = cpu % 4;
    ApicId(u64::from(first / 2 * 16 + first % 2 * 2 + cpu / 4))
}

pub fn stamp(at: u64) -> Stamp {
    Stamp { at: Time(START + at), wall: Wall((START + at) as i64) }
}

pub fn report(source: Source, record: Record, at: u64) -> Report {
    let errors = record.errors();
    Report { source, first: stamp(at), last: stamp(at), records: 1, errors, decodes: 0, record }
}

pub fn mce(record: MceRecord, at: u64) -> Report {
    report(Source::MceRecord, Record::Mce(record), at)
}

/// A memory error at `addr`.
pub fn dram(status: u64, addr: u64) -> MceRecord {
    MceRecord { bank: 9, status, addr, misc: 0x8c, cpuid: 0x50654, ..Default::default() }
}

/// An error in `bank` as read by `cpu`.
pub fn on_cpu(cpu: u32, bank: u8, status: u64) -> MceRecord {
    MceRecord {
        bank,
        status,
        cpu,
        apicid: apic(cpu).0 as u32,
        socketid: cpu % 4 / 2,
        cpuid: 0x50654,
        mcgcap: 0x0100_010a,
        ..Default::default()
    }
}

pub fn edac(address: u64) -> McEvent {
    McEvent {
        error_count: 1,
        address,
        label: "CPU_SrcID#0_MC#0_Chan#0_DIMM#0".to_owned(),
        ..Default::default()
    }
}

pub fn mc_event(event: McEvent, at: u64) -> Report {
    report(Source::McEvent, Record::MemoryController(event), at)
}

pub fn memory_failure(pfn: u64, at: u64) -> Report {
    let result = MemoryFailure { pfn: Pfn(pfn), page_type: 0, result: 3 };
    report(Source::MemoryFailure, Record::MemoryFailure(result), at)
}

/// Equal records, counted.
pub fn aggregate(mut report: Report, records: u64, last: u64) -> Report {
    report.errors *= records;
    report.records = records;
    report.last = stamp(last);
    report
}

pub fn feed<'a>(
    analyzer: &mut Analyzer,
    machine: &Machine,
    reports: impl IntoIterator<Item = &'a Report>,
) -> Vec<Finding> {
    reports.into_iter().flat_map(|r| analyzer.observe(r, machine).findings).collect()
}

/// The rules that fired, and what they call for.
pub fn verdicts(findings: &[Finding]) -> Vec<(&str, Response)> {
    findings.iter().map(|f| (f.fault.rule.id.as_str(), f.response.clone())).collect()
}

pub fn take(cpus: &[u32]) -> Response {
    Response::TakeCpus(cpus.iter().copied().map(CpuId).collect())
}

pub fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3600)
}

/// The fault, closed by an admin.
pub fn repaired(fault: &Fault) -> Fault {
    Fault { state: FaultState::Repaired, ..fault.clone() }
}
