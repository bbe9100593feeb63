//! Each rule's story, and what no evidence may bring about.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::Wall;
use proptest::prelude::*;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

fn at(seconds: u64) -> Moment {
    Moment {
        up: seconds * SECOND,
        wall: Wall(1_790_000_000_000_000_000 + (seconds * SECOND) as i64),
    }
}

/// A boot that was last heard of after 1000 s, with an armed watchdog.
fn watched() -> Evidence {
    let armed = Armed {
        device: "watchdog0".to_owned(),
        identity: "i6300ESB timer".to_owned(),
        timeout_s: 60,
    };
    Evidence { own: Own { armed: Some(armed), ..unwatched().own }, ..Evidence::default() }
}

/// The same without a watchdog.
fn unwatched() -> Evidence {
    Evidence { own: Own { alive: at(1000), ..Own::default() }, ..Evidence::default() }
}

fn death(up: u64, reason: &str, lines: &[&str]) -> Death {
    Death {
        place: "/sys/fs/pstore/dmesg-erst-1".to_owned(),
        up: Some(Duration::from_secs(up)),
        reason: reason.to_owned(),
        on: None,
        signs: lines.iter().filter_map(|line| signs::sign(line, false)).collect(),
    }
}

fn bootstatus(bits: u32) -> Bootstatus {
    Bootstatus { device: "watchdog0".to_owned(), identity: "i6300ESB timer".to_owned(), bits }
}

fn said(up: u64, cpu: Option<u32>, gave_up: bool) -> Said {
    Said { up: up * SECOND, cpu, gave_up, text: "CPU was not scheduled for 20 s".to_owned() }
}

fn bmc(kind: BmcKind) -> BmcEvent {
    BmcEvent { id: 4, wall: None, kind }
}

fn short(evidence: &Evidence) -> (Verdict, &'static str, Option<u32>) {
    let ending = judge(evidence);
    let rules =
        ["V1", "V2", "V3", "V4", "V5", "V6", "V7", "V8", "V9", "V10", "V11", "V12", "V13", "V14"];
    let rule = rules.into_iter().find(|rule| *rule == ending.rule).unwrap();
    (ending.verdict, rule, ending.cpu)
}

#[test]
fn a_pretimeout_is_a_stall() {
    let mut it = watched();
    it.deaths.push(Death { on: Some(2), ..death(1050, "watchdog pretimeout event", &[]) });
    assert_eq!(short(&it), (Verdict::Stall, "V1", Some(2)));
}

#[test]
fn a_bmcs_pretimeout_is_a_stall() {
    for reason in ["pre-timeout", "Watchdog pre-timeout"] {
        let mut it = watched();
        it.deaths.push(death(1050, reason, &[]));
        assert_eq!(short(&it), (Verdict::Stall, "V1", None));
    }
}

#[test]
fn a_crash_by_the_watchdog_is_a_stall_of_the_cpu_that_it_names() {
    let mut it = watched();
    let lines =
        ["bulkhead-watchdog: stall: cpu 3: not scheduled for 20 s", "sysrq: Trigger a crash"];
    it.deaths.push(death(1030, "sysrq triggered crash", &lines));
    assert_eq!(short(&it), (Verdict::Stall, "V1", Some(3)));
    assert_eq!(judge(&it).cause, lines[0]);
}

#[test]
fn a_crash_by_an_admin_is_a_panic_and_quoted() {
    let mut it = watched();
    it.deaths.push(death(1030, "sysrq triggered crash", &["sysrq: Trigger a crash"]));
    assert_eq!(short(&it), (Verdict::Panic, "V2", None));
    assert_eq!(judge(&it).cause, "Kernel panic - not syncing: sysrq triggered crash");
}

#[test]
fn machine_check_lines_are_quoted() {
    let mut it = unwatched();
    let line = "mce: [Hardware Error]: CPU 1: Machine Check Exception: 5 Bank 9: be00000000000090";
    it.deaths.push(death(1030, "Fatal local machine check", &[line]));
    let ending = judge(&it);
    assert_eq!(ending.verdict, Verdict::Panic);
    assert!(ending.evidence.iter().any(|said| said.contains(line)), "{ending:?}");
}

