//! What the cycle makes of plans and updates.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::api::samples;
use crate::state::{BootRow, Saved, Store, MAX_CLOSED_FAULTS};
use bulkhead_core::analyze::{FaultUpdate, Finding, Response};
use bulkhead_core::decide::{Answer, Boot};
use bulkhead_core::model::time::Anchor;
use bulkhead_core::model::{
    Component, Cover, CoverBy, DramPlace, Fault, IsolationState, Ledger, LoggedError, MceRecord,
    MemoryConfigId, Pfn, PhysAddr, Record, Severity, Time, Vendor, Wall,
};

pub const NOW: Stamp = Stamp { at: Time(1 << 50), wall: Wall(0) };

pub fn cycle(saved: &mut Saved) -> Cycle {
    let machine = Machine {
        vendor: Vendor::Intel,
        family: 6,
        model: 106,
        memory_bytes: 8 << 30,
        phys_bits: 46,
        ..Machine::default()
    };
    let boot = BootRow::new("a".to_owned(), Wall(0), Anchor(0), Stamp::default());
    let policy = Policy::default();
    let analyzer = Analyzer::new(Rules::from(&policy));
    Cycle::new(Memory::new(saved, boot, machine.page_size), policy, machine, analyzer)
}

fn cover(pages: u64) -> Option<Cover> {
    Some(Cover { by: CoverBy::Seen, pages: (0..pages).map(Pfn).collect() })
}

/// A row with two pages.
pub fn row() -> Fault {
    Fault {
        component: Component::Row { place: DramPlace::default(), label: "A1".to_owned() },
        state: FaultState::Open,
        cover: cover(2),
        ..samples::page_fault()
    }
}

fn found_row(cycle: &mut Cycle) -> Uuid {
    let response = Response::TakePages(vec![Pfn(0), Pfn(1)]);
    cycle.core.found(Finding { fault: row(), response }, NOW);
    row().id
}

pub fn answer(cycle: &mut Cycle, order: Order, answer: Answer) {
    let told = String::new();
    let (asked, answered) = (told.clone(), told);
    let (survey, left_off, apart) = (None, Vec::new(), Vec::new());
    let outcome = Outcome { order, answer, time: NOW, asked, answered, survey, left_off, apart };
    cycle.outcome(&outcome, NOW);
}

pub fn take_all(cycle: &mut Cycle) {
    for order in cycle.take_orders().0 {
        answer(cycle, order, Answer::Off);
    }
}

fn grown(id: Uuid, pages: u64) -> FaultUpdate {
    FaultUpdate { fault: id, last: NOW, errors: 9, evidence: None, cover: cover(pages) }
}

fn state(cycle: &Cycle, id: Uuid) -> FaultState {
    cycle.core.books.faults[&id].state
}

#[test]
fn a_row_that_covers_more_takes_more_and_is_open_until_it_did() {
    let mut cycle = cycle(&mut Saved::default());
    let id = found_row(&mut cycle);
    take_all(&mut cycle);
    assert_eq!(state(&cycle, id), FaultState::Isolated);
    cycle.core.updated(grown(id, 3), NOW);
    let fault = &cycle.core.books.faults[&id];
    assert_eq!((fault.errors, &fault.cover), (9, &cover(3)));
    assert_eq!(state(&cycle, id), FaultState::Open);
    assert_eq!(cycle.take_orders().0, [Order::SoftOffline(Pfn(2))]);
    answer(&mut cycle, Order::SoftOffline(Pfn(2)), Answer::Off);
    assert_eq!(state(&cycle, id), FaultState::Isolated);
}

#[test]
fn a_restart_in_the_middle_of_a_row_knows_when_all_of_it_is_gone() {
    let mut earlier = cycle(&mut Saved::default());
    let id = found_row(&mut earlier);
    answer(&mut earlier, Order::SoftOffline(Pfn(0)), Answer::Off);
    let mut saved = Saved {
        ledger: earlier.core.books.ledger.values().cloned().collect(),
        faults: earlier.core.books.faults.values().cloned().collect(),
        ..Saved::default()
    };
    let mut cycle = cycle(&mut saved);
    cycle.regroup(Boot::Same);
    cycle.start(Boot::Same, NOW);
    assert_eq!(state(&cycle, id), FaultState::Open);
    answer(&mut cycle, Order::SoftOffline(Pfn(1)), Answer::Off);
    assert_eq!(state(&cycle, id), FaultState::Isolated);
}

