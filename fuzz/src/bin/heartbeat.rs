//! What the watchdog says to the daemon, and leaves in the state directory.
#![no_main]
use bulkhead_watchdog::{heartbeat, last_words};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(heartbeat) = heartbeat::parse(bytes) {
        assert!(bytes.len() <= heartbeat::MOST && heartbeat.suspects.len() <= heartbeat::SUSPECTS);
    }
    let _ = last_words::parse(bytes);
});
