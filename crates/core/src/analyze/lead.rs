//! What a single record points at: a component, the rule that watches it, and
//! what it calls for if the rule fires.

use super::culprit;
use super::evidence::{EvidenceKey, Part, Took};
use super::finding::Response;
use super::mce::bank::{Bank, SharedUnit, Unit};
use super::mce::code::{Code, Level};
use super::mce::{MachineCheck, Outcome};
use super::rules::{RuleId, Rules, MEMORY_CE};
use crate::decide::Threshold;
use crate::model::{
    CacheKind, CacheLevel, Component, Cpu, Machine, MceRecord, Pfn, Severity, SocketId, Target,
};

/// Where a record leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// Under which name evidence is kept.
    pub key: EvidenceKey,
    /// What fails, if it does.
    pub component: Component,
    /// The rule that watches it.
    pub rule: RuleId,
    /// Its numbers.
    pub threshold: Threshold,
    /// What it calls for if it fires.
    pub response: Response,
    /// The core that it calls for, and the kind of bank that reported.
    pub took: Option<Took>,
    /// The part to replace.
    pub fru: Option<String>,
}

impl Lead {
    /// How much the fault matters if the rule fires.
    pub fn severity(&self) -> Severity {
        match self.rule {
            RuleId::PageUe | RuleId::PageFatal | RuleId::MemoryUe | RuleId::CpuUe => {
                Severity::Critical
            }
            RuleId::PageCe | RuleId::PageThreshold | RuleId::MemoryCe | RuleId::MemoryThreshold => {
                Severity::Minor
            }
            _ => Severity::Major,
        }
    }
}

/// An error of a known page.
pub fn page(pfn: Pfn, outcome: Outcome, rules: &Rules, fru: Option<String>) -> Lead {
    let (rule, response) = match outcome {
        Outcome::Corrected => (RuleId::PageCe, Response::TakePage(pfn)),
        Outcome::Uncorrected => (RuleId::PageUe, Response::EnsureFailedPage(pfn)),
    };
    Lead {
        key: EvidenceKey::Page(pfn),
        component: Component::Page { pfn },
        rule,
        threshold: rules.page,
        response,
        took: None,
        fru,
    }
}

/// An error of a known page that ended the boot before this one, on `machine`
/// as it was then.
pub fn fatal_page(pfn: Pfn, machine: &Machine, rules: &Rules) -> Lead {
    Lead {
        rule: RuleId::PageFatal,
        response: Response::TakeFreePage { pfn, home: machine.home(Target::Page(pfn)) },
        ..page(pfn, Outcome::Uncorrected, rules, None)
    }
}

/// An error of memory whose page is not known.
pub fn memory(controller: Option<u8>, label: &str, outcome: Outcome, fru: Option<String>) -> Lead {
    let uncorrected = outcome == Outcome::Uncorrected;
    Lead {
        key: EvidenceKey::Memory { controller, label: label.to_owned(), uncorrected },
        component: Component::Memory { controller, label: label.to_owned() },
        rule: if uncorrected { RuleId::MemoryUe } else { RuleId::MemoryCe },
        threshold: MEMORY_CE,
        response: if uncorrected { Response::Escalate } else { Response::Report },
        took: None,
        fru,
    }
}

/// A machine check that is not of memory, and why its CPU is not trusted where
/// a core would have gone.
pub fn processor(
    record: &MceRecord,
    check: &MachineCheck,
    machine: &Machine,
    rules: &Rules,
) -> (Lead, Option<culprit::Doubt>) {
    let culprit = culprit::culprit(record, machine);
    let place = Place {
        socket: culprit.as_ref().map_or(SocketId(record.socketid), |cpu| cpu.socket),
        number: record.bank,
        machine,
        rules,
    };
    if check.outcome == Outcome::Uncorrected {
        return (place.uncorrected(check, culprit.ok()), None);
    }
    if check.code == Code::Bus {
        return (place.bus(), None);
    }
    match (check.bank, culprit) {
        (Bank::Core(unit), Ok(cpu)) => (place.core(unit, check, cpu), None),
        (Bank::Core(_), Err(doubt)) => (place.bank(check), Some(doubt)),
        (Bank::Shared(SharedUnit::LastLevelCache), culprit) => {
            (place.last_level(check, culprit.ok()), None)
        }
        (Bank::Shared(_) | Bank::Unknown, _) => (place.bank(check), None),
    }
}

