//! Which watchdog is used: a decision over what sysfs and systemd say. Pure.

use bulkhead_config::watchdog::Device as Wanted;
use std::path::{Path, PathBuf};

/// A watchdog in /sys/class/watchdog
/// (Documentation/ABI/testing/sysfs-class-watchdog).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// N of `watchdogN`.
    pub number: u32,
    /// What the driver calls it.
    pub identity: String,
    /// Somebody has it, or had it and did not disarm it.
    pub active: bool,
    /// Seconds; none where the driver does not say.
    pub timeout_s: Option<u32>,
    /// The least that can be set, in seconds; 0 if the driver does not say.
    pub min_timeout_s: u32,
    /// The most, in seconds; 0 without a limit.
    pub max_timeout_s: u32,
    /// What it can do before it resets: "panic", "noop"; empty without a
    /// pretimeout.
    pub governors: Vec<String>,
    /// Once armed it cannot be disarmed.
    pub nowayout: bool,
    /// Why the host came up, as the driver knows it: WDIOF_ bits
    /// (include/uapi/linux/watchdog.h); none where the file is not there or
    /// cannot be read.
    pub bootstatus: Option<u32>,
}

impl Device {
    /// Its node.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/watchdog{}", self.number))
    }

    /// The kernel's own timer: it ends with the kernel that it should watch.
    pub fn is_softdog(&self) -> bool {
        self.identity == SOFTDOG
    }

    fn reaches(&self, timeout_s: u64) -> bool {
        self.max_timeout_s == 0 || u64::from(self.max_timeout_s) >= timeout_s
    }
}

/// What one is called in a sentence that has no identity.
pub const UNNAMED: &str = "a watchdog without a name";

/// Its identity (drivers/watchdog/softdog.c).
pub const SOFTDOG: &str = "Software Watchdog";

/// The node that belongs to the first watchdog, or to a driver that is none of
/// the class: ipmi_watchdog.
pub const FIRST: &str = "/dev/watchdog";

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The class, by number.
    pub devices: Vec<Device>,
    /// There is [`FIRST`], and it is none of these.
    pub bare: bool,
    /// What systemd does with one; none where it is not process 1, or does not
    /// answer.
    pub systemd: Option<Systemd>,
}

/// What systemd's manager says of itself (org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Systemd {
    /// `RuntimeWatchdogSec=` is set.
    pub feeds: bool,
    /// The device that it has open, or is to open.
    pub device: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What is used.
    pub used: Used,
    /// Why, in a sentence.
    pub why: String,
}

/// What is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Used {
    /// This one is opened and fed. Its class device, unless it has none.
    Hardware {
        /// Its node.
        path: PathBuf,
        /// What sysfs says of it.
        device: Option<Device>,
    },
    /// systemd feeds one, and we hang on systemd.
    Systemd {
        /// Which.
        device: Option<Device>,
    },
    /// None.
    Nothing,
}

/// Takes one.
///
/// Where systemd feeds one, that is it, unless another is configured. Else the
/// configured one. Else, with `device = "auto"`, the best hardware: one that
/// can wait for `timeout_s` seconds before one that cannot, one that can panic
/// the kernel before it resets before one that cannot, then the longest, then
/// the first. One that is active is as good as another: we may have been killed
/// while we fed it, and it must be fed again; whether somebody else has it,
/// opening it tells.
pub fn choose(found: &Found, wanted: &Wanted, timeout_s: u64) -> Choice {
    let configured = configured(found, wanted);
    if let Some(systemd) = found.systemd.as_ref().filter(|systemd| systemd.feeds) {
        let theirs = systemd.device.as_deref().unwrap_or(Path::new(FIRST));
        let device = by_path(found, theirs);
        let other = configured.as_ref().is_some_and(|used| !is(used, device, theirs));
        if device.is_none() && !(found.bare && theirs == Path::new(FIRST)) && !other {
            return nothing(format!(
                "systemd is to feed {}, and there is no such watchdog",
                theirs.display()
            ));
        }
        if !other {
            let why = format!("systemd feeds {}", theirs.display());
            return Choice { used: Used::Systemd { device: device.cloned() }, why };
        }
    }
    if let Some(used) = configured {
        return Choice { used, why: "it is the configured one".to_owned() };
    }
    if *wanted != Wanted::Auto {
        return nothing(format!("there is no {}", name_of(wanted)));
    }
    let mut hardware: Vec<&Device> =
        found.devices.iter().filter(|device| !device.is_softdog()).collect();
    hardware.sort_by_key(|device| {
        let longest = if device.max_timeout_s == 0 { u32::MAX } else { device.max_timeout_s };
        let panics = device.governors.iter().any(|governor| governor == "panic");
        (!device.reaches(timeout_s), !panics, std::cmp::Reverse(longest), device.number)
    });
    match hardware.first() {
        Some(best) => {
            let why = match hardware.len() {
                1 => "it is the only hardware watchdog".to_owned(),
                n => format!("it is the best of {n} hardware watchdogs"),
            };
            Choice { used: hardware_of(best), why }
        }
        None if found.bare => {
            let used = Used::Hardware { path: FIRST.into(), device: None };
            Choice { used, why: "it is the only watchdog".to_owned() }
        }
        None if found.devices.is_empty() => nothing("there is no watchdog".to_owned()),
        None => nothing(
            "there is only softdog, which ends with the kernel; device = \"softdog\" takes it"
                .to_owned(),
        ),
    }
}

fn nothing(why: String) -> Choice {
    Choice { used: Used::Nothing, why }
}

fn hardware_of(device: &Device) -> Used {
    Used::Hardware { path: device.path(), device: Some(device.clone()) }
}

