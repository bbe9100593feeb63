//! The rules by name, and the numbers they run on.

use crate::decide::{CpuPolicy, Limits, Policy, RowPolicy, Threshold};
use crate::model::Rule;
use std::time::Duration;

/// Corrected memory errors whose page is not known, of one controller or DIMM:
/// 12 in 24 h are worth telling a human. The figure is ours, and deliberately
/// no page's: errors concentrate, so a volume of them says little about how
/// much memory is bad.
pub const MEMORY_CE: Threshold =
    Threshold { errors: 12, window: Duration::from_secs(24 * 60 * 60) };

/// The numbers analyze runs on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Corrected errors of one page.
    pub page: Threshold,
    /// Corrected errors of one row of DRAM; its window is that of all fault
    /// modes of a DIMM.
    pub row: RowPolicy,
    /// How much may be given up, for the outlook of a fault that nothing
    /// contains.
    pub limits: Limits,
    /// Corrected errors of processors.
    pub cpu: CpuPolicy,
}

impl From<&Policy> for Rules {
    fn from(policy: &Policy) -> Self {
        Rules {
            page: policy.page.threshold,
            row: policy.row,
            limits: policy.limits,
            cpu: policy.cpu,
        }
    }
}

impl Rules {
    /// Beyond this nothing is evidence any more.
    pub fn longest_window(&self) -> Duration {
        self.page.window.max(self.cpu.window).max(MEMORY_CE.window)
    }
}

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleId {
    /// N CEs on a page.
    PageCe,
    /// The device's own threshold of CEs was passed on a page.
    PageThreshold,
    /// A UE on a page.
    PageUe,
    /// A UE on a page that ended the boot before this one.
    PageFatal,
    /// Many CEs of memory without a known page.
    MemoryCe,
    /// The device's own threshold of CEs was passed, without a known page.
    MemoryThreshold,
    /// A UE of memory without a known page.
    MemoryUe,
    /// N CEs of one level of a core's caches.
    CpuCache,
    /// N CEs of one level of a core's TLBs.
    CpuTlb,
    /// N CEs inside a core.
    CpuInternal,
    /// A cache's own threshold was passed.
    CpuThreshold,
    /// A UE of a processor.
    CpuUe,
    /// N CEs of a cache that cores share.
    CacheShared,
    /// N CEs of another structure that cores share.
    BankShared,
    /// N CEs of a bank whose owner is not known.
    BankUnknown,
    /// N CEs of a bus or interconnect.
    Bus,
    /// N CEs at M columns of a row of DRAM.
    RowCe,
    /// CEs in several rows of one column of a bank of DRAM.
    ColumnCe,
    /// Several faulty rows and columns of a bank of DRAM.
    BankCe,
    /// Several faulty banks of a rank of a DIMM.
    RankCe,
    /// Faulty banks in several ranks of a DIMM.
    ManyBanks,
    /// A CE with more than one DQ and more than one beat.
    DimmBits,
}

