//! The layouts of memory error sections.

use crate::analyze::mce::Outcome;
use crate::model::{Bytes, DimmId, DimmSpace, DramPlace};

/// What a memory error section says, of whichever layout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryError {
    /// Physical address.
    pub addr: Option<u64>,
    /// Lowest bit of it that means something.
    pub lsb: Option<u8>,
    /// Memory error type.
    pub error_type: Option<u8>,
    /// It says that the error was not corrected, or was.
    pub uncorrected: Option<bool>,
    /// Where.
    pub place: Option<DramPlace>,
    /// SMBIOS handle of the memory device.
    pub module_handle: Option<u16>,
}

/// What an error is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// Memory cells: the address is to blame.
    Cells,
    /// The way to them: the address merely was in use.
    Path,
    /// None: something that happened.
    None(&'static str),
}

/// Wider than any row address of JEDEC's (DDR5 has 18 bits), and than firmware
/// can tell in the first layout.
const ROWS: u32 = 1 << 24;
/// Wider than any column address.
const COLUMNS: u32 = 1 << 16;

/// Numbers of a place, as far as they are valid.
#[derive(Default)]
struct Numbers {
    node: Option<u16>,
    card: Option<u16>,
    module: Option<u16>,
    rank: Option<u16>,
    chip: Option<u8>,
    bank: Bank,
    row: Option<u32>,
    column: Option<u32>,
    device: Option<u16>,
}

/// A bank as UEFI names it: one number, or the group in its high byte and the
/// address in its low one (N.2.5, bits 19 and 20 of the validation bits).
#[derive(Default)]
struct Bank {
    whole: Option<u16>,
    group: Option<u16>,
    address: Option<u16>,
}

/// Which fields of a section are valid, and how to read one that is.
struct Valid<'a> {
    data: &'a Bytes,
    bits: u64,
}

impl<'a> Valid<'a> {
    fn of(data: &'a Bytes) -> Option<Valid<'a>> {
        Some(Valid { data, bits: data.u64_at(0)? })
    }

    fn has(&self, bit: u32) -> bool {
        self.bits >> bit & 1 != 0
    }

    fn u8(&self, bit: u32, offset: usize) -> Option<u8> {
        self.has(bit).then(|| self.data.u8_at(offset)).flatten()
    }

    /// All ones is no number, whatever the validation bits say.
    fn u16(&self, bit: u32, offset: usize) -> Option<u16> {
        self.has(bit).then(|| self.data.u16_at(offset)).flatten().filter(|n| *n != u16::MAX)
    }

    fn u32(&self, bit: u32, offset: usize) -> Option<u32> {
        self.has(bit).then(|| self.data.u32_at(offset)).flatten().filter(|n| *n != u32::MAX)
    }

    fn u64(&self, bit: u32, offset: usize) -> Option<u64> {
        self.has(bit).then(|| self.data.u64_at(offset)).flatten()
    }

    fn bank(&self, bit: u32, group: u32, address: u32, offset: usize) -> Bank {
        Bank {
            whole: self.u16(bit, offset),
            group: self.u16(group, offset).map(|bank| bank >> 8),
            address: self.u16(address, offset).map(|bank| bank & 0xff),
        }
    }

    /// The fields from `node` to `column` of the first layout, which lie
    /// together; bits 16 and 17 of the row and the chip are in `extended`.
    fn first_numbers(&self, node: usize, rank: usize, extended: usize) -> Numbers {
        let row_high = self.u8(18, extended).map_or(0, |e| u32::from(e & 3) << 16);
        Numbers {
            node: self.u16(3, node),
            card: self.u16(4, node + 2),
            module: self.u16(5, node + 4),
            bank: self.bank(6, 19, 20, node + 6),
            device: self.u16(7, node + 8),
            row: self.u16(8, node + 10).map(|row| row_high | u32::from(row)),
            column: self.u16(9, node + 12).map(u32::from),
            rank: self.u16(15, rank),
            chip: self.u8(21, extended).map(|e| e >> 5),
        }
    }

    fn addr(&self) -> Option<u64> {
        self.u64(1, 16)
    }

    fn lsb(&self) -> Option<u8> {
        // Of a mask without a bit nothing of the address is left.
        self.u64(2, 24).map(|mask| mask.trailing_zeros() as u8)
    }
}

impl MemoryError {
    /// `struct cper_mem_err_compact` (include/linux/cper.h): the place only.
    /// Kernels before 5.10 have no `extended` at its end. `None` if too short.
    pub fn compact(data: &Bytes) -> Option<MemoryError> {
        let valid = Valid::of(data).filter(|_| data.len() >= 54)?;
        Some(MemoryError {
            place: valid.first_numbers(8, 48, 54).place(),
            module_handle: valid.u16(17, 52),
            ..MemoryError::default()
        })
    }

