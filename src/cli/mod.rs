//! The command line `bulkhead`: one file per command.

mod act;
mod bootmask;
mod boots;
mod check;
mod clock;
mod config_check;
mod doctor;
mod events;
mod exit;
mod explain;
mod faults;
mod health;
mod list;
mod output;
mod record;
mod replay;
mod resolve;
mod status;
mod table;

use crate::api::{Client, ClientError, SOCKET};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clock::Clock;
use exit::Exit;
use std::path::PathBuf;
use std::process::ExitCode;
use uuid::Uuid;

/// Show and steer the fault isolation of this host.
///
/// Exit status: 0 done; 1 failed; 2 wrong usage; 3 the daemon is not reachable;
/// 4 refused by policy or permission.
#[derive(Debug, Parser)]
#[command(name = "bulkhead", version)]
struct Cli {
    /// Where the daemon listens
    #[arg(long, global = true, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How the host is
    Status(Json),
    /// What is out of service, or should be
    List(list::Arguments),
    /// What is failing
    Faults(Json),
    /// Why a fault is one, what was done, and what to do
    Explain(explain::Arguments),
    /// What happened
    Events(events::Arguments),
    /// Take a CPU's core or a page out of service
    Isolate(act::Arguments),
    /// Give a CPU or a page back
    Release(act::Arguments),
    /// Close a fault
    Resolve(resolve::Arguments),
    /// How the boots of this host ended
    Boots(Json),
    /// What keeps pages that do not come off out of the next boot
    ///
    /// Prints the kernel parameter that masks them (x86 only). Changes nothing
    /// without --grub.
    Bootmask(bootmask::Arguments),
    /// One line for a monitoring system
    ///
    /// Exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
    Check(Json),
    /// What keeps this host from being protected, and what mends it
    ///
    /// Needs no daemon, and changes nothing. Exit status: 0 OK, 1 WARNING,
    /// 2 CRITICAL, 3 UNKNOWN.
    Doctor(doctor::Arguments),
    /// What would have been done about a log
    ///
    /// Runs the daemon's own diagnosis and decisions over a log, on the log's
    /// own time and a made-up machine. Needs no daemon, and touches nothing.
    Replay(replay::Arguments),
    /// The configuration
    #[command(subcommand)]
    Config(config_check::Command),
}

/// Every command that shows something has this.
#[derive(Debug, Clone, Copy, Args)]
struct Json {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A fault, by its name for ever.
#[derive(Debug, Clone, Copy, Args)]
struct FaultId {
    /// The fault's id, as in `bulkhead faults`
    #[arg(value_name = "UUID")]
    id: Uuid,
}

impl Cli {
    fn connect(&self) -> Result<Client, ClientError> {
        Client::connect(&self.socket)
    }

    fn run(&self) -> Result<ExitCode, Exit> {
        let clock = Clock::system();
        match &self.command {
            Command::Status(json) => status::run(self.connect()?, json.json, &clock)?,
            Command::List(arguments) => list::run(self.connect()?, arguments, &clock)?,
            Command::Faults(json) => faults::run(self.connect()?, json.json, &clock)?,
            Command::Explain(arguments) => explain::run(self.connect()?, arguments, &clock)?,
            Command::Events(arguments) => events::run(|| self.connect(), arguments, &clock)?,
            Command::Isolate(arguments) => act::isolate(|| self.connect(), arguments)?,
            Command::Release(arguments) => act::release(|| self.connect(), arguments)?,
            Command::Resolve(arguments) => resolve::run(self.connect()?, arguments)?,
            Command::Boots(json) => boots::run(self.connect()?, json.json, &clock)?,
            Command::Bootmask(arguments) => bootmask::run(|| self.connect(), arguments)?,
            Command::Replay(arguments) => replay::run(arguments, &clock)?,
            Command::Config(command) => config_check::run(command)?,
            Command::Check(json) => return check::run(self.connect(), json.json),
            Command::Doctor(arguments) => return doctor::run(self.connect(), arguments),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// All commands and their options, for what is made of them: man pages,
/// completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the process's arguments and does what they say.
pub fn main() -> ExitCode {
    Cli::parse().run().unwrap_or_else(Exit::report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
