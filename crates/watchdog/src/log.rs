//! Lines for the admin.

use std::fmt;
use std::io::{stderr, Write};

/// One line on stderr, which is the journal's under systemd. Where nobody reads it
/// any more it is lost; `eprintln!` would end the thread.
pub fn line(words: fmt::Arguments) {
    let _ = writeln!(stderr(), "bulkhead-watchdog: {words}");
}
