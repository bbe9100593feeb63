//! The numbers that decisions run on. The configuration fills them in.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Everything an admin can set that analyze or decide look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Decide and record, touch nothing.
    pub observe: bool,
    /// When a page goes.
    pub page: PagePolicy,
    /// When a row goes.
    pub row: RowPolicy,
    /// When a core goes.
    pub cpu: CpuPolicy,
    /// How much may go.
    pub limits: Limits,
}

/// N errors in T: fires at the Nth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threshold {
    /// N, at least 1.
    pub errors: u32,
    /// T.
    pub window: Duration,
}

/// What to do about a page with an uncorrected error that memory_failure() did
/// not take within a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UePolicy {
    /// Hand it to memory_failure() by hard_offline_page.
    HardOffline,
    /// Only say so.
    Report,
}

/// Whether a page goes that is part of a huge page out of a pool (hugetlb),
/// which costs the pool that huge page.
///
/// The kernel dissolves the huge page or moves it to another one of the pool,
/// and takes the 4 KiB page alone out of service (mm/memory-failure.c,
/// page_handle_poison()): the host loses no more memory than with any page, but
/// what counts on its huge pages has one less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HugetlbPolicy {
    /// Like any page.
    Always,
    /// Not at all.
    Never,
    /// Only if so many huge pages of its size stay free, and promised to nobody.
    KeepFree(u32),
}

impl fmt::Display for HugetlbPolicy {
    /// As in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HugetlbPolicy::Always => f.write_str("\"always\""),
            HugetlbPolicy::Never => f.write_str("\"never\""),
            HugetlbPolicy::KeepFree(n) => write!(f, "{n}"),
        }
    }
}

/// When a page goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagePolicy {
    /// Corrected errors; default 2 in 24 h.
    pub threshold: Threshold,
    /// Uncorrected errors.
    pub ue: UePolicy,
    /// Pages of huge pages; always by default.
    pub hugetlb: HugetlbPolicy,
}

/// When a row goes (2 errors at 2 columns in 7 d by default).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPolicy {
    /// Errors and window.
    pub threshold: Threshold,
    /// Distinct columns.
    pub columns: u32,
}

/// When a core goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuPolicy {
    /// Errors of one cache or TLB level, or internal ones; default 3.
    pub errors: u32,
    /// Errors whose level the code does not say; default 12.
    pub errors_unknown_level: u32,
    /// Default 72 h.
    pub window: Duration,
    /// The highest cache level whose faults may take CPUs; default 2.
    pub max_cache_level: u8,
    /// CPUs that somebody keeps for himself; default refuse.
    pub dedicated: DedicatedPolicy,
}

/// What to do about CPUs that are a cpuset partition's, or the only ones that a
/// real-time task may run on, or of which nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DedicatedPolicy {
    /// They stay.
    #[default]
    Refuse,
    /// They go like any other.
    Proceed,
}

/// A share of something, or an amount.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Amount {
    /// 0.0 to 1.0 of the whole.
    Share(f64),
    /// So many (bytes, CPUs).
    Count(u64),
}

/// How much may go.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory in all. A share is never less than 4 MiB.
    pub memory: Amount,
    /// Pages in any 24 hours.
    pub pages_per_day: u32,
    /// CPUs taken at most, of those present; a share is rounded down.
    pub cpus: Amount,
    /// CPUs that stay on line on every NUMA node that has any, and memory.
    pub cpus_per_node: u32,
    /// CPUs that stay on line in every socket that has any.
    pub cpus_per_socket: u32,
}

impl Limits {
    /// A share of memory is never less than this, in bytes: below it a small
    /// host could not give up a single row.
    pub const LEAST_MEMORY_SHARE: u64 = 4 << 20;

    /// One core in so long: a misdiagnosis must not cascade faster than a
    /// human can look.
    pub const CORE_INTERVAL: Duration = Duration::from_secs(600);

    /// The most memory that may be taken, in bytes, on a host of `total` bytes.
    pub fn memory_bytes(&self, total: u64) -> u64 {
        match self.memory {
            Amount::Share(share) => ((total as f64 * share) as u64).max(Self::LEAST_MEMORY_SHARE),
            Amount::Count(bytes) => bytes,
        }
    }

    /// The most CPUs that may be taken of `present`.
    pub fn cpus(&self, present: usize) -> usize {
        match self.cpus {
            Amount::Share(share) => (present as f64 * share) as usize,
            Amount::Count(n) => usize::try_from(n).unwrap_or(usize::MAX),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Policy {
            observe: false,
            page: PagePolicy {
                threshold: Threshold { errors: 2, window: DAY },
                ue: UePolicy::HardOffline,
                hugetlb: HugetlbPolicy::Always,
            },
            row: RowPolicy { threshold: Threshold { errors: 2, window: DAY * 7 }, columns: 2 },
            cpu: CpuPolicy {
                errors: 3,
                errors_unknown_level: 12,
                window: DAY * 3,
                max_cache_level: 2,
                dedicated: DedicatedPolicy::Refuse,
            },
            limits: Limits {
                memory: Amount::Share(0.001),
                pages_per_day: 1024,
                cpus: Amount::Share(0.5),
                cpus_per_node: 1,
                cpus_per_socket: 1,
            },
        }
    }
}
