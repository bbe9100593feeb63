//! What is of a memory configuration.

use super::*;

/// The evidence that a boot with `memory` goes on with.
fn seen(store: &mut Store, memory: &MemoryConfig) -> Vec<(String, String)> {
    let mut saved = Saved::default();
    store.load_evidence(memory.id(), &mut saved).unwrap();
    assert_eq!(saved.notes, []);
    saved.evidence
}

/// A boot with `memory`, in which a page erred.
fn errs(store: &mut Store, id: &str, memory: &MemoryConfig, value: &str) {
    let name = EvidenceName { memory: Some(memory.id()), key: "page:1".into() };
    let now = boot(id, 1);
    let change = Change {
        memory: Some(memory),
        evidence: &[(name, Some(value.into())), (cpu(), Some("core".into()))],
        ..Change::at(&now)
    };
    store.commit(&change).unwrap();
}

#[test]
fn evidence_of_memory_is_set_aside_with_its_configuration_and_comes_back_with_it() {
    let (mut store, _dir) = fresh();
    let (a, b) = (config("a"), config("b"));
    errs(&mut store, "1", &a, "of a");
    let of_cpu = ("core:2".to_owned(), "core".to_owned());
    assert_eq!(seen(&mut store, &b), std::slice::from_ref(&of_cpu));
    errs(&mut store, "2", &b, "of b");
    let page = |value: &str| ("page:1".to_owned(), value.to_owned());
    assert_eq!(seen(&mut store, &a), [of_cpu.clone(), page("of a")]);
    assert_eq!(seen(&mut store, &b), [of_cpu, page("of b")]);
    let known: Vec<_> = store.load("3").unwrap().memory;
    assert_eq!(known, [(a.id(), a), (b.id(), b)]);
}

#[test]
fn the_last_configurations_are_kept_and_no_more() {
    let (mut store, _dir) = fresh();
    for n in 0..10 {
        errs(&mut store, &n.to_string(), &config(&n.to_string()), "x");
        // One that comes up again and again stays.
        errs(&mut store, &n.to_string(), &config("often"), "x");
    }
    let known: Vec<_> = store.load("z").unwrap().memory.into_iter().map(|(_, m)| m).collect();
    assert_eq!(known, ["7", "8", "9", "often"].map(config));
    assert_eq!(seen(&mut store, &config("5")).len(), 1, "its evidence went with it");
    assert_eq!(seen(&mut store, &config("7")).len(), 2);
}

#[test]
fn lines_that_are_set_aside_are_kept_beside_the_pages_own() {
    let (mut store, _dir) = fresh();
    let of = |memory: u128, state| Isolation {
        home: Home::Memory(MemoryConfigId(Uuid::from_u128(memory))),
        ..isolation(page(1), state, memory as u64)
    };
    let mut ledger = Ledger::new();
    ledger.insert(of(1, IsolationState::Stale));
    ledger.insert(of(2, IsolationState::Stale));
    ledger.insert(of(3, IsolationState::Isolated));
    let commit = |store: &mut Store, ledger: &Ledger| {
        let lines: Vec<_> = ledger.values().cloned().collect();
        let aside: Vec<_> = ledger.aside().cloned().collect();
        let now = boot("a", 1);
        let change = Change { isolations: &lines, aside: &aside, ..Change::at(&now) };
        store.commit(&change).unwrap();
        assert_eq!(store.load("b").unwrap().ledger, *ledger);
    };
    commit(&mut store, &ledger);
    assert_eq!(ledger.aside().count(), 2);

    ledger.insert(of(3, IsolationState::Stale));
    ledger.insert(of(1, IsolationState::Wanted));
    commit(&mut store, &ledger);
    let states: Vec<_> = ledger.aside().map(|line| (line.home, line.state)).collect();
    let home = |n: u128| Home::Memory(MemoryConfigId(Uuid::from_u128(n)));
    assert_eq!(states, [2, 3].map(|n| (home(n), IsolationState::Stale)));

    let later = boot("a", 2);
    let change = Change { removed: &[page(1)], ..Change::at(&later) };
    store.commit(&change).unwrap();
    assert_eq!(store.load("b").unwrap().ledger, Ledger::new());
}

#[test]
fn a_file_from_before_configurations_goes_on_without_knowing_of_which_its_pages_were() {
    let (mut store, dir) = fresh();
    errs(&mut store, "1", &config("a"), "x");
    drop(store);
    let older = "DROP TABLE memory_config; DROP TABLE evidence; DROP TABLE growth;
        CREATE TABLE evidence (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
        INSERT INTO evidence VALUES ('{\"page\":1}', 'p'), ('{\"row\":{}}', 'r'),
            ('{\"memory\":{}}', 'm'), ('{\"bus\":0}', 'b'), ('{\"core\":{}}', 'c');
        PRAGMA user_version = 1";
    sqlite(&dir.path().join("bulkhead.db"), older);
    let mut store = open(dir.path());
    let keys = |found: Vec<(String, String)>| found.into_iter().map(|(k, _)| k).collect::<Vec<_>>();
    assert_eq!(keys(seen(&mut store, &config("a"))), ["{\"bus\":0}", "{\"core\":{}}"]);
    assert_eq!(seen(&mut store, &MemoryConfig::default()).len(), 5);
}
