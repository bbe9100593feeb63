//! What an admin may write, and what is answered.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use bulkhead_core::decide::{Amount, UePolicy};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tempfile::TempDir;

/// The file that is installed.
const INSTALLED: &str = include_str!("../../../etc/bulkhead.toml");

/// The installed file with every setting in it set. A remark has a blank after
/// its sign, a setting has none.
fn all_set() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting.to_owned(),
        _ => line.to_owned(),
    };
    INSTALLED.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A directory with these files.
fn files(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn check_in(dir: &TempDir) -> Result<Config, ConfigError> {
    check(Some(&dir.path().join("b.toml")))
}

fn accepted(text: &str) -> Config {
    check_in(&files(&[("b.toml", text)])).unwrap()
}

/// What is answered, with the directory left out.
fn refused(files_: &[(&str, &str)]) -> String {
    let dir = files(files_);
    let said = check_in(&dir).unwrap_err().to_string();
    said.replace(dir.path().to_str().unwrap(), "")
}

#[test]
fn the_installed_file_sets_nothing_and_tells_the_built_in_numbers() {
    for text in [INSTALLED.to_owned(), all_set()] {
        assert_eq!(Config { files: vec![], ..accepted(&text) }, Config::default());
    }
}

#[test]
fn the_installed_file_names_every_key_once() {
    let text = all_set();
    let mut named: Vec<(String, String)> = Vec::new();
    for (name, value) in DeTable::parse(&text).unwrap().get_ref() {
        let name = name.get_ref().to_string();
        match value.get_ref().as_table() {
            Some(keys) => {
                let keys = keys.keys().map(|key| key.get_ref().to_string());
                named.extend(keys.map(|key| (name.clone(), key)));
            }
            None => named.push((String::new(), name)),
        }
    }
    named.sort();
    let mut known: Vec<(String, String)> =
        keys().map(|key| (key.section.to_owned(), key.name.to_owned())).collect();
    known.sort();
    assert_eq!(named, known);
}

#[test]
fn every_key_is_set_by_its_name() {
    let config = accepted(
        r#"
        mode = "observe"
        page = { errors = 1, window = "1h30m", ue = "report", hugetlb = 2 }
        row = { errors = 4, columns = 3, window = "500000ms" }
        limits.memory = "64MiB"
        limits.pages_per_day = 0
        limits.cpus = 0x10
        limits.cpus_per_node = 2
        limits.cpus_per_socket = 3
        [cpu]
        errors = 5
        errors_unknown_level = 1_000
        window = "1d"
        max_cache_level = 3
        dedicated = "proceed"
        [watchdog]
        device = "/dev/watchdog1"
        timeout = "2m"
        pretimeout = "0s"
        cpu_limit = "2500ms"
        cpus = "0,2-3"
        starved_limit = "1m"
        on_starved = "stop"
        daemon_limit = "10m"
        on_daemon_silent = "stop"
        files = [{ path = "/run/alive", max_age = "30s" }]
        units = ["postgresql@15-main.service"]
        commands = [{ run = ["/usr/bin/ping", "-c1", "::1"], limit = "5s" }, { run = ["/bin/true"] }]
        check_limit = "90s"
        on_check = "stop"
        shutdown_limit = "90s"
        "#,
    );
    insta::assert_debug_snapshot!((&config.policy, &config.watchdog));
    assert_eq!(config.policy.page.ue, UePolicy::Report);
    assert_eq!(config.policy.limits.memory, Amount::Count(64 << 20));
    assert_eq!(config.policy.limits.cpus, Amount::Count(16));
}

#[test]
fn fragments_win_over_the_file_in_the_order_of_their_names() {
    let dir = files(&[
        ("b.toml", "[page]\nerrors = 5\nwindow = \"1h\""),
        ("conf.d/20.toml", "page.errors = 7"),
        ("conf.d/10.toml", "page.errors = 6\nrow.errors = 9"),
        ("conf.d/90.toml~", "page.errors = 8"),
        ("conf.d/.90.toml", "page.errors = 8"),
    ]);
    let config = check_in(&dir).unwrap();
    assert_eq!(config.policy.page.threshold.errors, 7);
    assert_eq!(config.policy.page.threshold.window, Duration::from_secs(3600));
    assert_eq!(config.policy.row.threshold.errors, 9);
    let names = ["b.toml", "conf.d/10.toml", "conf.d/20.toml"];
    assert_eq!(config.files, names.map(|name| dir.path().join(name)));
}

#[test]
fn only_the_default_file_may_be_missing() {
    let dir = files(&[("conf.d/a.toml", "mode = \"observe\"")]);
    let config = read(&dir.path().join("b.toml"), false).unwrap();
    assert!(config.policy.observe);
    assert_eq!(config.files, [dir.path().join("conf.d/a.toml")]);
    insta::assert_snapshot!(refused(&[]), @"/b.toml: cannot read it: No such file or directory (os error 2)");
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_place_and_choices() {
    let main = r#"
mode = "isolated"
colour = "red"
page = 3
[row]
errors = 0
colums = 2
window = "7 days"
[cpu]
errors = "3"
errors_unknown_level = 4294967296
max_cache_level = 5
dedicated = true
window = 72
[limits]
memory = "64MB"
pages_per_day = -1
cpus = "101%"
cpus_per_node = 0
cpus_per_socket = 0
"#;
    let fragment = r#"[watchdog]
device = "watchdog0"
timeout = "1500ms"
pretimeout = ["10s",
  "20s"]
cpu_limit = "0s"
cpus = "all"
on_starved = "reboot"
files = [{ path = "alive", max_age = "30s" }]
units = ["../etc"]
commands = [{ run = [] }]
check_limit = 60
"#;
    insta::assert_snapshot!(refused(&[("b.toml", main), ("conf.d/w.toml", fragment)]));
}

#[test]
fn what_every_user_may_write_to_is_refused_by_its_name() {
    let dir = files(&[("b.toml", "mode = \"observe\""), ("conf.d/a.toml", "")]);
    for name in ["b.toml", "conf.d", "conf.d/a.toml"] {
        let path = dir.path().join(name);
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o757)).unwrap();
        let told = check_in(&dir).unwrap_err().to_string();
        let remedy = format!("chmod o-w {}", path.display());
        assert!(
            told.starts_with(&format!("{}: ", path.display())) && told.ends_with(&remedy),
            "{told}"
        );
        fs::set_permissions(&path, before).unwrap();
        check_in(&dir).unwrap();
    }
}