#[test]
fn a_closed_fault_is_not_reopened_when_what_it_took_is_given_back() {
    let mut cycle = cycle(&mut Saved::default());
    let id = found_row(&mut cycle);
    take_all(&mut cycle);
    let resolved = cycle.resolve(id, FaultState::Replaced, NOW).unwrap();
    assert_eq!(resolved.given, [Target::Page(Pfn(0)), Target::Page(Pfn(1))]);
    for order in cycle.take_orders().0 {
        answer(&mut cycle, order, Answer::On);
    }
    assert_eq!(cycle.core.books.ledger.count(false, IsolationState::Released), 2);
    assert_eq!(state(&cycle, id), FaultState::Replaced);
}

#[test]
fn what_a_closed_fault_forgets_is_gone_from_the_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(dir.path()).unwrap();
    let evidence = |store: &mut Store| {
        let mut saved = Saved::default();
        store.load_evidence(MemoryConfigId::default(), &mut saved).unwrap();
        saved.evidence.len()
    };
    let mut cycle = cycle(&mut Saved::default());
    fails(&mut cycle, 1..2);
    cycle.commit(&mut store).unwrap();
    assert_eq!(evidence(&mut store), 1);
    let id = *cycle.core.books.faults.keys().next().unwrap();
    cycle.resolve(id, FaultState::Repaired, NOW).unwrap();
    cycle.commit(&mut store).unwrap();
    assert_eq!(evidence(&mut store), 0);
}

/// Two errors on each page: one is no fault, the other is.
fn fails(cycle: &mut Cycle, pages: std::ops::Range<u64>) {
    for pfn in pages.flat_map(|pfn| [pfn, pfn]) {
        let error = LoggedError { addr: Some(PhysAddr(pfn << 12)), ..LoggedError::default() };
        let (source, record) = (Source::Log, Record::Logged(error));
        let (first, last) = (NOW, NOW);
        let report = Report { source, first, last, records: 1, errors: 1, decodes: 0, record };
        cycle.report(&report, "file", NOW);
    }
}

#[test]
fn a_fault_that_only_grew_is_read_as_it_grew() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(dir.path()).unwrap();
    let mut cycle = cycle(&mut Saved::default());
    let saved = |store: &mut Store| store.load("a").unwrap().faults;
    let known =
        |cycle: &Cycle| -> Vec<Fault> { cycle.core.books.faults.values().cloned().collect() };
    // Found and grown before it is saved at all, then grown again and again.
    for errors in [2, 3, 4] {
        fails(&mut cycle, 1..2);
        cycle.commit(&mut store).unwrap();
        assert_eq!(saved(&mut store), known(&cycle));
        assert_eq!(known(&cycle)[0].errors, 2 * (errors - 1));
    }
    let id = known(&cycle)[0].id;
    fails(&mut cycle, 1..2);
    cycle.resolve(id, FaultState::Repaired, NOW).unwrap();
    cycle.commit(&mut store).unwrap();
    assert_eq!(saved(&mut store), known(&cycle));
}

#[test]
fn what_could_not_be_saved_is_with_the_next_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(dir.path()).unwrap();
    let mut cycle = cycle(&mut Saved::default());
    fails(&mut cycle, 1..3);
    let path = dir.path().join("bulkhead.db");
    std::fs::rename(&path, dir.path().join("away")).unwrap();
    assert!(cycle.commit(&mut store).is_err());
    assert!(cycle.is_dirty() && !cycle.core.books.saved);
    std::fs::rename(dir.path().join("away"), &path).unwrap();
    cycle.commit(&mut store).unwrap();
    assert!(!cycle.is_dirty() && cycle.core.books.saved);
    let mut saved = store.load("a").unwrap();
    store.load_evidence(MemoryConfigId::default(), &mut saved).unwrap();
    assert_eq!((saved.evidence.len(), saved.faults.len(), saved.ledger.len()), (2, 2, 2));
}

#[test]
fn the_fault_of_a_page_that_finds_no_room_in_the_ledger_is_forgotten_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(dir.path()).unwrap();
    let mut cycle = cycle(&mut Saved::default());
    cycle.core.policy.limits.pages_per_day = 0;
    let most = Ledger::MOST_SPARE as u64;
    fails(&mut cycle, 1..most + 1);
    cycle.commit(&mut store).unwrap();
    fails(&mut cycle, most + 1..most + 11);
    cycle.commit(&mut store).unwrap();
    let books = &cycle.core.books;
    assert_eq!((books.faults.len() as u64, books.fault_figures().open), (most, most));
    assert_eq!((books.ledger.len() as u64, books.ledger.forgotten()), (most, 10));
    let saved = store.load("a").unwrap();
    assert_eq!(saved.faults.len() as u64, most);
    assert!(saved.faults.iter().all(|fault| books.faults.get(&fault.id) == Some(fault)));

    cycle.core.policy.limits.pages_per_day = 1_024;
    fails(&mut cycle, most + 10..most + 11);
    let line = &cycle.core.books.ledger.get(&Target::Page(Pfn(most + 10))).unwrap();
    assert!(cycle.core.books.faults.contains_key(&line.fault.unwrap()), "it fires anew");
}

