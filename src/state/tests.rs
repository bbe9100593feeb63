//! The store, told as stories.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod memory;

use super::*;
use crate::event::Body;
use bulkhead_core::model::*;
use jiff::Timestamp;
use proptest::prelude::*;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

fn boot(id: &str, now: u64) -> BootRow {
    let last = Stamp { at: Time(now), wall: Wall(now as i64) };
    BootRow { restored: true, ..BootRow::new(id.into(), Wall(0), Anchor(7), last) }
}

fn event(n: i64) -> Event {
    let time = Timestamp::from_second(n).unwrap();
    Event { time, body: Body::Config { what: format!("event {n}") } }
}

fn isolation(target: Target, state: IsolationState, since: u64) -> Isolation {
    Isolation {
        target,
        state,
        by: By::Bulkhead,
        since: Stamp { at: Time(since), wall: Wall(0) },
        taken: None,
        why: "two corrected errors".into(),
        fault: None,
        release: None,
        next_try: None,
        failures: 0,
        failing_since: None,
        asked: None,
        ue: None,
        together: vec![],
        bound: vec![],
        urgency: Urgency::default(),
        home: Home::Unknown,
        restores: false,
        unreadable: false,
    }
}

fn page(n: u64) -> Target {
    Target::Page(Pfn(n))
}

/// Evidence of memory, in the configuration `memory`.
fn evidence(memory: u128, key: &str) -> EvidenceName {
    let memory = Some(MemoryConfigId(Uuid::from_u128(memory)));
    EvidenceName { memory, key: key.into() }
}

impl<const N: usize> EvidenceChanges for [(EvidenceName, Option<String>); N] {
    fn rows(&self) -> EvidenceRows<'_> {
        Box::new(self.iter().cloned())
    }
}

/// Evidence of what is not memory.
fn cpu() -> EvidenceName {
    EvidenceName { memory: None, key: "core:2".into() }
}

fn config(bios: &str) -> MemoryConfig {
    MemoryConfig { bios: Some(bios.into()), ..MemoryConfig::default() }
}

fn attempt(fault: u128, target: Target, n: u64) -> Attempt {
    Attempt {
        fault: Some(Uuid::from_u128(fault)),
        target,
        time: Stamp { at: Time(n), wall: Wall(0) },
        asked: "0x8000000 to soft_offline_page".into(),
        answered: "EBUSY".into(),
    }
}

fn fault(id: u128, state: FaultState) -> Fault {
    Fault {
        cover: None,
        home: Home::Unknown,
        id: Uuid::from_u128(id),
        component: Component::Page { pfn: Pfn(0x8000) },
        rule: Rule { id: "page-ce".into(), numbers: vec![("errors".into(), "2".into())] },
        severity: Severity::Minor,
        state,
        opened: Stamp::default(),
        first: Stamp::default(),
        last: Stamp::default(),
        errors: 2,
        fru: None,
        evidence: vec![],
        decision: "Take it.".into(),
        summary: "2 corrected errors".into(),
        advice: "None needed.".into(),
    }
}

fn open(dir: &Path) -> Store {
    let (store, notes) = Store::open(dir).unwrap();
    assert_eq!(notes, []);
    store
}

/// A store in a fresh directory, and the directory.
fn fresh() -> (Store, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (open(dir.path()), dir)
}

/// The one note of opening `dir`, and where the file went.
fn set_aside(dir: &Path) -> (Store, Why, PathBuf) {
    let (store, notes) = Store::open(dir).unwrap();
    match notes.as_slice() {
        [Note::SetAside { why, kept, .. }] => (store, *why, kept.clone()),
        other => panic!("{other:?}"),
    }
}