    /// Memory Error Section (UEFI N.2.5), whose last seven bytes came with UEFI
    /// 2.3. `None` if too short.
    pub fn first(data: &Bytes) -> Option<MemoryError> {
        let valid = Valid::of(data).filter(|_| data.len() >= 73)?;
        Some(MemoryError {
            addr: valid.addr(),
            lsb: valid.lsb(),
            error_type: valid.u8(14, 72),
            uncorrected: None,
            place: valid.first_numbers(32, 74, 73).place(),
            module_handle: valid.u16(17, 78),
        })
    }

    /// Memory Error Section 2 (UEFI N.2.6): wider numbers, other validation
    /// bits. `None` if too short.
    pub fn second(data: &Bytes) -> Option<MemoryError> {
        let valid = Valid::of(data).filter(|_| data.len() >= 96)?;
        let narrow = |n: u32| u16::try_from(n).ok();
        let numbers = Numbers {
            node: valid.u16(3, 32),
            card: valid.u16(4, 34),
            module: valid.u16(5, 36),
            bank: valid.bank(6, 20, 21, 38),
            device: valid.u32(7, 40).and_then(narrow),
            row: valid.u32(8, 44),
            column: valid.u32(9, 48),
            rank: valid.u32(10, 52).and_then(narrow),
            chip: valid.u8(12, 60),
        };
        Some(MemoryError {
            addr: valid.addr(),
            lsb: valid.lsb(),
            error_type: valid.u8(13, 61),
            uncorrected: valid.u8(14, 62).map(|status| status & 1 != 0),
            place: numbers.place(),
            module_handle: valid.u32(19, 92).and_then(narrow),
        })
    }

    /// CE or UE by what the section itself says.
    pub fn outcome(&self) -> Option<Outcome> {
        match (self.uncorrected, self.error_type) {
            (Some(true), _) | (_, Some(14)) => Some(Outcome::Uncorrected),
            (Some(false), _) | (None, Some(2 | 4 | 13)) => Some(Outcome::Corrected),
            // Chipkill may have corrected what ECC alone could not: not known.
            _ => None,
        }
    }

    /// By the memory error type (UEFI N.2.5).
    pub fn nature(&self) -> Nature {
        match self.error_type {
            // Unknown, single-bit and multi-bit ECC, single-symbol and multi-symbol chipkill, parity, and what
            // scrubbing found.
            None | Some(0 | 2..=5 | 8 | 13 | 14) => Nature::Cells,
            // Master abort, target abort, watchdog timeout.
            Some(6 | 7 | 9) => Nature::Path,
            Some(1) => Nature::None("no error"),
            Some(10) => Nature::None("an access to an invalid address"),
            Some(11) => Nature::None("a broken mirror"),
            Some(12) => Nature::None("memory sparing"),
            Some(15) => Nature::None("memory that was mapped out"),
            Some(_) => Nature::Path,
        }
    }
}

impl Numbers {
    /// A place, if its DIMM is known: rows of two DIMMs are not one.
    fn place(self) -> Option<DramPlace> {
        let (card, module) = (self.card?, self.module?);
        let (bank_group, bank) = match self.bank {
            Bank { group: None, address: None, whole } => (None, whole),
            Bank { group, address, .. } => (group, address),
        };
        Some(DramPlace {
            dimm: DimmId {
                space: DimmSpace::Firmware,
                socket: self.node,
                controller: None,
                channel: Some(card),
                slot: Some(module),
            },
            rank: self.rank,
            sub_rank: self.chip.map(u16::from),
            bank_group,
            bank,
            row: self.row.filter(|row| *row < ROWS),
            column: self.column.filter(|column| *column < COLUMNS),
            device: self.device,
            bits: None,
        })
    }
}
