//! The documented mappings that agree with what a rank's errors have shown.

use super::gf2::Basis;
use super::samples::{Cell, RowOf, Sample, Samples};
use super::skylake::{Interleave, Mapping, RankLayout, HIGH_MEMORY, LINES};
use super::{Answer, Limits};
use crate::model::{CoverBy, PhysAddr};

/// Places that a mapping must explain to count at all. The base of one place
/// being a multiple of 64 MiB is 20 bits of evidence against the 15 that choose
/// one of the candidates; each further place must give the same base to the
/// bit. What deceives is a relative of the family, which shares all but a few
/// address bits: of those that the tests make up (`many_errors_tell_a_skylake…`)
/// some pass with four places, naming a wrong page. Six are two more.
const MIN_PLACES: usize = 6;

/// Of so many places that agree, one may not: the decoder takes the column from
/// a log register that another error may have overwritten (of the real DIMM
/// with most places, 1 of 61 was such).
const PLACES_PER_MISFIT: usize = 16;

/// An exact inverse has been confirmed by at least so many places …
const EXACT_PLACES: usize = 16;
/// … in so many rows, and …
const EXACT_ROWS: usize = 3;
/// … by so many independent differences of lines: each of the seven line bits
/// was seen to do what the mapping says, whatever the others did.
const EXACT_LINE_RANK: u32 = 7;

/// Samples a search starts from, in case one is a misfit.
const ANCHORS: usize = 3;

/// More candidates than this say nothing.
const MAX_CANDIDATES: usize = 64;

/// The candidates left.
#[derive(Debug, Clone, Default)]
pub(super) struct Family {
    candidates: Vec<Mapping>,
}

/// What a candidate explains.
#[derive(Default)]
struct Evidence {
    places: usize,
    misfits: usize,
    rows: usize,
    /// Line bits that were 1 somewhere.
    lines_set: u32,
    /// Independent differences of lines.
    line_rank: u32,
}

impl Evidence {
    fn of(mapping: &Mapping, samples: &Samples) -> Self {
        let mut evidence = Self::default();
        let (mut first_line, mut last_row) = (None, None);
        let mut lines = Basis::default();
        for sample in high(samples) {
            if mapping.addr(&sample.cell) != Some(sample.addr) {
                evidence.misfits += 1;
                continue;
            }
            let line = sample.cell.line % LINES;
            evidence.places += 1;
            evidence.lines_set |= line;
            evidence.line_rank += u32::from(lines.extend(line ^ *first_line.get_or_insert(line)));
            // Samples come row by row.
            evidence.rows +=
                usize::from(last_row.replace(sample.cell.row) != Some(sample.cell.row));
        }
        evidence
    }

    fn stands(&self) -> bool {
        self.places >= MIN_PLACES && self.misfits * PLACES_PER_MISFIT <= self.places
    }

    fn is_exact(&self) -> bool {
        self.places >= EXACT_PLACES && self.rows >= EXACT_ROWS && self.line_rank >= EXACT_LINE_RANK
    }
}

impl Family {
    /// Looks for candidates, unless some stand. Thousands are tried on each of a
    /// few samples: not for every sample.
    pub fn search(&mut self, samples: &Samples) {
        self.candidates.retain(|mapping| Evidence::of(mapping, samples).stands());
        if !self.candidates.is_empty() {
            return;
        }
        let usable = high(samples).count();
        for anchor in high(samples).step_by(usable.div_ceil(ANCHORS).max(1)) {
            self.candidates = from_anchor(anchor, samples);
            if !self.candidates.is_empty() {
                return;
            }
        }
    }

    /// Whether the rank's mapping is one of the family's.
    pub fn stands(&self, samples: &Samples) -> bool {
        self.candidates.iter().any(|mapping| Evidence::of(mapping, samples).stands())
    }

    /// The lines of a row that holds the addresses `seen`, by all candidates
    /// that stand and know these addresses to be in it.
    pub fn row(
        &self,
        row: RowOf,
        seen: &[PhysAddr],
        samples: &Samples,
        limits: Limits,
    ) -> Option<Answer> {
        let mut answer: Option<Answer> = None;
        for mapping in &self.candidates {
            let evidence = Evidence::of(mapping, samples);
            let holds = |addr: &PhysAddr| mapping.cell(*addr).is_some_and(|cell| cell.row == row);
            if !evidence.stands() || !seen.iter().all(holds) {
                continue;
            }
            let exact = evidence.is_exact();
            let bits = if exact { LINES - 1 } else { evidence.lines_set };
            let pages = row_pages(mapping, row, bits, limits)?;
            answer = Some(match answer {
                None => (if exact { CoverBy::Exact } else { CoverBy::Learned }, pages),
                Some((by, others)) if by == CoverBy::Exact && exact && others == pages => {
                    (by, others)
                }
                // What they agree on is right whichever of them is.
                Some((_, mut others)) => {
                    others.retain(|page| pages.binary_search(page).is_ok());
                    (CoverBy::Learned, others)
                }
            });
        }
        answer
    }
}

/// The pages of a row's lines that have no bit set but `bits`; `None` where any
/// lies where it cannot.
fn row_pages(mapping: &Mapping, row: RowOf, bits: u32, limits: Limits) -> Option<Vec<u64>> {
    let mut pages = Vec::with_capacity(LINES as usize);
    for line in (0..LINES).filter(|line| line & !bits == 0) {
        let cell = Cell { row, line };
        let addr = mapping.addr(&cell)?;
        // The platform's own decode leads back, or the inverse is none.
        if addr < HIGH_MEMORY || mapping.cell(PhysAddr(addr)) != Some(cell) {
            return None;
        }
        pages.push(limits.page(addr)?);
    }
    pages.sort_unstable();
    pages.dedup();
    Some(pages)
}

/// All mappings that put the anchor where it is and explain enough of the rest.
fn from_anchor(anchor: &Sample, samples: &Samples) -> Vec<Mapping> {
    let mut found = Vec::new();
    for rank in RankLayout::all() {
        let Some(channel_addr) = rank.channel_addr(&anchor.cell) else { continue };
        for interleave in Interleave::all() {
            let mapping = Mapping::through(rank, interleave, channel_addr, anchor.addr);
            let stands = |m: &Mapping| Evidence::of(m, samples).stands();
            if let Some(mapping) = mapping.filter(stands) {
                found.push(mapping);
            }
        }
    }
    if found.len() > MAX_CANDIDATES {
        found.clear();
    }
    found
}

/// What the family speaks of: memory above 4 GiB.
fn high(samples: &Samples) -> impl Iterator<Item = &Sample> {
    samples.sure().filter(|sample| sample.addr >= HIGH_MEMORY)
}
