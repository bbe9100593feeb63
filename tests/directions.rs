//! Guards the directions in which the modules may know each other, and that
//! only `act` writes to the kernel. Cargo draws the line round the pure part
//! (`crates/core`); this test draws the others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Module → the modules of this crate that it may use. `bulkhead_core` is open
/// to all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("log", &[]),
    ("host", &[]),
    ("doctor", &["host"]),
    ("lines", &[]),
    ("monitor", &["event", "lines"]),
    ("replay", &["event", "lines"]),
    ("act", &["host"]),
    ("state", &["event"]),
    ("api", &["event"]),
    ("bootmask", &["host"]),
    ("cli", &["api", "bootmask", "doctor", "event", "replay"]),
    ("daemon", &["act", "api", "doctor", "event", "host", "log", "monitor", "state"]),
];

/// Files outside `act` that may open something for writing, and what for.
const WRITERS: &[(&str, &str)] = &[
    ("src/state/", "the state directory is ours"),
    ("src/monitor/tracefs/", "its private tracing instance is set up by writing to it"),
    ("src/api/", "its socket"),
    ("src/bootmask/grub.rs", "its GRUB drop-in"),
];

#[test]
fn modules_know_only_what_they_may() {
    let rules: BTreeMap<&str, BTreeSet<&str>> =
        MAY_USE.iter().map(|(m, uses)| (*m, uses.iter().copied().collect())).collect();
    let mut wrong = Vec::new();
    for file in rust_files(Path::new("src")) {
        let Some(module) = module_of(&file) else { continue };
        let allowed = rules
            .get(module.as_str())
            .unwrap_or_else(|| panic!("module `{module}` has no line in tests/directions.rs"));
        for used in crate_paths(&code_of(&file)) {
            if used != module
                && rules.contains_key(used.as_str())
                && !allowed.contains(used.as_str())
            {
                wrong.push(format!("{}: {module} must not use {used}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the direction:\n{}", wrong.join("\n"));
}

#[test]
fn only_replay_reads_rasdaemons_database() {
    let users = rust_files(Path::new("src"))
        .into_iter()
        .filter(|file| {
            code_of(file).contains("rasdaemon_bindings") && !file.starts_with("src/replay")
        })
        .collect::<Vec<_>>();
    assert!(users.is_empty(), "{users:?}");
}

#[test]
fn only_act_writes_to_the_kernel() {
    let mut wrong = Vec::new();
    for file in rust_files(Path::new("src")) {
        let name = file.to_string_lossy().into_owned();
        if name.ends_with("/tests.rs")
            || name.ends_with("/testing.rs")
            || name.starts_with("src/act/")
            || WRITERS.iter().any(|(path, _)| name.starts_with(path))
        {
            continue;
        }
        let code = code_of(&file);
        for call in
            ["fs::write(", "File::create(", ".write(true)", ".append(true)", "O_WRONLY", "O_RDWR"]
        {
            if code.contains(call) {
                wrong.push(format!("{name}: `{call}` outside act"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_pure_part_has_no_io_crate() {
    let manifest: toml::Table =
        fs::read_to_string("crates/core/Cargo.toml").unwrap().parse().unwrap();
    let crates: BTreeSet<&str> =
        manifest["dependencies"].as_table().unwrap().keys().map(String::as_str).collect();
    assert_eq!(crates, BTreeSet::from(["hashbrown", "serde", "thiserror", "uuid"]));
    for file in rust_files(Path::new("crates/core/src")) {
        let code = code_of(&file);
        for door in [
            "std::fs",
            "std::net",
            "std::process",
            "std::env",
            "std::io",
            "std::thread",
            "SystemTime",
            "Instant::now",
            "static mut",
        ] {
            assert!(!code.contains(door), "{}: `{door}` in the pure part", file.display());
        }
    }
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// The top-level module a file belongs to; `None` for `lib.rs` and binaries.
fn module_of(file: &Path) -> Option<String> {
    let mut parts = file.strip_prefix("src").unwrap().components();
    let first = parts.next()?.as_os_str().to_string_lossy().into_owned();
    match first.as_str() {
        "lib.rs" | "bin" => None,
        name => Some(name.trim_end_matches(".rs").to_owned()),
    }
}

/// The file without comments and without its test module, which may use what
/// it likes. Test modules stand at the end of a file here.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every `X` of `crate::X`, grouped imports included.
fn crate_paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let group = after.strip_prefix('{').map_or(after, |g| g.split('}').next().unwrap_or(g));
        let parts: Vec<&str> =
            if after.starts_with('{') { group.split(',').collect() } else { vec![after] };
        for part in parts {
            let name: String =
                part.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.insert(name);
        }
    }
    found
}
