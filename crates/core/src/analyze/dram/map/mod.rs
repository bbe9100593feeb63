//! Which pages lie in a row: the inverse of the platform's address mapping,
//! worked out from errors whose address and place the platform both told.
//!
//! Two models are tried. The documented mapping of Skylake-family servers
//! ([`skylake`], [`family`]), whose parameters only the BIOS knows and which
//! are solved for; and, where that fits nothing, a mapping by XORs that is
//! learned as it shows ([`linear`]). Where neither stands there is no answer:
//! a page wrongly taken is worse than one not taken.

mod family;
mod gf2;
mod linear;
mod samples;
mod skylake;
#[cfg(test)]
mod tests;

use crate::model::{CoverBy, DramPlace, PageSize, Pfn, PhysAddr};
use family::Family;
use samples::{RowOf, Sample, Samples};

/// Ranks of a DIMM that are told apart; DIMMs have 1 to 8.
const MAX_RANKS: usize = 8;

/// Samples of a rank before the first search; the next is due at half as many
/// again, and so on.
const FIRST_SEARCH: usize = 4;

/// How and which page frames, in ascending order.
type Answer = (CoverBy, Vec<u64>);

/// The address mapping of one DIMM, as far as its own errors have taught it.
///
/// Holds at most 8 KiB of samples a rank. What it answers depends on the
/// samples it was given, not on how often each was.
#[derive(Debug, Clone, Default)]
pub struct RowMap {
    /// Each rank for itself: what one shows of the interleave need not hold for
    /// a rank of another size.
    ranks: Vec<Rank>,
}

#[derive(Debug, Clone)]
struct Rank {
    number: u16,
    samples: Samples,
    family: Family,
    /// Samples at which the next search is due.
    next_search: usize,
}

/// What bounds a page.
#[derive(Debug, Clone, Copy)]
struct Limits {
    page_size: PageSize,
    phys_bits: u8,
}

impl Limits {
    /// The frame of an address; `None` beyond what the machine can address.
    fn page(self, addr: u64) -> Option<u64> {
        let beyond = addr.checked_shr(self.phys_bits.into()).unwrap_or(0);
        (beyond == 0).then(|| self.page_size.pfn(PhysAddr(addr)).0)
    }
}

impl RowMap {
    /// Takes a sample: the platform's own decoder puts the physical address
    /// `addr` at `place`. A place without rank, bank, row or column teaches
    /// nothing; a place at two addresses, or an address at two places, is held
    /// against neither model, but supports none either.
    ///
    /// About 20 ns for a sample that is known, half a microsecond for a new one.
    /// A search, about 0.1 ms, is due at most 11 times in the life of a rank.
    pub fn learn(&mut self, place: &DramPlace, addr: PhysAddr) {
        let (Some(number), Some(sample)) = (place.rank, Sample::new(place, addr)) else { return };
        if let Some(rank) = self.rank_mut(number) {
            rank.learn(sample);
        }
    }

    /// The pages of the row that `place` names (its column is of no matter) and
    /// that errors were seen in at the addresses `seen`, in ascending order. The
    /// pages of `seen` are among them, but for addresses whose place is
    /// disputed. None lies beyond `phys_bits` physical address bits.
    ///
    /// [`CoverBy::Exact`]: all of them. [`CoverBy::Learned`]: those that are
    /// known, more than were seen. `None`: nothing more is known than what was
    /// seen, or what was seen contradicts what is known.
    pub fn row_pages(
        &self,
        place: &DramPlace,
        seen: &[PhysAddr],
        page_size: PageSize,
        phys_bits: u8,
    ) -> Option<(CoverBy, Vec<Pfn>)> {
        let row = RowOf::new(place)?;
        let rank = self.ranks.iter().find(|rank| Some(rank.number) == place.rank)?;
        let limits = Limits { page_size, phys_bits };
        let seen: Vec<PhysAddr> =
            seen.iter().copied().filter(|addr| !rank.samples.disputed(*addr)).collect();
        let mut seen_pages =
            seen.iter().map(|addr| limits.page(addr.0)).collect::<Option<Vec<_>>>()?;
        seen_pages.sort_unstable();
        seen_pages.dedup();
        if seen_pages.is_empty() {
            return None;
        }
        let (by, pages) = match rank.family.stands(&rank.samples) {
            true => rank.family.row(row, &seen, &rank.samples, limits),
            false => linear::row(row, &rank.samples, limits),
        }?;
        let all_seen = seen_pages.iter().all(|page| pages.binary_search(page).is_ok());
        let more = by == CoverBy::Exact || pages.len() > seen_pages.len();
        (all_seen && more).then(|| (by, pages.into_iter().map(Pfn).collect()))
    }

    /// The rank, made where there is room for it.
    fn rank_mut(&mut self, number: u16) -> Option<&mut Rank> {
        let at = match self.ranks.iter().position(|rank| rank.number == number) {
            Some(at) => at,
            None if self.ranks.len() < MAX_RANKS => {
                self.ranks.push(Rank::new(number));
                self.ranks.len() - 1
            }
            None => return None,
        };
        self.ranks.get_mut(at)
    }
}

impl Rank {
    fn new(number: u16) -> Self {
        Self {
            number,
            samples: Samples::default(),
            family: Family::default(),
            next_search: FIRST_SEARCH,
        }
    }

    fn learn(&mut self, sample: Sample) {
        if self.samples.hear(sample) && self.samples.len() >= self.next_search {
            self.next_search += self.next_search / 2;
            self.family.search(&self.samples);
        }
    }
}
