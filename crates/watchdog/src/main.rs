//! `bulkhead-watchdog`: feeds the hardware while every CPU runs, and brings a
//! host down that has stalled.
//!
//! ```text
//!   main ──fork──▶ helper: last words, kernel log, configured checks
//!    │    pipe of notes ──▶   ◀── atomics: when each check passed
//!    │
//!    ├─ for each CPU: a FIFO-99 probe and an ordinary one ──▶ atomics: when each last ran
//!    └─ the loop, FIFO-99 on any CPU: looks at the atomics, feeds, or brings the host down
//!                                      ▲ does not run? the probes stand in for it
//! ```
//!
//! All is allocated, locked and real-time before anything is armed.

mod allocator;
mod board;
mod clock;
mod cpus;
mod device;
mod ear;
mod guard;
mod helper;
mod link;
mod log;
mod notify;
mod probe;
mod realtime;
mod round;
mod start;
mod text;

use bulkhead_watchdog::arguments::{self, Arguments};
use bulkhead_watchdog::exit;
use std::process::ExitCode;

fn main() -> ExitCode {
    let status = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Arguments::Print(text)) => {
            print!("{text}");
            exit::STOPPED
        }
        Ok(Arguments::Run { config, state_dir }) => start::run(config.as_deref(), &state_dir),
        Err(error) => {
            log::line(format_args!("{error}"));
            exit::USAGE
        }
    };
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}
