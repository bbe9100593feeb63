//! Strict, layered configuration.
//!
//! Built-in defaults, then one file, then `conf.d/*.toml` beside that file in
//! the order of their names; a later layer wins, key by key. What is not
//! understood is an error that names the place: a typo in a safety limit must
//! not pass for the default.

mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod keys;
mod units;
pub mod watchdog;

pub use keys::{keys, Key};
pub use units::size;
pub use watchdog::Watchdog;

use bulkhead_core::decide::Policy;
use keys::{Layer, Places};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// The file read when none is named; it may be missing.
pub const DEFAULT_FILE: &str = "/etc/bulkhead/bulkhead.toml";

/// All that an admin can set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// What analyze and decide go by.
    pub policy: Policy,
    /// What the watchdog goes by: another program, the same files.
    pub watchdog: Watchdog,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
}

/// Everything that is wrong, a line each.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// In the order of files and lines; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A file or directory cannot be read.
    #[error("{}: cannot read it: {source}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// With its errno.
        source: io::Error,
    },
    /// Anybody may change a file, or add one.
    #[error(
        "{}: every user may write to it, so nobody knows whose settings these are: chmod o-w {}",
        .0.display(), .0.display()
    )]
    Writable(PathBuf),
    /// A file says something that is not understood.
    #[error("{place}: {text}")]
    Invalid {
        /// Where.
        place: Place,
        /// The key, what was found, and what would be right.
        text: String,
    },
}

impl Problem {
    /// There is no such file.
    fn is_absence(&self) -> bool {
        let found = |source: &io::Error| source.kind() == io::ErrorKind::NotFound;
        matches!(self, Problem::Unreadable { source, .. } if found(source))
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Reads the configuration: `path`, which must exist then, or
/// [`DEFAULT_FILE`], and the `conf.d` beside it.
///
/// # Errors
///
/// Everything that is wrong in any of the files.
pub fn check(path: Option<&Path>) -> Result<Config, ConfigError> {
    read(path.unwrap_or(Path::new(DEFAULT_FILE)), path.is_some())
}

fn read(main: &Path, must_exist: bool) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    let mut places = Places::new();
    let mut problems = Vec::new();

    let mut files = vec![main.to_owned()];
    match files::fragments(&main.with_file_name("conf.d")) {
        Ok(found) => files.extend(found),
        Err(problem) => problems.push(problem),
    }
    for path in files {
        match files::text(&path) {
            Ok(text) => {
                layer(&Text { path: &path, text: &text }, &mut config, &mut places, &mut problems);
                config.files.push(path);
            }
            Err(problem) if path == main && !must_exist && problem.is_absence() => {}
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        problems.extend(keys::contradiction(&config, &places));
    }
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError { problems })
    }
}

/// A file's text, for places and quotations.
struct Text<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Text<'_> {
    /// Where the byte `at` is.
    fn place(&self, at: usize) -> Place {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or("").chars().count() + 1,
        }
    }

    /// What stands there, on one line and not too long.
    fn quote(&self, span: Range<usize>) -> String {
        const MOST: usize = 40;
        let found = self.text.get(span).unwrap_or("");
        let mut quoted: String = found.chars().take(MOST).flat_map(printable).collect();
        if found.chars().nth(MOST).is_some() {
            quoted.push('…');
        }
        quoted
    }

    fn problem(&self, at: usize, text: String) -> Problem {
        Problem::Invalid { place: self.place(at), text }
    }
}

/// As it is, or escaped where a terminal might act on it.
fn printable(c: char) -> impl Iterator<Item = char> {
    let (as_is, escaped) =
        if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
    as_is.into_iter().chain(escaped.into_iter().flatten())
}

/// Applies one file to `config`.
fn layer(text: &Text, config: &mut Config, places: &mut Places, problems: &mut Vec<Problem>) {
    let table = match DeTable::parse(text.text) {
        Ok(table) => table.into_inner(),
        Err(e) => {
            let at = e.span().map_or(0, |span| span.start);
            let said = e.message().trim_end().replace('\n', ", ");
            problems.push(text.problem(at, format!("not TOML: {said}")));
            return;
        }
    };
    let mut layer = Layer { text, config, places, wrong: Vec::new() };
    layer.apply(&table);
    let mut wrong = layer.wrong;
    wrong.sort_by_key(|(at, _)| *at);
    problems.extend(wrong.into_iter().map(|(at, said)| text.problem(at, said)));
}

#[cfg(test)]
mod tests;
