//! A watchdog heard, suspected, lost and found.
#![allow(clippy::unwrap_used)]

use super::*;
use bulkhead_core::model::Wall;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

fn at(seconds: u64) -> Moment {
    Moment { up: seconds * SECOND, wall: Wall(0) }
}

/// Armed with 60 s.
fn beat() -> Heartbeat {
    Heartbeat {
        pid: 77,
        state: State::Armed,
        device: Some("watchdog0".into()),
        identity: Some("i6300ESB timer".into()),
        timeout_s: Some(60),
        ..Heartbeat::default()
    }
}

fn suspecting(cpu: u32, probe: Probe) -> Heartbeat {
    Heartbeat { suspects: vec![Suspect { cpu, probe, silent_ms: 10_400 }], ..beat() }
}

fn sentences(news: &[News]) -> Vec<String> {
    news.iter().map(News::sentence).collect()
}

#[test]
fn one_that_is_heard_regularly_is_told_of_once() {
    let mut watch = Watch::default();
    let news = watch.heard(beat(), at(0));
    assert_eq!(sentences(&news), ["bulkhead-watchdog feeds watchdog0 (i6300ESB timer)"]);
    for second in (5..600).step_by(5) {
        assert_eq!(watch.heard(beat(), at(second)), []);
        assert_eq!(watch.due(at(second + 4)), None);
    }
    assert_eq!(watch.seen(600 * SECOND).state, "armed");
}

#[test]
fn an_armed_one_is_missed_after_a_third_of_its_timeout() {
    let mut watch = Watch::default();
    watch.heard(suspecting(3, Probe::Fifo), at(100));
    assert_eq!(watch.due(at(119)), None);
    let Some(News::Silent { silence: Some(silence), .. }) = watch.due(at(120)) else {
        panic!("{watch:?}")
    };
    assert_eq!((silence.since, silence.timeout_s, silence.suspects), (at(100), 60, vec![3]));
    assert_eq!((watch.due(at(200)), watch.deadline()), (None, None), "told once");
    assert_eq!(watch.seen(0).silent_since, Some(at(100)));
    let news = watch.heard(beat(), at(150));
    assert!(sentences(&news)[0].contains("heard again after 50 s"), "{news:?}");
}

#[test]
fn a_short_timeout_leaves_room_for_the_next_message() {
    let mut watch = Watch::default();
    watch.heard(Heartbeat { timeout_s: Some(6), ..beat() }, at(0));
    assert_eq!(watch.due(at(6)), None);
    assert!(watch.due(at(7)).is_some());
}

#[test]
fn of_one_that_feeds_nothing_no_silence_is_remembered() {
    let mut watch = Watch::default();
    watch.heard(Heartbeat { state: State::Watching, ..beat() }, at(0));
    assert!(matches!(watch.due(at(20)), Some(News::Silent { silence: None, .. })));
}

#[test]
fn one_that_stops_in_order_is_not_missed() {
    let mut watch = Watch::default();
    watch.heard(beat(), at(0));
    let last = Heartbeat { last: true, ..beat() };
    assert_eq!(watch.heard(last.clone(), at(3)), [News::Stopped]);
    assert_eq!((watch.due(at(500)), watch.seen(0).state), (None, "not running"));
    assert_eq!(watch.heard(last, at(4)), []);
}

#[test]
fn a_cpu_is_told_of_once_however_often_it_comes_and_goes() {
    let mut watch = Watch::default();
    watch.heard(beat(), at(0));
    let news = watch.heard(suspecting(3, Probe::Other), at(5));
    assert_eq!(sentences(&news), ["CPU 3 leaves ordinary tasks no time, for 11 s now"]);
    assert_eq!(news[0].cpu(), Some(3));
    let mut told = 0;
    for second in (10..600).step_by(10) {
        watch.heard(beat(), at(second));
        told += watch.heard(suspecting(3, Probe::Other), at(second + 5)).len();
    }
    assert_eq!(told, 0);
    assert_eq!(watch.heard(suspecting(3, Probe::Fifo), at(601)).len(), 1, "the other probe");
    assert_eq!(watch.heard(suspecting(3, Probe::Other), at(606)).len(), 1, "ten minutes later");
}

#[test]
fn a_check_that_fails_is_told_and_when_it_is_well_again() {
    let mut watch = Watch::default();
    watch.heard(beat(), at(0));
    let failing = Heartbeat { failing: Some("heartbeat".into()), ..beat() };
    let news = watch.heard(failing, at(5));
    assert!(news.len() == 1 && news[0].is_bad() && news[0].sentence().contains("heartbeat"));
    assert!(!watch.heard(beat(), at(10))[0].is_bad());
}

#[test]
fn another_process_or_state_is_told() {
    let mut watch = Watch::default();
    watch.heard(Heartbeat { state: State::Starting, ..beat() }, at(0));
    assert_eq!(watch.heard(beat(), at(1)).len(), 1);
    assert_eq!(watch.heard(Heartbeat { pid: 78, ..beat() }, at(2)).len(), 1);
}

fn any_beat() -> impl Strategy<Value = Heartbeat> {
    let states = [State::Starting, State::Armed, State::Systemd, State::Watching];
    let suspect = (any::<u32>(), any::<bool>()).prop_map(|(cpu, other)| Suspect {
        cpu,
        probe: if other { Probe::Other } else { Probe::Fifo },
        silent_ms: 1,
    });
    (
        prop::sample::select(states.to_vec()),
        any::<Option<u32>>(),
        prop::collection::vec(suspect, 0..8),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(state, timeout_s, suspects, last)| Heartbeat {
            state,
            timeout_s,
            suspects,
            last,
            ..beat()
        })
}

proptest! {
    #[test]
    fn nothing_grows_and_silence_is_told_once(
        story in prop::collection::vec((0u64..100, prop::option::of(any_beat())), 0..60),
    ) {
        let (mut watch, mut now, mut silent) = (Watch::default(), 0, false);
        for (later, beat) in story {
            now += later;
            match beat {
                Some(beat) => {
                    watch.heard(beat, at(now));
                    silent = false;
                }
                None => {
                    let told = watch.due(at(now)).is_some();
                    prop_assert!(!(told && silent));
                    silent |= told;
                }
            }
            prop_assert!(watch.told.len() <= MOST_TOLD);
            prop_assert_eq!(watch.seen(now * SECOND).silent_since.is_some(), silent);
        }
    }
}
