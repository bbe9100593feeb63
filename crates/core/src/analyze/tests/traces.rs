//! Real DIMMs: logs that may not be shipped, read where they are.
//!
//! `BULKHEAD_TRACES` names their folder; without it `shared/traces` beside the
//! repository is tried. The columns: time_s, type, addr, socket, channel, dimm,
//! rank, device, bank_group, bank, row, column, retry_log, parity.

use super::*;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What a log came to.
#[derive(Debug, Default)]
struct Outcome {
    pages: BTreeSet<Pfn>,
    doubtful: u64,
    /// Rule and moment in s of every fault.
    faults: Vec<(String, i64)>,
}

fn folder() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces");
    let folder = std::env::var_os("BULKHEAD_TRACES").map_or_else(|| beside.into(), PathBuf::from);
    folder.join("sn_8.csv").exists().then_some(folder)
}

/// A number, decimal or hexadecimal; `None` where the log leaves it out.
fn number(field: &str) -> Option<u64> {
    match field.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => field.parse().ok(),
    }
}

fn logged(line: &str) -> Report {
    let fields: Vec<Option<u64>> = line.split(',').map(number).collect();
    let small = |i: usize| fields[i].map(|n| n as u16);
    let dimm = DimmId {
        space: DimmSpace::Log,
        socket: small(3),
        controller: None,
        channel: small(4),
        slot: small(5),
    };
    let valid = fields[12].is_some_and(|log| log & 1 != 0);
    let place = DramPlace {
        dimm,
        rank: small(6),
        device: small(7),
        bank_group: small(8),
        bank: small(9),
        row: fields[10].map(|n| n as u32),
        column: fields[11].map(|n| n as u32),
        bits: fields[13].filter(|_| valid).map(|n| BitPattern(n as u32)),
        ..DramPlace::default()
    };
    let error = LoggedError {
        addr: fields[2].map(PhysAddr),
        scrub: line.contains("SCRUB"),
        place,
        ..LoggedError::default()
    };
    let time = fields[0].unwrap() * SECOND;
    let stamp = Stamp { at: Time(time), wall: Wall(time as i64) };
    let record = Record::Logged(error);
    Report {
        source: Source::Log,
        first: stamp,
        last: stamp,
        records: 1,
        errors: 1,
        decodes: 0,
        record,
    }
}

fn outcome(name: &str) -> Option<Outcome> {
    let Some(folder) = folder() else {
        eprintln!("skipped: no traces; BULKHEAD_TRACES names their folder");
        return None;
    };
    let text = std::fs::read_to_string(folder.join(format!("sn_{name}.csv"))).unwrap();
    let (mut analyzer, machine) = (analyzer(), machine());
    let mut outcome = Outcome::default();
    for line in text.lines().skip(1) {
        let seen = analyzer.observe(&logged(line), &machine);
        for Finding { fault, response } in seen.findings {
            outcome.faults.push((fault.rule.id, fault.opened.wall.0 / SECOND as i64));
            match response {
                Response::TakePage(pfn) => outcome.pages.extend([pfn]),
                Response::TakePages(pages) => outcome.pages.extend(pages),
                _ => {}
            }
        }
        let covers = seen.updated.into_iter().filter_map(|update| update.cover);
        outcome.pages.extend(covers.flat_map(|cover| cover.pages));
    }
    outcome.doubtful = analyzer.doubtful();
    eprintln!("sn_{name}: {} pages, {} doubtful", outcome.pages.len(), outcome.doubtful);
    for (rule, at) in &outcome.faults {
        eprintln!("  {at} {rule}");
    }
    Some(outcome)
}

/// When a row, bit or escalation rule fired first, s before `ticket`.
fn lead_s(outcome: &Outcome, ticket: i64) -> i64 {
    let of_dimm = |rule: &str| rule != "page-ce" && rule != "memory-ce";
    let first = outcome.faults.iter().filter(|(rule, _)| of_dimm(rule)).map(|(_, at)| *at).min();
    ticket - first.expect("no row, bit or escalation rule fired")
}

#[test]
fn a_harmless_dimm_gives_up_single_digits_of_pages() {
    for name in ["2", "3", "7", "8", "10", "23", "35"] {
        let Some(outcome) = outcome(name) else { return };
        assert!(outcome.pages.len() <= 9, "sn_{name}: {outcome:?}");
        let escalated = ["column-ce", "bank-ce", "rank-ce", "many-banks"];
        assert!(
            !outcome.faults.iter().any(|(rule, _)| escalated.contains(&rule.as_str())),
            "sn_{name}: {outcome:?}"
        );
    }
}

#[test]
fn a_failing_dimm_is_told_of_before_its_ticket() {
    for (name, ticket) in [("7219", 1_704_148_156), ("16171", 1_704_162_876)] {
        let Some(outcome) = outcome(name) else { return };
        let lead = lead_s(&outcome, ticket);
        eprintln!("  {lead} s before its ticket");
        assert!(lead > 0, "sn_{name}: {outcome:?}");
    }
}
