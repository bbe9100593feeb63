//! What systemd says of the units' exposure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;

/// The most exposure that a unit may have, in tenths (systemd-analyze(1), security).
const MOST: &str = "23";

#[test]
fn a_compromised_daemon_or_watchdog_could_do_little() {
    for unit in ["bulkhead.service", "bulkhead-watchdog.service"] {
        let threshold = format!("--threshold={MOST}");
        let path = format!("{}/systemd/{unit}", env!("CARGO_MANIFEST_DIR"));
        let args = ["security", "--no-pager", "--offline=true", &threshold, &path];
        let said = match Command::new("systemd-analyze").args(args).output() {
            Err(why) => return eprintln!("skipped: systemd-analyze cannot be run: {why}"),
            Ok(said) => said,
        };
        let text = String::from_utf8_lossy(&said.stdout);
        let error = String::from_utf8_lossy(&said.stderr);
        if error.contains("unrecognized option") {
            return eprintln!("skipped: systemd before 250 looks at no file: {error}");
        }
        assert!(text.contains("Overall exposure level"), "{error}");
        assert!(said.status.success(), "{text}");
    }
}
