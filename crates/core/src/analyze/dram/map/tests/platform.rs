//! Made-up platforms: any layout of bits, any interleave, any XOR. Written
//! apart from the code under test, as its oracle.

use super::*;
use proptest::prelude::*;
use proptest::sample::subsequence;
use std::collections::BTreeSet;
use std::ops::Range;

/// A platform's mapping of one rank.
#[derive(Debug, Clone)]
pub struct Platform {
    /// Bits of the rank address that make the seven line bits, bank, bank
    /// group, row.
    pub line: Vec<u8>,
    pub bank: [u8; 2],
    pub group: [u8; 2],
    pub row: Vec<u8>,
    /// XORed with bank and bank group.
    pub bank_xor: Option<([u8; 2], [u8; 2])>,
    /// Interleaves from the rank outwards: log2 of the unit, ways, which.
    pub levels: Vec<(u8, u64, u64)>,
    /// Offset of the memory's region.
    pub base: u64,
    /// At last, these bits of the address are XORed with the parity of those.
    pub hash: Vec<(u8, u64)>,
}

impl Platform {
    /// Closed page, open page, open page with fine-grained banks.
    pub fn skylake(policy: u8) -> Self {
        let row = vec![14, 15, 16, 20, 28, 21, 22, 23, 24, 25, 26, 27, 29, 30, 31, 32, 33];
        let open = Self {
            line: (6..13).collect(),
            bank: [18, 19],
            group: [13, 17],
            row,
            bank_xor: None,
            levels: vec![],
            base: 0,
            hash: vec![],
        };
        match policy {
            0 => Self {
                line: vec![14, 19, 23, 24, 25, 26, 27],
                bank: [8, 9],
                group: [6, 7],
                row: vec![15, 16, 17, 18, 20, 21, 22, 28, 10, 11, 12, 13, 29, 30, 31, 32, 33],
                ..open
            },
            1 => open,
            _ => Self { line: (7..14).collect(), group: [6, 17], ..open },
        }
    }

    pub fn addr(&self, place: &DramPlace) -> PhysAddr {
        let mut addr = 0_u64;
        let mut set = |value: u32, bits: &[u8]| {
            for (i, bit) in bits.iter().enumerate() {
                addr |= u64::from(value >> i & 1) << bit;
            }
        };
        set(place.row.unwrap(), &self.row);
        set(place.column.unwrap() / 8, &self.line);
        set(place.bank.unwrap().into(), &self.bank);
        set(place.bank_group.unwrap().into(), &self.group);
        if let Some((bank, group)) = self.bank_xor {
            for (to, from) in self.bank.iter().chain(&self.group).zip(bank.iter().chain(&group)) {
                addr ^= (addr >> from & 1) << to;
            }
        }
        for (shift, ways, which) in &self.levels {
            let unit = 1 << shift;
            addr = (addr / unit * ways + which) * unit + addr % unit;
        }
        addr += self.base;
        for (bit, mask) in &self.hash {
            addr ^= u64::from((addr & mask).count_ones() % 2) << bit;
        }
        PhysAddr(addr)
    }

