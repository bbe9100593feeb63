//! What is shipped beside the programs is at least well-formed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::ErrorKind;
use std::process::Command;

/// Scripts that run with whatever shell is there, busybox's among them.
const SCRIPTS: [&str; 3] = [
    "examples/crash/feed-watchdog",
    "examples/initramfs-tools/hooks/bulkhead-watchdog",
    "examples/initramfs-tools/scripts/init-top/bulkhead-watchdog",
];

/// Runs a program over a file; `None` where there is no such program.
fn accepts(program: &str, arguments: &[&str], file: &str) -> Option<()> {
    match Command::new(program).args(arguments).arg(file).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{program} {file}: {said}");
            Some(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{program}: {error}"),
    }
}

#[test]
fn every_shell_reads_the_scripts() {
    for script in SCRIPTS {
        accepts("sh", &["-n"], script).unwrap();
        accepts("busybox", &["sh", "-n"], script);
        accepts("shellcheck", &["--shell=sh", "--exclude=SC1091"], script);
    }
}

#[test]
fn the_sysctls_are_names_and_numbers() {
    let text = fs::read_to_string("examples/sysctl.d/60-bulkhead-stall.conf").unwrap();
    let set: Vec<(&str, &str)> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(" = ").expect(line))
        .collect();
    let expected = [
        ("kernel.panic", "10"),
        ("kernel.unknown_nmi_panic", "1"),
        ("kernel.softlockup_panic", "1"),
        ("kernel.hardlockup_panic", "1"),
    ];
    assert_eq!(set, expected);
}

#[test]
fn the_debian_package_is_of_the_version_that_cargo_names() {
    let text = fs::read_to_string("debian/changelog").unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert!(text.starts_with(&format!("bulkhead ({version}-")), "{:?}", text.lines().next());
}

#[test]
fn every_licence_that_is_allowed_has_its_text() {
    let table: toml::Table = fs::read_to_string("deny.toml").unwrap().parse().unwrap();
    for licence in table["licenses"]["allow"].as_array().unwrap() {
        let debians = match licence.as_str().unwrap() {
            "MIT" => "Expat".to_owned(),
            name => name.replace(' ', "-").replace("WITH", "with"),
        };
        assert!(fs::exists(format!("debian/licenses/{debians}.txt")).unwrap(), "{debians}");
    }
}

/// `Key=` lines of a unit, with what they are set to.
fn settings(unit: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(unit).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn only_a_stall_keeps_the_watchdog_from_being_started_again() {
    let unit = settings("systemd/bulkhead-watchdog.service");
    let value = |key: &str| {
        let found = unit.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(value("Restart"), Some("always"));
    let stall = bulkhead_watchdog::exit::STALL.to_string();
    assert_eq!(value("RestartPreventExitStatus"), Some(stall.as_str()));
    // It would act on every end, and reboot a host whose configuration has a typo.
    assert_eq!(value("FailureAction"), None);
    // A shutdown is watched until the last process ends.
    assert_eq!((value("DefaultDependencies"), value("Conflicts")), (Some("no"), None));
    let stalled = settings("systemd/bulkhead-stalled.service");
    assert!(stalled.contains(&("FailureAction".to_owned(), "reboot-force".to_owned())));
}

#[test]
fn systemd_and_the_watchdog_mean_the_same_file() {
    let text = fs::read_to_string("systemd/bulkhead-stopping.service").unwrap();
    let named: Vec<&str> = text.match_indices("/run/").map(|(at, _)| &text[at..]).collect();
    assert_eq!(named.len(), 2);
    assert!(named.iter().all(|path| path.starts_with(bulkhead_watchdog::shutdown::STOPPING)));
}
