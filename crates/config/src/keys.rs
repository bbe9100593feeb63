//! Every key: its name, what it takes, and what it sets.

use super::{units, watchdog, Config, Place, Problem, Text};
use bulkhead_core::decide::{Amount, DedicatedPolicy, HugetlbPolicy, UePolicy};
use std::collections::HashMap;
use std::time::Duration;
use toml::de::{DeString, DeTable, DeValue};
use toml::Spanned;

/// One key.
pub struct Key {
    /// `[section]`; empty for the top of the file.
    pub section: &'static str,
    /// Its name in there.
    pub name: &'static str,
    /// What it takes, to follow "must be".
    pub takes: &'static str,
    /// Sets it; `None` when the value is not what it takes.
    pub(super) set: fn(&mut Config, &DeValue) -> Option<()>,
}

/// `[section]`s.
const SECTIONS: [&str; 5] = ["page", "row", "cpu", "limits", "watchdog"];

/// The keys of all but the watchdog, in the order in which messages list them.
const KEYS: &[Key] = &[
    Key {
        section: "",
        name: "mode",
        takes: "\"isolate\" or \"observe\"",
        set: |c, v| {
            c.policy.observe = match v.as_str()? {
                "isolate" => false,
                "observe" => true,
                _ => return None,
            };
            Some(())
        },
    },
    Key {
        section: "page",
        name: "errors",
        takes: COUNT_FROM_1,
        set: |c, v| put(&mut c.policy.page.threshold.errors, from_1(v)),
    },
    Key {
        section: "page",
        name: "window",
        takes: WINDOW,
        set: |c, v| put(&mut c.policy.page.threshold.window, window(v)),
    },
    Key {
        section: "page",
        name: "ue",
        takes: "\"hard-offline\" or \"report\"",
        set: |c, v| {
            c.policy.page.ue = match v.as_str()? {
                "hard-offline" => UePolicy::HardOffline,
                "report" => UePolicy::Report,
                _ => return None,
            };
            Some(())
        },
    },
    Key {
        section: "page",
        name: "hugetlb",
        takes: "\"always\", \"never\", or a whole number such as 2: only while so many stay free",
        set: |c, v| {
            c.policy.page.hugetlb = match v.as_str() {
                Some("always") => HugetlbPolicy::Always,
                Some("never") => HugetlbPolicy::Never,
                Some(_) => return None,
                None => HugetlbPolicy::KeepFree(from_0(v)?),
            };
            Some(())
        },
    },
    Key {
        section: "row",
        name: "errors",
        takes: COUNT_FROM_1,
        set: |c, v| put(&mut c.policy.row.threshold.errors, from_1(v)),
    },
    Key {
        section: "row",
        name: "columns",
        takes: COUNT_FROM_1,
        set: |c, v| put(&mut c.policy.row.columns, from_1(v)),
    },
    Key {
        section: "row",
        name: "window",
        takes: WINDOW,
        set: |c, v| put(&mut c.policy.row.threshold.window, window(v)),
    },
    Key {
        section: "cpu",
        name: "errors",
        takes: COUNT_FROM_1,
        set: |c, v| put(&mut c.policy.cpu.errors, from_1(v)),
    },
    Key {
        section: "cpu",
        name: "errors_unknown_level",
        takes: COUNT_FROM_1,
        set: |c, v| put(&mut c.policy.cpu.errors_unknown_level, from_1(v)),
    },
    Key {
        section: "cpu",
        name: "window",
        takes: WINDOW,
        set: |c, v| put(&mut c.policy.cpu.window, window(v)),
    },
    Key {
        section: "cpu",
        name: "max_cache_level",
        takes: "1, 2, 3 or 4",
        set: |c, v| {
            let level = u8::try_from(integer(v)?).ok().filter(|level| (1..=4).contains(level));
            put(&mut c.policy.cpu.max_cache_level, level)
        },
    },
    Key {
        section: "cpu",
        name: "dedicated",
        takes: "\"refuse\" or \"proceed\"",
        set: |c, v| {
            c.policy.cpu.dedicated = match v.as_str()? {
                "refuse" => DedicatedPolicy::Refuse,
                "proceed" => DedicatedPolicy::Proceed,
                _ => return None,
            };
            Some(())
        },
    },
    Key {
        section: "limits",
        name: "memory",
        takes: "a share from \"0%\" to \"100%\" such as \"0.1%\", or a size such as \"64MiB\" \
                (in KiB, MiB, GiB or TiB)",
        set: |c, v| {
            let text = v.as_str()?;
            let share = units::share(text).map(Amount::Share);
            put(&mut c.policy.limits.memory, share.or(units::size(text).map(Amount::Count)))
        },
    },
    Key {
        section: "limits",
        name: "pages_per_day",
        takes: COUNT_FROM_0,
        set: |c, v| put(&mut c.policy.limits.pages_per_day, from_0(v)),
    },
    Key {
        section: "limits",
        name: "cpus",
        takes: "a share from \"0%\" to \"100%\" such as \"50%\", or a whole number such as 4",
        set: |c, v| {
            let share = v.as_str().and_then(units::share).map(Amount::Share);
            let count = from_0(v).map(|n| Amount::Count(n.into()));
            put(&mut c.policy.limits.cpus, share.or(count))
        },
    },
    Key {
        section: "limits",
        name: "cpus_per_node",
        takes: COUNT_FROM_1,
        set: |c, v| put(&mut c.policy.limits.cpus_per_node, from_1(v)),
    },
    Key {
        section: "limits",
        name: "cpus_per_socket",
        takes: COUNT_FROM_1,
        set: |c, v| put(&mut c.policy.limits.cpus_per_socket, from_1(v)),
    },
];

