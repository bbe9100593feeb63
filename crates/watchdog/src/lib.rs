//! What `bulkhead-watchdog` goes by, and what it tells others.
//!
//! `look` reads which watchdogs there are, without opening one; `choose` takes
//! one; `watch` says when all is well, `culprit` which CPU is to blame,
//! `shutdown` when it has taken too long. `choose`, `watch`, `culprit` and
//! `shutdown` are pure: time and what was seen are arguments. `heartbeat` and
//! `last_words` are read by the daemon, `arguments` by what writes the man pages.

pub mod arguments;
pub mod choose;
pub mod culprit;
pub mod exit;
pub mod heartbeat;
pub mod last_words;
pub mod look;
pub mod note;
pub mod shutdown;
pub mod watch;
