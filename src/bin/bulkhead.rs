//! The admin's tool: argument parsing and a call.

use std::process::ExitCode;

fn main() -> ExitCode {
    bulkhead::cli::main()
}