#[test]
fn the_log_of_another_boot_is_passed_over() {
    let mut it = unwatched();
    it.own.clean = Some(at(1001));
    it.deaths.push(death(40, "Attempted to kill init!", &[]));
    assert_eq!(short(&it), (Verdict::Clean, "V8", None));
    it.own.clean = None;
    // A month in which the kernel's clock was steered.
    it.own.alive = at(30 * 86_400);
    it.deaths = vec![death(30 * 86_400 - 600, "Fatal exception", &[])];
    assert_eq!(short(&it), (Verdict::Panic, "V2", None));
}

#[test]
fn last_words_are_a_stall_when_no_dump_tells() {
    let mut it = watched();
    it.words = vec![said(900, Some(1), false), said(1020, Some(3), true)];
    assert_eq!(short(&it), (Verdict::Stall, "V3", Some(3)));
    let alone = judge(&it).percent;
    it.watchdogs.push(bootstatus(bits::CARDRESET));
    assert!(judge(&it).percent > alone);
}

#[test]
fn last_words_that_the_host_outlived_end_nothing() {
    let mut it = watched();
    it.words = vec![said(100, Some(3), true)];
    assert_eq!(short(&it), (Verdict::PowerLoss, "V14", None), "it lived on for 15 min");
    it.words = vec![said(990, Some(3), true)];
    it.own.clean = Some(at(1001));
    assert_eq!(short(&it), (Verdict::Clean, "V8", None));
}

#[test]
fn what_is_only_an_event_gives_nobody_up() {
    let mut it = watched();
    it.words = vec![said(1000, Some(3), false)];
    assert_eq!(short(&it), (Verdict::PowerLoss, "V14", None));
}

#[test]
fn a_reset_by_a_watchdog_that_was_fed_is_a_stall() {
    let mut it = watched();
    it.watchdogs.push(bootstatus(bits::CARDRESET));
    assert_eq!(short(&it), (Verdict::Stall, "V4", None));
    let mut it = unwatched();
    it.watchdogs.push(bootstatus(bits::CARDRESET));
    assert_eq!(short(&it), (Verdict::HardwareReset, "V5", None));
    // The BMC knows whose timer it was.
    it.bmc.push(bmc(BmcKind::WatchdogFired));
    assert_eq!(short(&it), (Verdict::Stall, "V4", None));
}

#[test]
fn amds_word_counts_as_a_watchdogs() {
    let mut it = watched();
    it.reset = reset::reason(
        "x86/amd: Previous system reset reason [0x02000800]: hardware watchdog timer expired",
    );
    assert_eq!(short(&it), (Verdict::Stall, "V4", None));
}

#[test]
fn a_shutdown_that_a_watchdog_ended_is_a_stall() {
    let mut it = unwatched();
    it.own.stopping = Some(at(1001));
    it.watchdogs.push(bootstatus(bits::CARDRESET));
    assert_eq!(short(&it), (Verdict::Stall, "V4", None));
    it.own.clean = Some(at(1002));
    assert_eq!(short(&it), (Verdict::Stall, "V4", None));
    assert!(judge(&it).cause.contains("shutdown hung"));
}

#[test]
fn a_silent_watchdog_is_a_stall_with_whom_it_suspected() {
    let mut it = watched();
    let silence = Silence { since: at(980), timeout_s: 60, suspects: vec![5, 1] };
    it.own.silence = Some(silence);
    assert_eq!(short(&it), (Verdict::Stall, "V6", Some(5)));
    it.watchdogs.push(bootstatus(bits::CARDRESET));
    assert_eq!(short(&it), (Verdict::Stall, "V4", Some(5)));
    it.watchdogs.clear();
    it.own.clean = Some(at(1002));
    assert_eq!(short(&it), (Verdict::Clean, "V8", None));
}

#[test]
fn a_dump_without_a_log_is_a_panic() {
    let mut it = unwatched();
    it.dumps.push(Dump { place: "/var/crash/202611210819".to_owned(), complete: false });
    assert_eq!(short(&it), (Verdict::Panic, "V7", None));
    // But of a host that was given up, it is the stall's.
    it.words = vec![said(1020, Some(3), true)];
    assert_eq!(short(&it), (Verdict::Stall, "V3", Some(3)));
}

#[test]
fn a_clean_end_is_clean_whatever_the_power_did_then() {
    let mut it = unwatched();
    it.own.clean = Some(at(1001));
    it.bmc.push(bmc(BmcKind::PowerLost));
    it.watchdogs.push(bootstatus(bits::POWERUNDER));
    assert_eq!(short(&it), (Verdict::Clean, "V8", None));
}

