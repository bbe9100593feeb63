//! What the watchdog and those that hear of it have in common.

pub mod heartbeat;
pub mod last_words;