fn by_path<'a>(found: &'a Found, path: &Path) -> Option<&'a Device> {
    found.devices.iter().find(|device| {
        // /dev/watchdog is another name of the first one.
        device.path() == path || device.number == 0 && path == Path::new(FIRST) && !found.bare
    })
}

fn configured(found: &Found, wanted: &Wanted) -> Option<Used> {
    let named = |identity: &str| found.devices.iter().find(|device| device.identity == identity);
    let device = match wanted {
        Wanted::Auto => return None,
        Wanted::Softdog => named(SOFTDOG),
        Wanted::Identity(identity) => named(identity),
        Wanted::Path(path) if found.bare && path == Path::new(FIRST) => {
            return Some(Used::Hardware { path: path.clone(), device: None });
        }
        Wanted::Path(path) => by_path(found, path),
    };
    device.map(hardware_of)
}

fn is(used: &Used, device: Option<&Device>, path: &Path) -> bool {
    match used {
        Used::Hardware { device: Some(ours), .. } => Some(ours) == device,
        Used::Hardware { path: ours, device: None } => ours == path,
        Used::Systemd { .. } | Used::Nothing => false,
    }
}

fn name_of(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Auto => "watchdog".to_owned(),
        Wanted::Softdog => "softdog".to_owned(),
        Wanted::Path(path) => path.display().to_string(),
        Wanted::Identity(identity) => format!("watchdog with the identity {identity:?}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn device(number: u32, identity: &str, max_timeout_s: u32) -> Device {
        Device { number, identity: identity.to_owned(), max_timeout_s, ..Device::default() }
    }

    fn found(devices: &[Device]) -> Found {
        Found { devices: devices.to_vec(), ..Found::default() }
    }

    fn taken(choice: &Choice) -> String {
        match &choice.used {
            Used::Hardware { path, .. } => path.display().to_string(),
            Used::Systemd { device } => {
                format!("systemd {:?}", device.as_ref().map(|device| device.number))
            }
            Used::Nothing => format!("nothing: {}", choice.why),
        }
    }

    fn auto(found: &Found) -> String {
        taken(&choose(found, &Wanted::Auto, 60))
    }

    #[test]
    fn the_most_capable_hardware_is_taken() {
        let short = device(0, "a", 30);
        let mut long = device(1, "b", 600);
        let longer = device(2, "c", 0);
        assert_eq!(auto(&found(std::slice::from_ref(&short))), "/dev/watchdog0");
        assert_eq!(auto(&found(&[short.clone(), long.clone()])), "/dev/watchdog1");
        assert_eq!(auto(&found(&[short.clone(), long.clone(), longer.clone()])), "/dev/watchdog2");
        long.governors = vec!["noop".to_owned(), "panic".to_owned()];
        assert_eq!(auto(&found(&[short, long, longer])), "/dev/watchdog1");
    }

    #[test]
    fn one_that_was_left_armed_is_taken_as_any_other() {
        let left = Device { active: true, ..device(0, "a", 0) };
        assert_eq!(auto(&found(&[left, device(1, "b", 0)])), "/dev/watchdog0");
    }

    #[test]
    fn softdog_is_taken_only_by_its_name() {
        let only = found(&[device(0, SOFTDOG, 65535)]);
        assert!(auto(&only).starts_with("nothing: there is only softdog"), "{}", auto(&only));
        assert_eq!(taken(&choose(&only, &Wanted::Softdog, 60)), "/dev/watchdog0");
        assert_eq!(auto(&found(&[device(0, SOFTDOG, 0), device(1, "a", 9)])), "/dev/watchdog1");
    }

    #[test]
    fn a_configured_one_that_is_not_there_is_not_replaced_by_another() {
        let one = found(&[device(0, "a", 0)]);
        let by = |wanted| taken(&choose(&one, &wanted, 60));
        assert_eq!(by(Wanted::Identity("a".into())), "/dev/watchdog0");
        assert_eq!(by(Wanted::Path("/dev/watchdog".into())), "/dev/watchdog0");
        assert_eq!(
            by(Wanted::Path("/dev/watchdog1".into())),
            "nothing: there is no /dev/watchdog1"
        );
        assert_eq!(by(Wanted::Softdog), "nothing: there is no softdog");
        assert!(by(Wanted::Identity("b".into())).starts_with("nothing: there is no watchdog with"));
    }

    #[test]
    fn a_driver_outside_the_class_is_found_by_its_node() {
        let bare = Found { bare: true, ..Found::default() };
        assert_eq!(auto(&bare), "/dev/watchdog");
        assert_eq!(taken(&choose(&bare, &Wanted::Path(FIRST.into()), 60)), "/dev/watchdog");
    }

    #[test]
    fn what_systemd_feeds_is_systemds() {
        let systemd =
            |device: Option<&str>| Some(Systemd { feeds: true, device: device.map(PathBuf::from) });
        let two = found(&[device(0, "a", 0), device(1, "b", 0)]);
        let with = |device| Found { systemd: systemd(device), ..two.clone() };
        assert_eq!(auto(&with(None)), "systemd Some(0)");
        assert_eq!(auto(&with(Some("/dev/watchdog1"))), "systemd Some(1)");
        let by = |name: &str| taken(&choose(&with(None), &Wanted::Identity(name.into()), 60));
        assert_eq!((by("a"), by("b")), ("systemd Some(0)".into(), "/dev/watchdog1".into()));
        let none = Found { systemd: systemd(None), ..Found::default() };
        assert!(auto(&none).starts_with("nothing: systemd is to feed"), "{}", auto(&none));
        let off = Found { systemd: Some(Systemd::default()), ..two };
        assert_eq!(auto(&off), "/dev/watchdog0");
    }
}
