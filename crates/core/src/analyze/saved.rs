//! How a component's evidence is stored: by names that outlive how it is held.

use super::evidence::{Case, EvidenceState};
use super::piece::Piece;
use super::serd::Serd;
use super::tally::Tally;
use crate::model::{CpuId, Evidence, Source, Stamp, Time};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// [`EvidenceState`] as stored. What is empty is left out.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Saved {
    window: Serd<Source>,
    #[serde(skip_serializing_if = "Tally::is_empty")]
    told: Tally,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pieces: Vec<SavedPiece>,
    errors: u64,
    last: Time,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cases: Vec<Case>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cpus: Vec<CpuId>,
    /// The first form of `window`.
    #[serde(skip_serializing)]
    windows: SavedWindows,
    /// The first form of `told`: it matters for a second only.
    #[serde(skip_serializing, rename = "tally")]
    _tally: Option<IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedPiece {
    first: Stamp,
    fresh: u64,
    evidence: Evidence,
}

/// A window per source, by name.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SavedWindows {
    mce_record: Vec<(Time, u32)>,
    mc_event: Vec<(Time, u32)>,
}

impl SavedWindows {
    fn runs(self) -> Vec<(Source, Time, u32)> {
        let of = |source: Source, runs: Vec<(Time, u32)>| {
            runs.into_iter().map(move |(at, records)| (source, at, records))
        };
        of(Source::MceRecord, self.mce_record).chain(of(Source::McEvent, self.mc_event)).collect()
    }
}

impl From<EvidenceState> for Saved {
    fn from(state: EvidenceState) -> Saved {
        let errors = state.errors();
        let EvidenceState { last, window, pieces, rest } = state;
        let rest = rest.map_or_else(Default::default, |rest| *rest);
        let piece = |piece: &Piece| SavedPiece {
            first: piece.first(),
            fresh: piece.fresh(),
            evidence: piece.clone().into_evidence(),
        };
        Saved {
            window,
            told: rest.tally,
            pieces: pieces.iter().map(piece).collect(),
            errors,
            last,
            cases: rest.cases,
            cpus: rest.cpus,
            ..Saved::default()
        }
    }
}

impl From<Saved> for EvidenceState {
    fn from(saved: Saved) -> EvidenceState {
        let window = match saved.windows.runs() {
            old if old.is_empty() => saved.window,
            old => Serd::from(old),
        };
        let piece = |SavedPiece { first, fresh, evidence }| Piece::new(first, fresh, evidence);
        let mut state = EvidenceState {
            last: saved.last,
            window,
            pieces: saved.pieces.into_iter().map(piece).collect(),
            rest: None,
        };
        let unkept = saved.errors.saturating_sub(state.errors());
        state.change_rest(|rest| {
            rest.tally = saved.told;
            rest.unkept = unkept;
            rest.cases = saved.cases;
            rest.cpus = saved.cpus;
        });
        state
    }
}