impl RuleId {
    /// Every rule.
    pub const ALL: [RuleId; 22] = [
        RuleId::PageCe,
        RuleId::PageUe,
        RuleId::PageThreshold,
        RuleId::PageFatal,
        RuleId::MemoryCe,
        RuleId::MemoryUe,
        RuleId::MemoryThreshold,
        RuleId::RowCe,
        RuleId::ColumnCe,
        RuleId::BankCe,
        RuleId::RankCe,
        RuleId::ManyBanks,
        RuleId::DimmBits,
        RuleId::CpuCache,
        RuleId::CpuTlb,
        RuleId::CpuInternal,
        RuleId::CpuThreshold,
        RuleId::CpuUe,
        RuleId::CacheShared,
        RuleId::BankShared,
        RuleId::BankUnknown,
        RuleId::Bus,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            RuleId::PageCe => "page-ce",
            RuleId::PageThreshold => "page-threshold",
            RuleId::PageUe => "page-ue",
            RuleId::PageFatal => "page-fatal",
            RuleId::MemoryCe => "memory-ce",
            RuleId::MemoryThreshold => "memory-threshold",
            RuleId::MemoryUe => "memory-ue",
            RuleId::CpuCache => "cpu-cache",
            RuleId::CpuTlb => "cpu-tlb",
            RuleId::CpuInternal => "cpu-internal",
            RuleId::CpuThreshold => "cpu-threshold",
            RuleId::CpuUe => "cpu-ue",
            RuleId::CacheShared => "cache-shared",
            RuleId::BankShared => "bank-shared",
            RuleId::BankUnknown => "bank-unknown",
            RuleId::Bus => "bus",
            RuleId::RowCe => "row-ce",
            RuleId::ColumnCe => "column-ce",
            RuleId::BankCe => "bank-ce",
            RuleId::RankCe => "rank-ce",
            RuleId::ManyBanks => "many-banks",
            RuleId::DimmBits => "dimm-bits",
        }
    }

    /// The rule of this stable name.
    pub fn by_name(name: &str) -> Option<RuleId> {
        RuleId::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// The stable number, under which docs/diagnosis.md tells of it.
    pub fn number(self) -> &'static str {
        match self {
            RuleId::PageCe => "P1",
            RuleId::PageUe => "P2",
            RuleId::PageThreshold => "P3",
            RuleId::PageFatal => "P4",
            RuleId::MemoryCe => "M1",
            RuleId::MemoryUe => "M2",
            RuleId::MemoryThreshold => "M3",
            RuleId::RowCe => "D1",
            RuleId::ColumnCe => "D2",
            RuleId::BankCe => "D3",
            RuleId::RankCe => "D4",
            RuleId::ManyBanks => "D5",
            RuleId::DimmBits => "D6",
            RuleId::CpuCache => "C1",
            RuleId::CpuTlb => "C2",
            RuleId::CpuInternal => "C3",
            RuleId::CpuThreshold => "C4",
            RuleId::CpuUe => "C5",
            RuleId::CacheShared => "S1",
            RuleId::BankShared => "S2",
            RuleId::BankUnknown => "S3",
            RuleId::Bus => "S4",
        }
    }

    /// It fires at the first error.
    pub fn at_once(self) -> bool {
        self.uncorrected() || self.by_hardware()
    }

    /// The hardware's own count of CEs passed the hardware's own threshold.
    pub fn by_hardware(self) -> bool {
        matches!(self, RuleId::PageThreshold | RuleId::MemoryThreshold | RuleId::CpuThreshold)
    }

    /// It is about uncorrected errors.
    pub fn uncorrected(self) -> bool {
        matches!(self, RuleId::PageUe | RuleId::PageFatal | RuleId::MemoryUe | RuleId::CpuUe)
    }

    /// The rule with its numbers, for the fault it found.
    pub fn with(self, threshold: Threshold) -> Rule {
        let numbers = match self.at_once() {
            true => vec![("errors".to_owned(), "1".to_owned())],
            false => vec![
                ("errors".to_owned(), threshold.errors.max(1).to_string()),
                ("window".to_owned(), span(threshold.window)),
            ],
        };
        Rule { id: self.name().to_owned(), numbers }
    }
}

/// A duration as the configuration spells it: `24h`, `90s`, `1500ms`.
pub fn span(duration: Duration) -> String {
    const DAY: u64 = 24 * 3600;
    let (secs, millis) = (duration.as_secs(), duration.subsec_millis());
    match secs {
        _ if millis != 0 => format!("{}ms", duration.as_millis()),
        0 => "0s".to_owned(),
        // As people say it: 24h and 72h, but 7d.
        s if s % DAY == 0 && s > 3 * DAY => format!("{}d", s / DAY),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_told_of_under_its_number_and_name() {
        let text = include_str!("../../../../docs/diagnosis.md");
        let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("### ")).collect();
        let told: Vec<String> = RuleId::ALL
            .iter()
            .map(|rule| format!("### {} `{}`", rule.number(), rule.name()))
            .collect();
        assert_eq!(headings, told);
    }

    #[test]
    fn every_rule_is_found_by_its_name() {
        for rule in RuleId::ALL {
            assert_eq!(RuleId::by_name(rule.name()), Some(rule));
        }
        assert_eq!(RuleId::by_name("D1"), None);
    }

    #[test]
    fn spans_read_as_in_the_configuration() {
        for (secs, text) in [
            (0, "0s"),
            (90, "90s"),
            (120, "2m"),
            (86_400, "24h"),
            (259_200, "72h"),
            (604_800, "7d"),
        ] {
            assert_eq!(span(Duration::from_secs(secs)), text);
        }
        assert_eq!(span(Duration::from_millis(1500)), "1500ms");
    }
}