fn sqlite(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let (mut store, dir) = fresh();
    let now = boot("a", 100);
    let lines = [isolation(page(1), IsolationState::Isolated, 5)];
    let count = SourceCount {
        source: "ras:mc_event".into(),
        via: "bpf".into(),
        reports: u64::MAX,
        lost: 1,
    };
    let memory = config("a");
    let change = Change {
        machine: Some("{}"),
        isolations: &lines,
        faults: &[fault(1, FaultState::Open)],
        attempts: &[attempt(1, page(1), 1), attempt(2, page(1), 2)],
        events: &[event(1)],
        evidence: &[(evidence(0, "page:1"), Some("[1]".into())), (cpu(), Some("[2]".into()))],
        memory: Some(&memory),
        counts: std::slice::from_ref(&count),
        cursors: &[("bpf:generation".into(), "4".into())],
        ..Change::at(&now)
    };
    store.commit(&change).unwrap();
    let later = boot("a", 200);
    store.commit(&Change { evidence: &[(cpu(), None)], ..Change::at(&later) }).unwrap();
    drop(store);

    let mut store = open(dir.path());
    let mut saved = store.load("a").unwrap();
    store.load_evidence(MemoryConfigId::default(), &mut saved).unwrap();
    let expected = Saved {
        ledger: lines.into_iter().collect(),
        faults: vec![fault(1, FaultState::Open)],
        evidence: vec![("page:1".into(), "[1]".into())],
        counts: vec![count],
        cursors: [("bpf:generation".into(), "4".into())].into(),
        last: Some(Time(200)),
        memory: vec![(config("a").id(), config("a"))],
        machine: Some("{}".into()),
        machine_before: None,
        boot: Some(later.clone()),
        boots: vec![later],
        notes: vec![],
    };
    assert_eq!(saved, expected);
    assert_eq!(store.events(None, 0, 10).unwrap().events, [event(1)]);
    assert_eq!(store.attempts(Uuid::from_u128(1)).unwrap(), [attempt(1, page(1), 1)]);
}

