//! What is known of how a boot ended, as plain data.

use super::bmc::BmcEvent;
use super::reset::Reset;
use crate::model::Wall;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// All of it. The default is nothing at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What the daemon itself left in that boot.
    pub own: Own,
    /// Logs that end in a panic.
    pub deaths: Vec<Death>,
    /// Directories of crash dumps.
    pub dumps: Vec<Dump>,
    /// What the watchdog devices say of the reset before this boot.
    pub watchdogs: Vec<Bootstatus>,
    /// What the BMC logged since that boot began.
    pub bmc: Vec<BmcEvent>,
    /// What the processor says of the reset before this boot.
    pub reset: Option<Reset>,
    /// Uncorrected errors that the hardware kept for this boot's kernel, a clause
    /// each.
    pub errors: Vec<String>,
    /// The last words of `bulkhead-watchdog`, oldest first.
    pub words: Vec<Said>,
}

/// A moment in a boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// CLOCK_MONOTONIC, in ns: as the kernel's log counts, suspend left out.
    pub up: u64,
    /// The wall clock.
    pub wall: Wall,
}

/// What the daemon left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// When it last left word.
    pub alive: Moment,
    /// It was stopped while the system was being shut down.
    pub stopping: Option<Moment>,
    /// The shutdown came to where the state directory is given up.
    pub clean: Option<Moment>,
    /// A watchdog was armed.
    pub armed: Option<Armed>,
    /// The watchdog's process, armed, was silent and not heard of again.
    pub silence: Option<Silence>,
}

/// A hardware watchdog that somebody fed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Armed {
    /// Such as `watchdog0`.
    pub device: String,
    /// The driver's name of it.
    pub identity: String,
    /// It resets the host after so many seconds without being fed.
    pub timeout_s: u32,
}

/// A silence of the watchdog's process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// When it was last heard.
    pub since: Moment,
    /// It reset, or would reset, the host after so many seconds.
    pub timeout_s: u32,
    /// CPUs that it suspected in its last words to the daemon, the one silent
    /// longest first.
    pub suspects: Vec<u32>,
}

/// A kernel's log that ends in a panic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Death {
    /// Where it was found.
    pub place: String,
    /// How long the kernel had been up, where its log tells.
    pub up: Option<Duration>,
    /// What it panicked for.
    pub reason: String,
    /// The CPU that panicked, if it says so.
    pub on: Option<u32>,
    /// What was said before it that may be its cause, oldest first.
    pub signs: Vec<Sign>,
}

/// A line of a log before a panic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    /// What it is.
    pub kind: SignKind,
    /// The CPU that it names.
    pub cpu: Option<u32>,
    /// The line.
    pub text: String,
}

/// What a line before a panic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignKind {
    /// `bulkhead-watchdog` found a stall, and is about to crash the host.
    Watchdog,
    /// A lockup detector of the kernel's.
    Lockup,
    /// An NMI that nobody knows: a watchdog's, or somebody at the BMC.
    UnknownNmi,
    /// An error of the hardware.
    Hardware,
    /// A crash was asked for by sysrq.
    Sysrq,
    /// A bug of the kernel's.
    Bug,
}

/// A directory that a crash kernel made for its dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump {
    /// Where.
    pub place: String,
    /// Memory was saved to its end.
    pub complete: bool,
}

/// /sys/class/watchdog/watchdogN/bootstatus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstatus {
    /// Such as `watchdog0`.
    pub device: String,
    /// The driver's name of it.
    pub identity: String,
    /// WDIOF_* (include/uapi/linux/watchdog.h).
    pub bits: u32,
}

/// One of the watchdog's last words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// When, on CLOCK_MONOTONIC or CLOCK_BOOTTIME, in ns.
    pub up: u64,
    /// The CPU that it is about.
    pub cpu: Option<u32>,
    /// It gave the host up: it crashed it, or stopped feeding the hardware.
    pub gave_up: bool,
    /// One sentence.
    pub text: String,
}