#[test]
fn as_many_closed_faults_are_listed_as_the_store_keeps() {
    let fault = |n: usize| Fault { id: Uuid::from_u128(n as u128), ..row() };
    let faults: Vec<Fault> = (0..MAX_CLOSED_FAULTS + 10)
        .map(|n| Fault { state: FaultState::Replaced, ..fault(n) })
        .collect();
    let mut cycle = cycle(&mut Saved { faults, ..Saved::default() });
    assert_eq!(cycle.core.books.faults.len(), MAX_CLOSED_FAULTS);
    cycle.core.books.put_fault(fault(9_999));
    cycle.resolve(fault(9_999).id, FaultState::Acquitted, NOW).unwrap();
    assert_eq!(cycle.core.books.faults.len(), MAX_CLOSED_FAULTS);
    assert!(cycle.core.books.faults.contains_key(&fault(9_999).id));
    assert!(!cycle.core.books.faults.contains_key(&fault(10).id));
}

#[test]
fn open_and_escalated_faults_are_counted_as_they_change() {
    let mut cycle = cycle(&mut Saved::default());
    let figures = |cycle: &Cycle| {
        let figures = cycle.core.books.fault_figures();
        (figures.open, figures.escalated)
    };
    cycle.core.policy.limits.pages_per_day = 1;
    let id = found_row(&mut cycle);
    assert_eq!(figures(&cycle), (1, 1));
    cycle.resolve(id, FaultState::Acquitted, NOW).unwrap();
    assert_eq!(figures(&cycle), (0, 0));
    let faults = vec![Fault { state: FaultState::Escalated, ..row() }];
    let saved = &mut Saved { faults, ..Saved::default() };
    assert_eq!(figures(&self::cycle(saved)), (1, 1));
}

#[test]
fn what_finds_no_room_in_the_ledger_is_gone_from_the_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(dir.path()).unwrap();
    let mut cycle = cycle(&mut Saved::default());
    cycle.core.policy.limits.pages_per_day = 0;
    let most = Ledger::MOST_SPARE as u64;
    let mut find = |severity, first: u64, pages: u64| {
        let pages: Vec<Pfn> = (first..first + pages).map(Pfn).collect();
        let cover = Some(Cover { by: CoverBy::Seen, pages: pages.clone() });
        let fault = Fault { id: Uuid::from_u128(first.into()), severity, cover, ..row() };
        cycle.core.found(Finding { fault, response: Response::TakePages(pages) }, NOW);
        cycle.commit(&mut store).unwrap();
        store.load("a").unwrap().ledger
    };
    assert_eq!(find(Severity::Minor, 0, most).len() as u64, most);
    let ledger = find(Severity::Critical, most, 10);
    assert_eq!(ledger.len() as u64, most);
    assert!(ledger.get(&Target::Page(Pfn(most - 1))).is_none(), "the last of the least urgent");
    assert!(ledger.get(&Target::Page(Pfn(most))).is_some());
    assert_eq!(cycle.core.books.ledger.forgotten(), 10);
}

#[test]
fn the_end_of_a_boot_with_other_memory_says_nothing_of_this_ones_pages() {
    let error = |source, status| {
        let record = Record::Mce(MceRecord {
            bank: 9,
            status,
            addr: 0x800_0000,
            misc: 0x8c,
            cpuid: 0x606a0,
            ..MceRecord::default()
        });
        Report { source, first: NOW, last: NOW, records: 1, errors: 1, decodes: 0, record }
    };
    let mut cycle = cycle(&mut Saved::default());
    let then = cycle.core.machine.clone();
    cycle.core.machine.memory = MemoryConfigId(Uuid::from_u128(2));
    assert_eq!(
        cycle.core.ended_by(&error(Source::Pstore, 0xbd00_0000_0000_00c0), &then, NOW),
        None
    );
    assert_eq!(cycle.core.books.faults.len(), 1);
    assert_eq!(cycle.take_orders().0, []);
    for _ in 0..2 {
        cycle.report(&error(Source::MceRecord, 0x8c00_0000_0000_009f), "bpf", NOW);
    }
    assert_eq!(cycle.core.books.faults.len(), 2);
    assert_eq!(cycle.core.books.ledger.count(false, IsolationState::Wanted), 1);
}

#[test]
fn pages_that_the_kernel_was_booted_without_are_none_that_it_took() {
    let mut cycle = cycle(&mut Saved::default());
    found_row(&mut cycle);
    take_all(&mut cycle);
    assert_eq!(cycle.pages_out(), 2);
    cycle.core.machine.masked = vec![Pfn(1)..Pfn(9), Pfn(20)..Pfn(30)];
    assert_eq!(cycle.pages_out(), 1);
}