#[test]
fn another_boot_keeps_isolations_and_file_places_but_not_the_counts_of_the_kernel() {
    let (mut store, _dir) = fresh();
    let first = boot("a", 500);
    let change = Change {
        machine: Some("{}"),
        isolations: &[isolation(page(1), IsolationState::Isolated, 5)],
        counts: &[SourceCount { source: "s".into(), via: "bpf".into(), reports: 1, lost: 0 }],
        cursors: &[
            ("bpf".into(), "1".into()),
            ("file:/a".into(), "2".into()),
            ("last-boot:seen".into(), "3".into()),
        ],
        ..Change::at(&first)
    };
    store.commit(&change).unwrap();
    let saved = store.load("b").unwrap();
    assert_eq!((saved.boot, saved.machine), (None, None));
    assert_eq!(saved.machine_before.as_deref(), Some("{}"));
    assert_eq!((saved.ledger.len(), saved.counts.len()), (1, 0));
    let lasting = [("file:/a".into(), "2".into()), ("last-boot:seen".into(), "3".into())];
    assert_eq!(saved.cursors, lasting.into());
    assert_eq!(saved.machine_before.as_deref(), Some("{}"));

    // A clock that went back does not take the last moment back with it.
    store.commit(&Change::at(&boot("b", 300))).unwrap();
    let saved = store.load("b").unwrap();
    assert_eq!(saved.last, Some(Time(500)));
    assert_eq!(saved.boots.iter().map(|b| b.boot_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    // Of the boot before, or of none.
    assert_eq!(store.load("c").unwrap().machine_before, None);
}

#[test]
fn a_forgotten_line_is_gone() {
    let (mut store, _dir) = fresh();
    let now = boot("a", 1);
    let lines = [1, 2].map(|n| isolation(page(n), IsolationState::Wanted, n));
    store.commit(&Change { isolations: &lines, ..Change::at(&now) }).unwrap();
    store.commit(&Change { removed: &[page(1)], ..Change::at(&now) }).unwrap();
    assert!(store.load("a").unwrap().ledger.values().map(|line| line.target).eq([page(2)]));
}

#[test]
fn only_root_can_read_it() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("bulkhead");
    let _store = open(&dir);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in fs::read_dir(&dir).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_second_daemon_is_told_who_holds_the_directory() {
    let (first, dir) = fresh();
    let error = Store::open(dir.path()).err().unwrap().to_string();
    let expected = format!(
        "the state directory {} is in use by process {}: stop that one, or choose another with \
         --state-dir",
        dir.path().display(),
        std::process::id()
    );
    assert_eq!(error, expected);
    drop(first);
    open(dir.path());
}

#[test]
fn a_file_in_place_of_the_directory_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("file");
    fs::write(&path, "precious").unwrap();
    let error = Store::open(&path).err().unwrap();
    assert!(matches!(error, StateError::NotADirectory { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_directory_that_cannot_be_written_is_named_with_the_errno() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write anywhere, so ask as nobody: the file system's identity
    // belongs to the thread.
    let error = std::thread::spawn(move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        Store::open(&path).err().unwrap().to_string()
    });
    let database = dir.path().join("bulkhead.db");
    let expected = format!("cannot open {}: Permission denied (os error 13)", database.display());
    assert_eq!(error.join().unwrap(), expected);
}

#[test]
fn a_directory_that_others_may_write_to_is_neither_written_nor_believed() {
    let (mut store, dir) = fresh();
    store.commit(&Change::at(&boot("a", 1))).unwrap();
    drop(store);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let (mut store, notes) = Store::open_or_wait(dir.path()).unwrap();
    let [Note::NotKept { why }] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(why.contains("is not ours alone"), "{why}");
    assert!(matches!(store.load("a"), Err(StateError::NotOurs { .. })));
    assert!(matches!(store.reopen(), Err(StateError::NotOurs { .. })));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    store.reopen().unwrap();
}

#[test]
fn links_in_the_directory_lead_nowhere() {
    for (name, link) in [
        ("bulkhead.db", fs::hard_link as fn(PathBuf, PathBuf) -> std::io::Result<()>),
        ("bulkhead.db", std::os::unix::fs::symlink),
        ("lock", fs::hard_link),
        ("lock", std::os::unix::fs::symlink),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        fs::set_permissions(&precious, fs::Permissions::from_mode(0o640)).unwrap();
        let state = dir.path().join("state");
        fs::create_dir(&state).unwrap();
        link(precious.clone(), state.join(name)).unwrap();
        let (mut store, _) = Store::open(&state).unwrap();
        store.commit(&Change::at(&boot("a", 1))).unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(fs::metadata(&precious).unwrap().permissions().mode() & 0o777, 0o640);
    }
}

#[test]
fn garbage_is_set_aside_whole() {
    let dir = tempfile::tempdir().unwrap();
    let garbage = vec![0x5a; 10_000];
    fs::write(dir.path().join("bulkhead.db"), &garbage).unwrap();
    let (mut store, why, kept) = set_aside(dir.path());
    assert_eq!(why, Why::Corrupt);
    assert!(kept.file_name().unwrap().to_str().unwrap().starts_with("bulkhead.db.corrupt-"));
    assert_eq!(fs::read(kept).unwrap(), garbage);
    store.commit(&Change::at(&boot("a", 1))).unwrap();
}

#[test]
fn a_second_file_set_aside_does_not_replace_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Vec::new();
    for text in ["first garbage", "second garbage", "third garbage"] {
        fs::write(dir.path().join("bulkhead.db"), text.repeat(100)).unwrap();
        kept.push((set_aside(dir.path()).2, text.repeat(100)));
    }
    for (path, text) in kept {
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }
}

#[test]
fn another_applications_file_is_set_aside_with_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bulkhead.db");
    sqlite(
        &path,
        "PRAGMA journal_mode=WAL; CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)",
    );
    // A writer that was killed leaves its log behind.
    let wal = dir.path().join("bulkhead.db-wal");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("INSERT INTO theirs VALUES (2)").unwrap();
    let before = [fs::read(&path).unwrap(), fs::read(&wal).unwrap()];
    drop(db);
    fs::write(&path, &before[0]).unwrap();
    fs::write(&wal, &before[1]).unwrap();

    let (_store, why, kept) = set_aside(dir.path());
    assert_eq!(why, Why::Foreign);
    let kept_wal = PathBuf::from(format!("{}-wal", kept.display()));
    assert!([fs::read(&kept).unwrap(), fs::read(kept_wal).unwrap()] == before, "as it was");
    let theirs = rusqlite::Connection::open(kept).unwrap();
    let sum: i64 = theirs.query_row("SELECT sum(a) FROM theirs", [], |r| r.get(0)).unwrap();
    assert_eq!(sum, 3);
}

#[test]
fn a_newer_schema_is_set_aside_as_it_was() {
    let (mut store, dir) = fresh();
    store.commit(&Change { events: &[event(1)], ..Change::at(&boot("a", 1)) }).unwrap();
    drop(store);
    let path = dir.path().join("bulkhead.db");
    sqlite(&path, "PRAGMA user_version = 99; ALTER TABLE event RENAME TO happening");
    let before = fs::read(&path).unwrap();
    let (mut store, why, kept) = set_aside(dir.path());
    assert_eq!(why, Why::Newer);
    assert_eq!(fs::read(kept).unwrap(), before);
    assert_eq!(store.events(None, 0, 10).unwrap(), EventPage::default());
}

#[test]
fn a_damaged_page_or_a_missing_table_is_found_at_the_start() {
    let (mut store, dir) = fresh();
    let events: Vec<Event> = (0..1000).map(event).collect();
    store.commit(&Change { events: &events, ..Change::at(&boot("a", 1)) }).unwrap();
    drop(store);
    let path = dir.path().join("bulkhead.db");
    let mut bytes = fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes[half..half + 4096].fill(0xff);
    fs::write(&path, bytes).unwrap();
    assert_eq!(set_aside(dir.path()).1, Why::Corrupt);

    sqlite(&path, "DROP TABLE evidence");
    assert_eq!(set_aside(dir.path()).1, Why::Corrupt);
}

#[test]
fn a_daemon_killed_before_its_first_commit_left_a_file_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    sqlite(&dir.path().join("bulkhead.db"), "PRAGMA journal_mode=WAL");
    open(dir.path());
}

