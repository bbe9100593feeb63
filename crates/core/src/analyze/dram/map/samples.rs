//! What the platform's decoder has said so far of one rank: a bounded set of
//! addresses and their places.

use crate::model::{DramPlace, PhysAddr};

/// Samples kept of a rank: a new one then takes the place of another.
pub(super) const MAX_SAMPLES: usize = 256;

/// From one sample dropped to the next: odd, so that each has its turn, and far,
/// so that a row is not dropped at once.
const DROP_STRIDE: usize = 97;

/// log2 of a cache line in bytes: a machine check's address is no finer, and no
/// mapping splits a line.
const LINE_SHIFT: u32 = 6;

/// Columns of a burst, log2: DDR4 moves a line in a burst of 8 (JEDEC JESD79-4,
/// section 4.24), so the low three column bits are no address of a line.
const BURST_SHIFT: u32 = 3;

/// Beyond it there is no physical address on any machine (52 bits on x86, ARM).
const MAX_ADDR: u64 = 1 << 52;

/// A row of a rank: one word line in one bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowOf {
    pub group: Option<u16>,
    pub bank: u16,
    pub row: u32,
}

impl RowOf {
    /// `None` where the place names no bank or row.
    pub fn new(place: &DramPlace) -> Option<Self> {
        Some(Self { group: place.bank_group, bank: place.bank?, row: place.row? })
    }
}

/// A line of a rank: where in the row a burst begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub row: RowOf,
    /// Column without its three burst bits.
    pub line: u32,
}

/// A line and the address that the platform decoded to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub cell: Cell,
    /// Physical address of the line, its low six bits 0.
    pub addr: u64,
    /// Another address was given the same place, or this address another
    /// place: nobody knows which is right.
    disputed: bool,
}

impl Sample {
    /// `None` where the place is incomplete, or the address is none.
    pub fn new(place: &DramPlace, addr: PhysAddr) -> Option<Self> {
        let cell = Cell { row: RowOf::new(place)?, line: place.column? >> BURST_SHIFT };
        let addr = line_of(addr);
        (addr < MAX_ADDR).then_some(Self { cell, addr, disputed: false })
    }
}

/// The first byte of the line that holds `addr`.
pub(super) fn line_of(addr: PhysAddr) -> u64 {
    addr.0 >> LINE_SHIFT << LINE_SHIFT
}

/// At most [`MAX_SAMPLES`] samples, sorted by place and address.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    all: Vec<Sample>,
    /// Where the last one was dropped.
    dropped: usize,
}

impl Samples {
    /// Keeps `new`; false where it was known.
    pub fn hear(&mut self, mut new: Sample) -> bool {
        let key = |s: &Sample| (s.cell, s.addr);
        if self.all.binary_search_by_key(&key(&new), key).is_ok() {
            return false;
        }
        if self.all.len() >= MAX_SAMPLES {
            self.dropped = (self.dropped + DROP_STRIDE) % MAX_SAMPLES;
            self.all.remove(self.dropped);
        }
        for old in &mut self.all {
            // One of the two differs, or it would be known.
            if old.cell == new.cell || old.addr == new.addr {
                old.disputed = true;
                new.disputed = true;
            }
        }
        let at = self.all.partition_point(|old| key(old) < key(&new));
        self.all.insert(at, new);
        true
    }

    /// Kept so far, disputed ones among them.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether a place of this address is disputed.
    pub fn disputed(&self, addr: PhysAddr) -> bool {
        let addr = line_of(addr);
        self.all.iter().any(|s| s.addr == addr && s.disputed)
    }

    /// The undisputed samples, by row and line.
    pub fn sure(&self) -> impl Iterator<Item = &Sample> {
        self.all.iter().filter(|s| !s.disputed)
    }
}
