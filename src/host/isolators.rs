//! Programs that take pages or CPUs out of service beside us: rasdaemon and
//! mcelog, if they run and are set to.

use super::processes::{self, Process};
use super::Root;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolator {
    /// Who: `rasdaemon (process 812)`.
    pub who: String,
    /// The settings that make it do so, or why that cannot be told.
    pub settings: Vec<String>,
    /// It is not known to do so: its settings cannot be read.
    pub doubtful: bool,
    /// The line that turns it off, and where it belongs.
    pub off: String,
}

/// All that run and take something, or may.
pub fn isolators(root: &Root) -> Vec<Isolator> {
    let running = processes::named(root, &["rasdaemon", "mcelog"]);
    let found = running.iter().filter_map(|process| match process.name.as_str() {
        "rasdaemon" => rasdaemon(root, process),
        _ => mcelog(root, process),
    });
    found.collect()
}

/// Actions that take something, of rasdaemon and mcelog alike
/// (ras-page-isolation.c of the one, page.c of the other).
fn takes(action: &str) -> bool {
    let takes = ["soft", "hard", "soft-then-hard"];
    takes.iter().any(|known| action.eq_ignore_ascii_case(known))
}

/// Where distributions keep what becomes its environment.
const RASDAEMON_FILES: [&str; 2] = ["etc/default/rasdaemon", "etc/sysconfig/rasdaemon"];

/// It goes by its environment alone, which its unit fills from a file. Without
/// a word there it takes pages (`offline = OFFLINE_SOFT` in
/// ras-page-isolation.c), and neither rows nor CPUs.
fn rasdaemon(root: &Root, process: &Process) -> Option<Isolator> {
    let file = RASDAEMON_FILES.into_iter().find(|file| root.path(file).exists());
    let file = file.unwrap_or(RASDAEMON_FILES[0]);
    let environment = process.strings(root, "environ");
    let doubtful = environment.is_none();
    let lines = environment.unwrap_or_else(|| {
        root.read(file).unwrap_or_default().lines().map(str::to_owned).collect()
    });
    let value = |key: &str| {
        let value =
            |line: &String| Some(unquoted(line.trim().strip_prefix(key)?.strip_prefix('=')?));
        // The last one counts (systemd.exec(5), EnvironmentFile).
        lines.iter().rev().find_map(value)
    };
    let mut settings = Vec::new();
    let mut off = Vec::new();
    let row = value("ROW_CE_ACTION").filter(|action| takes(action));
    match (&row, value("PAGE_CE_ACTION")) {
        // With a policy for rows, its pages are off.
        (Some(action), _) => {
            settings.push(format!("ROW_CE_ACTION={action}"));
            off.extend(["ROW_CE_ACTION=off", "PAGE_CE_ACTION=off"]);
        }
        (None, None) => {
            settings.push("PAGE_CE_ACTION is not set, which means soft".to_owned());
            off.push("PAGE_CE_ACTION=off");
        }
        (None, Some(action)) if action.eq_ignore_ascii_case("off") => {}
        (None, Some(action)) if action.eq_ignore_ascii_case("account") => {}
        (None, Some(action)) => {
            settings.push(format!("PAGE_CE_ACTION={action}"));
            off.push("PAGE_CE_ACTION=off");
        }
    }
    if value("CPU_ISOLATION_ENABLE").is_some_and(|word| word.eq_ignore_ascii_case("yes")) {
        settings.push("CPU_ISOLATION_ENABLE=yes".to_owned());
        off.push("CPU_ISOLATION_ENABLE=no");
    }
    (!settings.is_empty()).then(|| Isolator {
        who: who(process),
        settings,
        doubtful,
        off: format!("{} in /{file}, then systemctl restart rasdaemon", off.join(" and ")),
    })
}

const MCELOG_FILE: &str = "/etc/mcelog/mcelog.conf";

/// It goes by its file alone. Without a word there it takes nothing
/// (`offline = OFFLINE_OFF` in page.c); its trigger for caches takes CPUs
/// (triggers/cache-error-trigger).
fn mcelog(root: &Root, process: &Process) -> Option<Isolator> {
    let arguments = process.strings(root, "cmdline").unwrap_or_default();
    let file = named_file(&arguments).unwrap_or(MCELOG_FILE);
    let mut isolator =
        Isolator { who: who(process), settings: Vec::new(), doubtful: false, off: String::new() };
    let mut off = Vec::new();
    match root.read(file) {
        Ok(text) => {
            let action = setting(&text, "page", "memory-ce-action").filter(|a| takes(a));
            if let Some(action) = action {
                isolator.settings.push(format!("memory-ce-action = {action}"));
                off.push("memory-ce-action = off under [page]");
            }
            if let Some(trigger) = setting(&text, "cache", "cache-threshold-trigger") {
                isolator.settings.push(format!("cache-threshold-trigger = {trigger}"));
                off.push("no cache-threshold-trigger under [cache]");
            }
        }
        Err(error) if error.errno() == Some(libc::ENOENT) => {}
        Err(error) => {
            isolator.doubtful = true;
            isolator.settings.push(error.to_string());
            off.push("memory-ce-action = off under [page]");
        }
    }
    isolator.off = format!("{} in {file}, then systemctl restart mcelog", off.join(" and "));
    (!isolator.settings.is_empty()).then_some(isolator)
}

/// `--config-file FILE`, or with an equals sign; it takes any longer word for
/// the first six letters, too (config_file() in config.c).
fn named_file(arguments: &[String]) -> Option<&str> {
    let at = arguments.iter().position(|argument| argument.starts_with("--conf"))?;
    match arguments.get(at)?.split_once('=') {
        Some((_, file)) => Some(file),
        None => arguments.get(at.checked_add(1)?).map(String::as_str),
    }
}

