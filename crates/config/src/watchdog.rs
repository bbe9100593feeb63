//! `[watchdog]`: what `bulkhead-watchdog` goes by. Another program, the same
//! files.

use super::keys::{put, up_to, Key, DAY};
use bulkhead_core::model::{cpulist, CpuId};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// `[watchdog]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watchdog {
    /// Which device is fed.
    pub device: Device,
    /// Unfed for so long, it resets the host; whole seconds.
    pub timeout: Duration,
    /// So long before that it raises the alarm; whole seconds, less than
    /// `timeout`, zero for none.
    pub pretimeout: Duration,
    /// A CPU on which the highest real-time priority does not run for so long
    /// has stalled.
    pub cpu_limit: Duration,
    /// Which CPUs are probed.
    pub cpus: Cpus,
    /// On a CPU whose ordinary tasks waited for so much longer than they did
    /// not, they starve.
    pub starved_limit: Duration,
    /// What becomes of that.
    pub on_starved: Policy,
    /// A daemon that does not answer for so long is silent.
    pub daemon_limit: Duration,
    /// What becomes of that.
    pub on_daemon_silent: Policy,
    /// Files that somebody touches while all is well.
    pub files: Vec<FileCheck>,
    /// Units of systemd that are active while all is well.
    pub units: Vec<String>,
    /// Commands that succeed while all is well.
    pub commands: Vec<CommandCheck>,
    /// One of these three that is not well for so long has failed.
    pub check_limit: Duration,
    /// What becomes of that.
    pub on_check: Policy,
    /// A shutdown that takes so long has stalled.
    pub shutdown_limit: Duration,
}

/// `watchdog.device`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// The best hardware that is free.
    Auto,
    /// The kernel's own timer, whose module is loaded for it.
    Softdog,
    /// This one, below /dev.
    Path(PathBuf),
    /// The one that calls itself so.
    Identity(String),
}

/// `watchdog.cpus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cpus {
    /// All but those that are kept for somebody: `isolcpus`, `nohz_full`.
    Housekeeping,
    /// These; not empty.
    List(BTreeSet<CpuId>),
}

/// What becomes of a check that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It is told, and no more.
    Event,
    /// The host is brought down, as for a stall.
    Stop,
}

/// One of `watchdog.files`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCheck {
    /// Absolute.
    pub path: PathBuf,
    /// Well while it was modified no longer ago.
    pub max_age: Duration,
}

/// One of `watchdog.commands`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandCheck {
    /// An absolute path and its arguments; no shell.
    pub run: Vec<String>,
    /// Killed after so long, which is a failure.
    pub limit: Duration,
}

/// Until a command is killed, if nothing is said.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

impl Default for Watchdog {
    fn default() -> Self {
        Watchdog {
            device: Device::Auto,
            timeout: Duration::from_secs(60),
            pretimeout: Duration::from_secs(10),
            cpu_limit: Duration::from_secs(20),
            cpus: Cpus::Housekeeping,
            starved_limit: Duration::from_secs(10),
            on_starved: Policy::Event,
            // systemd has restarted a hung daemon long before: its unit has
            // WatchdogSec=120s.
            daemon_limit: Duration::from_secs(300),
            on_daemon_silent: Policy::Event,
            files: Vec::new(),
            units: Vec::new(),
            commands: Vec::new(),
            check_limit: Duration::from_secs(60),
            on_check: Policy::Event,
            // As long as systemd's own targets take at most (JobTimeoutSec= in
            // units/reboot.target).
            shutdown_limit: Duration::from_secs(1800),
        }
    }
}

