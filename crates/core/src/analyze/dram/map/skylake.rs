//! How Skylake, Cascade Lake and Cooper Lake servers spread addresses over
//! DRAM, both ways.
//!
//! After the decoder in Linux, `drivers/edac/skx_base.c`: `skx_tad_decode`
//! (interleave over sockets and channels), `skx_rir_decode` (over ranks) and
//! `skx_mad_decode` (bits of the rank address to bank group, bank, row, column).
//! What the driver reads from registers is a parameter here, to be solved for.

use super::samples::{line_of, Cell, RowOf};
use crate::model::PhysAddr;

/// Lines of a row: 1024 columns of 8 to a line. All DDR4 devices have 10 column
/// bits (JEDEC JESD79-4, section 2.7).
pub(super) const LINES: u32 = 128;

/// Regions of the address map begin and end at multiples of 64 MiB: the unit of
/// `SKX_TAD_OFFSET` and `SKX_RIR_OFFSET`.
const BASE_UNIT: u64 = 64 << 20;

/// Below 4 GiB lies memory with an offset of its own, cut off by the hole for
/// devices.
pub(super) const HIGH_MEMORY: u64 = 1 << 32;

/// Rank address bits that exist: 35 (`skx_close_row` and `skx_open_row` end at
/// bit 34).
const RANK_BITS: u32 = 35;

/// Which bits of the rank address make which bit of the place. Position in the
/// array is the bit of the number, value the bit of the rank address.
struct Layout {
    /// `skx_close_row`, `skx_open_row`.
    row: [u8; 18],
    /// `skx_close_column`, `skx_open_column`, `skx_open_fine_column`, from
    /// column bit 3 on.
    line: [u8; 7],
    bank: [u8; 2],
    group: [u8; 2],
    /// What bank and bank group are XORed with, where that is enabled.
    bank_xor: [u8; 2],
    group_xor: [u8; 2],
    /// Where ranks interleave: `shift` in `skx_rir_decode`.
    rank_shift: u8,
}

static CLOSED: Layout = Layout {
    row: [15, 16, 17, 18, 20, 21, 22, 28, 10, 11, 12, 13, 29, 30, 31, 32, 33, 34],
    line: [14, 19, 23, 24, 25, 26, 27],
    bank: [8, 9],
    group: [6, 7],
    bank_xor: [22, 28],
    group_xor: [20, 21],
    rank_shift: 6,
};

static OPEN: Layout = Layout {
    row: [14, 15, 16, 20, 28, 21, 22, 23, 24, 25, 26, 27, 29, 30, 31, 32, 33, 34],
    line: [6, 7, 8, 9, 10, 11, 12],
    bank: [18, 19],
    group: [13, 17],
    bank_xor: [22, 23],
    group_xor: [20, 21],
    rank_shift: 13,
};

static OPEN_FINE: Layout = Layout {
    row: OPEN.row,
    line: [7, 8, 9, 10, 11, 12, 13],
    bank: OPEN.bank,
    group: [6, 17],
    bank_xor: OPEN.bank_xor,
    group_xor: OPEN.group_xor,
    rank_shift: OPEN.rank_shift,
};

/// Page policy of the memory controller, with the fine-grained bank interleave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Closed,
    Open,
    OpenFine,
}

impl Policy {
    pub const ALL: [Policy; 3] = [Policy::Closed, Policy::Open, Policy::OpenFine];

    fn layout(self) -> &'static Layout {
        match self {
            Policy::Closed => &CLOSED,
            Policy::Open => &OPEN,
            Policy::OpenFine => &OPEN_FINE,
        }
    }
}

/// One interleave: of every `ways` consecutive units of `1 << shift` bytes, the
/// one numbered `residue` is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    pub shift: u8,
    pub ways: u8,
    pub residue: u8,
}

impl Level {
    pub const NONE: Level = Level { shift: 6, ways: 1, residue: 0 };

