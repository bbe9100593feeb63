//! Where the last words are found, and whose they must be.
#![allow(clippy::unwrap_used)]

use super::super::testing::Tree;
use super::*;
use proptest::prelude::*;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, UNIX_EPOCH};

/// The machine check of the tests.
const DIED: i64 = 1_790_000_000;

fn death(page: u64, time: i64) -> String {
    format!(
        "<0>[   42.100000] mce: [Hardware Error]: CPU 1: Machine Check Exception: 5 Bank 9: be00000000000090\n\
         <0>[   42.100002] mce: [Hardware Error]: TSC 1f ADDR {page:x} MISC 8c \n\
         <0>[   42.100003] mce: [Hardware Error]: PROCESSOR 0:50654 TIME {time} SOCKET 0 APIC 1 microcode 1\n\
         <0>[   42.100005] Kernel panic - not syncing: Fatal local machine check\n"
    )
}

fn put(tree: &Tree, file: &str, text: &str, changed: i64) {
    tree.write(file, text);
    let time = UNIX_EPOCH + Duration::from_secs(changed as u64);
    let path = tree.root.path(file);
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    for parent in path.ancestors().skip(1).take(4) {
        let _ = fs::set_permissions(parent, Permissions::from_mode(0o755));
    }
}

fn wall(seconds: i64) -> Wall {
    Wall(seconds * 1_000_000_000)
}

/// Looks from an hour before the end to an hour after.
fn look(tree: &Tree) -> LastBoot {
    read(&tree.root, wall(DIED - 3600), wall(DIED + 3600))
}

fn pages(found: &LastBoot) -> Vec<u64> {
    let addr = |trace: &Trace| match &trace.record {
        Record::Mce(mce) => mce.addr,
        Record::Extlog(event) => event.pa,
        _ => 0,
    };
    found.traces.iter().map(addr).collect()
}

#[test]
fn a_host_without_any_of_it_has_nothing_to_tell() {
    let found = look(&Tree::new());
    assert!(found.traces.is_empty() && found.notes.is_empty(), "{found:?}");
}

#[test]
fn every_place_is_looked_at() {
    for (place, source) in [
        ("sys/fs/pstore/dmesg-erst-7688041938741231617", Source::Pstore),
        ("var/lib/systemd/pstore/7688041938741/dmesg.txt", Source::Pstore),
        ("var/lib/systemd/pstore/1790000/001/dmesg.txt", Source::Pstore),
        ("var/crash/202609211500/dmesg.202609211500", Source::CrashDump),
        ("var/crash/127.0.0.1-2026-09-21-15:00:00/vmcore-dmesg.txt", Source::CrashDump),
    ] {
        let tree = Tree::new();
        put(&tree, place, &death(0x1234_5000, DIED), DIED + 60);
        let found = look(&tree);
        assert_eq!(pages(&found), [0x1234_5000], "{place}: {found:?}");
        let trace = &found.traces[0];
        assert_eq!((trace.source, trace.time), (source, Some(wall(DIED))), "{place}");
        assert_eq!(trace.path, std::path::Path::new("/").join(place));
    }
}

#[test]
fn the_parts_of_a_dump_are_joined_oldest_first() {
    let tree = Tree::new();
    let text = death(0x1234_5000, DIED);
    // In the middle of the record.
    let cut = text.find("<0>[   42.100003]").unwrap();
    let (older, newer) = text.split_at(cut);
    let part = |n: u32| format!("sys/fs/pstore/dmesg-erst-76880419387412316{n:02}");
    put(&tree, &part(17), &format!("Panic#2 Part1\n{newer}"), DIED);
    put(&tree, &part(18), &format!("Panic#2 Part2\n{older}"), DIED);
    assert_eq!(pages(&look(&tree)), [0x1234_5000]);
    // Not with those of another dump.
    put(&tree, &part(18), &format!("Oops#1 Part2\n{older}"), DIED);
    let found = look(&tree);
    assert!(found.traces.is_empty() && found.notes.len() == 1, "{found:?}");
}