#[test]
fn an_unreadable_row_is_counted_and_left_while_the_rest_loads() {
    let (mut store, dir) = fresh();
    let lines = [1, 2, 3].map(|n| isolation(page(n), IsolationState::Isolated, n));
    let now = boot("a", 1);
    store
        .commit(&Change { isolations: &lines, events: &[event(1), event(2)], ..Change::at(&now) })
        .unwrap();
    drop(store);
    let spoil = "UPDATE isolation SET body = '{\"target\":7}' WHERE target <> 'page:2';
                 UPDATE event SET body = CAST(x'ff' AS TEXT) WHERE id = 1";
    sqlite(&dir.path().join("bulkhead.db"), spoil);

    let mut store = open(dir.path());
    let saved = store.load("a").unwrap();
    assert!(saved.ledger.values().map(|line| line.target).eq([page(2)]));
    let [note @ Note::UnreadableRows { table: "isolation", rows: 2, .. }] = saved.notes.as_slice()
    else {
        panic!("{:?}", saved.notes)
    };
    insta::assert_snapshot!(note);
    let page = store.events(None, 0, 10).unwrap();
    assert_eq!((page.events, page.last, page.unreadable), (vec![event(2)], 2, 1));
    // Still there.
    assert_eq!(store.load("a").unwrap().notes.len(), 1);
}

#[test]
fn events_are_paged_without_gap_or_repeat() {
    let (mut store, _dir) = fresh();
    let now = boot("a", 1);
    let mut seen = Vec::new();
    let mut after = 0;
    for round in 0..10 {
        let new: Vec<Event> = (round * 10..round * 10 + 7).map(event).collect();
        store.commit(&Change { events: &new, ..Change::at(&now) }).unwrap();
        let page = store.events(None, after, 5).unwrap();
        assert!(page.more);
        after = page.last;
        seen.extend(page.events);
    }
    while let page @ EventPage { more: true, .. } = store.events(None, after, 5).unwrap() {
        after = page.last;
        seen.extend(page.events);
    }
    seen.extend(store.events(None, after, 5).unwrap().events);
    let all: Vec<Event> = (0..100).filter(|n| n % 10 < 7).map(event).collect();
    assert_eq!(seen, all);
    let end = store.events(None, after + 100, 5).unwrap();
    assert_eq!(end, EventPage { last: after + 100, ..EventPage::default() });
}

#[test]
fn events_since_a_time_leave_out_earlier_ones_wherever_they_stand() {
    let (mut store, _dir) = fresh();
    // the clock was set back between 30 and 15
    let events = [10, 20, 30, 15, 25].map(event);
    store.commit(&Change { events: &events, ..Change::at(&boot("a", 1)) }).unwrap();
    let since = Wall(20_000_000_000);
    let page = store.events(Some(since), 0, 10).unwrap();
    assert_eq!(page.events, [20, 30, 25].map(event));
    let page = store.events(Some(Wall(31_000_000_000)), 0, 10).unwrap();
    assert_eq!(page, EventPage::default());
}