/// The keys, in the order in which messages list them.
pub(super) const KEYS: &[Key] = &[
    Key {
        section: "watchdog",
        name: "device",
        takes: "\"auto\", \"softdog\", a path such as \"/dev/watchdog1\", or a watchdog's \
                identity such as \"iTCO_wdt\"",
        set: |c, v| put(&mut c.watchdog.device, device(v.as_str()?)),
    },
    Key {
        section: "watchdog",
        name: "timeout",
        takes: "a time in whole seconds from \"5s\" to \"24h\", such as \"60s\" or \"1m30s\"",
        set: |c, v| put(&mut c.watchdog.timeout, seconds(v).filter(|t| *t >= TIMEOUT_LEAST)),
    },
    Key {
        section: "watchdog",
        name: "pretimeout",
        takes: "a time in whole seconds up to \"24h\", such as \"10s\", or \"0s\" for none",
        set: |c, v| put(&mut c.watchdog.pretimeout, seconds(v)),
    },
    Key {
        section: "watchdog",
        name: "cpu_limit",
        takes: "a time from \"2s\" to \"24h\", such as \"20s\"",
        set: |c, v| put(&mut c.watchdog.cpu_limit, limit(v)),
    },
    Key {
        section: "watchdog",
        name: "cpus",
        takes: "\"housekeeping\" or a list such as \"0-3,8\"",
        set: |c, v| {
            c.watchdog.cpus = match v.as_str()? {
                "housekeeping" => Cpus::Housekeeping,
                list => Cpus::List(cpulist::parse(list).filter(|cpus| !cpus.is_empty())?),
            };
            Some(())
        },
    },
    Key {
        section: "watchdog",
        name: "starved_limit",
        takes: LIMIT,
        set: |c, v| put(&mut c.watchdog.starved_limit, limit(v)),
    },
    Key {
        section: "watchdog",
        name: "on_starved",
        takes: POLICY,
        set: |c, v| put(&mut c.watchdog.on_starved, policy(v)),
    },
    Key {
        section: "watchdog",
        name: "daemon_limit",
        takes: "a time from \"15s\" to \"24h\", such as \"5m\"",
        set: |c, v| put(&mut c.watchdog.daemon_limit, limit(v).filter(|t| *t >= DAEMON_LEAST)),
    },
    Key {
        section: "watchdog",
        name: "on_daemon_silent",
        takes: POLICY,
        set: |c, v| put(&mut c.watchdog.on_daemon_silent, policy(v)),
    },
    Key {
        section: "watchdog",
        name: "files",
        takes: "a list of at most 64 such as [{ path = \"/run/app/alive\", max_age = \"60s\" }]",
        set: |c, v| put(&mut c.watchdog.files, list(v, file)),
    },
    Key {
        section: "watchdog",
        name: "units",
        takes: "a list of at most 64 units of systemd such as [\"postgresql.service\"]",
        set: |c, v| put(&mut c.watchdog.units, list(v, unit)),
    },
    Key {
        section: "watchdog",
        name: "commands",
        takes: "a list of at most 64 such as [{ run = [\"/usr/bin/check\", \"-q\"], limit = \
                \"10s\" }]",
        set: |c, v| put(&mut c.watchdog.commands, list(v, command)),
    },
    Key {
        section: "watchdog",
        name: "check_limit",
        takes: "a time from \"15s\" to \"24h\", such as \"60s\"",
        set: |c, v| put(&mut c.watchdog.check_limit, limit(v).filter(|t| *t >= CHECK_LEAST)),
    },
    Key {
        section: "watchdog",
        name: "on_check",
        takes: POLICY,
        set: |c, v| put(&mut c.watchdog.on_check, policy(v)),
    },
    Key {
        section: "watchdog",
        name: "shutdown_limit",
        takes: "a time from \"10s\" to \"24h\", such as \"30m\"",
        set: |c, v| put(&mut c.watchdog.shutdown_limit, limit(v).filter(|t| *t >= SHUTDOWN_LEAST)),
    },
];

const LIMIT: &str = "a time from \"2s\" to \"24h\", such as \"10s\"";
const POLICY: &str = "\"event\" or \"stop\"";

/// With less there is no time between two feeds to be late.
const TIMEOUT_LEAST: Duration = Duration::from_secs(5);

/// A probe comes four times a second at most, and a busy host is no stall.
const LIMIT_LEAST: Duration = Duration::from_secs(2);

/// Three heartbeats.
const DAEMON_LEAST: Duration = Duration::from_secs(15);

