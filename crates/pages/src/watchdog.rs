//! The command line of `bulkhead-watchdog` in clap's terms. The program reads
//! its options by itself, since a library that does would have to be resident.

use clap::{value_parser, Arg, Command};
use std::path::PathBuf;

/// The same options as the program's.
pub(super) fn command() -> Command {
    let path = |name, value| {
        Arg::new(name).long(name).value_name(value).value_parser(value_parser!(PathBuf))
    };
    Command::new("bulkhead-watchdog")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Feeds the hardware watchdog while every CPU runs, and brings a host down that has \
             stalled",
        )
        .arg(path("config", "FILE").help(
            "Configuration file, instead of /etc/bulkhead/bulkhead.toml; conf.d/*.toml beside it \
             is read too",
        ))
        .arg(
            path("state-dir", "DIR")
                .help("Where last words are written")
                .default_value("/var/lib/bulkhead"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_tells_what_the_program_says_of_itself() {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let here = command().render_help().to_string();
        assert_eq!(words(&here), words(bulkhead_watchdog::arguments::HELP));
    }
}