#[test]
fn of_the_events_the_newest_are_kept() {
    let (mut store, _dir) = fresh();
    let now = boot("a", 1);
    let some: Vec<Event> = (0..MAX_EVENTS / 2 + 5).map(event).collect();
    store.commit(&Change { events: &some, ..Change::at(&now) }).unwrap();
    store.commit(&Change { events: &some, ..Change::at(&now) }).unwrap();
    let page = store.events(None, 0, MAX_EVENTS as u32 + 100).unwrap();
    assert_eq!(page.events.len() as i64, MAX_EVENTS);
    assert_eq!((&page.events[0], page.last), (&event(10), MAX_EVENTS + 10));
}

#[test]
fn of_the_attempts_on_one_target_the_newest_are_kept() {
    let (mut store, _dir) = fresh();
    let many: Vec<Attempt> = (0..200).map(|n| attempt(1, page(1), n)).collect();
    let now = boot("a", 1);
    store.commit(&Change { attempts: &[attempt(1, page(2), 0)], ..Change::at(&now) }).unwrap();
    store.commit(&Change { attempts: &many, ..Change::at(&now) }).unwrap();
    let kept = store.attempts(Uuid::from_u128(1)).unwrap();
    assert_eq!(kept[0], attempt(1, page(2), 0));
    assert_eq!(kept[1..], many[136..]);
}

#[test]
fn what_is_given_back_is_forgotten_after_a_while_and_what_is_taken_never() {
    let (mut store, _dir) = fresh();
    let hour = 3_600_000_000_000;
    let released: Vec<_> =
        (0..5_000).map(|n| isolation(page(n), IsolationState::Released, n)).collect();
    let taken = isolation(page(9_999), IsolationState::Isolated, 0);
    let mut lines = released.clone();
    lines.push(taken);
    store.commit(&Change { isolations: &lines, ..Change::at(&boot("a", 23 * hour)) }).unwrap();
    assert_eq!(store.load("a").unwrap().ledger.len(), 5_001, "still count against the day");
    store.commit(&Change { isolations: &lines, ..Change::at(&boot("a", 25 * hour)) }).unwrap();
    let ledger = store.load("a").unwrap().ledger;
    assert_eq!(ledger.len(), 4_097);
    assert!(ledger.get(&page(9_999)).is_some() && ledger.get(&page(903)).is_none());
}

#[test]
fn closed_faults_are_bounded_and_open_ones_are_not() {
    let (mut store, _dir) = fresh();
    let open: Vec<_> = (0..1_500).map(|n| fault(n, FaultState::Escalated)).collect();
    store.commit(&Change { faults: &open, ..Change::at(&boot("a", 1)) }).unwrap();
    for (at, range) in [(2, 2_000..2_600), (3, 3_000..3_600)] {
        let closed: Vec<_> = range.map(|n| fault(n, FaultState::Replaced)).collect();
        store.commit(&Change { faults: &closed, ..Change::at(&boot("a", at)) }).unwrap();
    }
    let faults = store.load("a").unwrap().faults;
    let of = |state| faults.iter().filter(|f| f.state == state).count();
    assert_eq!((of(FaultState::Escalated), of(FaultState::Replaced)), (1_500, 1_000));
    assert!((3_000..3_600).all(|n| faults.contains(&fault(n, FaultState::Replaced))));
}

