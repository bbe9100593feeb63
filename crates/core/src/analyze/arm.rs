//! Errors of ARM processors (UEFI 2.10 N.2.4.4, "ARM Processor Error Section").
//!
//! The rules are those of x86: a core goes only for corrected errors of what is
//! its own, and only if the record names that core beyond doubt.

use super::culprit;
use super::evidence::{EvidenceKey, Part, Took};
use super::finding::Response;
use super::lead::{self, Lead};
use super::mce::bank::{Bank, Unit};
use super::mce::{self, Outcome};
use super::reading::Reading;
use super::rules::{RuleId, Rules};
use crate::decide::Threshold;
use crate::model::{
    ApicId, ArmErrorInfo, ArmEvent, CacheKind, CacheLevel, Component, Cpu, CpuId, Machine,
};
use std::collections::BTreeSet;

/// The affinity fields of MPIDR_EL1: Aff3 in bits 39:32, Aff2 to Aff0 in 23:0
/// (Arm ARM, MPIDR_EL1; arch/arm64/include/asm/cputype.h, MPIDR_HWID_BITMASK).
pub const MPIDR_AFFINITY: u64 = 0xff_00ff_ffff;
/// MPIDR_EL1.MT: the lowest affinity level is that of hardware threads.
const MPIDR_MT: u64 = 1 << 24;

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    Cache(Option<u8>, CacheKind),
    Tlb(Option<u8>, CacheKind),
    Bus,
    Internal,
}

/// One error information structure, read.
#[derive(Debug, Clone, Copy)]
struct ProcessorError {
    failed: Failed,
    outcome: Outcome,
    addr: Option<u64>,
}

/// Reads an ARM processor error.
pub(super) fn event(event: &ArmEvent, machine: &Machine, rules: &Rules) -> Reading {
    if event.sev == Some(0) {
        return Reading::default();
    }
    if event.pei_buf.is_empty() {
        return Reading::unusable(
            "arm_event does not say what failed: firmware did not, or this kernel does not hand it on",
        );
    }
    // Several structures are one event: the worst of them is what it is about.
    let errors: Result<Vec<_>, String> =
        event.infos().map(|info| ProcessorError::of(&info, event.sev)).collect();
    let worst = match errors {
        Ok(errors) => errors.into_iter().min_by_key(|e| e.outcome == Outcome::Corrected),
        Err(why) => return Reading::unusable(why),
    };
    let Some(error) = worst else {
        return Reading::unusable("arm_event has an error information structure that is too short");
    };
    // As the kernel does (drivers/acpi/apei/ghes.c, ghes_handle_arm_hw_error): an uncorrected cache error has spoiled
    // the page, whoever found it.
    if let (Failed::Cache(..), Outcome::Uncorrected, Some(addr)) =
        (error.failed, error.outcome, error.addr)
    {
        if let Some(pfn) = mce::page_of(addr, machine) {
            let lead = lead::page(pfn, error.outcome, rules, None);
            return Reading { lead: Some(lead), page: Some(pfn), ..Reading::default() };
        }
    }
    let cpu = match named(event, machine) {
        Ok(cpu) => cpu,
        Err(why) => return Reading::unusable(why),
    };
    let exact = is_of_one_core(event);
    let unusable = (!exact && error.failed != Failed::Bus).then(|| {
        format!("arm_event of CPU {} does not say that the error is this core's own", cpu.id)
    });
    let lead = Culprit { cpu, exact, machine, rules }.lead(&error);
    Reading { lead: Some(lead), unusable, ..Reading::default() }
}

impl ProcessorError {
    fn of(info: &ArmErrorInfo, sev: Option<u8>) -> Result<ProcessorError, String> {
        let valid = |bit: u32| info.validation_bits >> bit & 1 != 0;
        let details = if valid(2) { info.error_info } else { 0 };
        Ok(ProcessorError {
            failed: failed(info.kind, details)?,
            outcome: outcome(details, sev)
                .ok_or("arm_event does not say whether the error was corrected")?,
            addr: valid(4).then_some(info.physical_fault_addr).filter(|addr| *addr != 0),
        })
    }
}

/// A field of the error information value, if its own validation bit is set.
fn field(details: u64, valid: u32, shift: u32, bits: u32) -> Option<u8> {
    (details >> valid & 1 != 0).then(|| (details >> shift) as u8 & ((1 << bits) - 1))
}

