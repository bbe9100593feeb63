//! ARM processor errors, from their bytes to what they point at.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::analyze::tests::{machine as x86, rules, take};
use crate::model::{Bytes, Pfn, Vendor};
use proptest::prelude::*;

/// Error information values that QEMU raises by default
/// (scripts/arm_processor_error.py): a data write in the L2, an instruction
/// fetch in the L1 TLB, a bus error, a micro-architectural one.
const CACHE_L2: u64 = 0x0091_000f;
const TLB_L1: u64 = 0x0054_007f;
const BUS: u64 = 0x80_d646_0fff;
const INTERNAL: u64 = 0x78_da03ff;
/// A data read in the L1, corrected.
const CACHE_L1: u64 = 1 << 26 | 1 << 22 | 3 << 18 | 1 << 16 | 0b1_0111;
/// The corrected bit of a value that has one.
const CORRECTED: u64 = 1 << 26;

const CACHE: u8 = 1 << 1;
const TLB: u8 = 1 << 2;
const OF_BUS: u8 = 1 << 3;
const MICRO: u8 = 1 << 4;

/// The x86 machine of the other tests with MPIDRs: two sockets of two cores of
/// two threads, L1 and L2 each core's own, L3 each socket's.
fn machine() -> Machine {
    let mut machine = Machine { vendor: Vendor::Other, family: 0, model: 0, ..x86() };
    for cpu in machine.cpus.values_mut() {
        cpu.apic = Some(ApicId(mpidr(cpu.id.0) & MPIDR_AFFINITY));
    }
    machine
}

/// Aff2 socket, Aff1 core, Aff0 thread; bit 31 is always set, MT where threads
/// are.
fn mpidr(cpu: u32) -> u64 {
    let first = u64::from(cpu % 4);
    1 << 31 | MPIDR_MT | (first / 2) << 16 | (first % 2) << 8 | u64::from(cpu / 4)
}

fn info(kind: u8, error_info: u64) -> Vec<u8> {
    let mut bytes = vec![0, 32, 0b0_0100, 0, kind, 0, 0, 0];
    bytes.extend(error_info.to_le_bytes());
    bytes.extend([0; 16]);
    bytes
}

fn with_address(mut info: Vec<u8>, addr: u64) -> Vec<u8> {
    info[2] |= 1 << 4;
    info[24..].copy_from_slice(&addr.to_le_bytes());
    info
}

fn on_cpu(cpu: u32, pei: Vec<u8>) -> ArmEvent {
    ArmEvent {
        mpidr: mpidr(cpu),
        affinity: 0,
        running_state: 1,
        pei_buf: Bytes(pei),
        sev: Some(1),
        cpu: Some(cpu as i32),
        ..ArmEvent::default()
    }
}

fn read(event: &ArmEvent) -> Reading {
    super::event(event, &machine(), &rules())
}

/// The rule and what it calls for.
fn verdict(event: &ArmEvent) -> (&'static str, Response) {
    let lead = read(event).lead.unwrap();
    (lead.rule.name(), lead.response)
}

#[test]
fn a_corrected_error_of_a_cores_own_cache_calls_for_its_threads() {
    let event = on_cpu(5, info(CACHE, CACHE_L1));
    assert_eq!(verdict(&event), ("cpu-cache", take(&[1, 5])));
    let lead = read(&event).lead.unwrap();
    assert_eq!(lead.component.to_string(), "L1 data cache of CPUs 1,5");
    assert_eq!(lead.threshold.errors, rules().cpu.errors);
}

#[test]
fn values_that_qemu_raises_are_understood() {
    for (kind, details, rule, component) in [
        (CACHE, CACHE_L2, "cpu-cache", "L2 data cache of CPUs 0,4"),
        (TLB, TLB_L1 | CORRECTED, "cpu-tlb", "L1 instruction TLB of CPUs 0,4"),
        (OF_BUS, BUS | CORRECTED, "bus", "bus or interconnect of socket 0"),
        (MICRO, INTERNAL & !0x10, "cpu-internal", "CPUs 0,4"),
    ] {
        let lead = read(&on_cpu(0, info(kind, details))).lead.unwrap();
        assert_eq!((lead.rule.name(), lead.component.to_string().as_str()), (rule, component));
    }
}

#[test]
fn a_bus_error_never_takes_a_cpu_nor_does_one_among_others() {
    for kind in [OF_BUS, OF_BUS | CACHE, OF_BUS | TLB | MICRO] {
        assert_eq!(verdict(&on_cpu(0, info(kind, CORRECTED | 0x10))), ("bus", Response::Report));
    }
    // Today's cache error was the bus error of UEFI before 2.9.
    let old = CACHE_L1 | 1 << 7;
    assert_eq!(verdict(&on_cpu(0, info(CACHE, old))), ("bus", Response::Report));
}

#[test]
fn a_shared_cache_is_reported_and_never_taken() {
    let l3 = CACHE_L1 & !(7 << 22) | 3 << 22;
    let event = on_cpu(0, info(CACHE, l3));
    assert_eq!(verdict(&event), ("cache-shared", Response::Report));
    assert_eq!(read(&event).lead.unwrap().component.cpus().len(), 4);
}

#[test]
fn a_cache_of_unknown_level_is_not_known_to_be_a_cores_own() {
    for details in [CACHE_L1 & !0b100, CACHE_L1 | 7 << 22, CACHE_L1 & !(7 << 22)] {
        assert_eq!(verdict(&on_cpu(0, info(CACHE, details))), ("cpu-cache", Response::Report));
    }
}

