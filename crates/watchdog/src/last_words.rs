//! What the watchdog saw before the end: `last-words/<boot id>.jsonl` in the
//! state directory, one JSON object to a line, appended and synced.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The longest file, in bytes.
pub const MOST: u64 = 64 * 1024;

/// The longest line, in bytes, its end included.
pub const LINE: usize = 1024;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// The wall clock, RFC 3339, UTC.
    pub time: String,
    /// CLOCK_BOOTTIME, in ms.
    pub boottime_ms: u64,
    /// Which check: "cpu", "starved", "heartbeat", "file", "unit", "command",
    /// "self", "device", "shutdown".
    pub check: String,
    /// The CPU, where the check is of one.
    pub cpu: Option<u32>,
    /// For how long it had been silent.
    pub silent_ms: u64,
    /// What it is allowed.
    pub limit_ms: u64,
    /// What came of it.
    pub action: Action,
    /// A sentence.
    pub text: String,
}

/// What came of a check that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Action {
    /// It was told.
    #[serde(rename = "event")]
    Event = 0,
    /// The kernel was made to crash, for a dump.
    #[serde(rename = "crash")]
    Crash = 1,
    /// The watchdog was fed no longer.
    #[serde(rename = "stop feeding")]
    StopFeeding = 2,
    /// What had failed is well again.
    #[serde(rename = "none")]
    None = 3,
}

impl Action {
    /// The host is given up: what is said now is the last.
    pub fn gives_up(self) -> bool {
        matches!(self, Action::Crash | Action::StopFeeding)
    }
}

/// The directory below the state directory.
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("last-words")
}

/// The file of a boot.
pub fn file(state_dir: &Path, boot_id: &str) -> PathBuf {
    directory(state_dir).join(format!("{boot_id}.jsonl"))
}

/// The lines of a file, of which no more than [`MOST`] bytes count. What is no
/// such line is left out: a crash may have cut the last one.
pub fn parse(text: &[u8]) -> Vec<Words> {
    let most = usize::try_from(MOST).unwrap_or(usize::MAX);
    text.get(..most)
        .unwrap_or(text)
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_that_a_crash_cut_costs_no_other() {
        let words = Words {
            time: "2026-01-01T00:00:00.000Z".to_owned(),
            boottime_ms: 1,
            check: "cpu".to_owned(),
            cpu: Some(3),
            silent_ms: 2,
            limit_ms: 3,
            action: Action::StopFeeding,
            text: "cpu 3: gone".to_owned(),
        };
        let line = serde_json::to_string(&words).unwrap();
        let text = format!("{line}\nnothing\n{line}\n{}", &line[..40]);
        assert_eq!(parse(text.as_bytes()), [words.clone(), words]);
        assert!(line.contains("\"action\":\"stop feeding\""), "{line}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