/// By the bits of the error type (UEFI N.2.4.4.1).
///
/// UEFI before 2.9 numbered the types from 0 instead, so that its bus error is
/// today's cache error: one with fields that only buses have is a bus error.
fn failed(kind: u8, details: u64) -> Result<Failed, String> {
    let holds = match field(details, 0, 16, 2) {
        Some(0) => CacheKind::Instruction,
        Some(1) => CacheKind::Data,
        _ => CacheKind::Generic,
    };
    let level = field(details, 2, 22, 3);
    // Participation type, time-out and address space.
    let of_bus = details & 0b11_1000_0000 != 0;
    match kind {
        0b0_0010 if of_bus => Ok(Failed::Bus),
        0b0_0010 => Ok(Failed::Cache(level, holds)),
        0b0_0100 => Ok(Failed::Tlb(level, holds)),
        // What is a bus's among others is never a core's.
        kind if kind & 0b0_1000 != 0 && kind & !0b1_1110 == 0 => Ok(Failed::Bus),
        kind if kind != 0 && kind & !0b1_1110 == 0 => Ok(Failed::Internal),
        other => {
            Err(format!("arm_event has an error of type {other:#x}, which UEFI does not define"))
        }
    }
}

/// The worse of what the section and what the structure say; `None` without the
/// section's, which comes with the structures. (Some firmware of Kunpeng 920
/// calls every error corrected in the structure: drivers/acpi/apei/ghes.c.)
fn outcome(details: u64, sev: Option<u8>) -> Option<Outcome> {
    let denied = field(details, 4, 26, 1) == Some(0);
    match sev? {
        1 if !denied => Some(Outcome::Corrected),
        _ => Some(Outcome::Uncorrected),
    }
}

/// The CPU that the record names: by MPIDR, and by the kernel's number where it
/// gives one. Where the host knows the MPIDR of its CPUs both must agree, as on
/// x86 ([`culprit::culprit`]).
fn named<'m>(event: &ArmEvent, machine: &'m Machine) -> Result<&'m Cpu, String> {
    let mpidr = ApicId(event.mpidr & MPIDR_AFFINITY);
    let by_mpidr = match event.mpidr {
        0 => None,
        _ => machine.by_apic(mpidr),
    };
    let id = event.cpu.and_then(|cpu| u32::try_from(cpu).ok()).map(CpuId);
    let cpu = match (by_mpidr, id) {
        (Some(cpu), Some(id)) if cpu.id != id => {
            return Err(format!(
                "arm_event names CPU {id} and MPIDR {:#x}, which are not the same CPU of this host",
                event.mpidr
            ))
        }
        (Some(cpu), _) => cpu,
        (None, Some(id)) => match machine.cpus.get(&id) {
            Some(cpu) if cpu.apic.is_none() || event.mpidr == 0 => cpu,
            _ => return Err(format!("arm_event names CPU {id}, which is not known by this MPIDR")),
        },
        (None, None) => {
            return Err(format!(
                "arm_event names MPIDR {:#x}, which no CPU of this host has",
                event.mpidr
            ))
        }
    };
    match cpu.threads.contains(&cpu.id) {
        true => Ok(cpu),
        false => Err(format!("the hardware threads of CPU {}'s core are not known", cpu.id)),
    }
}

/// The error is of the processor itself, or of the core whose thread it is, and
/// of nothing that several cores share.
fn is_of_one_core(event: &ArmEvent) -> bool {
    match event.affinity {
        0 => true,
        1 => event.mpidr & MPIDR_MT != 0,
        _ => false,
    }
}

/// Who the record names.
struct Culprit<'m> {
    cpu: &'m Cpu,
    /// The error is its own core's.
    exact: bool,
    machine: &'m Machine,
    rules: &'m Rules,
}

