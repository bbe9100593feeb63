//! `bulkhead config check`: without a daemon.

use super::exit::Exit;
use super::output::{one_line, print};
use bulkhead_config::{self as config, Config, ConfigError, DEFAULT_FILE};
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Tell whether the configuration is good
    Check {
        /// Instead of /etc/bulkhead/bulkhead.toml; the conf.d beside it counts
        /// too
        file: Option<PathBuf>,
    },
}

pub(super) fn run(command: &Command) -> Result<(), Exit> {
    let Command::Check { file } = command;
    match config::check(file.as_deref()) {
        Ok(config) => print(&good(&config)),
        Err(error) => bad(&error),
    }
}

fn good(config: &Config) -> String {
    let files: Vec<_> = config.files.iter().map(|file| file.display().to_string()).collect();
    match files.is_empty() {
        true => format!("good: the built-in defaults; there is no {DEFAULT_FILE}\n"),
        false => format!("good: {}\n", one_line(&files.join(", "))),
    }
}

/// One problem is told on stderr; several, a line each, on stdout.
fn bad(error: &ConfigError) -> Result<(), Exit> {
    if let [problem] = error.problems.as_slice() {
        return Err(Exit::Failed(format!("{problem}; mend it, and check again")));
    }
    for problem in &error.problems {
        print(&(one_line(&problem.to_string()) + "\n"))?;
    }
    let n = error.problems.len();
    Err(Exit::Failed(format!("the configuration has {n} problems; mend them, and check again")))
}