    /// The pages of the row of `place`.
    pub fn row(&self, place: &DramPlace) -> Vec<Pfn> {
        let page = |line: u32| {
            let place = DramPlace { column: Some(line * 8), ..*place };
            PageSize::KIB_4.pfn(self.addr(&place))
        };
        (0..128).map(page).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// A map that has learned these places.
    pub fn taught(&self, places: &[DramPlace]) -> RowMap {
        let mut map = RowMap::default();
        for place in places {
            map.learn(place, self.addr(place));
        }
        map
    }

    /// What the map says of the row of `place`, given those of `places` that
    /// lie in it.
    pub fn ask(
        &self,
        map: &RowMap,
        place: &DramPlace,
        places: &[DramPlace],
    ) -> Option<(CoverBy, Vec<Pfn>)> {
        let seen: Vec<_> = places
            .iter()
            .filter(|other| DramPlace { column: place.column, ..**other } == *place)
            .map(|place| self.addr(place))
            .collect();
        pages(map, place, &seen)
    }
}

/// Every interleave of the family, out of which order the decoder takes it.
fn interleaves() -> impl Strategy<Value = Vec<(u8, u64, u64)>> {
    let shift = || prop::sample::select(vec![6_u8, 8, 12]);
    let single =
        (shift(), prop::sample::select(vec![1_u64, 2, 3, 4, 6, 8, 12, 16, 24]), any::<u64>())
            .prop_map(|(shift, ways, which)| vec![(shift, ways, which % ways)]);
    let nested = (
        prop::sample::select(vec![(8, 6), (12, 6), (12, 8)]),
        prop::sample::select(vec![2_u64, 4, 8]),
        2..4_u64,
        any::<(u64, u64)>(),
    )
        .prop_map(|((socket, channel), sockets, channels, (a, b))| {
            let socket = (socket, sockets, a % sockets);
            let channel = (channel, channels, b % channels);
            // Outermost last: what the decoder takes off first.
            if channels == 3 {
                vec![socket, channel]
            } else {
                vec![channel, socket]
            }
        });
    prop_oneof![3 => single, 1 => nested]
}

/// Skylake servers with any BIOS setting.
pub fn skylakes() -> impl Strategy<Value = Platform> {
    (0..3_u8, any::<bool>(), 0..4_u32, any::<u64>(), interleaves(), 64..0x8000_u64).prop_map(
        |(policy, xor, ranks, which, mut levels, base)| {
            let mut platform = Platform::skylake(policy);
            if xor {
                let bank = if policy == 0 { [22, 28] } else { [22, 23] };
                platform.bank_xor = Some((bank, [20, 21]));
            }
            let ranks = 1 << ranks;
            levels.insert(0, (if policy == 0 { 6 } else { 13 }, ranks, which % ranks));
            Platform { levels, base: base << 26, ..platform }
        },
    )
}

/// The same, but for some bits of the rank address that changed places: no
/// platform that is documented.
pub fn near_skylakes() -> impl Strategy<Value = Platform> {
    (skylakes(), prop::collection::vec((6..34_u8, 6..34_u8), 1..4)).prop_map(
        |(mut platform, swaps)| {
            for (a, b) in swaps {
                let swap = |bit: &mut u8| {
                    *bit = if *bit == a {
                        b
                    } else if *bit == b {
                        a
                    } else {
                        *bit
                    }
                };
                platform.line.iter_mut().for_each(swap);
                platform.row.iter_mut().for_each(swap);
                platform.bank.iter_mut().for_each(swap);
                platform.group.iter_mut().for_each(swap);
            }
            platform
        },
    )
}

/// Any order of the bits, those of the line out of `line`.
fn shuffled(line: Range<u8>) -> impl Strategy<Value = Platform> {
    let (low, high): (Vec<u8>, Vec<u8>) = (6..34).partition(|bit| line.contains(bit));
    (Just(low).prop_shuffle(), Just(high)).prop_flat_map(|(low, high)| {
        let (line, rest) = low.split_at(7);
        let line = line.to_vec();
        Just([rest, &high].concat()).prop_shuffle().prop_map(move |bits| Platform {
            line: line.clone(),
            bank: [bits[0], bits[1]],
            group: [bits[2], bits[3]],
            row: bits[4..].to_vec(),
            ..Platform::skylake(1)
        })
    })
}

/// Interleaves by powers of two, with hashes: linear over GF(2), as long as the
/// row stays within 64 MiB.
pub fn linears() -> impl Strategy<Value = Platform> {
    let level = (6..16_u8, 0..3_u32, any::<u64>())
        .prop_map(|(shift, ways, which)| (shift, 1 << ways, which % (1 << ways)));
    let hash = (6..24_u8, any::<u64>())
        .prop_map(|(bit, mask)| (bit, mask & !(1 << bit) & ((1 << 44) - (1 << 6))));
    let levels = prop::collection::vec(level, 0..3);
    let hashes = prop::collection::vec(hash, 0..4);
    (shuffled(6..20), levels, hashes, 64..0x8000_u64).prop_map(|(platform, levels, hash, base)| {
        Platform { levels, hash, base: base << 26, ..platform }
    })
}

/// Three, six or twelve ways, and bits in any order: neither linear nor
/// documented.
pub fn strangers() -> impl Strategy<Value = Platform> {
    (shuffled(6..34), 6..13_u8, prop::sample::select(vec![3_u64, 5, 6, 7, 12]), 64..0x8000_u64)
        .prop_map(|(platform, shift, ways, base)| Platform {
            levels: vec![(shift, ways, 1)],
            base: base << 26,
            ..platform
        })
}

/// Bank group, bank, row and line: a place, short to print.
pub type Spot = (u16, u16, u32, u32);

pub fn place_of((group, bank, row, line): Spot) -> DramPlace {
    place(group, bank, row, line * 8)
}

/// Distinct places in a few rows of a bank or two, as faults make them.
pub fn spots(rows: Range<usize>, lines: Range<usize>) -> impl Strategy<Value = BTreeSet<Spot>> {
    let row = (0..2_u16, 0..1_u32 << 17, subsequence((0..128_u32).collect::<Vec<_>>(), lines));
    (0..4_u16, 0..4_u16, prop::collection::vec(row, rows)).prop_map(|(group, bank, rows)| {
        let spots = rows.into_iter().flat_map(|(other, row, lines)| {
            lines.into_iter().map(move |line| ((group + other) % 4, bank, row, line))
        });
        spots.collect()
    })
}