const COUNT_FROM_0: &str = "a whole number from 0 to 4294967295";
const COUNT_FROM_1: &str = "a whole number from 1 to 4294967295";
const WINDOW: &str =
    "a time from \"1s\" to \"3650d\", such as \"24h\", \"7d\" or \"1h30m\" (in d, h, m, s or ms)";
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// All keys, in the order in which messages list them.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(watchdog::KEYS)
}

/// Sets `place`, if there is something to set it to.
pub(super) fn put<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}

fn integer(value: &DeValue) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn from_0(value: &DeValue) -> Option<u32> {
    u32::try_from(integer(value)?).ok()
}

fn from_1(value: &DeValue) -> Option<u32> {
    from_0(value).filter(|n| *n > 0)
}

pub(super) fn up_to(value: &DeValue, most: Duration) -> Option<Duration> {
    value.as_str().and_then(units::time).filter(|time| *time <= most)
}

fn window(value: &DeValue) -> Option<Duration> {
    up_to(value, DAY * 3650).filter(|time| *time >= Duration::from_secs(1))
}

/// Where each key was set last: section, name, place.
pub(super) type Places = HashMap<(&'static str, &'static str), Place>;

/// One file on its way into the configuration.
pub(super) struct Layer<'a> {
    /// The file.
    pub(super) text: &'a Text<'a>,
    /// What the layers below it came to.
    pub(super) config: &'a mut Config,
    /// Where that was said.
    pub(super) places: &'a mut Places,
    /// What is wrong: the byte where it stands, and a sentence.
    pub(super) wrong: Vec<(usize, String)>,
}

impl Layer<'_> {
    /// Sets what `table`, the whole file, says.
    pub(super) fn apply(&mut self, table: &DeTable) {
        for (name, value) in table {
            let Some(section) = section_named(name.get_ref()) else {
                self.set("", name, value);
                continue;
            };
            if let DeValue::Table(keys) = value.get_ref() {
                keys.iter().for_each(|(name, value)| self.set(section, name, value));
                continue;
            }
            let found = self.text.quote(value.span());
            let said = format!(
                "{section}: found {found}, must be a section: [{section}] with {}",
                list(names(section))
            );
            self.wrong.push((value.span().start, said));
        }
    }

    fn set(&mut self, section: &str, name: &Spanned<DeString>, value: &Spanned<DeValue>) {
        let dot = if section.is_empty() { "" } else { "." };
        let Some(key) = keys().find(|k| k.section == section && k.name == name.get_ref()) else {
            let found = self.text.quote(name.span());
            let known = match section {
                "" => format!(
                    "known are {} and the sections {}",
                    list(names("")),
                    list(SECTIONS.iter().map(|section| format!("[{section}]")))
                ),
                section => format!("[{section}] knows {}", list(names(section))),
            };
            self.wrong
                .push((name.span().start, format!("unknown key {section}{dot}{found}; {known}")));
            return;
        };
        let at = value.span();
        if (key.set)(self.config, value.get_ref()).is_some() {
            self.places.insert((key.section, key.name), self.text.place(at.start));
        } else {
            let found = self.text.quote(at.clone());
            let said = format!("{section}{dot}{}: found {found}, must be {}", key.name, key.takes);
            self.wrong.push((at.start, said));
        }
    }
}

/// What no single key can see.
pub(super) fn contradiction(config: &Config, places: &Places) -> Option<Problem> {
    let watchdog = &config.watchdog;
    if watchdog.pretimeout < watchdog.timeout {
        return None;
    }
    // The defaults agree with each other, so one of the two was set.
    let place = ["pretimeout", "timeout"].iter().find_map(|name| places.get(&("watchdog", *name)));
    Some(Problem::Invalid {
        place: place?.clone(),
        text: format!(
            "watchdog.pretimeout is {} s, must be less than watchdog.timeout, which is {} s",
            watchdog.pretimeout.as_secs(),
            watchdog.timeout.as_secs()
        ),
    })
}

fn section_named(name: &str) -> Option<&'static str> {
    SECTIONS.into_iter().find(|section| *section == name)
}

/// Names of the keys of `section`.
fn names(section: &str) -> impl Iterator<Item = String> + '_ {
    keys().filter(move |key| key.section == section).map(|key| key.name.to_owned())
}

/// "a, b and c".
fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match items.split_last() {
        Some((end, rest)) if !rest.is_empty() => format!("{} and {end}", rest.join(", ")),
        _ => items.concat(),
    }
}