    /// From the address with the interleave to the one without; `None` where it
    /// is another's.
    fn strip(self, addr: u64) -> Option<u64> {
        let unit = addr >> self.shift;
        let ways = u64::from(self.ways.max(1));
        (unit % ways == u64::from(self.residue))
            .then_some((unit / ways) << self.shift | addr & low(self.shift))
    }

    /// The inverse. Cannot overflow: below 2^35 for a rank, times 8, 8 and 24.
    fn spread(self, addr: u64) -> u64 {
        let unit = (addr >> self.shift) * u64::from(self.ways) + u64::from(self.residue);
        unit << self.shift | addr & low(self.shift)
    }
}

/// The interleave over sockets, memory controllers and channels, in the order
/// in which the decoder takes it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interleave(pub [Level; 2]);

impl Interleave {
    /// From the channel's address to the system's, before the region's base.
    pub fn spread(&self, channel_addr: u64) -> u64 {
        let [first, second] = self.0;
        first.spread(second.spread(channel_addr))
    }

    fn strip(&self, addr: u64) -> Option<u64> {
        let [first, second] = self.0;
        second.strip(first.strip(addr)?)
    }

    /// All that the registers can say: socket ways 1, 2, 4, 8 and channel ways
    /// 1, 2, 3, each at 64, 256 or 4096 bytes. The residue of the first level
    /// is 0 here, for [`Mapping::through`] to solve for.
    ///
    /// Left out are interleaves at 1 GiB, and sockets finer than channels,
    /// where the driver's decode is no bijection.
    pub fn all() -> impl Iterator<Item = Interleave> {
        let level = |shift, ways| Level { shift, ways, residue: 0 };
        // Both at the same granularity are one, of as many ways together.
        let single = [6, 8, 12].into_iter().flat_map(move |shift| {
            let ways = [2, 3, 4, 6, 8, 12, 16, 24].into_iter();
            ways.map(move |ways| Interleave([level(shift, ways), Level::NONE]))
        });
        let nested = [(8, 6), (12, 6), (12, 8)].into_iter().flat_map(move |(socket, channel)| {
            [2, 4, 8].into_iter().flat_map(move |ways| {
                let two = residues(level(channel, 2))
                    .map(move |inner| Interleave([level(socket, ways), inner]));
                // Three channels are taken off first (`skx_tad_decode`).
                let three = residues(level(socket, ways))
                    .map(move |inner| Interleave([level(channel, 3), inner]));
                two.chain(three)
            })
        });
        std::iter::once(Interleave([Level::NONE; 2])).chain(single).chain(nested)
    }
}

fn residues(level: Level) -> impl Iterator<Item = Level> {
    (0..level.ways).map(move |residue| Level { residue, ..level })
}

/// How the ranks of a channel and the bits of a rank are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RankLayout {
    pub policy: Policy,
    /// Bank and bank group are XORed with row bits.
    pub bank_xor: bool,
    /// Ranks that interleave (1, 2, 4, 8), and which of them this is.
    pub ranks: u8,
    pub rank_index: u8,
}

impl RankLayout {
    /// Every one there is: page policy, bank XOR and rank ways as
    /// `skx_get_dimm_info` and `SKX_RIR_WAYS` know them.
    pub fn all() -> impl Iterator<Item = RankLayout> {
        Policy::ALL.into_iter().flat_map(|policy| {
            [false, true].into_iter().flat_map(move |bank_xor| {
                [1, 2, 4, 8].into_iter().flat_map(move |ranks| {
                    (0..ranks).map(move |rank_index| RankLayout {
                        policy,
                        bank_xor,
                        ranks,
                        rank_index,
                    })
                })
            })
        })
    }

    /// The channel's address of a line, but for the offset of its rank (a
    /// multiple of 64 MiB that [`Mapping::base`] contains); `None` where there
    /// is no such place.
    pub fn channel_addr(&self, cell: &Cell) -> Option<u64> {
        Some(self.ranks().spread(self.rank_addr(cell)?))
    }

