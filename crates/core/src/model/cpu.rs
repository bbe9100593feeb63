//! Names of processors, which are not each other.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kernel's logical number of a hardware thread: `cpuN`. Not stable over
/// reboots or hotplug.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct CpuId(pub u32);

/// The hardware's identity of a thread: the APIC id on x86, MPIDR on ARM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApicId(pub u64);

/// A physical package, as the kernel numbers it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SocketId(pub u32);

/// Protected processor inventory number: the serial number of a package
/// (SDM vol. 4, MSR_PPIN; `topology/ppin`, which root may read since 5.18).
/// Zero, where the kernel knows none, is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ppin(#[serde(with = "super::hex")] pub u64);

/// What a hardware thread is, whatever number the kernel gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CpuIdentity {
    /// Package.
    pub socket: SocketId,
    /// APIC id or MPIDR.
    pub apic: ApicId,
    /// Serial number of the package, where it tells it.
    pub ppin: Option<Ppin>,
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