#[test]
fn a_device_may_stand_for_no_settings() {
    assert_eq!(check(Some(Path::new("/dev/null"))).unwrap().policy, Policy::default());
}

#[test]
fn a_file_without_an_end_is_not_read_to_it() {
    let told = check(Some(Path::new("/dev/zero"))).unwrap_err().to_string();
    assert!(told.contains("larger than 1 MiB"), "{told}");
}

#[test]
fn text_that_is_no_toml_is_told_with_its_place() {
    insta::assert_snapshot!([
        "[page\nerrors = 2",
        "[page]\nerrors = ",
        "mode = observe",
        "mode = \"a\"\nmode = \"b\"",
        "\u{1b}[31m"
    ]
    .map(|text| refused(&[("b.toml", text)]))
    .join("\n"));
}

#[test]
fn what_is_quoted_is_short_and_safe_for_a_terminal() {
    let text = format!("'\u{9b}31m{}' = 1", "x".repeat(100));
    insta::assert_snapshot!(refused(&[("b.toml", &text)]));
}

#[test]
fn a_pretimeout_that_leaves_no_time_is_told_where_it_was_set() {
    let fragment = ("conf.d/w.toml", "[watchdog]\ntimeout = \"5s\"");
    insta::assert_snapshot!(refused(&[("b.toml", ""), fragment]));
    let both = ("b.toml", "watchdog.pretimeout = \"5s\"");
    assert!(refused(&[both, fragment]).starts_with("/b.toml:1:23: "));
}

#[test]
fn an_unreadable_file_is_told_with_its_path_and_hides_no_other_error() {
    let dir = files(&[("b.toml", "mode = 1")]);
    fs::create_dir(dir.path().join("conf.d/a.toml")).unwrap();
    fs::write(dir.path().join("conf.d/b.toml"), b"\xff").unwrap();
    let said = check_in(&dir).unwrap_err().to_string();
    insta::assert_snapshot!(said.replace(dir.path().to_str().unwrap(), ""));
}

fn layered(text: &str) -> (Config, Vec<Problem>) {
    let (mut config, mut places, mut problems) = (Config::default(), Places::new(), Vec::new());
    let text = Text { path: Path::new("a.toml"), text };
    layer(&text, &mut config, &mut places, &mut problems);
    (config, problems)
}

/// Lines of which some are right, and some nearly.
fn any_lines() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "mode",
        "page",
        "[page]",
        "errors",
        "window",
        "limits.cpus",
        "memory",
        "[[row]]",
        "é",
        "",
    ]);
    let value = prop_oneof![
        Just("\"24h\"".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        "\"[0-9]{1,3}(%|MiB|h|d|é)\"",
        "(?s).{0,20}",
    ];
    prop::collection::vec((key, "( = |=|)", value), 0..6)
        .prop_map(|lines| lines.into_iter().map(|(k, is, v)| format!("{k}{is}{v}\n")).collect())
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in "(?s).{0,40}") {
        layered(&text);
    }

    #[test]
    fn nearly_right_text_is_taken_or_refused_with_a_place_in_it(text in any_lines()) {
        for problem in layered(&text).1 {
            let Problem::Invalid { place, text: said } = problem else { panic!("{problem}") };
            prop_assert!(place.line <= text.matches('\n').count() + 1);
            prop_assert!(!said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn numbers_come_back_as_written(
        errors in 1..u32::MAX, days in 1..3650u64, bytes in 0..1u64 << 20, cpus in 0..u32::MAX,
    ) {
        let (config, problems) = layered(&format!(
            "[page]\nerrors = {errors}\nwindow = \"{days}d\"\n\
             [limits]\nmemory = \"{bytes}KiB\"\ncpus = {cpus}\n"
        ));
        prop_assert!(problems.is_empty());
        let policy = config.policy;
        prop_assert_eq!(policy.page.threshold.errors, errors);
        prop_assert_eq!(policy.page.threshold.window, Duration::from_secs(days * 86_400));
        prop_assert_eq!(policy.limits.memory, Amount::Count(bytes << 10));
        prop_assert_eq!(policy.limits.cpus, Amount::Count(cpus.into()));
    }
}