/// Where a machine check was raised.
struct Place<'a> {
    socket: SocketId,
    number: u8,
    machine: &'a Machine,
    rules: &'a Rules,
}

impl Place<'_> {
    /// N in T, by whether the level is known.
    fn threshold(&self, level_known: bool) -> Threshold {
        let cpu = &self.rules.cpu;
        let errors = if level_known { cpu.errors } else { cpu.errors_unknown_level };
        Threshold { errors, window: cpu.window }
    }

    /// A structure of a core: the core goes, all its hardware threads.
    fn core(&self, unit: Unit, check: &MachineCheck, cpu: &Cpu) -> Lead {
        let (rule, part, holds) = structure(unit, check.code);
        let cpus: Vec<_> = cpu.threads.iter().copied().collect();
        let (component, height) = match part {
            Part::Cache(level) => {
                (Component::Cache { cpus: cpus.clone(), level, holds }, height(level))
            }
            Part::Tlb(level) => (Component::Tlb { cpus: cpus.clone(), level, holds }, 0),
            Part::Internal | Part::Uncorrected => (Component::Cpu { cpus: cpus.clone() }, 0),
        };
        let core = culprit::core_id(&cpu.threads, cpu, self.machine);
        let (response, took) = if height <= self.rules.cpu.max_cache_level {
            let took = Took { socket: self.socket, core, bank: check.bank };
            (Response::TakeCpus(cpus), Some(took))
        } else {
            (Response::Report, None)
        };
        let level_known =
            !matches!(part, Part::Cache(CacheLevel::Unknown) | Part::Tlb(CacheLevel::Unknown));
        Lead {
            key: EvidenceKey::Core { socket: self.socket, core, part },
            component,
            rule: if check.yellow { RuleId::CpuThreshold } else { rule },
            threshold: self.threshold(level_known),
            response,
            took,
            fru: None,
        }
    }

    /// The L3: reported, unless the policy reaches that high and all who share
    /// it are known; the reader of the bank is one of them.
    fn last_level(&self, check: &MachineCheck, culprit: Option<&Cpu>) -> Lead {
        let reported = self.bank(check);
        let sharing = culprit.and_then(|cpu| {
            let set = cpu.caches.get(&3).filter(|set| set.contains(&cpu.id))?;
            Some((cpu, set))
        });
        let (Code::Cache(_, holds), Some((cpu, set))) = (check.code, sharing) else {
            return reported;
        };
        let core = culprit::core_id(set, cpu, self.machine);
        let key =
            EvidenceKey::Core { socket: self.socket, core, part: Part::Cache(CacheLevel::L3) };
        if self.rules.cpu.max_cache_level < height(CacheLevel::L3) {
            return Lead { key, ..reported };
        }
        let cpus: Vec<_> = set.iter().copied().collect();
        Lead {
            key,
            component: Component::Cache { cpus: cpus.clone(), level: CacheLevel::L3, holds },
            response: Response::TakeCpus(cpus),
            took: Some(Took { socket: self.socket, core, bank: check.bank }),
            ..reported
        }
    }

    /// A bank that no core is known to own: told, never acted on.
    fn bank(&self, check: &MachineCheck) -> Lead {
        let (level_known, cache) = match (check.bank, check.code) {
            (Bank::Shared(SharedUnit::LastLevelCache), Code::Cache(..)) => (true, true),
            (_, Code::Cache(level, _)) => (level != Level::Generic, true),
            (_, Code::Tlb(level, _)) => (level != Level::Generic, false),
            _ => (true, false),
        };
        Lead {
            key: EvidenceKey::Bank { socket: self.socket, bank: self.number, uncorrected: false },
            component: Component::Shared { socket: self.socket, bank: self.number },
            rule: match check.bank {
                _ if check.yellow => RuleId::CpuThreshold,
                Bank::Shared(_) if cache => RuleId::CacheShared,
                Bank::Shared(_) => RuleId::BankShared,
                Bank::Core(_) | Bank::Unknown => RuleId::BankUnknown,
            },
            threshold: self.threshold(level_known),
            response: Response::Report,
            took: None,
            fru: None,
        }
    }

    fn bus(&self) -> Lead {
        Lead {
            key: EvidenceKey::Bus(self.socket),
            component: Component::Bus { socket: self.socket },
            rule: RuleId::Bus,
            threshold: self.threshold(true),
            response: Response::Report,
            took: None,
            fru: None,
        }
    }

    /// An uncorrected error that is not of memory: whatever it spoiled, taking
    /// a core afterwards does not mend it.
    fn uncorrected(&self, check: &MachineCheck, culprit: Option<&Cpu>) -> Lead {
        let bank = EvidenceKey::Bank { socket: self.socket, bank: self.number, uncorrected: true };
        let (key, component) = match (check.code, check.bank, culprit) {
            (Code::Bus, _, _) => (bank, Component::Bus { socket: self.socket }),
            (_, Bank::Core(_), Some(cpu)) => (
                EvidenceKey::Core {
                    socket: self.socket,
                    core: culprit::core_id(&cpu.threads, cpu, self.machine),
                    part: Part::Uncorrected,
                },
                Component::Cpu { cpus: cpu.threads.iter().copied().collect() },
            ),
            _ => (bank, Component::Shared { socket: self.socket, bank: self.number }),
        };
        Lead {
            key,
            component,
            rule: RuleId::CpuUe,
            threshold: self.threshold(true),
            response: Response::Escalate,
            took: None,
            fru: None,
        }
    }
}