#[test]
fn the_hardwares_own_resets_are_told() {
    for (bits, verdict) in [
        (bits::OVERHEAT, Verdict::HardwareReset),
        (bits::FANFAULT, Verdict::HardwareReset),
        (bits::POWERUNDER, Verdict::PowerLoss),
    ] {
        let mut it = unwatched();
        it.watchdogs.push(bootstatus(bits));
        assert_eq!(judge(&it).verdict, verdict, "{bits:#x}");
    }
    let mut it = unwatched();
    it.bmc.push(bmc(BmcKind::ResetButton));
    assert_eq!(short(&it), (Verdict::HardwareReset, "V9", None));
}

#[test]
fn nothing_at_all_is_a_power_loss() {
    assert_eq!(short(&unwatched()), (Verdict::PowerLoss, "V14", None));
    let alone = judge(&unwatched()).percent;
    let mut it = watched();
    it.watchdogs.push(bootstatus(0));
    assert!(judge(&it).percent > alone, "a hang would have shown");
}

#[test]
fn a_shutdown_without_an_end_is_unknown() {
    let mut it = unwatched();
    it.own.stopping = Some(at(1001));
    assert_eq!(short(&it), (Verdict::Unknown, "V12", None));
}

#[test]
fn a_reset_by_software_is_no_power_loss() {
    let mut it = unwatched();
    it.reset = reset::reason(
        "x86/amd: Previous system reset reason [0x00080800]: software wrote 0x6 to reset control \
         register 0xCF9",
    );
    assert_eq!(short(&it), (Verdict::Unknown, "V13", None));
}

#[test]
fn an_error_that_only_the_hardware_kept_is_no_power_loss() {
    let mut it = watched();
    it.errors.push("bank 9: memory read error, fatal".to_owned());
    assert_eq!(short(&it), (Verdict::HardwareReset, "V11", None));
    assert!(judge(&it)
        .cause
        .ends_with("only the hardware left word of: bank 9: memory read error, fatal"));
    // Sooner than that a shutdown had begun; an end of it, or a watchdog, says more.
    it.own.stopping = Some(at(1001));
    assert_eq!(short(&it), (Verdict::HardwareReset, "V11", None));
    it.own.clean = Some(at(1002));
    assert_eq!(short(&it), (Verdict::Clean, "V8", None));
    it.watchdogs.push(bootstatus(bits::CARDRESET));
    assert_eq!(short(&it), (Verdict::Stall, "V4", None));
}

fn some<T: Clone + std::fmt::Debug + 'static>(
    one: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(one, 0..3)
}

fn any_line() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,300}",
        "bulkhead-watchdog: stall: (cpu [0-9]{1,12}: )?[a-z ]{0,9}",
        "watchdog: BUG: soft lockup - CPU#[0-9]{0,12} stuck for",
        Just("Uhhuh. NMI received for unknown reason 3d on CPU 0.".to_owned()),
        Just("NMI: IOCK error (debug interrupt?) for reason 61 on CPU 0.".to_owned()),
        Just("sysrq: Trigger a crash".to_owned()),
    ]
}

prop_compose! {
    fn any_death()(
        up in prop::option::of(0u64..10_000),
        reason in prop_oneof![
            "\\PC{0,300}", Just("sysrq triggered crash".to_owned()),
            Just("watchdog pretimeout event".to_owned()), Just("NMI: Not continuing".to_owned()),
        ],
        on in any::<Option<u32>>(),
        lines in prop::collection::vec(any_line(), 0..5),
    ) -> Death {
        Death {
            place: "/var/crash/1".to_owned(),
            up: up.map(Duration::from_secs),
            reason,
            on,
            signs: lines.iter().filter_map(|line| signs::sign(line, false)).collect(),
        }
    }
}

fn any_moment() -> impl Strategy<Value = Moment> {
    prop_oneof![(0u64..10_000).prop_map(at), any::<u64>().prop_map(|up| Moment { up, ..at(0) })]
}

prop_compose! {
    fn any_own()(
        alive in any_moment(),
        stopping in prop::option::of(any_moment()),
        clean in prop::option::of(any_moment()),
        is_armed in any::<bool>(),
        silence in prop::option::of((any_moment(), prop::collection::vec(any::<u32>(), 0..3))),
    ) -> Own {
        let armed = watched().own.armed.filter(|_| is_armed);
        let silence =
            silence.map(|(since, suspects)| Silence { since, timeout_s: 60, suspects });
        Own { alive, stopping, clean, armed, silence }
    }
}

