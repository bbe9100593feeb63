//! How the program ends, for its unit.

/// Stopped in order; the hardware is disarmed, unless it has no way out.
pub const STOPPED: i32 = 0;

/// It could not start, or lost its helper. Nothing is armed that was not
/// before. To be started again.
pub const FAILED: i32 = 1;

/// A bad command line or configuration.
pub const USAGE: i32 = 2;

/// The host has stalled, systemd feeds the hardware, and there is no crash
/// kernel: whoever sees this is to reboot the host (`FailureAction=`), and not
/// to start the watchdog again (`RestartPreventExitStatus=`).
pub const STALL: i32 = 70;