    fn ranks(&self) -> Level {
        let shift = self.policy.layout().rank_shift;
        Level { shift, ways: self.ranks, residue: self.rank_index }
    }

    fn rank_addr(&self, cell: &Cell) -> Option<u64> {
        let layout = self.policy.layout();
        let (bank, group) = (cell.row.bank, cell.row.group?);
        // Column bit 10 of a closed page is auto-precharge, set by some
        // decoders and not by others.
        let line = match self.policy {
            Policy::Closed => cell.line & !LINES,
            _ => cell.line,
        };
        if cell.row.row >> layout.row.len() != 0 || bank > 3 || group > 3 || line >= LINES {
            return None;
        }
        let addr = scatter(cell.row.row, &layout.row) | scatter(line, &layout.line);
        let (bank_xor, group_xor) = self.xors(addr);
        Some(
            addr | scatter(u32::from(bank) ^ bank_xor, &layout.bank)
                | scatter(u32::from(group) ^ group_xor, &layout.group),
        )
    }

    fn cell(&self, rank_addr: u64) -> Option<Cell> {
        let layout = self.policy.layout();
        let (bank_xor, group_xor) = self.xors(rank_addr);
        (rank_addr >> RANK_BITS == 0).then(|| Cell {
            row: RowOf {
                group: Some((gather(rank_addr, &layout.group) ^ group_xor) as u16),
                bank: (gather(rank_addr, &layout.bank) ^ bank_xor) as u16,
                row: gather(rank_addr, &layout.row),
            },
            line: gather(rank_addr, &layout.line),
        })
    }

    fn xors(&self, rank_addr: u64) -> (u32, u32) {
        let layout = self.policy.layout();
        match self.bank_xor {
            true => (gather(rank_addr, &layout.bank_xor), gather(rank_addr, &layout.group_xor)),
            false => (0, 0),
        }
    }
}

/// One mapping of the family, every parameter known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapping {
    pub rank: RankLayout,
    pub interleave: Interleave,
    /// Where the rank's address 0 would lie: region base and rank offset, a
    /// multiple of 64 MiB.
    pub base: u64,
}

impl Mapping {
    /// The mapping of these layouts that has the channel's address at `addr`,
    /// its first residue solved for; `None` where no residue and no base that
    /// the hardware knows does that.
    pub fn through(
        rank: RankLayout,
        mut interleave: Interleave,
        channel_addr: u64,
        addr: u64,
    ) -> Option<Self> {
        let gap = addr.checked_sub(interleave.spread(channel_addr))?;
        let within = gap % BASE_UNIT;
        let [first, _] = &mut interleave.0;
        first.residue = u8::try_from(within >> first.shift).ok()?;
        (first.residue < first.ways && within & low(first.shift) == 0).then_some(Self {
            rank,
            interleave,
            base: gap - within,
        })
    }

    /// The physical address of a line; `None` where there is no such place.
    pub fn addr(&self, cell: &Cell) -> Option<u64> {
        self.base.checked_add(self.interleave.spread(self.rank.channel_addr(cell)?))
    }

    /// The platform's decode: the line at a physical address; `None` where it
    /// is another channel's or rank's.
    pub fn cell(&self, addr: PhysAddr) -> Option<Cell> {
        let channel_addr = self.interleave.strip(line_of(addr).checked_sub(self.base)?)?;
        self.rank.cell(self.rank.ranks().strip(channel_addr)?)
    }
}

/// Bits of `value` to the places that `bits` names.
fn scatter(value: u32, bits: &[u8]) -> u64 {
    bits.iter().enumerate().fold(0, |addr, (i, bit)| addr | u64::from(value >> i & 1) << bit)
}

/// The inverse of [`scatter`].
fn gather(addr: u64, bits: &[u8]) -> u32 {
    bits.iter().enumerate().fold(0, |value, (i, bit)| value | ((addr >> bit & 1) as u32) << i)
}

/// The low `shift` bits set.
fn low(shift: u8) -> u64 {
    (1 << shift) - 1
}
