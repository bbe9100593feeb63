//! Pages of a simulated host that never come off.

use super::super::Answer;
use crate::model::{Pfn, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Why a page does not come off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Something keeps it pinned: EBUSY.
    Pinned,
    /// The kernel uses it for what it cannot move: EIO.
    Unmovable,
}

impl Use {
    /// What the kernel says when it is to move the page.
    pub fn answer(self) -> Answer {
        match self {
            Use::Pinned => Answer::Busy,
            Use::Unmovable => Answer::Unhandlable,
        }
    }
}

/// Tries in a row that were answered alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tries {
    answer: Answer,
    count: u32,
    first: Time,
    last: Time,
}

impl Tries {
    /// A page that answers EBUSY so often in a row is pinned (docs/guards.md).
    const PINNED: u32 = 297;
    const DAY: Duration = Duration::from_secs(24 * 3600);
    const HOUR: Duration = Duration::from_secs(3600);

    pub fn is_pinned(&self) -> bool {
        self.answer == Answer::Busy && self.count >= Self::PINNED
    }

    /// Was answered with EIO for more than a day.
    pub fn is_unmovable(&self) -> bool {
        self.answer == Answer::Unhandlable && self.last.since(self.first) > Self::DAY
    }

    /// It is too early to ask again by itself: what is used for long is asked
    /// for hourly.
    pub fn is_too_early(&self, now: Time) -> bool {
        let hourly = self.answer == Answer::Unhandlable || self.is_pinned();
        hourly && now.since(self.last) < Self::HOUR
    }
}

/// Such pages, and how they were tried.
#[derive(Default)]
pub(super) struct Stubborn {
    pub uses: BTreeMap<Pfn, Use>,
    pub tries: BTreeMap<Pfn, Tries>,
}

impl Stubborn {
    /// An order to move the page away was answered.
    pub fn tried(&mut self, pfn: Pfn, answer: Answer, now: Time) {
        if !matches!(answer, Answer::Busy | Answer::Unhandlable) {
            self.tries.remove(&pfn);
            return;
        }
        let tries =
            self.tries.entry(pfn).or_insert(Tries { answer, count: 0, first: now, last: now });
        if tries.answer != answer {
            *tries = Tries { answer, count: 0, first: now, last: now };
        }
        tries.count += 1;
        tries.last = now;
    }
}
