//! DIMMs as SMBIOS describes them (DSP0134 "System Management BIOS Reference
//! Specification"; sections are version 3.7's).

use super::Root;
use bulkhead_core::model::Dimm;

/// The whole table, as firmware has it.
const TABLE: &str = "sys/firmware/dmi/tables/DMI";
/// One directory per structure, with dmi_sysfs loaded.
const ENTRIES: &str = "sys/firmware/dmi/entries";

/// Structure "Memory Device" (7.18).
const MEMORY_DEVICE: u8 = 17;
/// Structure "End-of-Table" (7.45).
const END_OF_TABLE: u8 = 127;
/// The most structures that are looked at; a table has some hundred.
const MOST_STRUCTURES: usize = 1 << 16;
/// The longest string that is kept, in characters.
const LONGEST: usize = 64;

/// Offsets in a memory device (7.18, table 76). Strings are numbers of strings
/// that follow the structure.
mod at {
    pub const SIZE: usize = 0x0c;
    pub const LOCATOR: usize = 0x10;
    pub const BANK_LOCATOR: usize = 0x11;
    pub const MANUFACTURER: usize = 0x17;
    pub const SERIAL: usize = 0x18;
    pub const PART: usize = 0x1a;
    pub const EXTENDED_SIZE: usize = 0x1c;
}

/// What firmware writes where it has nothing to say, in upper case.
const JUNK: [&str; 12] = [
    "NOT SPECIFIED",
    "NOT PROVIDED",
    "NOT AVAILABLE",
    "UNKNOWN",
    "UNDEFINED",
    "NO DIMM",
    "NONE",
    "EMPTY",
    "N/A",
    "<BAD INDEX>",
    "TO BE FILLED BY O.E.M.",
    "DEFAULT STRING",
];

/// The DIMMs of the host, in the table's order; none where it cannot be read.
pub fn dimms(root: &Root) -> Vec<Dimm> {
    let table = root.read_bytes(TABLE).unwrap_or_else(|_| entries(root));
    parse(&table)
}

/// The memory devices of a table, without empty slots. A table that is cut off
/// or broken ends there.
pub fn parse(table: &[u8]) -> Vec<Dimm> {
    Structures(table)
        .take(MOST_STRUCTURES)
        .take_while(|structure| structure.kind() != Some(END_OF_TABLE))
        .filter(|structure| structure.kind() == Some(MEMORY_DEVICE))
        .filter_map(|structure| structure.dimm())
        .collect()
}

/// The structures of dmi_sysfs, one after another.
fn entries(root: &Root) -> Vec<u8> {
    let mut table = Vec::new();
    for name in root.list(ENTRIES).unwrap_or_default() {
        if name.starts_with("17-") {
            table.extend(root.read_bytes(&format!("{ENTRIES}/{name}/raw")).unwrap_or_default());
        }
    }
    table
}

/// A structure (6.1.2): its formatted part, and its strings (6.1.3).
struct Structure<'t> {
    formatted: &'t [u8],
    strings: &'t [u8],
}

/// The structures of a table.
struct Structures<'t>(&'t [u8]);

impl<'t> Iterator for Structures<'t> {
    type Item = Structure<'t>;

    fn next(&mut self) -> Option<Structure<'t>> {
        let length = usize::from(*self.0.get(1)?);
        // Type, length and handle are the least there is.
        let (formatted, rest) = (length >= 4).then(|| self.0.split_at_checked(length))??;
        // The strings end at an empty one, also where there are none.
        let end = rest.windows(2).position(|two| two == [0, 0])?;
        let (strings, rest) = rest.split_at_checked(end)?;
        self.0 = rest.get(2..)?;
        Some(Structure { formatted, strings })
    }
}

impl Structure<'_> {
    fn kind(&self) -> Option<u8> {
        self.formatted.first().copied()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = self.formatted.get(at..)?.first_chunk()?;
        Some(u16::from_le_bytes(*bytes))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = self.formatted.get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// The string whose number stands at an offset; number 0 is none.
    fn text(&self, at: usize) -> Option<String> {
        let number = usize::from(*self.formatted.get(at)?).checked_sub(1)?;
        clean(self.strings.split(|byte| *byte == 0).nth(number)?)
    }

    /// `None` for an empty slot.
    fn dimm(&self) -> Option<Dimm> {
        let size_bytes = self.size_bytes()?;
        let serial = self.text(at::SERIAL).filter(|serial| {
            !serial.bytes().all(|b| b == b'0') && !serial.bytes().all(|b| b == b'F')
        });
        Some(Dimm {
            id: None,
            label: String::new(),
            locator: self.text(at::LOCATOR),
            bank_locator: self.text(at::BANK_LOCATOR),
            manufacturer: self.text(at::MANUFACTURER),
            serial,
            part: self.text(at::PART),
            size_bytes,
            handle: self.u16(2),
        })
    }

    /// Size (7.18, "Size" and "Extended Size"): in MiB, or in KiB with bit 15
    /// set; 0 is an empty slot, 0x7fff means the extended size, 0xffff unknown.
    fn size_bytes(&self) -> Option<u64> {
        let mib = |n: u64| n << 20;
        match self.u16(at::SIZE)? {
            0 => None,
            0xffff => Some(0),
            0x7fff => Some(mib(u64::from(self.u32(at::EXTENDED_SIZE).unwrap_or(0) & 0x7fff_ffff))),
            size if size & 0x8000 != 0 => Some(u64::from(size & 0x7fff) << 10),
            size => Some(mib(u64::from(size))),
        }
    }
}

/// A string without the blanks that fill it up; `None` where it says nothing.
pub(super) fn clean(raw: &[u8]) -> Option<String> {
    let printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let text: String = raw.iter().filter(|b| printable(b)).map(|b| char::from(*b)).collect();
    let text: String = text.trim().chars().take(LONGEST).collect();
    let says = !text.is_empty() && !JUNK.contains(&text.to_ascii_uppercase().as_str());
    says.then_some(text)
}

#[cfg(test)]
pub(super) mod tests;
