//! Mappings that are XORs of address bits, learned from pairs of errors in one
//! row: the difference of their addresses is a linear function, over GF(2), of
//! the difference of their columns. True of every interleave by a power of two,
//! hashed or not.

use super::gf2::Basis;
use super::samples::{RowOf, Sample, Samples};
use super::{Answer, Limits};
use crate::model::CoverBy;
use std::collections::BTreeSet;

/// Equations that had to hold and did, in all …
const MIN_TESTS: usize = 4;
/// … and of each vector that a prediction uses.
const MIN_TESTS_OF_VECTOR: usize = 2;

/// Regions of memory begin at multiples of this (64 MiB on Intel, 256 MiB on
/// AMD), and a decoder subtracts where they begin: from here up, differences
/// have borrows in them, and are linear by chance only.
const REGION: u64 = 64 << 20;

/// A row has at most 8 KiB, 128 lines (DDR4 and DDR5), twice that where two
/// channels run in lockstep. What predicts more is wrong.
const MAX_LINES: usize = 256;

/// Odd factors of the numbers of channels in use (3, 5, 6, 9, 10, 12; 7 where
/// one of eight failed) …
const ODD_WAYS: [u64; 3] = [3, 5, 7];
/// … and the units, log2 of bytes, by which addresses may be dealt out to them.
const ODD_SHIFTS: std::ops::RangeInclusive<u32> = 6..=12;

/// One known value of the function: lines that differ so lie apart so.
#[derive(Debug, Clone, Copy)]
struct Vector {
    line: u32,
    addr: u64,
    /// Equations that it had a part in without being defined by them.
    tests: usize,
}

/// The pages of a row that tested differences lead to from its known lines.
pub(super) fn row(row: RowOf, samples: &Samples, limits: Limits) -> Option<Answer> {
    let mut lines: BTreeSet<u64> =
        samples.sure().filter(|s| s.cell.row == row).map(|s| s.addr).collect();
    if lines.is_empty() || odd_ways(samples) {
        return None;
    }
    for vector in solve(samples)? {
        let moved: Vec<u64> = lines.iter().map(|addr| addr ^ vector.addr).collect();
        lines.extend(moved);
        if lines.len() > MAX_LINES {
            return None;
        }
    }
    // Nothing predicted may be known to be elsewhere.
    if samples.sure().any(|s| s.cell.row != row && lines.contains(&s.addr)) {
        return None;
    }
    let mut pages = lines.into_iter().map(|addr| limits.page(addr)).collect::<Option<Vec<_>>>()?;
    pages.dedup();
    Some((CoverBy::Learned, pages))
}

/// The function as far as the samples define and test it; `None` where they
/// contradict it: the mapping is not linear, or a sample is wrong.
fn solve(samples: &Samples) -> Option<Vec<Vector>> {
    // Each with a highest address bit of its own, in descending order.
    let mut basis: Vec<Vector> = Vec::new();
    let mut lines = Basis::default();
    let mut pairs = BTreeSet::new();
    let mut tests = 0;
    let mut first: Option<&Sample> = None;
    // Row by row: a row's first sample against each of its others.
    for sample in samples.sure() {
        let Some(first) = first.filter(|first| first.cell.row == sample.cell.row) else {
            first = Some(sample);
            continue;
        };
        let (mut line, mut addr) = (first.cell.line ^ sample.cell.line, first.addr ^ sample.addr);
        // The same two columns in another row test nothing: whatever carries
        // there are between them are the same.
        let new = pairs.insert((first.cell.line, sample.cell.line));
        let mut used = Vec::new();
        for vector in &mut basis {
            if addr ^ vector.addr < addr {
                line ^= vector.line;
                addr ^= vector.addr;
                used.push(vector);
            }
        }
        match (line, addr) {
            (0, 0) if new => {
                tests += 1;
                used.into_iter().for_each(|vector| vector.tests += 1);
            }
            (0, 0) => {}
            // Two lines at one address, or one at two.
            (0, _) | (_, 0) => return None,
            // A sum of lines known, at another address than theirs.
            (line, _) if !lines.extend(line) => return None,
            (line, addr) => {
                let at = basis.partition_point(|vector| vector.addr > addr);
                basis.insert(at, Vector { line, addr, tests: 0 });
            }
        }
    }
    basis.retain(|vector| vector.addr < REGION && vector.tests >= MIN_TESTS_OF_VECTOR);
    (tests >= MIN_TESTS && !basis.is_empty()).then_some(basis)
}

/// Whether all addresses leave the same remainder modulo an odd number of
/// channels: they are dealt out by it, and no XOR describes that however well
/// it fits the few lines seen.
fn odd_ways(samples: &Samples) -> bool {
    ODD_WAYS.into_iter().any(|ways| {
        ODD_SHIFTS.into_iter().any(|shift| {
            let mut remainders = samples.sure().map(|s| (s.addr >> shift) % ways);
            let first = remainders.next();
            remainders.all(|remainder| Some(remainder) == first)
        })
    })
}