#[test]
fn what_a_fault_grew_by_is_read_with_it_and_goes_when_it_is_written_whole() {
    let (mut store, _dir) = fresh();
    let grown = |n, at| Growth {
        fault: fault(n, FaultState::Open).id,
        errors: 70 + at,
        last: Stamp { at: Time(at), wall: Wall(-5) },
    };
    let faults = [1, 2, 3].map(|n| fault(n, FaultState::Open));
    store.commit(&Change { faults: &faults, ..Change::at(&boot("a", 1)) }).unwrap();
    let all = [grown(1, 5), grown(2, 5), grown(3, 5)];
    store.commit(&Change { grown: &all, ..Change::at(&boot("a", 2)) }).unwrap();
    store.commit(&Change { grown: &[grown(1, 6)], ..Change::at(&boot("a", 3)) }).unwrap();
    let whole = [fault(2, FaultState::Escalated)];
    let forgotten = [faults[2].id];
    let now = boot("a", 4);
    let change = Change { faults: &whole, forgotten: &forgotten, ..Change::at(&now) };
    store.commit(&change).unwrap();
    let read = store.load("a").unwrap().faults;
    let grew = Fault { errors: 76, last: grown(1, 6).last, ..faults[0].clone() };
    assert_eq!(read.len(), 2);
    assert!(read.contains(&grew) && read.contains(&whole[0]), "{read:?}");
    let db = &store.file().unwrap().db;
    let rows: i64 = db.query_row("SELECT count(*) FROM growth", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn a_commit_that_found_no_space_changes_nothing_and_the_next_one_succeeds() {
    let (mut store, _dir) = fresh();
    let now = boot("a", 1);
    store.commit(&Change { events: &[event(1)], ..Change::at(&now) }).unwrap();
    let limit = |store: &mut Store, pages: i64| {
        let db = &store.file().unwrap().db;
        db.pragma_update_and_check(None, "max_page_count", pages, |r| r.get::<_, i64>(0)).unwrap();
    };
    limit(&mut store, 1); // SQLite makes it the present size
    let many: Vec<Event> = (2..5_000).map(event).collect();
    let lines = [isolation(page(1), IsolationState::Wanted, 1)];
    let change = Change { isolations: &lines, events: &many, ..Change::at(&now) };
    let error = store.commit(&change).unwrap_err();
    assert!(!error.must_reopen());
    assert!(error.to_string().ends_with("database or disk is full"), "{error}");
    assert!(store.load("a").unwrap().ledger.is_empty());

    limit(&mut store, 1 << 30);
    store.commit(&change).unwrap();
    assert_eq!(store.load("a").unwrap().ledger.len(), 1);
    assert_eq!(store.events(None, 0, 10_000).unwrap().events.len(), 4_999);
}

/// No log can be made in `dir`, and so no database opened, whoever tries.
fn spoil(dir: &Path) {
    fs::create_dir(dir.join("bulkhead.db-wal")).unwrap();
}

fn mend(dir: &Path) {
    fs::remove_dir(dir.join("bulkhead.db-wal")).unwrap();
}

#[test]
fn a_directory_that_cannot_be_used_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    spoil(dir.path());
    let (mut store, notes) = Store::open_or_wait(dir.path()).unwrap();
    assert!(matches!(notes.as_slice(), [Note::NotKept { .. }]), "{notes:?}");
    let now = boot("a", 1);
    let error = store.commit(&Change::at(&now)).unwrap_err();
    assert!(matches!(error, StateError::NotOpen { .. }) && error.must_reopen(), "{error}");
    assert!(store.reopen().is_err());
    mend(dir.path());
    assert_eq!(store.reopen().unwrap(), []);
    store.commit(&Change::at(&now)).unwrap();
}

#[test]
fn a_directory_that_is_not_there_yet_is_made_later() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("not/yet");
    let (mut store, notes) = Store::open_or_wait(&dir).unwrap();
    assert_eq!((notes.len(), store.load("a").unwrap()), (1, Saved::default()));
    fs::create_dir(parent.path().join("not")).unwrap();
    store.reopen().unwrap();
    assert!(matches!(Store::open_or_wait(&dir), Err(StateError::InUse { .. })));
}

#[test]
fn one_daemon_holds_a_directory_that_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    spoil(dir.path());
    // Nor can the file be made that says who holds it.
    fs::create_dir(dir.path().join("lock")).unwrap();
    let first = Store::open_or_wait(dir.path()).unwrap();
    let second = Store::open_or_wait(dir.path());
    assert!(matches!(second, Err(StateError::InUse { pid: None, .. })));
    drop(first);
    Store::open_or_wait(dir.path()).unwrap();
}