#[test]
fn one_error_in_many_places_is_one() {
    let tree = Tree::new();
    let text = death(0x1234_5000, DIED);
    let dmesg = format!("Panic#1 Part1\n{text}");
    put(&tree, "sys/fs/pstore/dmesg-erst-7688041938741231617", &dmesg, DIED);
    put(&tree, "var/lib/systemd/pstore/7688041938741/dmesg-erst-7688041938741231617", &dmesg, DIED);
    put(
        &tree,
        "var/lib/systemd/pstore/7688041938741/dmesg.txt",
        &format!("dmesg-erst-1:\n{dmesg}"),
        DIED,
    );
    put(&tree, "var/crash/1/dmesg.1", &text.replace("<0>", ""), DIED);
    let banks = "\
6,1,1,-;mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 9: be00000000000090
6,1,1,-;mce: [Hardware Error]: TSC 0 ADDR 12345000 MISC 8c
6,1,1,-;mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1790000099 SOCKET 0 APIC 1 microcode 1
";
    put(&tree, "dev/kmsg", banks, DIED);
    let found = look(&tree);
    assert_eq!((pages(&found), found.traces[0].source), (vec![0x1234_5000], Source::Pstore));
}

#[test]
fn older_ends_are_those_of_other_boots() {
    let tree = Tree::new();
    put(&tree, "var/crash/1/dmesg.1", &death(0x1000, DIED), DIED - 7200);
    // Copied since, as systemd does with what nobody looked at.
    put(&tree, "var/crash/2/dmesg.2", &death(0x2000, DIED - 7200), DIED);
    put(&tree, "var/crash/3/dmesg.3", &death(0x3000, DIED + 7200), DIED);
    assert!(pages(&look(&tree)).is_empty());
}

#[test]
fn what_anybody_may_have_written_is_not_believed() {
    let tree = Tree::new();
    let file = "var/crash/1/dmesg.1";
    put(&tree, file, &death(0x1000, DIED), DIED);
    assert_eq!(pages(&look(&tree)), [0x1000]);
    fs::set_permissions(tree.root.path(file), Permissions::from_mode(0o666)).unwrap();
    assert!(pages(&look(&tree)).is_empty());
    fs::set_permissions(tree.root.path(file), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(tree.root.path("var/crash/1"), Permissions::from_mode(0o777)).unwrap();
    assert!(pages(&look(&tree)).is_empty());
    // Nor what a link leads to.
    put(&tree, "elsewhere", &death(0x2000, DIED), DIED);
    fs::create_dir(tree.root.path("var/crash/2")).unwrap();
    std::os::unix::fs::symlink(tree.root.path("elsewhere"), tree.root.path("var/crash/2/dmesg.2"))
        .unwrap();
    assert!(pages(&look(&tree)).is_empty());
}

#[test]
fn a_dump_that_the_kernel_could_not_read_is_told() {
    let tree = Tree::new();
    put(&tree, "sys/fs/pstore/dmesg-erst-1.enc.z", "\u{1}", DIED);
    let found = look(&tree);
    assert!(found.traces.is_empty() && found.notes[0].contains("dmesg-erst-1.enc.z"), "{found:?}");
}

#[test]
fn of_a_long_log_the_end_is_read() {
    let tree = Tree::new();
    let noise = "[    1.000000] eth0: link up\n".repeat(300_000);
    let text = format!("{noise}{}", death(0x1000, DIED));
    put(&tree, "var/crash/1/vmcore-dmesg.txt", &text, DIED);
    assert_eq!(pages(&look(&tree)), [0x1000]);
}

#[test]
fn one_end_takes_few_pages_however_many_are_told() {
    let tree = Tree::new();
    for n in 1..=40u64 {
        put(&tree, &format!("var/lib/systemd/pstore/{n}/dmesg.txt"), &death(n << 12, DIED), DIED);
    }
    let found = look(&tree);
    assert_eq!((found.traces.len(), found.notes.len()), (MOST, 1), "{:?}", found.notes);
}

proptest! {
    #[test]
    fn no_text_is_too_bad(text in "\\PC*") {
        parse_anything(&text);
    }

    #[test]
    fn nor_is_a_death_with_anything_changed(
        at in 0usize..600, cut in 0usize..600, with in "[ -~\n]{0,12}",
    ) {
        let mut text = death(0x1234_5000, DIED);
        let at = at.min(text.len());
        let end = at.saturating_add(cut).min(text.len());
        text.replace_range(at..end, &with);
        parse_anything(&text);
    }
}