impl Culprit<'_> {
    fn lead(&self, error: &ProcessorError) -> Lead {
        if error.outcome == Outcome::Uncorrected {
            return self.uncorrected(error.failed);
        }
        match error.failed {
            Failed::Bus => self.bus(),
            Failed::Cache(level, holds) => self.cache(level, holds),
            Failed::Tlb(level, holds) => {
                let level = named_level(level);
                let cpus = self.threads();
                self.core(
                    RuleId::CpuTlb,
                    Part::Tlb(level),
                    Component::Tlb { cpus, level, holds },
                    Unit::DataTlb,
                )
            }
            Failed::Internal => self.core(
                RuleId::CpuInternal,
                Part::Internal,
                Component::Cpu { cpus: self.threads() },
                Unit::Execution,
            ),
        }
    }

    fn threads(&self) -> Vec<CpuId> {
        self.cpu.threads.iter().copied().collect()
    }

    /// N in T, by whether the level is known.
    fn threshold(&self, level_known: bool) -> Threshold {
        let cpu = &self.rules.cpu;
        let errors = if level_known { cpu.errors } else { cpu.errors_unknown_level };
        Threshold { errors, window: cpu.window }
    }

    /// A structure of the core's own: all its hardware threads go, if the
    /// record is exact.
    fn core(&self, rule: RuleId, part: Part, component: Component, unit: Unit) -> Lead {
        let core = culprit::core_id(&self.cpu.threads, self.cpu, self.machine);
        let took = Took { socket: self.cpu.socket, core, bank: Bank::Core(unit) };
        let unknown = [Part::Tlb(CacheLevel::Unknown), Part::Cache(CacheLevel::Unknown)];
        Lead {
            key: EvidenceKey::Core { socket: self.cpu.socket, core, part },
            component,
            rule,
            threshold: self.threshold(!unknown.contains(&part)),
            response: match self.exact {
                true => Response::TakeCpus(self.threads()),
                false => Response::Report,
            },
            took: self.exact.then_some(took),
            fru: None,
        }
    }

    /// A cache: a core's own if the host's topology says that nobody else
    /// shares it. Of a level that is not told, nobody is known not to.
    fn cache(&self, level: Option<u8>, holds: CacheKind) -> Lead {
        let named = named_level(level);
        let sharing = level.and_then(|level| self.cpu.caches.get(&level));
        let max = self.rules.cpu.max_cache_level;
        match (level, sharing) {
            (Some(height), Some(set)) if set.is_subset(&self.cpu.threads) => {
                let component = Component::Cache { cpus: self.threads(), level: named, holds };
                let unit = match (named, holds) {
                    (CacheLevel::L1, CacheKind::Instruction) => Unit::InstructionFetch,
                    (CacheLevel::L1, _) => Unit::DataCache,
                    _ => Unit::L2Cache,
                };
                let lead = self.core(RuleId::CpuCache, Part::Cache(named), component, unit);
                match height <= max {
                    true => lead,
                    false => Lead { response: Response::Report, took: None, ..lead },
                }
            }
            (Some(_), Some(set)) => self.shared(set, named, holds),
            _ => {
                let component = Component::Cache { cpus: self.threads(), level: named, holds };
                let lead =
                    self.core(RuleId::CpuCache, Part::Cache(named), component, Unit::DataCache);
                Lead { response: Response::Report, took: None, ..lead }
            }
        }
    }

    /// A cache that several cores share: reported. Which of them spoils it, no
    /// record tells.
    fn shared(&self, set: &BTreeSet<CpuId>, level: CacheLevel, holds: CacheKind) -> Lead {
        let core = culprit::core_id(set, self.cpu, self.machine);
        Lead {
            key: EvidenceKey::Core { socket: self.cpu.socket, core, part: Part::Cache(level) },
            component: Component::Cache { cpus: set.iter().copied().collect(), level, holds },
            rule: RuleId::CacheShared,
            threshold: self.threshold(true),
            response: Response::Report,
            took: None,
            fru: None,
        }
    }

    fn bus(&self) -> Lead {
        Lead {
            key: EvidenceKey::Bus(self.cpu.socket),
            component: Component::Bus { socket: self.cpu.socket },
            rule: RuleId::Bus,
            threshold: self.threshold(true),
            response: Response::Report,
            took: None,
            fru: None,
        }
    }

    /// Whatever it spoiled, taking a core afterwards does not mend it.
    fn uncorrected(&self, failed: Failed) -> Lead {
        let core = culprit::core_id(&self.cpu.threads, self.cpu, self.machine);
        let component = match failed {
            Failed::Bus => Component::Bus { socket: self.cpu.socket },
            _ => Component::Cpu { cpus: self.threads() },
        };
        Lead {
            key: EvidenceKey::Core { socket: self.cpu.socket, core, part: Part::Uncorrected },
            component,
            rule: RuleId::CpuUe,
            threshold: self.threshold(true),
            response: Response::Escalate,
            took: None,
            fru: None,
        }
    }
}

fn named_level(level: Option<u8>) -> CacheLevel {
    match level {
        Some(1) => CacheLevel::L1,
        Some(2) => CacheLevel::L2,
        Some(3) => CacheLevel::L3,
        _ => CacheLevel::Unknown,
    }
}

#[cfg(test)]
mod tests;
