//! What the watchdog, or another in its name, tells the daemon, and what systemd tells the watchdog.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = bulkhead_watchdog::heartbeat::parse(bytes);
    let _ = bulkhead_watchdog::last_words::parse(bytes);
    let _ = bulkhead_watchdog::look::shown_by_systemd(&String::from_utf8_lossy(bytes));
});
