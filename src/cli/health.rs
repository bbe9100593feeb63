//! Why the health is what it is, in words: for `status` and `check`.

use super::output::count;
use crate::api::views::{Saved, SourceState, Status};

/// The worst first; empty when nothing is to be told.
pub(super) fn reasons(status: &Status) -> Vec<String> {
    let mut reasons = Vec::new();
    if status.state == Saved::NotSaved {
        reasons.push("the state cannot be saved to disk".to_owned());
    }
    if status.escalated > 0 {
        let verb = if status.escalated == 1 { "needs" } else { "need" };
        reasons.push(format!("{} {verb} a human", count(status.escalated, "fault")));
    }
    if status.failed > 0 {
        reasons.push(format!("{} failed", count(status.failed, "isolation")));
    }
    if status.stuck > 0 {
        let verb = if status.stuck == 1 { "has" } else { "have" };
        let stuck = count(status.stuck, "page");
        reasons.push(format!("{stuck} {verb} not come off for more than a day"));
    }
    if status.refused > 0 {
        reasons.push(format!("{} refused", count(status.refused, "isolation")));
    }
    for source in &status.sources {
        match source.state {
            SourceState::Failed => reasons.push(format!("source {} failed", source.name)),
            SourceState::Lossy => {
                reasons.push(format!("source {} lost {}", source.name, count(source.lost, "error")))
            }
            SourceState::Ok | SourceState::Absent => {}
        }
    }
    if status.isolated.cpus > 0 {
        reasons.push(format!("{} out of service", count(status.isolated.cpus, "CPU")));
    }
    if status.isolated.pages > 0 {
        reasons.push(format!("{} out of service", count(status.isolated.pages, "page")));
    }
    if status.open_faults > 0 {
        reasons.push(count(status.open_faults, "open fault"));
    }
    reasons
}