/// A line in the log of a database that somebody without rights finds like
/// this, and what they make of it.
fn found_with(mode: u32) -> (TempDir, Store, Result<Saved, StateError>) {
    let (mut store, dir) = fresh();
    let lines = [isolation(page(1), IsolationState::Isolated, 5)];
    store.commit(&Change { isolations: &lines, ..Change::at(&boot("a", 1)) }).unwrap();
    let log = fs::read(dir.path().join("bulkhead.db-wal")).unwrap();
    drop(store);
    fs::write(dir.path().join("bulkhead.db-wal"), log).unwrap();
    let file = dir.path().join("bulkhead.db");
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let path = dir.path().to_owned();
    let found = std::thread::spawn(move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        let (mut store, notes) = Store::open_or_wait(&path).unwrap();
        assert!(matches!(notes.as_slice(), [Note::NotKept { .. }]), "{notes:?}");
        let saved = store.load("a");
        (store, saved)
    });
    let (store, saved) = found.join().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    (dir, store, saved)
}

#[test]
fn a_database_that_cannot_be_written_is_read_from_a_copy() {
    let (_dir, mut store, saved) = found_with(0o444);
    assert_eq!(saved.unwrap().ledger.len(), 1);
    assert_eq!(store.reopen().unwrap(), [], "it was read, and is written to");
    store.commit(&Change::at(&boot("a", 1))).unwrap();
    assert_eq!(store.load("a").unwrap().ledger.len(), 1);
}

#[test]
fn a_database_that_was_never_read_is_set_aside_and_not_written_over() {
    let (_dir, mut store, saved) = found_with(0o000);
    assert!(saved.is_err());
    let notes = store.reopen().unwrap();
    assert!(matches!(notes.as_slice(), [Note::SetAside { why: Why::Unread, .. }]), "{notes:?}");
    store.commit(&Change::at(&boot("a", 1))).unwrap();
    assert_eq!(store.load("a").unwrap().ledger.len(), 0);
}

#[test]
fn a_fault_that_found_no_room_is_gone() {
    let (mut store, _dir) = fresh();
    let now = boot("a", 1);
    let faults = [fault(1, FaultState::Open), fault(2, FaultState::Open)];
    store.commit(&Change { faults: &faults, ..Change::at(&now) }).unwrap();
    store.commit(&Change { forgotten: &[faults[0].id], ..Change::at(&now) }).unwrap();
    assert_eq!(store.load("a").unwrap().faults, faults[1..]);
}

#[test]
fn a_write_lock_held_by_somebody_else_delays_but_does_not_break() {
    let (mut store, dir) = fresh();
    let admin = rusqlite::Connection::open(dir.path().join("bulkhead.db")).unwrap();
    admin.execute_batch("BEGIN IMMEDIATE").unwrap();
    let change = boot("a", 1);
    let error = store.commit(&Change::at(&change)).unwrap_err();
    assert!(!error.must_reopen(), "{error}");
    admin.execute_batch("ROLLBACK").unwrap();
    store.commit(&Change::at(&change)).unwrap();
}

#[test]
fn a_file_removed_or_replaced_underneath_is_reported() {
    for name in ["bulkhead.db", "bulkhead.db-wal"] {
        let (mut store, dir) = fresh();
        let now = boot("a", 1);
        store.commit(&Change::at(&now)).unwrap();
        fs::remove_file(dir.path().join(name)).unwrap();
        let error = store.commit(&Change::at(&now)).unwrap_err();
        assert!(matches!(error, StateError::Gone { .. }) && error.must_reopen(), "{name}: {error}");
        drop(store);
        let (mut store, _) = Store::open(dir.path()).unwrap();
        store.commit(&Change::at(&now)).unwrap();
    }
}

