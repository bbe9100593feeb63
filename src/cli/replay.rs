//! `bulkhead replay`: without a daemon.

mod json;
mod people;
mod progress;

use super::clock::Clock;
use super::exit::Exit;
use super::output::{print, print_json};
use super::Json;
use crate::event;
use crate::replay::{self, Format, Options, ReplayError};
use bulkhead_config as config;
use bulkhead_core::decide::Policy;
use bulkhead_core::model::Wall;
use jiff::Timestamp;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Event JSON lines, a database of rasdaemon's, or CSV
    file: PathBuf,
    /// What FILE is, where it does not show
    #[arg(long, value_enum)]
    format: Option<Kind>,
    /// Instead of the built-in numbers: a configuration file; the conf.d beside
    /// it counts too, its mode does not
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Memory of the host that the log is of
    #[arg(long, value_name = "SIZE", default_value = "256GiB", value_parser = size)]
    memory: u64,
    /// When the memory failed, in seconds since 1970: what comes from then on
    /// is counted only, and the time between finding and failure is shown
    #[arg(long, value_name = "UNIX", value_parser = unix_time)]
    failed_at: Option<Wall>,
    /// Tell everything that happens, and every line that is skipped
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Event JSON lines, as `bulkhead events --json` prints them
    Bulkhead,
    /// rasdaemon's SQLite database
    Rasdaemon,
    /// Comma-separated values with the columns time_s, addr, …
    Csv,
}

pub(super) fn run(arguments: &Arguments, clock: &Clock) -> Result<(), Exit> {
    let options = Options {
        format: arguments.format.map(Kind::format),
        policy: policy(arguments.policy.as_deref())?,
        memory_bytes: arguments.memory,
        failed_at: arguments.failed_at,
    };
    let json = arguments.json.json;
    let mut teller = people::Teller::new(clock, arguments.verbose, arguments.verbose && !json);
    let summary = replay::replay(&arguments.file, &options, &mut teller);
    teller.finish()?;
    let summary = summary.map_err(|error| failed(&error))?;
    if json {
        return print_json(&json::ReplayView::of(&summary));
    }
    print(&people::render(&arguments.file, &options, &summary, clock))
}

fn policy(file: Option<&Path>) -> Result<Policy, Exit> {
    let Some(file) = file else { return Ok(Policy::default()) };
    config::check(Some(file)).map(|config| config.policy).map_err(|error| {
        let first = error.problems.first().map(ToString::to_string).unwrap_or_default();
        let more = error.problems.len().saturating_sub(1);
        let rest = if more > 0 { format!(" ({more} more)") } else { String::new() };
        let file = file.display();
        Exit::Failed(format!("{first}{rest}; mend it: `bulkhead config check {file}` shows all"))
    })
}

fn failed(error: &ReplayError) -> Exit {
    let what_to_do = match error {
        ReplayError::Io { .. } => "; name a file that you may read",
        ReplayError::Database { .. } => "; copy it anew from a rasdaemon that is stopped",
        ReplayError::Header { .. } => "; mend its first line, or name another --format",
        ReplayError::UnknownFormat(_) => "",
    };
    Exit::Failed(format!("{error}{what_to_do}"))
}

fn size(text: &str) -> Result<u64, String> {
    match config::size(text) {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("a size such as 256GiB is wanted".to_owned()),
    }
}

fn unix_time(text: &str) -> Result<Wall, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map(event::wall)
        .ok_or_else(|| "a time in seconds since 1970 is wanted, such as 1704067200".to_owned())
}

impl Kind {
    fn format(self) -> Format {
        match self {
            Kind::Bulkhead => Format::Bulkhead,
            Kind::Rasdaemon => Format::Rasdaemon,
            Kind::Csv => Format::Csv,
        }
    }
}
