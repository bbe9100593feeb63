//! A report kept as evidence, in little room.

use crate::model::{
    Evidence, LoggedError, McEvent, MceRecord, Record, Report, Source, Stamp, Wall,
};

/// What a piece takes beside itself, in bytes: its place in the lists of pieces
/// and of records in the window, and the allocator's own for each part. Measured
/// with glibc, rounded up.
const BESIDE: usize = 64;

/// A report that may become evidence of a fault. There may be many, and most
/// never do, so each takes no more room than its own kind of record needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Of a machine check.
    Mce(Source, Box<Kept<MceRecord>>),
    /// Of an EDAC driver.
    MemoryController(Source, Box<Kept<McEvent>>),
    /// One error of a log, that was not known before: there may be millions.
    Logged(Source, Box<(Stamp, LoggedError)>),
    /// Anything else.
    Other(Source, Box<Kept<Record>>),
}

/// A record, and what a report says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept<R> {
    first: Stamp,
    /// `None`: one record that stands for one error that was not known before.
    span: Option<Box<Span>>,
    record: R,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    last: Wall,
    records: u64,
    errors: u64,
    fresh: u64,
}

impl Piece {
    /// Of `report`, which adds `fresh` errors nobody told of before.
    pub fn of(report: &Report, fresh: u64) -> Piece {
        let Report { source, first, last, records, errors, ref record, .. } = *report;
        let span = Span::of(first.wall, Span { last: last.wall, records, errors, fresh });
        match record {
            Record::Mce(record) => Piece::Mce(source, Kept::new(first, span, record.clone())),
            Record::MemoryController(record) => {
                Piece::MemoryController(source, Kept::new(first, span, record.clone()))
            }
            Record::Logged(record) if span.is_none() => {
                Piece::Logged(source, Box::new((first, *record)))
            }
            record => Piece::Other(source, Kept::new(first, span, record.clone())),
        }
    }

    /// Of evidence whose first record was at `first`.
    pub fn new(first: Stamp, fresh: u64, evidence: Evidence) -> Piece {
        let Evidence { first: wall, last, records, errors, source, record } = evidence;
        let stamp = |wall| Stamp { at: first.at, wall };
        let (first, last) = (stamp(wall), stamp(last));
        Piece::of(&Report { source, first, last, records, errors, decodes: 0, record }, fresh)
    }

    /// The first record's moment.
    pub fn first(&self) -> Stamp {
        self.head().0
    }

    /// Errors that nobody had told of before.
    pub fn fresh(&self) -> u64 {
        self.head().1.map_or(1, |span| span.fresh)
    }

    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> u32 {
        let (fixed, text) = match self {
            Piece::Mce(_, kept) => (size_of_val(&**kept), 0),
            Piece::MemoryController(_, kept) => (size_of_val(&**kept), kept.record.heap_bytes()),
            Piece::Logged(_, kept) => (size_of_val(&**kept), 0),
            Piece::Other(_, kept) => (size_of_val(&**kept), kept.record.heap_bytes()),
        };
        u32::try_from(fixed.saturating_add(text).saturating_add(BESIDE)).unwrap_or(u32::MAX)
    }

    /// As a fault shows it.
    pub fn into_evidence(self) -> Evidence {
        match self {
            Piece::Mce(source, kept) => kept.evidence(source, Record::Mce),
            Piece::MemoryController(source, kept) => {
                kept.evidence(source, Record::MemoryController)
            }
            Piece::Logged(source, kept) => {
                let (first, record) = *kept;
                Kept { first, span: None, record }.evidence(source, Record::Logged)
            }
            Piece::Other(source, kept) => kept.evidence(source, |record| record),
        }
    }

    fn head(&self) -> (Stamp, Option<&Span>) {
        match self {
            Piece::Mce(_, kept) => kept.head(),
            Piece::MemoryController(_, kept) => kept.head(),
            Piece::Logged(_, kept) => (kept.0, None),
            Piece::Other(_, kept) => kept.head(),
        }
    }
}

impl Span {
    /// `None` if `span` says no more than that there was one record at `first`.
    fn of(first: Wall, span: Span) -> Option<Box<Span>> {
        let plain = Span { last: first, records: 1, errors: 1, fresh: 1 };
        (span != plain).then(|| Box::new(span))
    }
}

impl<R> Kept<R> {
    fn new(first: Stamp, span: Option<Box<Span>>, record: R) -> Box<Kept<R>> {
        Box::new(Kept { first, span, record })
    }

    fn head(&self) -> (Stamp, Option<&Span>) {
        (self.first, self.span.as_deref())
    }

    fn evidence(self, source: Source, record: impl FnOnce(R) -> Record) -> Evidence {
        let first = self.first.wall;
        let plain = Span { last: first, records: 1, errors: 1, fresh: 1 };
        let Span { last, records, errors, .. } = self.span.map_or(plain, |span| *span);
        Evidence { first, last, records, errors, source, record: record(self.record) }
    }
}

/// A report, compressed.
pub(super) fn evidence(report: &Report) -> Evidence {
    Evidence {
        first: report.first.wall,
        last: report.last.wall,
        records: report.records,
        errors: report.errors,
        source: report.source,
        record: report.record.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::tests::{aggregate, dram, edac, mc_event, mce, memory_failure, report, CE};

    #[test]
    fn a_piece_gives_back_what_it_was_made_of() {
        for report in [
            mce(dram(CE, 0x1000), 5),
            mc_event(edac(0x1000), 5),
            memory_failure(1, 5),
            report(Source::Log, Record::Logged(LoggedError::default()), 5),
            aggregate(report(Source::Log, Record::Logged(LoggedError::default()), 5), 7, 9),
            aggregate(mce(dram(CE, 0x1000), 5), 7, 9),
        ] {
            let piece = Piece::of(&report, report.errors);
            assert_eq!((piece.first(), piece.fresh()), (report.first, report.errors));
            assert_eq!(piece.into_evidence(), evidence(&report));
        }
        assert_eq!(Piece::of(&mce(dram(CE, 0x1000), 5), 0).fresh(), 0);
    }

    #[test]
    fn a_piece_of_a_log_takes_little_more_than_its_record() {
        assert_eq!(size_of::<Piece>(), 16);
        let piece = Piece::of(&report(Source::Log, Record::Logged(LoggedError::default()), 5), 1);
        assert_eq!(piece.bytes() as usize, size_of::<LoggedError>() + size_of::<Stamp>() + BESIDE);
    }
}
