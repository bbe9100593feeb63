//! Memory that changes, and comes back.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::analyze::Response;
use crate::decide::testing::{finding, machine, Desk};
use crate::decide::{Answer, Order, Policy};
use crate::model::{ApicId, Component, CpuId, Fault, MemoryConfig, Module, Pfn};
use proptest::prelude::*;

/// A host whose memory is changed between boots.
struct Host {
    desk: Desk,
    memory: KnownMemory,
    faults: BTreeMap<Uuid, Fault>,
}

fn config(serial: &str) -> MemoryConfig {
    let (locator, serial) = (Some("A1".to_owned()), Some(serial.to_owned()));
    MemoryConfig {
        modules: vec![Module { locator, serial, ..Module::default() }],
        ..MemoryConfig::default()
    }
}

impl Host {
    fn new(serial: &str) -> Host {
        let desk = Desk::new(Policy::default(), machine(1, 2));
        let mut host = Host { desk, memory: KnownMemory::default(), faults: BTreeMap::new() };
        host.boot(config(serial));
        host
    }

    /// Boots with this memory, as far as this file has a hand in it.
    fn boot(&mut self, memory: MemoryConfig) -> Plan {
        self.desk.pass(60);
        let last = std::mem::replace(&mut self.memory.now, memory);
        if last != MemoryConfig::default() {
            self.memory.before.retain(|(id, _)| *id != last.id());
            self.memory.before.push((last.id(), last));
        }
        self.desk.machine.memory = self.memory.now.id();
        let plan = rehome(&self.desk.ctx(), &self.memory, &self.faults);
        self.desk.enter(plan)
    }

    /// A fault on page `pfn` is found, and the page goes.
    fn fails(&mut self, pfn: u64) -> Uuid {
        let mut found = finding(Response::TakePage(Pfn(pfn)));
        found.fault.home = self.desk.machine.memory_home();
        found.fault.id = Uuid::new_v5(&self.memory.now.id().0, &pfn.to_le_bytes());
        let plan = crate::decide::found(&self.desk.ctx(), &found);
        self.desk.enter(plan);
        self.desk.answer(Order::SoftOffline(Pfn(pfn)), Answer::Off);
        self.faults.insert(found.fault.id, found.fault.clone());
        found.fault.id
    }

    fn state(&self, pfn: u64) -> IsolationState {
        self.desk.page(pfn).state
    }
}

#[test]
fn a_page_of_other_memory_is_stale_and_says_what_changed() {
    let mut host = Host::new("1");
    let fault = host.fails(7);
    let plan = host.boot(config("2"));
    assert_eq!(host.state(7), IsolationState::Stale);
    assert_eq!(plan.orders, []);
    let changes = "DIMM A1 (serial 1) is gone, DIMM A1 (serial 2) is new";
    let why = &host.desk.page(7).why;
    assert!(why.contains(changes) && why.contains("page 0x7000"), "{why}");
    let [news] = plan.decisions.as_slice() else { panic!("{plan:?}") };
    assert!(news.why.contains(changes) && news.done.starts_with("1 isolation of"), "{news:?}");
    let [note] = plan.faults.as_slice() else { panic!("{plan:?}") };
    assert_eq!((note.fault, note.state), (fault, FaultState::Open));
    assert!(note.decision.contains(changes), "{note:?}");
}

#[test]
fn it_is_wanted_again_when_the_memory_is_back() {
    let mut host = Host::new("1");
    let fault = host.fails(7);
    host.boot(config("2"));
    let plan = host.boot(config("1"));
    assert_eq!(host.state(7), IsolationState::Wanted);
    assert_eq!(host.desk.page(7).home, host.desk.machine.memory_home());
    assert!(host.desk.page(7).restores, "it has its place of the day from then");
    assert!(plan.decisions[0].done.contains("1 isolation wanted again"), "{plan:?}");
    let [note] = plan.faults.as_slice() else { panic!("{plan:?}") };
    assert!(note.fault == fault && note.decision.contains("is back"), "{note:?}");
}

#[test]
fn a_fault_goes_on_after_a_boot_that_could_not_read_the_memory() {
    let mut host = Host::new("1");
    let fault = host.fails(7);
    host.boot(MemoryConfig::default());
    let plan = host.boot(config("1"));
    let [note] = plan.faults.as_slice() else { panic!("{plan:?}") };
    assert!(note.fault == fault && note.decision.contains("is back"), "{note:?}");
}

#[test]
fn what_held_a_page_back_is_asked_anew_when_its_memory_is_back() {
    let mut host = Host::new("1");
    let fault = host.fails(7);
    host.faults.get_mut(&fault).unwrap().state = FaultState::Escalated;
    assert_eq!(host.boot(config("2")).faults[0].state, FaultState::Escalated);
    assert_eq!(host.boot(config("1")).faults[0].state, FaultState::Open);
}

#[test]
fn what_was_only_held_back_comes_back_as_such_and_spends_what_it_did_not() {
    let mut host = Host::new("1");
    host.fails(7);
    let held =
        Isolation { state: IsolationState::Refused, taken: None, ..host.desk.page(7).clone() };
    host.desk.ledger.insert(held);
    host.boot(config("2"));
    host.boot(config("1"));
    let line = host.desk.page(7);
    assert_eq!((line.state, line.restores), (IsolationState::Wanted, false));
}

#[test]
fn a_reboot_that_changes_nothing_is_no_news() {
    let mut host = Host::new("1");
    host.fails(7);
    assert_eq!(host.boot(config("1")), Plan::default());
    assert_eq!(host.state(7), IsolationState::Isolated);
}

