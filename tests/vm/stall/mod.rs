//! A host that stalls: what becomes of it, and what the next boot says of it.
//!
//! The guests have Debian's `panic=0`, and reboot inside one QEMU, so that what a watchdog and the platform remember of
//! a reset is there at the next boot, as on a real host. Their limits are short; but a crash kernel, and with it the
//! time from pretimeout to reset, takes what it takes on a busy machine.

mod cpus;
mod dump;
mod ends;
mod ground;
mod host;
mod load;
mod log;
mod programs;
mod service;
mod shutdown;
mod systemd;
