//! Which core a machine-check record is about.

use super::evidence::CoreId;
use super::mce;
use crate::model::{ApicId, Cpu, CpuId, Machine, MceRecord};
use std::collections::BTreeSet;
use thiserror::Error;

/// Why a record names no core that could be trusted for an isolation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Doubt {
    /// The host has no such CPU, or its topology is not known.
    #[error("CPU {0} of the machine-check record is not in the host's topology")]
    NoSuchCpu(CpuId),
    /// The two names of the CPU differ.
    #[error("the machine-check record names CPU {cpu} and APIC id {apic}, which are not the same CPU of this host")]
    Contradiction {
        /// The logical number.
        cpu: CpuId,
        /// The APIC id.
        apic: u32,
    },
    /// The record was made on another kind of processor.
    #[error(
        "the machine-check record is of processor family {0} model {1}, which is not the host's"
    )]
    OtherModel(u32, u32),
    /// The topology does not list the CPU among its own core's threads.
    #[error("the hardware threads of CPU {0}'s core are not known")]
    NoThreads(CpuId),
}

/// The CPU that `record` is about.
///
/// A record names it twice: by APIC id, which is the hardware's and stable, and
/// by the kernel's number, which hotplug and reboots may give to another. Where
/// the host's topology knows APIC ids the two must agree; if they do not, the
/// record or the topology is of another time or machine, and neither name is
/// trusted.
///
/// # Errors
///
/// [`Doubt`]: no CPU may be taken on this record.
pub fn culprit<'m>(record: &MceRecord, machine: &'m Machine) -> Result<&'m Cpu, Doubt> {
    let id = record.cpu();
    let cpu = machine.cpus.get(&id).ok_or(Doubt::NoSuchCpu(id))?;
    let named = ApicId(u64::from(record.apicid));
    let agrees = match cpu.apic {
        Some(own) => own == named,
        None => machine.by_apic(named).is_none(),
    };
    if !agrees {
        return Err(Doubt::Contradiction { cpu: id, apic: record.apicid });
    }
    let (family, model) = mce::signature(record, machine);
    if machine.family != 0 && (family, model) != (machine.family, machine.model) {
        return Err(Doubt::OtherModel(family, model));
    }
    if !cpu.threads.contains(&id) {
        return Err(Doubt::NoThreads(id));
    }
    Ok(cpu)
}

/// The stable name of a core, or of a set that shares a cache, by its hardware
/// threads, of which `cpu` is one.
pub fn core_id(threads: &BTreeSet<CpuId>, cpu: &Cpu, machine: &Machine) -> CoreId {
    let apics: Option<Vec<ApicId>> =
        threads.iter().map(|id| machine.cpus.get(id).and_then(|cpu| cpu.apic)).collect();
    match apics.and_then(|apics| apics.into_iter().min()) {
        Some(apic) => CoreId::Apic(apic),
        None => CoreId::Cpu(threads.first().copied().unwrap_or(cpu.id)),
    }
}