/// The first value of `key` under `[section]`, or before any section
/// (config_string() in config.c).
fn setting<'a>(text: &'a str, section: &str, key: &str) -> Option<&'a str> {
    let in_section = |wanted: Option<&str>| {
        let mut here = None;
        text.lines().find_map(|line| {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(name) = line.strip_prefix('[') {
                here = name.split(']').next();
                return None;
            }
            let (name, value) = line.split_once('=').filter(|_| here == wanted)?;
            (name.trim() == key).then(|| value.trim())
        })
    };
    in_section(Some(section)).or_else(|| in_section(None))
}

/// The value of a shell variable, as far as environment files use the shell's
/// quotes: around the whole.
pub(super) fn unquoted(value: &str) -> String {
    value.trim().trim_matches(['"', '\'']).to_owned()
}

fn who(process: &Process) -> String {
    format!("{} (process {})", process.name, process.pid)
}

/// The files of both, as `fuzz/` calls them.
#[cfg(any(test, fuzzing))]
pub(super) fn settings_of(text: &str) {
    let _ = setting(text, "page", "memory-ce-action");
    let words: Vec<String> = text.split('\0').map(str::to_owned).collect();
    let _ = named_file(&words);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::host::testing::Tree;
    use proptest::prelude::*;

    fn rasdaemon_with(environment: &str) -> Option<Isolator> {
        let tree = Tree::new();
        tree.write("proc/812/comm", "rasdaemon\n");
        tree.write("proc/812/environ", &environment.replace(' ', "\0"));
        isolators(&tree.root).pop()
    }

    #[test]
    fn rasdaemon_takes_pages_unless_it_is_told_not_to() {
        for environment in ["", "PATH=/bin", "PAGE_CE_ACTION=soft", "PAGE_CE_ACTION=Hard"] {
            let found = rasdaemon_with(environment).unwrap();
            assert_eq!(found.who, "rasdaemon (process 812)");
            assert!(found.off.starts_with("PAGE_CE_ACTION=off in /etc/default/"), "{found:?}");
        }
        for environment in ["PAGE_CE_ACTION=off", "PAGE_CE_ACTION=\"account\""] {
            assert_eq!(rasdaemon_with(environment), None, "{environment}");
        }
    }

    #[test]
    fn its_rows_and_cpus_are_named_too() {
        let found = rasdaemon_with("ROW_CE_ACTION=soft PAGE_CE_ACTION=off").unwrap();
        assert_eq!(found.settings, ["ROW_CE_ACTION=soft"]);
        let found = rasdaemon_with("PAGE_CE_ACTION=off CPU_ISOLATION_ENABLE=yes").unwrap();
        assert_eq!(found.settings, ["CPU_ISOLATION_ENABLE=yes"]);
        assert!(found.off.starts_with("CPU_ISOLATION_ENABLE=no in "), "{}", found.off);
    }

    #[test]
    fn without_its_environment_its_file_tells_with_a_doubt() {
        let tree = Tree::new();
        tree.write("proc/812/comm", "rasdaemon\n");
        tree.write("etc/sysconfig/rasdaemon", "# x\nPAGE_CE_ACTION=\"soft\"\n");
        let found = isolators(&tree.root).pop().unwrap();
        assert!(found.doubtful && found.off.contains("/etc/sysconfig/rasdaemon"), "{found:?}");
        tree.write("etc/sysconfig/rasdaemon", "PAGE_CE_ACTION=soft\nPAGE_CE_ACTION=off\n");
        assert_eq!(isolators(&tree.root), []);
    }

    #[test]
    fn a_configured_rasdaemon_that_does_not_run_takes_nothing() {
        let tree = Tree::new();
        tree.write("etc/default/rasdaemon", "PAGE_CE_ACTION=soft\n");
        assert_eq!(isolators(&tree.root), []);
    }

    #[test]
    fn mcelog_takes_pages_and_cpus_if_its_file_says_so() {
        let tree = Tree::new();
        tree.write("proc/7/comm", "mcelog\n");
        tree.write("proc/7/cmdline", "/usr/sbin/mcelog\0--daemon\0");
        assert_eq!(isolators(&tree.root), []);
        let text = "[page]\n#memory-ce-action = off|soft\nmemory-ce-action = soft # so\n\
            [cache]\ncache-threshold-trigger = cache-error-trigger\n";
        tree.write("etc/mcelog/mcelog.conf", text);
        let found = isolators(&tree.root).pop().unwrap();
        let settings = ["memory-ce-action = soft", "cache-threshold-trigger = cache-error-trigger"];
        assert_eq!(found.settings, settings);
        tree.write("etc/mcelog/mcelog.conf", "[page]\nmemory-ce-action = account\n");
        assert_eq!(isolators(&tree.root), []);
    }

    #[test]
    fn mcelogs_other_file_is_read_where_it_is_started_with_one() {
        for arguments in ["mcelog\0--config-file\0/x\0", "mcelog\0--config-file=/x\0"] {
            let tree = Tree::new();
            tree.write("proc/7/comm", "mcelog\n");
            tree.write("proc/7/cmdline", arguments);
            tree.write("x", "memory-ce-action = hard\n");
            assert!(isolators(&tree.root).pop().unwrap().off.contains(" in /x, "), "{arguments}");
        }
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(text in any::<String>()) {
            settings_of(&text);
        }
    }
}
