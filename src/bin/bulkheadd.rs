//! `bulkheadd`: the service. Watches, decides, isolates, remembers.

use bulkhead::daemon::{self, Options};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = Options::parse();
    match daemon::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Before and after the log is up alike, whoever started us by hand reads stderr.
            eprintln!("bulkheadd: {error:#}");
            ExitCode::FAILURE
        }
    }
}
