//! `bulkhead doctor`: what keeps this host from being protected, and what mends
//! it. Needs no daemon.

use super::exit::Exit;
use super::output::{one_line, print, print_json};
use super::table::{table, BAD, GOOD, PLAIN, WARN};
use crate::api::views::{Mode, Saved};
use crate::api::{Client, ClientError};
use crate::doctor::{examine, Check, Heard, Verdict};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Look at DIR/sys, DIR/proc and so on instead of this host's
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// Where the daemon keeps its state
    #[arg(long, value_name = "DIR", default_value = "/var/lib/bulkhead")]
    state_dir: PathBuf,
}

pub(super) fn run(
    client: Result<Client, ClientError>,
    arguments: &Arguments,
) -> Result<ExitCode, Exit> {
    let checks = examine(&arguments.root, &arguments.state_dir, &heard(client));
    if arguments.json {
        print_json(&checks)?;
    } else {
        print(&render(&checks))?;
    }
    Ok(ExitCode::from(code(&checks)))
}

fn heard(client: Result<Client, ClientError>) -> Heard {
    match client.and_then(|mut client| client.status()) {
        Ok(status) => Heard::Answer {
            saved: status.state == Saved::Saved,
            observes: status.mode == Mode::Observe,
        },
        Err(error @ ClientError::Forbidden(_)) => Heard::Forbidden(error.to_string()),
        Err(error) => Heard::Nothing(error.to_string()),
    }
}

/// As a monitoring plug-in's: 2 where something fails, 1 where something is
/// amiss, 3 where nothing is known to be, but something is not known.
fn code(checks: &[Check]) -> u8 {
    let any = |result, unknown| checks.iter().any(|c| (c.result, c.unknown) == (result, unknown));
    if any(Verdict::Fail, false) {
        2
    } else if any(Verdict::Warn, false) {
        1
    } else if any(Verdict::Warn, true) {
        3
    } else {
        0
    }
}

fn render(checks: &[Check]) -> String {
    let mut rows = Vec::new();
    for check in checks {
        let (style, word) = match (check.result, check.unknown) {
            (Verdict::Ok, _) => (GOOD, "ok"),
            (Verdict::Warn, true) => (WARN, "unknown"),
            (Verdict::Warn, false) => (WARN, "warn"),
            (Verdict::Fail, _) => (BAD, "fail"),
        };
        rows.push((style, [word.to_owned(), check.check.to_owned(), one_line(&check.found)]));
        for (n, line) in check.mend.lines().enumerate() {
            let lead = if n == 0 { "to mend:" } else { "" };
            rows.push((PLAIN, [String::new(), lead.to_owned(), format!("  {line}")]));
        }
    }
    table(None, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(check: &'static str, result: Verdict, mend: &str, unknown: bool) -> Check {
        let found = format!("what was found of {check}");
        Check { check, result, found, mend: mend.to_owned(), unknown }
    }

    #[test]
    fn what_is_not_ok_is_followed_by_what_mends_it() {
        let checks = [
            check("daemon", Verdict::Ok, "", false),
            check("cec", Verdict::Warn, "echo 'a' > b\nupdate-grub", false),
            check("memory-config", Verdict::Warn, "run bulkhead doctor as root", true),
            check("state", Verdict::Fail, "make room", false),
        ];
        let text = anstream::adapter::strip_str(&render(&checks)).to_string();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_worst_that_is_known_is_the_exit_code() {
        let ok = check("a", Verdict::Ok, "", false);
        let warn = check("b", Verdict::Warn, "", false);
        let unknown = check("c", Verdict::Warn, "", true);
        let fail = check("d", Verdict::Fail, "", false);
        assert_eq!(code(&[]), 0);
        assert_eq!(code(std::slice::from_ref(&ok)), 0);
        assert_eq!(code(&[ok.clone(), unknown.clone()]), 3);
        assert_eq!(code(&[unknown.clone(), warn.clone()]), 1);
        assert_eq!(code(&[warn, unknown, fail, ok]), 2);
    }
}