/// Three rounds of the checks.
const CHECK_LEAST: Duration = Duration::from_secs(15);

/// No shutdown of a host with services takes less.
const SHUTDOWN_LEAST: Duration = Duration::from_secs(10);

/// Checks of one kind.
const CHECKS: usize = 64;

/// Bytes of `struct watchdog_info.identity`, its NUL included
/// (include/uapi/linux/watchdog.h).
const IDENTITY: usize = 32;

fn device(text: &str) -> Option<Device> {
    match text {
        "auto" => Some(Device::Auto),
        "softdog" => Some(Device::Softdog),
        path if path.starts_with("/dev/") => Some(Device::Path(PathBuf::from(path))),
        // A path or a name of a device without its directory was meant otherwise.
        "" => None,
        name if name.contains('/') || name.starts_with("watchdog") => None,
        name if name.len() >= IDENTITY || name.chars().any(char::is_control) => None,
        name => Some(Device::Identity(name.to_owned())),
    }
}

/// The kernel's watchdog interface counts whole seconds
/// (Documentation/watchdog/watchdog-api.rst, WDIOC_SETTIMEOUT).
fn seconds(value: &DeValue) -> Option<Duration> {
    up_to(value, DAY).filter(|time| time.subsec_nanos() == 0)
}

fn limit(value: &DeValue) -> Option<Duration> {
    up_to(value, DAY).filter(|time| *time >= LIMIT_LEAST)
}

fn policy(value: &DeValue) -> Option<Policy> {
    match value.as_str()? {
        "event" => Some(Policy::Event),
        "stop" => Some(Policy::Stop),
        _ => None,
    }
}

fn list<T>(value: &DeValue, item: fn(&DeValue) -> Option<T>) -> Option<Vec<T>> {
    let items = value.as_array()?;
    if items.len() > CHECKS {
        return None;
    }
    items.iter().map(|value| item(value.get_ref())).collect()
}

fn file(value: &DeValue) -> Option<FileCheck> {
    let table = value.as_table().filter(|table| knows_only(table, &["path", "max_age"]))?;
    let max_age = up_to(field(table, "max_age")?, DAY).filter(|age| !age.is_zero())?;
    Some(FileCheck { path: PathBuf::from(absolute(field(table, "path")?)?), max_age })
}

/// A unit's name as systemd.unit(5) has it.
fn unit(value: &DeValue) -> Option<String> {
    let name = value.as_str()?;
    let known = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let (stem, kind) = name.rsplit_once('.')?;
    let good = name.len() < 256 && name.chars().all(known) && !stem.is_empty();
    // A name that begins with a dash would be taken for an option.
    let good = good && !kind.is_empty() && !name.starts_with(['-', '.']);
    good.then(|| name.to_owned())
}

fn command(value: &DeValue) -> Option<CommandCheck> {
    let table = value.as_table().filter(|table| knows_only(table, &["run", "limit"]))?;
    let words = field(table, "run")?.as_array()?;
    let run = words.iter().map(|word| Some(plain(word.get_ref())?.to_owned()));
    let run = run.collect::<Option<Vec<_>>>()?;
    run.first().filter(|program| program.starts_with('/'))?;
    let limit = match field(table, "limit") {
        Some(limit) => up_to(limit, DAY).filter(|limit| !limit.is_zero())?,
        None => COMMAND_LIMIT,
    };
    Some(CommandCheck { run, limit })
}

fn field<'a, 'i>(table: &'a DeTable<'i>, name: &str) -> Option<&'a DeValue<'i>> {
    table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value.get_ref())
}

fn knows_only(table: &DeTable, names: &[&str]) -> bool {
    table.iter().all(|(key, _)| names.iter().any(|name| key.get_ref() == name))
}

fn absolute<'a>(value: &'a DeValue) -> Option<&'a str> {
    plain(value).filter(|path| path.starts_with('/'))
}

/// Text that the kernel takes as a path or an argument.
fn plain<'a>(value: &'a DeValue) -> Option<&'a str> {
    value.as_str().filter(|text| !text.contains('\0'))
}