/// Not a test of its own: the child of the next one.
#[test]
fn child_that_commits_until_killed() {
    let Some(dir) = std::env::var_os("BULKHEAD_TEST_STATE_DIR") else { return };
    let mut store = open(Path::new(&dir));
    for n in 0..u64::MAX {
        let now = boot("a", n);
        let lines = [isolation(page(n), IsolationState::Wanted, n)];
        let change = Change { isolations: &lines, events: &[event(n as i64)], ..Change::at(&now) };
        store.commit(&change).unwrap();
        println!("\ncommitted {n}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn kill_9_amid_commits_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["state::tests::child_that_commits_until_killed", "--exact", "--nocapture"])
        .env("BULKHEAD_TEST_STATE_DIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // What is in the pipe when it dies was acknowledged as well.
        let Ok(line) = line else { break };
        if let Some(n) = line.strip_prefix("committed ") {
            acknowledged = n.parse::<u64>().unwrap();
            if acknowledged == 50 {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    assert!(acknowledged >= 50);

    let mut store = open(dir.path());
    let ledger = store.load("a").unwrap().ledger;
    assert!((0..=acknowledged).all(|n| ledger.get(&page(n)).is_some()));
    let events = store.events(None, 0, 1_000_000).unwrap().events;
    assert_eq!(events.len(), ledger.len(), "a commit is whole");
}

fn any_stamp() -> impl Strategy<Value = Stamp> {
    any::<(u64, i64)>().prop_map(|(at, wall)| Stamp { at: Time(at), wall: Wall(wall) })
}

/// Control characters too, which `any::<String>()` leaves out.
fn any_text() -> impl Strategy<Value = String> {
    "(?s).{0,20}"
}

fn any_target() -> impl Strategy<Value = Target> {
    prop_oneof![
        any::<u32>().prop_map(|n| Target::Cpu(CpuId(n))),
        any::<u64>().prop_map(|n| Target::Page(Pfn(n))),
    ]
}

prop_compose! {
    fn any_isolation()(
        target in any_target(),
        state in prop::sample::select(vec![
            IsolationState::Wanted, IsolationState::Isolated, IsolationState::Observed,
            IsolationState::Refused, IsolationState::Failed, IsolationState::Stale,
            IsolationState::Released,
        ]),
        by in prop::sample::select(vec![By::Bulkhead, By::Kernel, By::Admin]),
        since in any_stamp(),
        taken in prop::option::of(any_stamp()),
        why in any_text(),
        fault in prop::option::of(any::<u128>().prop_map(Uuid::from_u128)),
        release in prop::option::of(Just(Undo::NextBoot)),
        next_try in prop::option::of(any_stamp()),
        failures in any::<u32>(),
        (asked, ue) in (
            prop::option::of(prop::sample::select(vec![
                Asked::Take, Asked::Unsure, Asked::Retake, Asked::Give,
            ])),
            prop::option::of(any_stamp()),
        ),
        (together, seen) in (
            prop::collection::vec(any::<u32>().prop_map(CpuId), 0..4), any::<bool>(),
        ),
    ) -> Isolation {
        Isolation {
            bound: Vec::new(),
            target, state, by, since, taken, why, fault, release, next_try, failures,
            failing_since: next_try, asked, ue, together, urgency: Urgency { severity: Severity::Major, seen },
            home: Home::Unknown, unreadable: false, restores: seen,
        }
    }
}

prop_compose! {
    fn any_fault()(
        id in any::<u128>(),
        pfn in any::<u64>(),
        cpus in prop::collection::vec(any::<u32>().prop_map(CpuId), 0..4),
        of_a_page in any::<bool>(),
        text in [any_text(), any_text(), any_text(), any_text()],
        stamps in [any_stamp(), any_stamp(), any_stamp()],
        errors in any::<u64>(),
        status in any::<u64>(),
    ) -> Fault {
        let record = Record::Mce(MceRecord { status, ..MceRecord::default() });
        let [number, fru, decision, advice] = text;
        let [opened, first, last] = stamps;
        Fault {
            component: if of_a_page {
                Component::Page { pfn: Pfn(pfn) }
            } else {
                Component::Cache { cpus, level: CacheLevel::L1, holds: CacheKind::Data }
            },
            rule: Rule { id: "page-ce".into(), numbers: vec![("window".into(), number)] },
            opened, first, last, errors, decision, advice,
            fru: Some(fru),
            evidence: vec![Evidence {
                first: first.wall, last: last.wall, records: errors, errors,
                source: Source::MceRecord, record,
            }],
            ..fault(id, FaultState::Open)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_ledger_and_any_faults_come_back_equal(
        lines in prop::collection::vec(any_isolation(), 0..8),
        faults in prop::collection::vec(any_fault(), 0..8),
    ) {
        let (mut store, _dir) = fresh();
        let now = boot("a", 1);
        store.commit(&Change { isolations: &lines, faults: &faults, ..Change::at(&now) }).unwrap();
        let saved = store.load("a").unwrap();
        let ledger: Ledger = lines.into_iter().collect();
        prop_assert_eq!(saved.ledger, ledger);
        let mut faults = faults;
        faults.sort_by_key(|fault| fault.id);
        prop_assert_eq!(saved.faults, faults);
        prop_assert_eq!(saved.notes, []);
    }
}
