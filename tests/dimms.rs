//! Real DIMMs through `bulkhead replay`: logs that may not be shipped, read in
//! the folder that `BULKHEAD_TRACES` names, else in `shared/traces` beside the
//! repository.
#![allow(clippy::unwrap_used)]

use assert_cmd::Command;
use serde_json::Value;
use std::path::PathBuf;

/// What a replay of `name`'s log comes to, which it also prints; `None` where
/// there is no such log.
fn replayed(name: &str, failed_at: Option<i64>) -> Option<Value> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/traces");
    let folder = std::env::var_os("BULKHEAD_TRACES").map_or_else(|| beside.into(), PathBuf::from);
    let log = folder.join(format!("{name}.csv"));
    if !log.exists() {
        eprintln!("skipped: there is no {}; BULKHEAD_TRACES names the folder", log.display());
        return None;
    }
    let mut command = Command::cargo_bin("bulkhead").unwrap();
    command.arg("replay").arg(log).arg("--json");
    if let Some(time) = failed_at {
        command.arg(format!("--failed-at={time}"));
    }
    let output = command.assert().code(0).get_output().clone();
    let replayed: Value = serde_json::from_slice(&output.stdout).unwrap();
    println!(
        "{name}: {} reports, {} pages given up, {} CEs on them, lead {} s, rules {:?}",
        replayed["reports"],
        replayed["pages"],
        replayed["ces_after"],
        replayed["lead_s"],
        rules(&replayed)
    );
    Some(replayed)
}

/// The rules that fired, in that order.
fn rules(replayed: &Value) -> Vec<&str> {
    let faults = replayed["faults"].as_array().unwrap();
    faults.iter().map(|fault| fault["rule"].as_str().unwrap()).collect()
}

#[test]
fn a_harmless_dimm_gives_up_single_digits_of_pages_and_is_not_escalated() {
    for name in ["sn_2", "sn_3", "sn_7", "sn_8", "sn_10", "sn_23", "sn_35"] {
        let Some(replayed) = replayed(name, None) else { continue };
        assert!(replayed["pages"].as_u64().unwrap() <= 9, "{name}: {replayed}");
        assert!(replayed["escalated_at"].is_null(), "{name}: {replayed}");
    }
}

#[test]
fn a_failing_dimm_is_told_of_before_its_ticket() {
    for (name, ticket) in [("sn_7219", 1_704_148_156), ("sn_16171", 1_704_162_876)] {
        let Some(replayed) = replayed(name, Some(ticket)) else { continue };
        assert!(replayed["lead_s"].as_u64().is_some_and(|lead| lead > 0), "{name}: {replayed}");
    }
}
