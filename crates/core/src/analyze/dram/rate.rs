//! How fast a part of a DIMM is getting worse.

use super::row::Cell;
use crate::model::{Pfn, Stamp, Time};
use std::collections::BTreeSet;
use std::time::Duration;

/// The least span that a rate is made of: a burst of a few seconds says nothing
/// about the hours to come.
const LEAST_SPAN: Duration = Duration::from_secs(3600);

/// The errors of a part of a DIMM within the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// Errors.
    pub errors: u64,
    /// Distinct rows.
    pub rows: usize,
    /// Distinct pages with an error, as far as addresses are known.
    pub pages: usize,
    /// From the first error to the last.
    pub span: Duration,
}

/// Adds up cells.
#[derive(Debug)]
pub(super) struct Sum {
    pub first: Option<Stamp>,
    pub errors: u64,
    rows: usize,
    pages: BTreeSet<Pfn>,
    last: Time,
}

impl Sum {
    pub fn new() -> Sum {
        Sum { first: None, errors: 0, rows: 0, pages: BTreeSet::new(), last: Time(0) }
    }

    /// Adds the cells of one row that are in the window.
    pub fn add<'a>(&mut self, cells: impl Iterator<Item = &'a Cell>) {
        let mut any = false;
        for cell in cells {
            any = true;
            if self.first.is_none_or(|first| cell.first.at < first.at) {
                self.first = Some(cell.first);
            }
            self.errors = self.errors.saturating_add(cell.errors);
            self.last = self.last.max(cell.last);
            self.pages.extend(cell.page);
        }
        self.rows += usize::from(any);
    }

    pub fn rate(&self) -> Rate {
        let span = self.first.map_or(Duration::ZERO, |first| self.last.since(first.at));
        Rate { errors: self.errors, rows: self.rows, pages: self.pages.len(), span }
    }
}

impl Rate {
    /// How long `limit` pages last if each page with an error were given up and
    /// errors went on as they do; `None` where no page is known.
    pub fn lasts(&self, limit: u64) -> Option<Duration> {
        let pages = u128::try_from(self.pages).ok().filter(|pages| *pages > 0)?;
        let span = self.span.max(LEAST_SPAN).as_secs();
        let secs = u128::from(limit).saturating_mul(u128::from(span)) / pages;
        Some(Duration::from_secs(u64::try_from(secs).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_lasts_as_long_as_new_pages_take_to_fill_it() {
        let rate = Rate { errors: 90, rows: 3, pages: 6, span: Duration::from_secs(2 * 3600) };
        assert_eq!(rate.lasts(600), Some(Duration::from_secs(200 * 3600)));
    }

    #[test]
    fn a_burst_counts_as_an_hour() {
        let rate = Rate { errors: 9, rows: 3, pages: 3, span: Duration::from_secs(1) };
        assert_eq!(rate.lasts(300), Some(Duration::from_secs(100 * 3600)));
    }

    #[test]
    fn without_addresses_there_is_no_outlook() {
        let rate = Rate { errors: 9, rows: 3, pages: 0, span: Duration::from_secs(1) };
        assert_eq!(rate.lasts(300), None);
    }
}
