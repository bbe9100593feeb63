//! What firmware hands to a boot of the errors of the one before: ACPI's boot error record table.

use anyhow::Result;
use tempfile::NamedTempFile;

use super::disk::file_of;

/// Severity "fatal" (UEFI 2.10, N.2.1).
const FATAL: u32 = 1;

/// Section type "platform memory" (N.2.2), as its bytes lie in memory.
const PLATFORM_MEMORY: [u8; 16] = [
    0x14, 0x11, 0xbc, 0xa5, 0x64, 0x6f, 0xde, 0x4e, 0xb8, 0x63, 0x3e, 0x83, 0xed, 0x7c, 0x83, 0xb1,
];

/// Error type "multi-bit ECC" (N.2.5).
const MULTI_BIT: u8 = 3;

/// The table's body, and the memory that it points to.
pub struct BootErrors {
    table: NamedTempFile,
    region: NamedTempFile,
}

impl BootErrors {
    /// Where firmware keeps them, in bytes: in the middle of 1 GiB, where neither it nor a kernel puts anything else.
    const START: u64 = 0x2000_0000;
    /// Bytes kept for them.
    const SIZE: u32 = 0x1_0000;

    /// One fatal error of memory, at a physical address good to the page.
    pub fn fatal_memory_error(addr: u64, fru: &str) -> Result<Self> {
        // "Boot Error Record Table" without the header, which QEMU makes (ACPI 6.5, 18.3.1).
        let table = [&Self::SIZE.to_le_bytes()[..], &Self::START.to_le_bytes()].concat();
        Ok(Self {
            table: file_of(&table)?,
            region: file_of(&block(&entry(fru, &memory_error(addr))))?,
        })
    }

    /// What QEMU and the kernel are to be told.
    pub(super) fn arguments(&self) -> ([String; 4], String) {
        let (start, size) = (Self::START, Self::SIZE);
        let table = format!("sig=BERT,data={}", self.table.path().display());
        let region = self.region.path().display();
        let loader = format!("loader,file={region},addr={start:#x},force-raw=on");
        let qemu = ["-acpitable".to_owned(), table, "-device".to_owned(), loader];
        // QEMU's map of memory knows nothing of it, and the kernel maps no RAM of its own (ioremap()).
        (qemu, format!("memmap={size:#x}${start:#x}"))
    }
}

/// "Generic Error Status Block" with one entry (ACPI 6.5, 18.3.2.7.1).
fn block(entry: &[u8]) -> Vec<u8> {
    /// Uncorrected, and one entry.
    const STATUS: u32 = 1 | 1 << 4;
    let length = u32::try_from(entry.len()).unwrap_or(u32::MAX);
    let words = [STATUS, 0, 0, length, FATAL].map(u32::to_le_bytes);
    [words.as_flattened(), entry].concat()
}

/// "Generic Error Data Entry", revision 3, of memory (the same section).
fn entry(fru: &str, section: &[u8]) -> Vec<u8> {
    /// The FRU's text is there; neither its id nor a time is.
    const VALID: u8 = 1 << 1;
    let mut entry = vec![0; 72];
    entry[..16].copy_from_slice(&PLATFORM_MEMORY);
    entry[16..20].copy_from_slice(&FATAL.to_le_bytes());
    entry[20..22].copy_from_slice(&0x300_u16.to_le_bytes());
    entry[22] = VALID;
    entry[24..28].copy_from_slice(&u32::try_from(section.len()).unwrap_or(u32::MAX).to_le_bytes());
    entry[44..44 + fru.len()].copy_from_slice(fru.as_bytes());
    entry.extend(section);
    entry
}

/// "Memory Error Section" (UEFI 2.10, N.2.5): an address, its mask, and the error's type.
fn memory_error(addr: u64) -> Vec<u8> {
    const VALID: u64 = 1 << 1 | 1 << 2 | 1 << 14;
    let mut section = vec![0; 80];
    section[..8].copy_from_slice(&VALID.to_le_bytes());
    section[16..24].copy_from_slice(&addr.to_le_bytes());
    section[24..32].copy_from_slice(&(!0xfff_u64).to_le_bytes());
    section[72] = MULTI_BIT;
    section
}
