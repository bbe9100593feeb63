//! Physical addresses and page frame numbers, which are not each other.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A system physical address in bytes: what the memory controller of the host
/// resolves, as opposed to a controller's normalized or a device's own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PhysAddr(#[serde(with = "super::hex")] pub u64);

/// A page frame number: a physical address divided by the page size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pfn(pub u64);

/// The base page size of the running kernel, as a power of two.
///
/// 12 on x86; 12, 14 or 16 on ARM64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageSize(u8);

impl PageSize {
    /// The 4 KiB page of x86 and of most ARM64 kernels.
    pub const KIB_4: PageSize = PageSize(12);

    /// From a size in bytes; `None` unless a power of two from 4 KiB to 64 KiB,
    /// the sizes that Linux knows as base pages on x86 and ARM64.
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        let shift = bytes.trailing_zeros();
        (bytes.is_power_of_two() && (12..=16).contains(&shift)).then_some(Self(shift as u8))
    }

    /// Size of one page in bytes.
    pub fn bytes(self) -> u64 {
        1 << self.0
    }

    /// log2 of the size in bytes.
    pub fn shift(self) -> u8 {
        self.0
    }

    /// The page that holds `addr`.
    pub fn pfn(self, addr: PhysAddr) -> Pfn {
        Pfn(addr.0 >> self.0)
    }

    /// The first byte of `pfn`. Frames beyond the 64-bit address space, which
    /// no machine has, saturate.
    pub fn addr(self, pfn: Pfn) -> PhysAddr {
        PhysAddr(pfn.0.checked_mul(self.bytes()).unwrap_or(!(self.bytes() - 1)))
    }
}

impl fmt::Display for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_by_its_first_byte() {
        let page = PageSize::KIB_4.pfn(PhysAddr(0x8000_0abc));
        assert_eq!(page, Pfn(0x80000));
        assert_eq!(PageSize::KIB_4.addr(page).to_string(), "0x80000000");
    }

    #[test]
    fn only_base_page_sizes_of_linux_are_taken() {
        assert_eq!(PageSize::from_bytes(4096), Some(PageSize::KIB_4));
        assert_eq!(PageSize::from_bytes(65536).map(PageSize::shift), Some(16));
        for bad in [0, 1, 2048, 5000, 2 << 20, u64::MAX] {
            assert_eq!(PageSize::from_bytes(bad), None, "{bad}");
        }
    }
}
