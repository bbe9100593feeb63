//! The chain from a stall to a dump, a reboot and an explanation, one file per
//! link.
//!
//! ```text
//! stall ─▶ fed no more ─▶ pretimeout ─▶ panic ─▶ crash kernel ─▶ dump ─▶ reboot
//!          (owner, unit)  (pretimeout,  (lockups)  (crash-kernel,  (dump-room,
//!                          nmi)                     crash-memory)   dump-watchdog)
//!                 └──── watchdog: the hardware resets whatever else fails ────┘
//! ```
//!
//! Nothing of it is set up by an installation, so what is not set up is warned
//! of. What is in use and will not work fails.

mod crash_kernel;
mod crash_memory;
mod device;
mod dump_room;
mod dump_watchdog;
mod lockups;
mod nmi;
mod owner;
mod panic;
mod pretimeout;
mod shutdown;
mod unit;

use super::Check;
use crate::host::kdump::{self, Kdump};
use crate::host::processes::Process;
use crate::host::watchdogs::{self, IpmiWatchdog, Watchdog};
use crate::host::{meminfo, processes, Root};
use std::path::Path;

const MIB: u64 = 1 << 20;

/// Where the examples are that go with the links.
const EXAMPLES: &str = "/usr/share/bulkhead";

/// Our unit.
const UNIT: &str = "bulkhead-watchdog.service";

/// What has it run, now and at each boot.
const ENABLE: &str = "systemctl enable --now bulkhead-watchdog.service";

/// Our process, as `/proc/PID/comm` has it: cut after 15 bytes.
const PROCESS: &str = "bulkhead-watchd";

/// What is read of the host, once for all links.
struct Chain {
    watchdogs: Vec<Watchdog>,
    ipmi: Option<IpmiWatchdog>,
    /// Who has one open, with the path below /dev; the outer `None` where we may
    /// not look.
    holder: Option<Option<(Process, String)>>,
    unit: super::unit::State,
    runs: bool,
    /// `/sys/kernel/kexec_crash_loaded`; `None` on a kernel without.
    crash_loaded: Option<bool>,
    /// Bytes reserved for the crash kernel.
    crash_bytes: u64,
    kdump: Option<Kdump>,
    /// Bytes of all memory.
    memory: Option<u64>,
}

impl Chain {
    fn read(root: &Root) -> Chain {
        let number = |file: &str| root.read(file).ok()?.trim().parse::<u64>().ok();
        Chain {
            watchdogs: watchdogs::watchdogs(root),
            ipmi: watchdogs::ipmi_watchdog(root),
            holder: watchdogs::holder(root),
            unit: super::unit::state(root, UNIT),
            runs: !processes::named(root, &[PROCESS]).is_empty(),
            crash_loaded: number("sys/kernel/kexec_crash_loaded").map(|loaded| loaded != 0),
            crash_bytes: number("sys/kernel/kexec_crash_size").unwrap_or(0),
            kdump: kdump::kdump(root),
            memory: meminfo::bytes(root, "MemTotal"),
        }
    }

    /// A crash kernel waits for a panic.
    fn is_crash_loaded(&self) -> bool {
        self.crash_loaded == Some(true)
    }

    /// Somebody relies on a watchdog.
    fn is_in_use(&self) -> bool {
        self.runs
            || self.unit == super::unit::State::Enabled
            || matches!(self.holder, Some(Some(_)))
            || self.watchdogs.iter().any(|watchdog| watchdog.device.active)
    }

    /// The watchdog that is in use, else the first that could be.
    fn main(&self) -> Option<&Watchdog> {
        let held = self.holder.iter().flatten().find_map(|(_, path)| {
            self.watchdogs.iter().find(|watchdog| watchdog.device.is_at(Path::new(path)))
        });
        let active = || self.watchdogs.iter().find(|watchdog| watchdog.device.active);
        let hardware = || self.watchdogs.iter().find(|watchdog| !watchdog.device.is_softdog());
        held.or_else(active).or_else(hardware).or(self.watchdogs.first())
    }
}

/// All links, in the order in which they would be needed.
pub(super) fn checks(root: &Root) -> Vec<Check> {
    let chain = &Chain::read(root);
    let checks = [
        Some(device::check(chain)),
        owner::check(chain),
        Some(unit::check(chain)),
        pretimeout::check(chain),
        nmi::check(root, chain),
        Some(panic::check(root, chain)),
        Some(lockups::check(root)),
        Some(crash_kernel::check(root, chain)),
        crash_memory::check(root, chain),
        dump_room::check(root, chain),
        dump_watchdog::check(root, chain),
        Some(shutdown::check(root, chain)),
    ];
    checks.into_iter().flatten().collect()
}

/// A sysctl that is a number; `None` where the kernel does not have it.
fn sysctl(root: &Root, name: &str) -> Option<i64> {
    let file = format!("proc/sys/{}", name.replace('.', "/"));
    root.read(&file).ok()?.trim().parse().ok()
}

/// How a sysctl gets its value now and at each boot.
fn set_sysctls() -> String {
    format!(
        "cp {EXAMPLES}/sysctl.d/60-bulkhead-stall.conf /etc/sysctl.d/, look at it, then \
         sysctl --system"
    )
}

/// How the BMC's watchdog comes to panic the kernel before it resets.
fn set_ipmi_watchdog() -> String {
    format!(
        "cp {EXAMPLES}/modprobe.d/bulkhead-ipmi-watchdog.conf /etc/modprobe.d/, then modprobe -r \
         ipmi_watchdog and modprobe ipmi_watchdog"
    )
}

/// How a host gets what saves dumps.
fn install_kdump(root: &Root) -> &'static str {
    match root.path("usr/bin/apt").exists() {
        true => "apt install kdump-tools",
        false => "install and enable kdump",
    }
}