#[test]
fn a_cluster_of_processors_is_not_one_core() {
    for affinity in [2, 3, 0xff] {
        let event = ArmEvent { affinity, ..on_cpu(0, info(TLB, TLB_L1 | CORRECTED)) };
        let reading = read(&event);
        assert_eq!(reading.lead.unwrap().response, Response::Report, "{affinity}");
        assert!(reading.unusable.is_some());
    }
    // Level 1 is the core where level 0 is the thread, and a cluster elsewhere.
    let threaded = ArmEvent { affinity: 1, ..on_cpu(0, info(TLB, TLB_L1 | CORRECTED)) };
    assert_eq!(verdict(&threaded).1, take(&[0, 4]));
    let single = ArmEvent { mpidr: mpidr(0) & !MPIDR_MT, ..threaded };
    assert_eq!(verdict(&single).1, Response::Report);
}

#[test]
fn two_names_of_a_cpu_must_agree() {
    let event = on_cpu(0, info(CACHE, CACHE_L1));
    for bad in [
        ArmEvent { cpu: Some(1), ..event.clone() },
        ArmEvent { mpidr: mpidr(0) | 0xff << 32, ..event.clone() },
        ArmEvent { mpidr: mpidr(0) | 0xff << 32, cpu: Some(-1), ..event.clone() },
        ArmEvent { mpidr: 0, cpu: Some(-1), ..event.clone() },
        ArmEvent { mpidr: 0, cpu: Some(99), ..event.clone() },
    ] {
        let reading = read(&bad);
        assert!(reading.lead.is_none() && reading.unusable.is_some(), "{bad:?}");
    }
    for good in [
        ArmEvent { cpu: Some(-1), ..event.clone() },
        ArmEvent { cpu: None, ..event.clone() },
        ArmEvent { mpidr: 0, ..event },
    ] {
        assert_eq!(verdict(&good).1, take(&[0, 4]), "{good:?}");
    }
}

#[test]
fn an_uncorrected_error_escalates_and_takes_no_core() {
    for event in [
        on_cpu(0, info(TLB, TLB_L1)),
        ArmEvent { sev: Some(2), ..on_cpu(0, info(CACHE, CACHE_L1)) },
        ArmEvent { sev: Some(3), ..on_cpu(0, info(MICRO, INTERNAL)) },
        ArmEvent { sev: Some(9), ..on_cpu(0, info(OF_BUS, BUS)) },
    ] {
        assert_eq!(verdict(&event), ("cpu-ue", Response::Escalate));
    }
}

#[test]
fn the_worst_of_several_errors_is_what_the_event_is_about() {
    let both = [info(CACHE, CACHE_L1), info(TLB, TLB_L1)].concat();
    assert_eq!(verdict(&on_cpu(0, both)), ("cpu-ue", Response::Escalate));
}

#[test]
fn an_uncorrected_cache_error_with_an_address_is_the_pages() {
    let pei = with_address(info(CACHE, CACHE_L1), 0x8000_0040);
    let uncorrected = ArmEvent { sev: Some(2), ..on_cpu(0, pei.clone()) };
    assert_eq!(verdict(&uncorrected), ("page-ue", Response::EnsureFailedPage(Pfn(0x80000))));
    assert_eq!(read(&uncorrected).page, Some(Pfn(0x80000)));
    // What a cache corrected says nothing of memory.
    assert_eq!(read(&on_cpu(0, pei)).page, None);
}

#[test]
fn an_event_that_says_nothing_takes_nothing() {
    for event in [
        on_cpu(0, Vec::new()),
        on_cpu(0, info(CACHE, CACHE_L1)[..31].to_vec()),
        on_cpu(0, info(0, CACHE_L1)),
        on_cpu(0, info(0x20, CACHE_L1)),
        ArmEvent { sev: None, ..on_cpu(0, info(CACHE, CACHE_L1)) },
    ] {
        let reading = read(&event);
        assert!(reading.lead.is_none() && reading.unusable.is_some(), "{event:?}");
    }
}

#[test]
fn errors_are_counted_as_the_structures_say() {
    let mut many = info(CACHE, CACHE_L1);
    many[2] |= 1;
    for (count, errors) in [(0u16, 1), (1, 1), (2, 2), (500, 500)] {
        many[5..7].copy_from_slice(&count.to_le_bytes());
        assert_eq!(on_cpu(0, many.clone()).errors(), errors);
    }
    let two = [many, info(TLB, TLB_L1)].concat();
    assert_eq!(on_cpu(0, two).errors(), 501);
    assert_eq!(ArmEvent::default().errors(), 1);
}

#[test]
fn a_cpu_whose_core_is_not_known_is_not_taken() {
    let mut machine = machine();
    machine.cpus.get_mut(&CpuId(0)).unwrap().threads.clear();
    let reading = super::event(&on_cpu(0, info(CACHE, CACHE_L1)), &machine, &rules());
    assert!(reading.lead.is_none() && reading.unusable.is_some());
}

proptest! {
    #[test]
    fn only_what_is_corrected_and_exact_takes_a_core(
        pei in prop::collection::vec(any::<u8>(), 0..100),
        affinity in 0u8..5, sev in prop::option::of(0u8..5), cpu in prop::option::of(-2i32..10),
        raw in any::<u64>(), known in any::<bool>(),
    ) {
        let mpidr = if known { mpidr(cpu.unwrap_or(0).unsigned_abs() % 8) } else { raw };
        let event = ArmEvent { mpidr, affinity, sev, cpu, pei_buf: Bytes(pei), ..ArmEvent::default() };
        let reading = read(&event);
        if let Some(lead) = reading.lead {
            if let Response::TakeCpus(cpus) = lead.response {
                prop_assert!(sev == Some(1) && affinity < 2);
                prop_assert_eq!(cpus.len(), 2);
            }
        }
    }
}