#[test]
fn memory_that_nobody_can_tell_is_never_applied() {
    let mut host = Host::new("1");
    host.fails(7);
    let plan = host.boot(MemoryConfig::default());
    assert_eq!(host.state(7), IsolationState::Stale);
    assert!(plan.decisions[0].why.contains("cannot be read"), "{plan:?}");
    // Nor what was isolated then.
    host.fails(8);
    assert_eq!(host.desk.page(8).home, Home::Unknown);
    host.boot(MemoryConfig::default());
    assert_eq!(host.state(8), IsolationState::Stale);
    host.boot(config("1"));
    assert_eq!((host.state(7), host.state(8)), (IsolationState::Wanted, IsolationState::Stale));
}

#[test]
fn a_page_whose_fault_was_closed_meanwhile_does_not_come_back() {
    let mut host = Host::new("1");
    let fault = host.fails(7);
    host.boot(config("2"));
    host.faults.get_mut(&fault).unwrap().state = FaultState::Replaced;
    host.boot(config("1"));
    assert_eq!(host.state(7), IsolationState::Stale);
}

#[test]
fn a_release_that_waits_for_a_boot_does_not_wait_for_the_memory() {
    let mut host = Host::new("1");
    host.fails(7);
    let line = Isolation { release: Some(Undo::NextBoot), ..host.desk.page(7).clone() };
    host.desk.ledger.insert(line);
    host.boot(config("2"));
    assert_eq!(host.state(7), IsolationState::Isolated, "for the start that follows to give back");
}

#[test]
fn an_escalated_fault_of_memory_that_is_gone_stays_with_its_human() {
    let mut host = Host::new("1");
    let fault = host.fails(7);
    let dimm = Component::Memory { controller: None, label: "A1".into() };
    let of_dimm = Fault {
        id: Uuid::from_u128(5),
        component: dimm,
        state: FaultState::Escalated,
        ..host.faults[&fault].clone()
    };
    host.faults = BTreeMap::from([(of_dimm.id, of_dimm)]);
    let plan = host.boot(config("2"));
    assert_eq!(plan.faults[0].state, FaultState::Escalated);
}

#[test]
fn a_core_that_is_there_again_is_wanted_again() {
    let mut host = Host::new("1");
    host.desk.machine.cpus.get_mut(&CpuId(1)).unwrap().apic = Some(ApicId(9));
    host.desk.find(Response::TakeCpus(vec![CpuId(1), CpuId(3)]));
    let identity = host.desk.machine.cpus[&CpuId(1)].identity().unwrap();
    let line = Isolation {
        state: IsolationState::Stale,
        home: Home::Thread(identity),
        fault: None,
        ..host.desk.cpu(1).clone()
    };
    host.desk.ledger.insert(line);
    let core = host.desk.machine.cpus.remove(&CpuId(1)).unwrap();
    host.boot(config("1"));
    assert_eq!(host.desk.cpu(1).state, IsolationState::Stale);
    host.desk.machine.cpus.insert(CpuId(1), core);
    host.boot(config("1"));
    assert_eq!(host.desk.cpu(1).state, IsolationState::Wanted);
}

#[test]
fn a_page_that_the_decoder_confirms_is_taken_in_the_new_memory() {
    let mut host = Host::new("1");
    host.fails(7);
    host.boot(config("2"));
    let plan = confirmed(&host.desk.ctx(), Pfn(7));
    let plan = host.desk.enter(plan);
    assert_eq!(plan.orders, [Order::SoftOffline(Pfn(7))]);
    assert_eq!(host.desk.page(7).home, host.desk.machine.memory_home());
    host.desk.answer(Order::SoftOffline(Pfn(7)), Answer::Off);
    assert_eq!(host.state(7), IsolationState::Isolated);
    assert_eq!(confirmed(&host.desk.ctx(), Pfn(7)), Plan::default());
    // And it still is of the old memory, should that be back.
    host.boot(config("1"));
    assert_eq!(host.state(7), IsolationState::Wanted);
}

proptest! {
    #[test]
    fn each_memory_has_its_own_pages_whatever_the_order_it_comes_and_goes_in(
        boots in prop::collection::vec((0u8..3, prop::collection::btree_set(0u64..6, 0..4)), 1..8),
    ) {
        let mut host = Host::new("x");
        let mut failed: BTreeMap<u8, BTreeSet<u64>> = BTreeMap::new();
        for (memory, pages) in boots {
            host.boot(config(&memory.to_string()));
            let own = failed.entry(memory).or_default();
            let home = host.desk.machine.memory_home();
            let standing = |line: &&Isolation| {
                !matches!(line.state, IsolationState::Stale | IsolationState::Released)
            };
            let applied: BTreeMap<Target, Home> =
                host.desk.ledger.values().filter(standing).map(|l| (l.target, l.home)).collect();
            let expected = own.iter().map(|pfn| (Target::Page(Pfn(*pfn)), home)).collect();
            prop_assert_eq!(&applied, &expected, "of {}", memory);
            // What restores them is another part's; here they are off at once.
            for pfn in own.iter() {
                let line = host.desk.page(*pfn).clone();
                host.desk.ledger.insert(Isolation { state: IsolationState::Isolated, ..line });
            }
            for pfn in pages {
                if own.insert(pfn) {
                    host.fails(pfn);
                }
            }
        }
    }
}