/// Which structure of a core an error is of.
///
/// A code's level 0 is the core's innermost cache or TLB: Intel reports its L1
/// so in the architectural recovery codes (0x0134, 0x0150). An L2 bank of
/// AMD's is the L2 whatever the code says. Decoders and execution units have no
/// levels: what their arrays hold is internal.
fn structure(unit: Unit, code: Code) -> (RuleId, Part, CacheKind) {
    match (unit, code) {
        (_, Code::Tlb(level, holds)) => (RuleId::CpuTlb, Part::Tlb(tlb_level(level)), holds),
        (Unit::Decode | Unit::Execution | Unit::FloatingPoint, _) => {
            (RuleId::CpuInternal, Part::Internal, CacheKind::Generic)
        }
        (Unit::L2Cache, Code::Cache(_, holds)) => {
            (RuleId::CpuCache, Part::Cache(CacheLevel::L2), holds)
        }
        (_, Code::Cache(level, holds)) => {
            (RuleId::CpuCache, Part::Cache(cache_level(unit, level)), holds)
        }
        _ => (RuleId::CpuInternal, Part::Internal, CacheKind::Generic),
    }
}

fn cache_level(unit: Unit, level: Level) -> CacheLevel {
    match (level, unit) {
        (Level::L0, Unit::InstructionFetch | Unit::DataCache) => CacheLevel::L1,
        (Level::L1, _) => CacheLevel::L1,
        (Level::L2, _) => CacheLevel::L2,
        (Level::L0 | Level::Generic, _) => CacheLevel::Unknown,
    }
}

fn tlb_level(level: Level) -> CacheLevel {
    match level {
        Level::L0 | Level::L1 => CacheLevel::L1,
        Level::L2 => CacheLevel::L2,
        Level::Generic => CacheLevel::Unknown,
    }
}

/// The level as `max_cache_level` counts it. Of unknown level in a core's own
/// bank: at worst the highest that a core owns.
fn height(level: CacheLevel) -> u8 {
    match level {
        CacheLevel::L1 => 1,
        CacheLevel::L2 | CacheLevel::Unknown => 2,
        CacheLevel::L3 => 3,
    }
}
