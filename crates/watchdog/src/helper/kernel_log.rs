//! The kernel's log, which reaches a dump and pstore.

use crate::text::Text;
use std::fs::OpenOptions;
use std::io::Write;

/// The longest line that the kernel takes, in bytes; a longer one it refuses
/// (LOG_LINE_MAX in kernel/printk/printk.c: 1024 less its own prefix, of 48 at
/// most).
const MOST: usize = 976;

/// One line, of priority warning (Documentation/ABI/testing/dev-kmsg). Where it
/// cannot be had, the last words are in the file alone.
pub fn say(sentence: &str) {
    let line = Text::<MOST>::line(format_args!("<4>bulkhead-watchdog: {sentence}"));
    let kmsg = OpenOptions::new().write(true).open("/dev/kmsg");
    let _ = kmsg.and_then(|mut kmsg| kmsg.write_all(line.bytes()));
}
