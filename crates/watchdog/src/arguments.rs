//! The command line: two options, read without a library that would have to be
//! resident.

use std::ffi::OsString;
use std::path::PathBuf;

/// What `--help` says.
pub const HELP: &str = "\
Feeds the hardware watchdog while every CPU runs, and brings a host down that has stalled

Usage: bulkhead-watchdog [OPTIONS]

Options:
      --config <FILE>    Configuration file, instead of /etc/bulkhead/bulkhead.toml; conf.d/*.toml
                         beside it is read too
      --state-dir <DIR>  Where last words are written [default: /var/lib/bulkhead]
  -h, --help             Print help
  -V, --version          Print version
";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Arguments {
    /// To run.
    Run {
        /// `--config`.
        config: Option<PathBuf>,
        /// `--state-dir`.
        state_dir: PathBuf,
    },
    /// To print this, and end.
    Print(String),
}

/// Reads what follows the program's name.
///
/// # Errors
/// What is wrong with it.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, String> {
    let (mut config, mut state_dir) = (None, PathBuf::from("/var/lib/bulkhead"));
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy().into_owned();
        let (name, joined) = match text.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (text.as_str(), None),
        };
        let mut value = || {
            let value = joined.clone().or_else(|| rest.next()).filter(|value| !value.is_empty());
            value.map(PathBuf::from).ok_or_else(|| format!("{name} takes a value; see --help"))
        };
        match name {
            "--config" => config = Some(value()?),
            "--state-dir" => state_dir = value()?,
            "-h" | "--help" => return Ok(Arguments::Print(HELP.to_owned())),
            "-V" | "--version" => {
                let version = env!("CARGO_PKG_VERSION");
                return Ok(Arguments::Print(format!("bulkhead-watchdog {version}\n")));
            }
            _ => return Err(format!("unexpected argument {text:?}; see --help")),
        }
    }
    Ok(Arguments::Run { config, state_dir })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Arguments, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn options_take_their_value_either_way() {
        let run = |config: Option<&str>, state_dir: &str| {
            let (config, state_dir) = (config.map(PathBuf::from), PathBuf::from(state_dir));
            Ok(Arguments::Run { config, state_dir })
        };
        assert_eq!(parsed(&[]), run(None, "/var/lib/bulkhead"));
        assert_eq!(parsed(&["--config", "/a", "--state-dir=/b=c"]), run(Some("/a"), "/b=c"));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in [&["--confg", "/a"][..], &["--config"], &["--state-dir="], &["x"]] {
            assert!(parsed(bad).is_err(), "{bad:?}");
        }
        assert!(matches!(parsed(&["--help"]), Ok(Arguments::Print(_))));
    }
}
