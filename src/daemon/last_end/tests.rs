//! The last boot looked at, over a made-up host and a state directory.
#![allow(clippy::unwrap_used)]

use super::super::cycle::tests::{cycle, NOW};
use super::*;
use crate::state::{Saved, Store};
use bulkhead_core::model::time::Anchor;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

const SECOND: u64 = 1_000_000_000;

struct Host {
    dir: TempDir,
    cycle: Cycle,
    boots: Vec<BootRow>,
}

impl Host {
    /// After one boot that was last heard of after 1000 s.
    fn new() -> Host {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        let host = Host { cycle: cycle(&mut Saved::default()), dir, boots: vec![row("before")] };
        clean_end::begin(&host.state(), "before").unwrap();
        host
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        for parent in path.ancestors().skip(1).take_while(|p| *p != self.dir.path()) {
            fs::set_permissions(parent, PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    fn started(&self, used: Option<&String>) -> LastEnd {
        let root = Root::new(self.dir.path());
        let window = (Wall(0), Wall(i64::MAX));
        LastEnd::new(root, self.state(), NOW.wall, window, used, true, NOW.at)
    }

    fn look(&mut self, end: &mut LastEnd) -> Ending {
        let found = last_boot::read(&end.root, end.window.0, end.window.1);
        end.look(&found, &mut self.cycle, &mut self.boots, NOW);
        self.boots.last().unwrap().ending.clone().unwrap()
    }

    /// Commits to a store of its own.
    fn saved(&mut self) -> Saved {
        let (mut store, _) = Store::open(&self.state()).unwrap();
        for row in &self.boots {
            store.commit(&crate::state::Change::at(row)).unwrap();
        }
        self.cycle.commit(&mut store).unwrap();
        store.load("a").unwrap()
    }
}

fn row(id: &str) -> BootRow {
    let mut row = BootRow::new(id.to_owned(), Wall(0), Anchor(0), Stamp::default());
    row.reached(Stamp::default(), 1000 * SECOND);
    row
}

fn died(up: u64) -> String {
    format!("<6>[ {up}.000000] sysrq: Trigger a crash\n<0>[ {up}.000001] Kernel panic - not syncing: sysrq triggered crash\n")
}

fn spoke(dir: &Path, boot: &str, actions: &[&str]) {
    let line = |action: &&str| {
        format!(
            r#"{{"time":"2026-11-21T11:00:00Z","boottime_ms":1010000,"check":"cpu","cpu":3,"silent_ms":20000,"limit_ms":20000,"action":"{action}","text":"CPU 3 was not scheduled for 20 s"}}"#
        ) + "\n"
    };
    let path = bulkhead_watchdog::last_words::file(dir, boot);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, actions.iter().map(line).collect::<String>()).unwrap();
}

#[test]
fn a_marked_end_is_clean_and_an_unmarked_one_a_power_loss() {
    let mut host = Host::new();
    let mut end = host.started(None);
    assert_eq!(host.look(&mut end).verdict, Verdict::PowerLoss);
    let now = Moment { up: 1001 * SECOND, wall: Wall(7) };
    clean_end::mark(&host.state(), "before", now).unwrap();
    clean_end::begin(&host.state(), "a").unwrap();
    assert_eq!(host.look(&mut end).verdict, Verdict::Clean);
    let saved = host.saved();
    assert_eq!(saved.boots[0].ending.as_ref().unwrap().verdict, Verdict::Clean);
}

#[test]
fn a_log_is_the_end_of_one_boot_only() {
    let mut host = Host::new();
    host.write("var/crash/1/dmesg.1", &died(1005));
    let mut end = host.started(None);
    assert_eq!(host.look(&mut end).verdict, Verdict::Panic);
    assert_eq!(host.look(&mut end).verdict, Verdict::Panic, "looked at again");
    // The next boot, right after: its own end is another one.
    let used = host.saved().cursors[&LastEnd::key()].clone();
    host.boots.push(row("after"));
    let mut end = host.started(Some(&used));
    assert_eq!(host.look(&mut end).verdict, Verdict::PowerLoss);
}

#[test]
fn an_error_that_firmware_kept_is_the_end_of_one_boot_only() {
    let mut host = Host::new();
    // Some firmware hands out the same record at boot after boot.
    let lines = [
        "BERT: Error records from previous boot:",
        "[Hardware Error]:  Error 0, type: fatal",
        "[Hardware Error]:  fru_text: A2",
        "[Hardware Error]:   section_type: memory error",
    ];
    host.write("dev/kmsg", &lines.map(|line| format!("6,1,1,-;{line}\n")).concat());
    let mut end = host.started(None);
    let ending = host.look(&mut end);
    assert_eq!((ending.verdict, &*ending.rule), (Verdict::HardwareReset, "V11"));
    assert!(ending.cause.ends_with("a memory error in A2"), "{}", ending.cause);
    assert_eq!(host.look(&mut end), ending, "looked at again");
    let used = host.saved().cursors[&LastEnd::key()].clone();
    host.boots.push(row("after"));
    let mut end = host.started(Some(&used));
    assert_eq!(host.look(&mut end).verdict, Verdict::PowerLoss);
}

#[test]
fn a_driver_that_comes_late_changes_the_verdict_and_is_told() {
    let mut host = Host::new();
    let mut end = host.started(None);
    assert_eq!(host.look(&mut end).verdict, Verdict::PowerLoss);
    host.write("sys/class/watchdog/watchdog0/bootstatus", "32\n");
    let due = end.next().unwrap();
    end.turn(&mut host.cycle, &mut host.boots, Stamp { at: Time(due.0 - 1), ..NOW });
    assert_eq!(host.boots[0].ending.as_ref().unwrap().verdict, Verdict::PowerLoss);
    let mut looks = 0;
    while let Some(at) = end.next() {
        end.turn(&mut host.cycle, &mut host.boots, Stamp { at, ..NOW });
        looks += 1;
    }
    assert_eq!(looks, LOOKS.len());
    assert_eq!(host.boots[0].ending.as_ref().unwrap().verdict, Verdict::HardwareReset);
    let (mut store, _) = Store::open(&host.state()).unwrap();
    let events = host.cycle.commit(&mut store).unwrap();
    let verdicts: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::Boot { verdict, .. } => *verdict,
            _ => None,
        })
        .collect();
    assert_eq!(verdicts, [Verdict::PowerLoss, Verdict::HardwareReset]);
}

#[test]
fn the_watchdogs_last_words_name_the_cpu() {
    let mut host = Host::new();
    spoke(&host.state(), "before", &["event", "stop feeding"]);
    let mut end = host.started(None);
    let ending = host.look(&mut end);
    assert_eq!((ending.verdict, ending.cpu), (Verdict::Stall, Some(3)));
    spoke(&host.state(), "before", &["stop feeding", "none"]);
    assert_eq!(host.look(&mut end).verdict, Verdict::PowerLoss, "well again");
}

#[test]
fn of_a_boot_of_an_older_version_nothing_is_claimed() {
    let mut host = Host::new();
    host.boots[0].up = 0;
    let mut end = host.started(None);
    end.look(&LastBoot::default(), &mut host.cycle, &mut host.boots, NOW);
    assert_eq!(host.boots[0].ending, None);
}