fn any_bmc() -> impl Strategy<Value = BmcEvent> {
    prop_oneof![
        Just(BmcKind::WatchdogFired),
        Just(BmcKind::WatchdogWarned),
        Just(BmcKind::OsStopped),
        Just(BmcKind::OsShutDown),
        Just(BmcKind::PowerLost),
        Just(BmcKind::ResetButton),
    ]
    .prop_map(bmc)
}

fn any_reset() -> impl Strategy<Value = Reset> {
    prop_oneof![
        Just(ResetKind::Watchdog),
        Just(ResetKind::Hardware),
        Just(ResetKind::Software),
        Just(ResetKind::Neutral),
    ]
    .prop_map(|kind| Reset { kind, text: "reason".to_owned() })
}

prop_compose! {
    fn any_evidence()(
        own in any_own(),
        deaths in some(any_death()),
        dumps in some(any::<bool>()),
        statuses in some(any::<u32>()),
        bmc in some(any_bmc()),
        reset in prop::option::of(any_reset()),
        errors in some("\\PC{0,500}"),
        words in some((any_moment(), any::<Option<u32>>(), any::<bool>())),
    ) -> Evidence {
        let dump = |complete| Dump { place: "/var/crash/1".to_owned(), complete };
        let word = |(at, cpu, gave_up): (Moment, _, _)| Said { up: at.up, ..said(0, cpu, gave_up) };
        Evidence {
            own,
            deaths,
            dumps: dumps.into_iter().map(dump).collect(),
            watchdogs: statuses.into_iter().map(bootstatus).collect(),
            bmc,
            reset,
            errors,
            words: words.into_iter().map(word).collect(),
        }
    }
}

/// All of the first, and what others left of the second: not what the daemon did.
fn and_more(mut evidence: Evidence, more: Evidence) -> Evidence {
    evidence.deaths.extend(more.deaths);
    evidence.dumps.extend(more.dumps);
    evidence.watchdogs.extend(more.watchdogs);
    evidence.bmc.extend(more.bmc);
    evidence.reset = evidence.reset.or(more.reset);
    evidence.errors.extend(more.errors);
    evidence.words.extend(more.words);
    evidence
}

proptest! {
    #[test]
    fn every_verdict_is_sure_to_some_degree_and_says_why(evidence in any_evidence()) {
        let ending = judge(&evidence);
        prop_assert!((1..=99).contains(&ending.percent));
        prop_assert!(!ending.evidence.is_empty() && ending.evidence.len() <= 16);
        let longest = ending.evidence.iter().chain([&ending.cause]).map(|s| s.chars().count()).max();
        prop_assert!(longest.unwrap_or(0) <= 400);
        prop_assert!(ending.verdict != Verdict::Running && !ending.cause.is_empty());
        prop_assert_eq!(judge(&evidence), ending);
    }

    #[test]
    fn no_evidence_makes_a_stall_clean(evidence in any_evidence(), more in any_evidence()) {
        if judge(&evidence).verdict == Verdict::Stall {
            let verdict = judge(&and_more(evidence, more)).verdict;
            prop_assert!(matches!(verdict, Verdict::Stall | Verdict::Panic), "{verdict:?}");
        }
    }

    #[test]
    fn only_the_shutdowns_own_mark_makes_an_end_clean(evidence in any_evidence()) {
        let clean = judge(&evidence).verdict == Verdict::Clean;
        prop_assert!(!clean || evidence.own.clean.is_some());
        let mut evidence = evidence;
        evidence.own.clean = None;
        prop_assert!(judge(&evidence).verdict != Verdict::Clean);
    }

    #[test]
    fn a_watchdog_that_fired_is_never_a_power_loss(evidence in any_evidence()) {
        let mut evidence = evidence;
        evidence.watchdogs.push(bootstatus(bits::CARDRESET));
        let verdict = judge(&evidence).verdict;
        prop_assert!(!matches!(verdict, Verdict::Clean | Verdict::PowerLoss | Verdict::Unknown));
    }

    #[test]
    fn no_record_of_a_bmcs_is_too_odd(record in any::<[u8; bmc::RECORD]>(), line in "\\PC*") {
        let _ = bmc::read(&record);
        let _ = (signs::sign(&line, true), signs::panicked_on(&line), reset::reason(&line));
    }
}
