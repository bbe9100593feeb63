//! `name:value` pairs out of a driver's free text, and the numbers in them.

use std::str::SplitAsciiWhitespace;

/// Numbers that no DRAM has, by what they count: JEDEC's widths with some room,
/// since platforms differ in what they number. One beyond is not known.
pub mod most {
    /// Rows: DDR4 and DDR5 (JESD79-4, JESD79-5) address 18 bits, R0 to R17.
    pub const ROW: u64 = 1 << 24;
    /// Columns: DDR3's A0 to A13 without autoprecharge and burst chop, DDR5's
    /// C0 to C10.
    pub const COLUMN: u64 = 1 << 14;
    /// Banks of a group; of a rank, where no group is told apart.
    pub const BANK: u64 = 1 << 16;
    /// Bank groups: DDR5 has 8.
    pub const BANK_GROUP: u64 = 1 << 5;
    /// Ranks of a DIMM or a channel.
    pub const RANK: u64 = 1 << 6;
    /// Dies of a 3D stack: DDR5's chip id has 4 bits.
    pub const SUB_RANK: u64 = 1 << 4;
    /// Devices of a rank, or of two in lockstep: 36 of width x4.
    pub const DEVICE: u64 = 1 << 6;
}

/// How a number is written where it has no `0x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// `%d`.
    Decimal,
    /// `%x`.
    Hex,
}

/// The pairs of a text: `name:value` or `name: value`, between blanks.
pub struct Pairs<'t>(SplitAsciiWhitespace<'t>);

/// The pairs of `text`, in its order.
pub fn pairs(text: &str) -> Pairs<'_> {
    Pairs(text.split_ascii_whitespace())
}

impl<'t> Iterator for Pairs<'t> {
    type Item = (&'t str, &'t str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (name, value) = match self.0.next()?.split_once(':') {
                Some((name, "")) => (name, self.0.next()?),
                Some(pair) => pair,
                None => continue,
            };
            return Some((name, value));
        }
    }
}

/// A number below `end`; `None` where it is none, or beyond.
pub fn number<T: TryFrom<u64>>(text: &str, base: Base, end: u64) -> Option<T> {
    let (digits, radix) = match (text.strip_prefix("0x"), base) {
        (Some(digits), _) => (digits, 16),
        (None, Base::Hex) => (text, 16),
        (None, Base::Decimal) => (text, 10),
    };
    // from_str_radix() would take a sign.
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok().filter(|value| *value < end)?;
    T::try_from(value).ok()
}

/// Any number that a `u16` holds.
pub fn index(text: &str, base: Base) -> Option<u16> {
    number(text, base, u64::from(u16::MAX) + 1)
}
