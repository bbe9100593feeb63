//! The kernel's log, which reaches a dump and pstore.

use std::fs::OpenOptions;
use std::io::Write;

/// Priority warning (Documentation/ABI/testing/dev-kmsg).
const WARNING: &str = "<4>";

/// One line. Where it cannot be had, the last words are in the file alone.
pub fn say(sentence: &str) {
    let line = format!("{WARNING}bulkhead-watchdog: {sentence}\n");
    let kmsg = OpenOptions::new().write(true).open("/dev/kmsg");
    let _ = kmsg.and_then(|mut kmsg| kmsg.write_all(line.as_bytes()));
}
