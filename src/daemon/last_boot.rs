//! What ended the boot before this one is learned once, at the first start in a
//! boot, before anything is taken again: a page that killed the host is not to
//! be used, nor moved, by then.

use super::cycle::Cycle;
use super::kept;
use super::last_end::boot_began;
use crate::event::Event;
use crate::host::last_boot::{LastBoot, Trace};
use crate::state::{BootRow, Saved, LAST_BOOT_CURSOR};
use bulkhead_core::model::{Machine, MemoryConfigId, Report, Stamp, Wall};
use std::time::Duration;
use uuid::Uuid;

/// Names a trace for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x2f0d_8e9b_6a41_4c3c_8d17_5b9e_04f2_a6c1);

/// Traces that are remembered, so that none is learned from twice; the oldest go
/// first. More than one end can leave, many times over.
const MOST_SEEN: usize = 256;

/// How far the wall clocks of two boots may be apart: one that was set meanwhile,
/// or that a dying kernel or a crash kernel had not yet.
const CLOCKS: Duration = Duration::from_secs(3600);

/// How long before this boot the last one may have ended where nothing is known
/// of it: a crash, a dump and a night.
const UNKNOWN: Duration = Duration::from_secs(24 * 3600);

/// Between which moments the last boot ended. `boots` are those known, without
/// this one.
pub(super) fn window(boots: &[BootRow], now: Stamp) -> (Wall, Wall) {
    let from = match boots.last() {
        Some(last) => last.started.before(CLOCKS),
        None => boot_began(now).before(UNKNOWN),
    };
    (from, now.wall.after(CLOCKS))
}

/// Follows the records among what was found of the last boot, and takes them.
pub(super) fn learn(cycle: &mut Cycle, found: &LastBoot, saved: &Saved, now: Stamp) {
    let started = boot_began(now);
    for note in &found.notes {
        tracing::warn!("of how the last boot ended: {note}");
    }
    let mut seen: Vec<Uuid> = kept::load(saved.cursors.get(&key()));
    let before = seen.len();
    let then = machine_then(saved, &cycle.core.machine);
    for trace in &found.traces {
        let Some(name) = name(trace).filter(|name| !seen.contains(name)) else { continue };
        seen.push(name);
        follow(cycle, trace.clone(), &then, started, now);
    }
    if seen.len() > before {
        kept::save(&mut seen, MOST_SEEN, key(), &mut cycle.core.books);
        cycle.reported(now);
    }
}

fn follow(cycle: &mut Cycle, trace: Trace, then: &Machine, started: Wall, now: Stamp) {
    let Trace { source, path, time, record, .. } = trace;
    let wall = Wall(time.unwrap_or(started).0.min(now.wall.0));
    let ago = u64::try_from(now.wall.0.saturating_sub(wall.0)).unwrap_or(0);
    let stamp = Stamp { at: now.at.before(Duration::from_nanos(ago)), wall };
    let (first, last) = (stamp, stamp);
    let report = Report { source, first, last, records: 1, errors: 1, decodes: 0, record };
    let undecodable = cycle.core.ended_by(&report, then, now);
    match &undecodable {
        None => tracing::warn!("an uncorrected error ended the last boot: {}", path.display()),
        Some(why) => tracing::warn!(
            "an uncorrected error ended the last boot ({}), and it is not used: {why}",
            path.display()
        ),
    }
    cycle.core.books.happened(Event::of_report(&report, "file", undecodable));
}

/// The host in the boot that ended. Where nothing is known of it, it was this
/// one in all but what its addresses meant.
fn machine_then(saved: &Saved, now: &Machine) -> Machine {
    let then = saved.machine_before.as_deref().and_then(|json| serde_json::from_str(json).ok());
    then.unwrap_or_else(|| Machine { memory: MemoryConfigId::default(), ..now.clone() })
}

fn key() -> String {
    format!("{LAST_BOOT_CURSOR}seen")
}

/// The same for the same error, wherever its record lies.
fn name(trace: &Trace) -> Option<Uuid> {
    let identity = serde_json::to_vec(&(trace.uptime, &trace.record)).ok()?;
    Some(Uuid::new_v5(&NAMESPACE, &identity))
}
