//! Process 1 of the guest: mounts what user space expects, loads modules and a crash kernel, starts the agent and buries
//! the dead; or hands over to a Debian with systemd.

use std::ffi::CStr;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::kmod::{finit_module, ModuleInitFlags};
use nix::mount::{mount, MsFlags};
use nix::sys::reboot::{reboot, RebootMode};
use nix::sys::wait::{wait, WaitStatus};

use crate::{crash, debian};

/// File system, where, and its options.
const MOUNTS: &[(&str, &str, Option<&str>)] = &[
    ("proc", "/proc", None),
    ("sysfs", "/sys", None),
    ("devtmpfs", "/dev", None),
    ("devpts", "/dev/pts", None),
    ("tmpfs", "/dev/shm", None),
    ("tmpfs", "/run", Some("mode=0755")),
    ("tmpfs", "/tmp", None),
    ("cgroup2", "/sys/fs/cgroup", None),
    ("bpf", "/sys/fs/bpf", Some("mode=0700")),
    ("tracefs", "/sys/kernel/tracing", None),
    ("debugfs", "/sys/kernel/debug", None),
    ("securityfs", "/sys/kernel/security", None),
];

/// Modules to load, as paths in their order.
const MODULES: &str = "/etc/modules";

/// On the kernel's command line: more of them, by name, with a comma between two.
const ASKED: &str = "bulkhead.modules=";

/// How often the kernel looks for corrected machine checks, in seconds. Its default of 300 would be the length of any
/// test: QEMU does not raise the interrupt that real hardware has for them.
const CHECK_INTERVAL: &str = "/sys/devices/system/machinecheck/machinecheck0/check_interval";

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Does not return while the machine runs: the kernel panics when process 1 ends.
pub fn run() -> Result<ExitCode> {
    prepare();
    let ended =
        if debian::is_wanted() { debian::enter().map(|never| match never {}) } else { serve() };
    match ended {
        Ok(status) => eprintln!("init: the agent ended: {status}"),
        Err(error) => eprintln!("init: {error:#}"),
    }
    match reboot(RebootMode::RB_POWER_OFF).context("power off")? {}
}

/// What fails here is said and left at that: a kernel under lockdown refuses some of it, and the tests of that are
/// not to end here.
fn prepare() {
    for &(kind, target, options) in MOUNTS {
        if let Err(error) = mount_one(kind, target, options) {
            eprintln!("init: mount {kind} on {target}: {error:#}");
        }
    }
    match fs::read_to_string(MODULES) {
        Ok(modules) => modules.lines().for_each(|path| {
            if let Err(error) = load_module(path) {
                eprintln!("init: load {path}: {error:#}");
            }
        }),
        Err(error) => eprintln!("init: {MODULES}: {error}"),
    }
    load_as_asked();
    if let Err(error) = fs::write(CHECK_INTERVAL, "1") {
        eprintln!("init: {CHECK_INTERVAL}: {error}");
    }
    if let Err(error) = crash::load_if_there() {
        eprintln!("init: {error:#}");
    }
}

/// Loads what the kernel's command line names.
fn load_as_asked() {
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let asked = line.split_whitespace().filter_map(|word| word.strip_prefix(ASKED));
    for module in asked.flat_map(|list| list.split(',')) {
        match Command::new("/sbin/modprobe").arg(module).status() {
            Ok(status) if status.success() => (),
            other => eprintln!("init: modprobe {module}: {other:?}"),
        }
    }
}

fn mount_one(kind: &str, target: &str, options: Option<&str>) -> Result<()> {
    if !fs::exists(target)? {
        fs::create_dir(target)?;
    }
    mount(Some(kind), target, Some(kind), MsFlags::empty(), options)?;
    Ok(())
}

fn load_module(path: &str) -> Result<()> {
    const NO_PARAMETERS: &CStr = c"";
    finit_module(File::open(path)?, NO_PARAMETERS, ModuleInitFlags::empty())?;
    Ok(())
}

/// Runs the agent until it ends, and meanwhile reaps every process whose parent is gone.
fn serve() -> Result<ExitStatus> {
    let agent = Command::new("/proc/self/exe")
        .arg("agent")
        .env("PATH", PATH)
        .env("HOME", "/root")
        .spawn()
        .context("start the agent")?
        .id();
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() as u32 == agent => {
                return Ok(ExitStatus::from_raw(code << 8));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() as u32 == agent => {
                return Ok(ExitStatus::from_raw(signal as i32));
            }
            Ok(_) | Err(Errno::EINTR) => (),
            Err(error) => return Err(error).context("wait for processes"),
        }
    }
}
