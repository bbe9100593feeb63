//! What is seen, and what comes of it.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

const RULES: Rules = Rules {
    cpu: 20_000,
    starved: 10_000,
    daemon: 300_000,
    check: 60_000,
    stop_when_starved: false,
    stop_without_daemon: false,
    stop_on_check: false,
};

const STEP: u64 = 1_000;

fn runs(waited: u64) -> Seen {
    Seen { silent: Some(100), deaf: false, waited: Some(waited) }
}

/// The changes of one step, and whether it may be fed.
fn step(watch: &mut Watch, cpus: &[Seen]) -> (Vec<(Check, u32, Change)>, bool) {
    let mut changes = Vec::new();
    let stop = watch.step(STEP, cpus, None, &[], |n| changes.push((n.check, n.id, n.change)));
    (changes, stop.is_none())
}

fn silent(ms: u64) -> Seen {
    Seen { silent: Some(ms), deaf: false, waited: Some(0) }
}

#[test]
fn a_silent_cpu_is_suspect_then_failed_then_well_again() {
    let mut watch = Watch::new(RULES, &[0, 3], &[]);
    let mut at = |ms| step(&mut watch, &[runs(0), silent(ms)]);
    assert_eq!(at(9_999), (vec![], true));
    assert_eq!(at(10_000), (vec![(Check::Cpu, 3, Change::Suspect)], true));
    assert_eq!(at(19_999), (vec![], true));
    assert_eq!(at(20_000), (vec![(Check::Cpu, 3, Change::Failed)], false));
    assert_eq!(at(25_000), (vec![], false));
    assert_eq!(at(100), (vec![(Check::Cpu, 3, Change::Well)], true));
}

#[test]
fn a_cpu_that_goes_off_line_is_no_stall() {
    let mut watch = Watch::new(RULES, &[1], &[]);
    let gone = Seen { silent: None, deaf: false, waited: None };
    assert_eq!(step(&mut watch, &[silent(20_000)]).0, [(Check::Cpu, 1, Change::Failed)]);
    assert_eq!(step(&mut watch, &[gone]), (vec![(Check::Cpu, 1, Change::Left)], true));
    assert_eq!(step(&mut watch, &[gone]), (vec![], true));
}

#[test]
fn a_real_time_hog_starves_ordinary_tasks_within_its_limit_and_a_tenth() {
    let mut watch = Watch::new(RULES, &[0], &[]);
    step(&mut watch, &[runs(0)]);
    // The kernel gives them 50 ms of each second.
    let told = (1..20).find(|n| !step(&mut watch, &[runs(n * 950)]).0.is_empty()).unwrap();
    assert!((10..=12).contains(&told), "{told}");
    let mut list = [Suspect { cpu: 9, probe: Probe::Fifo, silent_ms: 0 }; SUSPECTS];
    assert_eq!(watch.suspects(&mut list), 1);
    assert_eq!((list[0].cpu, list[0].probe), (0, Probe::Other));
    // The hog is gone, and with it the debt.
    let over = (0..40).find(|_| !step(&mut watch, &[runs(told * 950)]).0.is_empty());
    assert!(over.is_some_and(|n| n <= 22), "{over:?}");
}

/// As it was seen on 6.12, at a pace of 0.8 s.
#[test]
fn a_probe_that_waits_a_third_of_the_time_starves() {
    let mut watch = Watch::new(RULES, &[0], &[]);
    let told = (0..120).find(|n| !step(&mut watch, &[runs(n * 330)]).0.is_empty());
    assert!(told.is_some_and(|n| n <= 65), "{told:?}");
}

#[test]
fn a_cpu_that_was_busy_for_less_than_the_limit_is_not_told_of() {
    let mut watch = Watch::new(RULES, &[0], &[]);
    let busy = (0..8u64).map(|n| n * 1_000);
    for waited in busy.chain([7_000; 20]) {
        assert_eq!(step(&mut watch, &[runs(waited)]), (vec![], true));
    }
}

#[test]
fn starvation_stops_the_feeding_only_if_it_is_to() {
    for stop_when_starved in [false, true] {
        let mut watch = Watch::new(Rules { stop_when_starved, ..RULES }, &[0], &[]);
        let fed = (0..20).map(|n| step(&mut watch, &[runs(n * 1_000)]).1).collect::<Vec<_>>();
        assert_eq!(fed.contains(&false), stop_when_starved);
    }
}

#[test]
fn a_daemon_that_is_not_there_is_not_silent() {
    let rules = Rules { stop_without_daemon: true, ..RULES };
    let mut watch = Watch::new(rules, &[], &[]);
    let mut at = |daemon| watch.step(STEP, &[], daemon, &[], |_| ()).map(|note| note.check);
    assert_eq!(at(None), None);
    assert_eq!(at(Some(299_999)), None);
    assert_eq!(at(Some(300_000)), Some(Check::Heartbeat));
    assert_eq!(at(None), None);
}

