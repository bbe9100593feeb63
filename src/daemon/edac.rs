//! A cross-check: EDAC's own totals against the errors that came to us.

use crate::host::{edac, Root};
use bulkhead_core::model::{Report, Source};

/// Key of the store's cursor that carries the figures over a restart.
const CURSOR: &str = "edac";

/// What EDAC counted when we began, and what came to us since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdacCheck {
    /// EDAC's total when this boot's first daemon began; `None` while no
    /// memory controller is registered.
    base: Option<u64>,
    /// Errors reported by `ras:mc_event` since, decodes included.
    seen: u64,
    changed: bool,
}

impl EdacCheck {
    /// Goes on from what an earlier daemon of this boot saved, or begins now.
    pub fn new(root: &Root, saved: Option<String>) -> EdacCheck {
        let saved = saved.and_then(|text| {
            let (base, seen) = text.split_once(' ')?;
            Some((base.parse().ok()?, seen.parse().ok()?))
        });
        match saved {
            Some((base, seen)) => EdacCheck { base: Some(base), seen, changed: false },
            None => EdacCheck { base: edac::total(root).ok().flatten(), seen: 0, changed: true },
        }
    }

    /// A report came.
    pub fn saw(&mut self, report: &Report) {
        if report.source == Source::McEvent {
            self.seen = self.seen.saturating_add(report.errors);
            self.changed = true;
        }
    }

    /// By how many errors the two differ now; `None` where EDAC has no
    /// controller. One that came after us began at zero.
    pub fn differs(&self, root: &Root) -> Option<u64> {
        let total = edac::total(root).ok().flatten()?;
        Some(total.saturating_sub(self.base.unwrap_or(0)).abs_diff(self.seen))
    }

    /// What is to be saved, if it changed.
    pub fn cursor(&mut self) -> Option<(String, String)> {
        std::mem::take(&mut self.changed)
            .then(|| (CURSOR.to_owned(), format!("{} {}", self.base.unwrap_or(0), self.seen)))
    }

    /// Key under which [`EdacCheck::cursor`] is saved.
    pub fn key() -> &'static str {
        CURSOR
    }
}
