//! `bulkhead-watchdog`.

fn main() {}