#[test]
fn a_check_that_fails_for_long_is_told_by_its_place() {
    let mut watch = Watch::new(RULES, &[], &[Check::File, Check::Unit]);
    let mut told = Vec::new();
    let stop = watch.step(STEP, &[], None, &[0, 60_000], |note| told.push((note.check, note.id)));
    assert_eq!((told, stop), (vec![(Check::Unit, 1)], None));
}

#[test]
fn the_longest_silent_cpu_is_named_first() {
    let mut watch = Watch::new(RULES, &[0, 1, 2], &[]);
    let cpus = [silent(21_000), silent(23_000), silent(22_000)];
    let stop = watch.step(STEP, &cpus, None, &[], |_| ()).unwrap();
    assert_eq!((stop.check, stop.id, stop.silent_ms), (Check::Cpu, 1, 23_000));
}

/// It waits for the deaf one, and its probe's beat came earlier.
#[test]
fn a_deaf_cpu_is_named_before_one_that_has_reached_the_limit_ahead_of_it() {
    let mut watch = Watch::new(RULES, &[0, 1, 2], &[]);
    let deaf = Seen { deaf: true, ..silent(19_500) };
    let stop = watch.step(STEP, &[silent(20_000), runs(0), deaf], None, &[], |_| ()).unwrap();
    assert_eq!((stop.check, stop.id, stop.silent_ms), (Check::Cpu, 2, 19_500));
}

#[test]
fn a_deaf_cpu_that_is_hardly_late_is_nobodys_culprit() {
    let mut watch = Watch::new(RULES, &[0, 1], &[]);
    let deaf = Seen { deaf: true, ..silent(9_999) };
    let stop = watch.step(STEP, &[silent(20_000), deaf], None, &[], |_| ()).unwrap();
    assert_eq!((stop.check, stop.id), (Check::Cpu, 0));
}

/// What a CPU may do in a second.
fn any_seen() -> impl Strategy<Value = Seen> {
    (prop::option::of(0u64..60_000), any::<bool>(), prop::option::of(0u64..100_000))
        .prop_map(|(silent, deaf, waited)| Seen { silent, deaf, waited })
}

proptest! {
    #[test]
    fn it_is_fed_exactly_while_no_cpu_has_failed(
        history in prop::collection::vec(prop::collection::vec(any_seen(), 3), 1..60),
    ) {
        let mut watch = Watch::new(RULES, &[0, 1, 2], &[]);
        let mut failed = [false; 3];
        for cpus in history {
            let before = failed;
            let (changes, fed) = step(&mut watch, &cpus);
            for (check, id, change) in changes {
                if check == Check::Cpu {
                    failed[id as usize] = change == Change::Failed;
                }
            }
            prop_assert_eq!(fed, failed == [false; 3]);
            for ((cpu, failed), before) in cpus.iter().zip(failed).zip(before) {
                // What has failed is not well before it is heard of again.
                prop_assert!(!before || failed || cpu.silent.unwrap_or(0) < RULES.cpu / 2);
                // Never for less than its limit, and never longer than it is silent.
                prop_assert!(cpu.silent.unwrap_or(0) < RULES.cpu || failed);
                prop_assert!(cpu.silent.unwrap_or(0) >= RULES.cpu / 2 || !failed);
            }
        }
    }

    #[test]
    fn a_host_whose_ordinary_tasks_wait_a_fifth_of_the_time_never_starves(
        history in prop::collection::vec(0u64..=200, 1..200),
    ) {
        let mut watch = Watch::new(RULES, &[0], &[]);
        let mut waited = 0;
        for more in history {
            waited += more;
            let (changes, _) = step(&mut watch, &[runs(waited)]);
            prop_assert!(changes.is_empty());
        }
    }

    #[test]
    fn suspects_are_the_worst_and_sorted(times in prop::collection::vec(10_000u64..90_000, 0..20)) {
        let numbers: Vec<u32> = (0..).take(times.len()).collect();
        let mut watch = Watch::new(RULES, &numbers, &[]);
        let cpus: Vec<Seen> = times.iter().map(|ms| silent(*ms)).collect();
        step(&mut watch, &cpus);
        let mut list = [Suspect { cpu: 0, probe: Probe::Fifo, silent_ms: 0 }; SUSPECTS];
        prop_assert_eq!(watch.suspects(&mut list), times.len());
        let mut worst = times.clone();
        worst.sort_unstable_by(|a, b| b.cmp(a));
        worst.truncate(SUSPECTS);
        let listed: Vec<u64> = list.iter().take(times.len()).map(|s| s.silent_ms).collect();
        prop_assert_eq!(listed, worst);
    }
}
